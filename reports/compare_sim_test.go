package reports

import (
	"math"
	"math/rand/v2"
	"testing"
)

// simulated are n runs of a system whose outages take factor times as long.
// Each run has a factor of its own, and each metric a smaller one on top.
func simulated(rng *rand.Rand, n int, sigma, factor float64) []*Report {
	var out []*Report
	for range n {
		run := factor * math.Exp(sigma*rng.NormFloat64())
		v := func(seconds float64) *float64 { return f(seconds * run * math.Exp(sigma/2*rng.NormFloat64())) }
		r := &Report{
			Run:    Run{ScenarioHash: "1", Clients: 1000, Complete: true},
			Phases: []Phase{{Name: "storm", Fitness: "fit"}},
			Waves:  []Wave{{Phase: "storm", Wave: 1}},
			Total: Wave{Victims: 1000, Back: 1000, RMTA: v(0.2), BackCurve: Quantile{N: 1000, P99: v(0.5)},
				Outage: Quantile{N: 1000, P50: v(0.2), P90: v(0.3), P99: v(0.45)}},
		}
		out = append(out, r)
	}
	return out
}

// share is how often a comparison of simulated runs has an outcome.
func share(t *testing.T, trials, n int, sigma, factor float64, is Outcome) float64 {
	t.Helper()
	rng := rand.New(rand.NewPCG(uint64(n), math.Float64bits(sigma*factor)))
	hits := 0
	for range trials {
		if Compare(simulated(rng, n, sigma, 1), simulated(rng, n, sigma, factor), CompareOptions{}).Verdict == is {
			hits++
		}
	}
	return float64(hits) / float64(trials)
}

// The error rates that compare promises, over simulated runs with the spread
// from run to run that real ones have.
func TestErrorRates(t *testing.T) {
	for _, tt := range []struct {
		what          string
		n             int
		sigma, factor float64
		is            Outcome
		least, most   float64
	}{
		{"A/A is worse", 5, 0.02, 1, Worse, 0, 0.05},
		{"A/A is worse", 5, 0.10, 1, Worse, 0, 0.05},
		{"A/A is worse", 5, 0.30, 1, Worse, 0, 0.05},
		{"A/A is worse", 10, 0.10, 1, Worse, 0, 0.05},
		{"A/A is worse", 20, 0.20, 1, Worse, 0, 0.05},
		{"A/A is better", 10, 0.10, 1, Better, 0, 0.05},
		{"+50 % is worse", 5, 0.02, 1.5, Worse, 0.95, 1},
		{"+50 % is worse", 5, 0.05, 1.5, Worse, 0.95, 1},
		{"+50 % is worse", 5, 0.08, 1.5, Worse, 0.95, 1},
		{"+50 % is worse", 5, 0.10, 1.5, Worse, 0.95, 1},
		{"+50 % is worse", 10, 0.10, 1.5, Worse, 0.95, 1},
		{"-40 % is better", 5, 0.05, 0.6, Better, 0.95, 1},
		{"A/A is the same", 5, 0.01, 1, Same, 0.95, 1},
		{"+50 % is the same", 5, 0.05, 1.5, Same, 0, 0},
		{"3 v 3", 3, 0.05, 1, Inconclusive, 1, 1},
		{"3 v 3, +50 %", 3, 0.02, 1.5, Inconclusive, 1, 1},
		{"3 v 3, ten times as long", 3, 0.02, 10, Inconclusive, 1, 1},
		{"4 v 4 is worse", 4, 0.02, 1.5, Worse, 0, 0},
	} {
		trials := 2000 / tt.n
		got := share(t, trials, tt.n, tt.sigma, tt.factor, tt.is)
		t.Logf("%-26s n %2d  noise %2.0f %%: %.3f", tt.what, tt.n, tt.sigma*100, got)
		if got < tt.least || got > tt.most {
			t.Errorf("%s at n = %d with %.0f %% noise: %.3f, want %.2f to %.2f", tt.what, tt.n, tt.sigma*100, got, tt.least, tt.most)
		}
	}
}
