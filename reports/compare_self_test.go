package reports

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

func TestGoldenSelfCheck(t *testing.T) {
	for name, s := range map[string]SelfCheck{
		"self":     CheckSelf(varied(t, 6, pass, func(r *Report, i int) { scaled(r, jitter(i), 0) }), CompareOptions{}),
		"self-few": CheckSelf(varied(t, 3, pass, func(r *Report, i int) { scaled(r, jitter(i), 0) }), CompareOptions{}),
	} {
		for _, f := range CompareFormats() {
			var b bytes.Buffer
			if err := f.Self(&b, s); err != nil {
				t.Fatal(err)
			}
			golden(t, "compare/"+name+"."+f.Name, b.Bytes())
		}
	}
}

func TestCheckSelf(t *testing.T) {
	for _, tt := range []struct {
		name string
		runs []*Report
		o    CompareOptions
		is   Outcome
		exit int
	}{
		{"none", nil, CompareOptions{}, Refused, 2},
		{"one", varied(t, 1, pass, func(*Report, int) {}), CompareOptions{}, Inconclusive, 0},
		{"one, required", varied(t, 1, pass, func(*Report, int) {}), CompareOptions{Require: true}, Inconclusive, 3},
		{"one incomplete", varied(t, 1, pass, func(r *Report, _ int) { r.Run.Complete = false }), CompareOptions{}, Unfinished, 3},
		{"even", varied(t, 10, pass, func(r *Report, i int) { scaled(r, jitter(i), 0) }), CompareOptions{}, Same, 0},
		{"drift", varied(t, 10, pass, func(r *Report, i int) { scaled(r, jitter(i)*(1+float64(i/5)*0.3), 0) }), CompareOptions{}, Worse, 0},
		{"drift that four against four cannot show", varied(t, 8, pass, func(r *Report, i int) { scaled(r, jitter(i)*(1+float64(i/4)*2), 0) }), CompareOptions{}, Inconclusive, 0},
		{"the same, required", varied(t, 8, pass, func(r *Report, i int) { scaled(r, jitter(i)*(1+float64(i/4)*2), 0) }), CompareOptions{Require: true}, Inconclusive, 3},
		{"mixed", varied(t, 10, pass, func(r *Report, i int) { r.Run.Clients += i }), CompareOptions{}, Refused, 2},
		{"saturated", varied(t, 5, pass, func(r *Report, i int) { r.Phases[2].Fitness = "saturated" }), CompareOptions{}, Saturated, 3},
		{"no outages", varied(t, 5, ramp, func(*Report, int) {}), CompareOptions{}, Inconclusive, 0},
	} {
		if s := CheckSelf(tt.runs, tt.o); s.Verdict != tt.is || s.ExitCode != tt.exit || len(s.Why) == 0 {
			t.Errorf("%s: %s, exit %d, %q", tt.name, s.Verdict, s.ExitCode, s.Why)
		}
	}
}

// What a self-check says could be shown is what comparisons do show.
func TestSmallestChangeIsFound(t *testing.T) {
	for _, tt := range []struct {
		sigma float64
		n     int
	}{{0.05, 5}, {0.10, 5}, {0.10, 10}} {
		change := smallestChange(tt.sigma, leastMargin, defaultAlpha, tt.n)
		if change == nil {
			t.Fatalf("%+v: none", tt)
		}
		found := func(by float64) float64 {
			rng := rand.New(rand.NewPCG(99, uint64(tt.n)))
			hits, trials := 0, 200
			for range trials {
				old, next := simulated(rng, tt.n, tt.sigma, 1), simulated(rng, tt.n, tt.sigma, 1+by)
				if Compare(old, next, CompareOptions{Margin: leastMargin}).Verdict == Worse {
					hits++
				}
			}
			return float64(hits) / float64(trials)
		}
		at, half := found(*change), found(*change/2)
		t.Logf("%+v: +%.0f %%, found %.2f, half of it %.2f", tt, *change*100, at, half)
		if at < 0.8 || half > 0.7 {
			t.Errorf("%+v: +%.0f %% is found in %.2f of comparisons, half of it in %.2f", tt, *change*100, at, half)
		}
	}
	small, wide := smallestChange(0.02, leastMargin, defaultAlpha, 5), smallestChange(0.2, leastMargin, defaultAlpha, 5)
	more := smallestChange(0.2, leastMargin, defaultAlpha, 20)
	if *small < leastMargin || *wide <= *small || *more >= *wide {
		t.Errorf("2 %%: %v, 20 %%: %v, 20 %% with 20 runs: %v", *small, *wide, *more)
	}
	if c := smallestChange(0.02, leastMargin, defaultAlpha, 4); c != nil {
		t.Errorf("4 v 4 shows %v", *c)
	}
}
