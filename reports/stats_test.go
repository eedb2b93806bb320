package reports

import (
	"math"
	"math/rand/v2"
	"testing"

	"golang.org/x/perf/benchmath"
	"pgregory.net/rapid"
)

// sampleOf draws a sample for a property; levels > 0 makes ties.
func sampleOf(t *rapid.T, label string, n, levels int) []float64 {
	value := rapid.Float64Range(0, 100)
	if levels > 0 {
		value = rapid.Map(rapid.IntRange(1, levels), func(i int) float64 { return float64(i) })
	}
	return rapid.SliceOfN(value, n, n).Draw(t, label)
}

// benchmath's exact test with ties takes the smaller tail of the first sample
// for that of either, which is right while the distribution is symmetric: of
// equal sizes, or without ties. TestMannWhitneyCounts has the rest.
func TestMannWhitneyAgreesWithBenchmath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "n")
		m, levels := n, rapid.IntRange(0, 6).Draw(t, "levels")
		if levels == 0 {
			m = rapid.IntRange(1, 12).Draw(t, "m")
		}
		a, b := sampleOf(t, "a", n, levels), sampleOf(t, "b", m, levels)
		if _, _, ties := doubledRanks(a, b); n != m && len(ties) != n+m {
			t.Skip("ties of floats")
		}
		want := benchmath.AssumeNothing.Compare(benchmath.NewSample(a, &benchmath.DefaultThresholds), benchmath.NewSample(b, &benchmath.DefaultThresholds)).P
		if got := mannWhitney(a, b); math.Abs(got-want) > 1e-9 {
			t.Fatalf("p = %v, benchmath says %v, of %v and %v", got, want, a, b)
		}
	})
	// The normal approximation, above the exact limits of both.
	rng := rand.New(rand.NewPCG(1, 2))
	a, b := make([]float64, 60), make([]float64, 70)
	for i := range a {
		a[i] = rng.NormFloat64()
	}
	for i := range b {
		b[i] = math.Round(rng.NormFloat64()+0.3) + 0.5
	}
	want := benchmath.AssumeNothing.Compare(benchmath.NewSample(a, &benchmath.DefaultThresholds), benchmath.NewSample(b, &benchmath.DefaultThresholds)).P
	if got := mannWhitney(a, b); math.Abs(got-want) > 1e-9 {
		t.Errorf("p = %v, benchmath says %v", got, want)
	}
}

// Each way to deal the values out is counted, ties and unequal sizes included.
func TestMannWhitneyCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := sampleOf(t, "a", rapid.IntRange(1, 5).Draw(t, "n"), 4)
		b := sampleOf(t, "b", rapid.IntRange(1, 5).Draw(t, "m"), 4)
		all := append(append([]float64{}, a...), b...)
		u := func(x, y []float64) (u float64) {
			for _, v := range x {
				for _, w := range y {
					switch {
					case v > w:
						u++
					case v == w:
						u += 0.5
					}
				}
			}
			return u
		}
		is, below, above, total := u(a, b), 0.0, 0.0, 0.0
		for set := range 1 << len(all) {
			var x, y []float64
			for i, v := range all {
				if set>>i&1 == 1 {
					x = append(x, v)
				} else {
					y = append(y, v)
				}
			}
			if len(x) != len(a) {
				continue
			}
			total++
			if u(x, y) <= is {
				below++
			}
			if u(x, y) >= is {
				above++
			}
		}
		want := math.Min(1, 2*math.Min(below, above)/total)
		if got := mannWhitney(a, b); math.Abs(got-want) > 1e-9 {
			t.Fatalf("p = %v, counted %v, of %v and %v", got, want, a, b)
		}
	})
}

// The interval leaves 0 out exactly when the test says that the samples differ.
func TestIntervalAndTestAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, m := rapid.IntRange(1, 9).Draw(t, "n"), rapid.IntRange(1, 9).Draw(t, "m")
		a, b := sampleOf(t, "a", n, 0), sampleOf(t, "b", m, 0)
		if _, _, ties := doubledRanks(a, b); len(ties) != n+m {
			t.Skip("ties of floats")
		}
		s := hodgesLehmann(a, b, 0.05)
		if out := s.low > 0 || s.high < 0; out != (mannWhitney(a, b) <= 0.05) {
			t.Fatalf("p %v, interval %+v", mannWhitney(a, b), s)
		}
		if s.low > s.mid || s.mid > s.high {
			t.Fatalf("%+v is out of order", s)
		}
	})
}

func TestSmallestSamples(t *testing.T) {
	low := func(n int) (vs []float64) {
		for i := range n {
			vs = append(vs, float64(i))
		}
		return vs
	}
	high := func(n int) (vs []float64) {
		for i := range n {
			vs = append(vs, 100+float64(i))
		}
		return vs
	}
	for _, tt := range []struct {
		n           int
		p, coverage float64
	}{
		{1, 1, 0}, {3, 2.0 / 20, 0}, {4, 2.0 / 70, 1 - 2.0/70}, {5, 2.0 / 252, 1 - 8.0/252}, {6, 2.0 / 924, 1 - 38.0/924}, {60, 0, 0.95},
	} {
		p, s := mannWhitney(low(tt.n), high(tt.n)), hodgesLehmann(low(tt.n), high(tt.n), 0.05)
		if math.Abs(p-tt.p) > 1e-9 || math.Abs(s.coverage-tt.coverage) > 1e-9 {
			t.Errorf("n = %d: p %v, coverage %v; want %v, %v", tt.n, p, s.coverage, tt.p, tt.coverage)
		}
		if s.mid != 100 || math.IsInf(s.low, 0) != (tt.coverage == 0) {
			t.Errorf("n = %d: %+v", tt.n, s)
		}
	}
}

// The true shift lies in the interval as often as the interval says.
func TestIntervalCovers(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{4, 5, 8} {
		const trials = 3000
		held, says := 0, 0.0
		for range trials {
			a, b := make([]float64, n), make([]float64, n)
			for i := range n {
				a[i], b[i] = rng.ExpFloat64(), rng.ExpFloat64()+0.7
			}
			s := hodgesLehmann(a, b, 0.05)
			says = s.coverage
			if s.low <= 0.7 && 0.7 <= s.high {
				held++
			}
		}
		got := float64(held) / trials
		if four := 4 * math.Sqrt(says*(1-says)/trials); math.Abs(got-says) > four {
			t.Errorf("n = %d: held %.4f, says %.4f", n, got, says)
		}
	}
}

// +Inf is a quantile that was not reached: above all that were, equal to its like.
func TestNotReached(t *testing.T) {
	inf := math.Inf(1)
	a, b := []float64{1, 2, 3, 4, 5}, []float64{inf, inf, inf, inf, inf}
	if p := mannWhitney(a, b); math.Abs(p-2.0/252) > 1e-9 {
		t.Errorf("p = %v", p)
	}
	if s := hodgesLehmann(a, b, 0.05); s.mid != inf || s.low != inf {
		t.Errorf("%+v", s)
	}
	if s := hodgesLehmann(b, b, 0.05); s.mid != 0 || s.low != 0 || s.high != 0 || mannWhitney(b, b) != 1 {
		t.Errorf("not reached on both sides: %+v", s)
	}
	if d := cliffDelta(a, []float64{0, inf}); d != 0 {
		t.Errorf("delta %v", d)
	}
	if m := middle([]float64{-inf, inf}); m != 0 {
		t.Errorf("middle %v", m)
	}
}

func TestHolm(t *testing.T) {
	got := holm([]float64{0.04, 0.01, 0.03, 0.005})
	for i, want := range []float64{0.06, 0.03, 0.06, 0.02} {
		if math.Abs(got[i]-want) > 1e-12 {
			t.Errorf("%v", got)
			break
		}
	}
	if got := holm([]float64{0.7, 0.9}); got[0] != 1 || got[1] != 1 {
		t.Errorf("%v", got)
	}
	// Five against five can decide over five metrics; four against four cannot.
	if five, four := holm([]float64{2.0 / 252, 1, 1, 1, 1})[0], holm([]float64{2.0 / 70, 2.0 / 70, 2.0 / 70, 2.0 / 70, 2.0 / 70})[0]; five >= 0.05 || four < 0.05 {
		t.Errorf("5 v 5 %v, 4 v 4 %v", five, four)
	}
}

func TestCliffDelta(t *testing.T) {
	for _, tt := range []struct {
		a, b []float64
		want float64
	}{
		{[]float64{1, 2}, []float64{3, 4}, 1}, {[]float64{3, 4}, []float64{1, 2}, -1}, {[]float64{1, 3}, []float64{2}, 0}, {[]float64{1, 1}, []float64{1, 2}, 0.5},
	} {
		if got := cliffDelta(tt.a, tt.b); got != tt.want {
			t.Errorf("%v %v: %v, want %v", tt.a, tt.b, got, tt.want)
		}
	}
}
