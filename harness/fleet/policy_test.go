package fleet

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// Each policy of the table against its published formula: the sleeps before the
// dials of one outage, of 2,000 clients, base 1 s and max 10 s. Where the formula
// draws, it is uniform from low to high and cut at limit, so that each sleep is
// in between, the smallest and the largest come near the ends, and the mean is
// that of the formula.
func TestPolicyFormulas(t *testing.T) {
	const (
		s       = time.Second
		clients = 2000
	)
	type span struct{ low, high time.Duration }
	r := scenarios.Reconnect{Base: s, Max: 10 * s, Delay: 3 * s}
	for name, c := range map[string]struct {
		of    func(v, before time.Duration) span // v = min(max, base x 2^n)
		limit time.Duration                      // 0 = none
	}{
		"immediate":             {func(_, _ time.Duration) span { return span{} }, 0},
		"fixed":                 {func(_, _ time.Duration) span { return span{3 * s, 3 * s} }, 0},
		"exponential":           {func(v, _ time.Duration) span { return span{v, v} }, 0},
		"full-jitter":           {func(v, _ time.Duration) span { return span{0, v} }, 0},
		"equal-jitter":          {func(v, _ time.Duration) span { return span{v / 2, v} }, 0},
		"decorrelated":          {func(_, before time.Duration) span { return span{s, 3 * before} }, r.Max},
		"truncated-exponential": {func(v, _ time.Duration) span { return span{v, v + s} }, r.Max},
		"percent-jitter":        {func(v, _ time.Duration) span { return span{v * 3 / 4, v * 5 / 4} }, 0},
		"none":                  {func(_, _ time.Duration) span { return span{Never, Never} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := make([]time.Duration, clients)
			next := make([]func(int) time.Duration, clients)
			for i := range next {
				var err error
				before[i] = s
				r.Policy = name
				if next[i], err = backoffOf(r, Policies(), 7, uint64(i)); err != nil {
					t.Fatal(err)
				}
			}
			for attempt, v := range []time.Duration{s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s} {
				// Where a draw stands between its low (0) and its high (1): uniform.
				var places []float64
				for i := range next {
					got, of := next[i](attempt+1), c.of(v, before[i])
					before[i] = got
					switch {
					case c.limit > 0 && got == c.limit && of.high >= c.limit:
						// cut: it was somewhere above
					case got < of.low || got > of.high:
						t.Fatalf("attempt %d sleeps %s, want %s to %s", attempt+1, got, of.low, of.high)
					case of.high > of.low && (c.limit == 0 || of.high <= c.limit):
						places = append(places, float64(got-of.low)/float64(of.high-of.low))
					}
				}
				if len(places) < clients/2 {
					continue // most are cut, or nothing is drawn
				}
				sum := 0.0
				for _, p := range places {
					sum += p
				}
				// The mean of n uniform draws has a deviation of 0.29/sqrt(n).
				if mean := sum / float64(len(places)); math.Abs(mean-0.5) > 4*0.29/math.Sqrt(float64(len(places))) {
					t.Errorf("attempt %d: draws at %.3f of their range on average, want the middle", attempt+1, mean)
				}
				if low, high := slices.Min(places), slices.Max(places); low > 0.01 || high < 0.99 {
					t.Errorf("attempt %d: draws from %.3f to %.3f of their range", attempt+1, low, high)
				}
			}
		})
	}
}

// The sequence restarts with attempt 1, and no number of attempts overflows.
func TestPolicySequences(t *testing.T) {
	for _, p := range Policies() {
		if p.Doc == "" || p.Backoff == nil != (p.Name == pahoPolicy) {
			t.Errorf("row %q: doc %q, own backoff %t", p.Name, p.Doc, p.Backoff != nil)
		}
		r := scenarios.Reconnect{Policy: p.Name, Base: time.Second, Max: 100 * 365 * 24 * time.Hour, Delay: time.Second}
		next, err := backoffOf(r, Policies(), 1, 1)
		if err != nil || next == nil {
			continue
		}
		for attempt := range 200 {
			if d := next(attempt + 1); d < 0 && d != Never {
				t.Fatalf("%s: attempt %d sleeps %s", p.Name, attempt+1, d)
			}
		}
		if d := next(1); d > 3*time.Second {
			t.Errorf("%s: a new sequence begins with %s", p.Name, d)
		}
	}
}

// What a client draws depends on the seed and the client, and on nothing else:
// neither on when the others draw nor on how often.
func TestPolicyDrawsRepeat(t *testing.T) {
	draws := func(seed uint64, clients ...uint64) map[uint64][]time.Duration {
		next := map[uint64]func(int) time.Duration{}
		for _, c := range clients {
			var err error
			if next[c], err = backoffOf(scenarios.Reconnect{Policy: "full-jitter", Base: time.Second, Max: time.Minute}, Policies(), seed, c); err != nil {
				t.Fatal(err)
			}
		}
		out := map[uint64][]time.Duration{}
		for attempt := range 5 {
			for _, c := range clients {
				out[c] = append(out[c], next[c](attempt+1))
			}
		}
		return out
	}
	one, other := draws(1, 0, 1, 2), draws(1, 2, 0)
	for _, c := range []uint64{0, 2} {
		if d := cmp.Diff(one[c], other[c]); d != "" {
			t.Errorf("client %d drew otherwise:\n%s", c, d)
		}
	}
	if slices.Equal(one[0], one[1]) || slices.Equal(one[0], draws(2, 0)[0]) {
		t.Error("two clients, or two seeds, drew the same")
	}
}

// An own policy joins by value, and may replace a built-in one.
func TestOwnPolicy(t *testing.T) {
	own := func(d time.Duration) func(scenarios.Reconnect, *rand.Rand) func(int) time.Duration {
		return func(scenarios.Reconnect, *rand.Rand) func(int) time.Duration {
			return func(int) time.Duration { return d }
		}
	}
	rows := Policies(Policy{Name: "nap", Backoff: own(5)}, Policy{Name: "fixed", Backoff: own(7)})
	for _, c := range []struct {
		r    scenarios.Reconnect
		want time.Duration // -1 = the library's own
		err  error
	}{
		{scenarios.Reconnect{Policy: "nap"}, 5, nil},
		{scenarios.Reconnect{Policy: "fixed", Delay: 1}, 7, nil},
		{scenarios.Reconnect{}, -1, nil},
		{scenarios.Reconnect{Policy: "paho", Max: time.Second}, -1, nil},
		{scenarios.Reconnect{Policy: "hope"}, -1, ErrPolicy},
		{scenarios.Reconnect{Policy: "fixed", Delay: -1}, -1, ErrConfig},
		{scenarios.Reconnect{Policy: "full-jitter", Base: -1}, -1, ErrConfig},
		{scenarios.Reconnect{Policy: "full-jitter", Max: -1}, -1, ErrConfig},
	} {
		f, err := backoffOf(c.r, rows, 0, 0)
		if !errors.Is(err, c.err) || (f == nil) != (c.want == -1) || f != nil && f(1) != c.want {
			t.Errorf("%+v: %v, own backoff %t", c.r, err, f != nil)
		}
	}
}

// Every driver has every policy of the table, and no other.
func TestDriversHaveThePolicies(t *testing.T) {
	var names []string
	for _, p := range Policies() {
		names = append(names, p.Name)
	}
	if want := []string{
		"paho", "immediate", "fixed", "exponential", "full-jitter", "equal-jitter", "decorrelated",
		"truncated-exponential", "percent-jitter", "none",
	}; !slices.Equal(names, want) {
		t.Errorf("policies %v, want %v", names, want)
	}
	for _, d := range Drivers() {
		for _, name := range names {
			c, err := d.New(Settings{ClientID: "c", Addr: "h:1", Reconnect: scenarios.Reconnect{Policy: name}})
			if err != nil {
				t.Errorf("%s, %s: %v", d.Info().Name, name, err)
				continue
			}
			c.Close()
		}
		if _, err := d.New(Settings{ClientID: "c", Addr: "h:1", Reconnect: scenarios.Reconnect{Policy: "never"}}); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: unknown policy: %v", d.Info().Name, err)
		}
	}
}
