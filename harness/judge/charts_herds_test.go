package judge

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestPeriod: clients in step show the beat of their backoff, and arrivals that
// know nothing of each other show none.
func TestPeriod(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, c := range map[string]struct {
		at     func() []timeline.Instant // in ms from the start of the wave
		period float64                   // seconds; 0 = none
	}{
		"bursts every 700 ms": {func() (at []timeline.Instant) {
			for burst := range timeline.Instant(8) {
				for range 40 {
					at = append(at, 700*burst+timeline.Instant(random.IntN(30)))
				}
			}
			return at
		}, 0.7},
		"bursts every 700 ms over others": {func() (at []timeline.Instant) {
			for burst := range timeline.Instant(8) {
				for range 40 {
					at = append(at, 700*burst+timeline.Instant(random.IntN(30)), timeline.Instant(random.IntN(5600)))
				}
			}
			return at
		}, 0.7},
		"faults that are evenly spaced": {func() (at []timeline.Instant) {
			for n := range timeline.Instant(90) {
				at = append(at, 100*n/3)
			}
			return at
		}, 0},
		"pairs each second": {func() (at []timeline.Instant) {
			for n := range timeline.Instant(12) {
				at = append(at, 1000*n, 1000*n)
			}
			return at
		}, 1},
		"at random": {func() (at []timeline.Instant) {
			for range 2000 {
				at = append(at, timeline.Instant(random.IntN(10_000)))
			}
			return at
		}, 0},
		"few, at random": {func() (at []timeline.Instant) {
			for range 12 {
				at = append(at, timeline.Instant(random.IntN(10_000)))
			}
			return at
		}, 0},
		"a burst with ragged flanks": {func() (at []timeline.Instant) {
			for range 400 {
				at = append(at, max(0, timeline.Instant(500+150*random.NormFloat64())))
			}
			return at
		}, 0},
		"bursts at random": {func() (at []timeline.Instant) {
			for range 30 {
				burst := timeline.Instant(random.IntN(10_000))
				for range 8 {
					at = append(at, burst+timeline.Instant(random.IntN(20)))
				}
			}
			return at
		}, 0},
		"two equal bursts": {func() (at []timeline.Instant) {
			return append(make([]timeline.Instant, 50), slices.Repeat([]timeline.Instant{700}, 50)...)
		}, 0},
		"after 82 s": {func() (at []timeline.Instant) {
			for burst := range timeline.Instant(8) {
				for range 40 {
					at = append(at, 700*burst, 90_000+1100*burst)
				}
			}
			return at
		}, 0.7},
		"two equal gaps": {func() []timeline.Instant { return []timeline.Instant{0, 1000, 2000} }, 0},
		"one burst":      {func() []timeline.Instant { return make([]timeline.Instant, 500) }, 0},
		"one broad burst": {func() (at []timeline.Instant) {
			for n := range timeline.Instant(1000) {
				at = append(at, n)
			}
			return at
		}, 0},
		"a single one": {func() []timeline.Instant { return []timeline.Instant{5} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			at := c.at()
			for i := range at {
				at[i] = 1000*ms + at[i]*ms
			}
			slices.Sort(at)
			h := herdShape(&waveFacts{wave: timeline.Wave{Start: 1000 * ms}}, at, maxHerdBins)
			if c.period == 0 {
				if h.Period != nil {
					t.Errorf("period %v at %v, want none", *h.Period, *h.Correlation)
				}
				return
			}
			if h.Period == nil || *h.Period < c.period-0.021 || *h.Period > c.period+0.021 || *h.Correlation < leastPeak || *h.Correlation > 1 {
				t.Errorf("period %v, correlation %v, want %v s", show64(h.Period), show64(h.Correlation), c.period)
			}
		})
	}
}

func show64(f *float64) any {
	if f == nil {
		return nil
	}
	return *f
}

// TestAutocorrelation holds it to the definition, worked out term by term.
func TestAutocorrelation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.SliceOfN(rapid.IntRange(0, 3), 0, 40).Draw(t, "counts")
		x = append(append([]int{1}, x...), 2) // it begins and ends with a CONNECT
		var counts []herdCount
		mean := 0.0
		for i, n := range x {
			mean += float64(n) / float64(len(x))
			if n > 0 {
				counts = append(counts, herdCount{i + 7, n})
			}
		}
		squares := 0.0
		for _, n := range x {
			squares += (float64(n) - mean) * (float64(n) - mean)
		}
		r, total := autocorrelation(counts)
		if total != sumOf(x) || len(r) != len(x)/2+1 {
			t.Fatalf("%d CONNECTs, %d lags", total, len(r))
		}
		for k := range r {
			want := 0.0
			for i := range len(x) - k {
				want += (float64(x[i]) - mean) * (float64(x[i+k]) - mean) / squares
			}
			if d := r[k] - want; d > 1e-9 || d < -1e-9 {
				t.Fatalf("lag %d: %v, want %v", k, r[k], want)
			}
		}
		if d := *fano(counts) - squares/float64(len(x))/mean; d > 1e-9 || d < -1e-9 {
			t.Fatalf("fano %v", *fano(counts))
		}
	})
}

// TestHerdShape draws waves: few bins keep the highest peak, enough bins keep
// every CONNECT, and every number can be printed.
func TestHerdShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := rapid.SliceOfN(rapid.Int64Range(0, 200e9), 0, 60).Draw(t, "connects")
		slices.Sort(at)
		bins := rapid.IntRange(1, 3000).Draw(t, "bins")
		start := timeline.Instant(rapid.Int64Range(0, 1e9).Draw(t, "start"))
		var connects []timeline.Instant
		steps := map[int64]int{}
		peak := 0
		for _, v := range at {
			connects = append(connects, start+timeline.Instant(v))
			steps[v/10e6]++
			peak = max(peak, steps[v/10e6])
		}
		h := herdShape(&waveFacts{wave: timeline.Wave{Start: start}}, connects, bins)
		if len(h.Counts) > bins || peakOf(h) != peak {
			t.Fatalf("%d bins of %d, peak %d, want %d", len(h.Counts), bins, peakOf(h), peak)
		}
		if n := len(at); n > 0 {
			joined := (at[n-1]/10e6 + int64(bins)) / int64(bins) // steps to the last one, shared out and rounded up
			if h.Width != 0.01*float64(joined) {
				t.Fatalf("bins of %v s, want %d steps of 10 ms", h.Width, joined)
			}
		}
		if h.Width == 0.01 && sumOf(h.Counts) != len(at) {
			t.Fatalf("%d CONNECTs, want %d", sumOf(h.Counts), len(at))
		}
		if n := len(h.Counts); n > 0 && h.Counts[n-1] == 0 {
			t.Fatal("bins after the last CONNECT")
		}
		if _, err := json.Marshal(h); err != nil {
			t.Fatal(err)
		}
	})
}

// TestManyHerds: of more waves than are drawn, those with the highest peaks are,
// in their order.
func TestManyHerds(t *testing.T) {
	const second = 1000 * ms
	var waves []*waveFacts
	var connects []timeline.Instant
	for k := range timeline.Instant(maxHerds + 30) {
		waves = append(waves, &waveFacts{wave: timeline.Wave{Wave: int(k) + 1, Start: k * second}, end: (k+1)*second - 1})
		for range 1 + k%10 { // 13 waves of each peak
			connects = append(connects, k*second)
		}
	}
	herds := herdShapes(waves, connects)
	if len(herds) != maxHerds {
		t.Fatalf("%d herds", len(herds))
	}
	of := map[int]int{}
	for i, h := range herds {
		of[peakOf(h)]++
		if i > 0 && h.Wave <= herds[i-1].Wave {
			t.Errorf("wave %d after %d", h.Wave, herds[i-1].Wave)
		}
	}
	for peak := 4; peak <= 10; peak++ {
		if of[peak] != 13 {
			t.Errorf("%d waves with peak %d, want 13", of[peak], peak)
		}
	}
	if of[3] != 9 || of[1]+of[2] != 0 {
		t.Errorf("waves by peak %v, want 9 with peak 3", of)
	}
}
