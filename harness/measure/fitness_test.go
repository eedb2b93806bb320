package measure

import (
	"testing"

	"github.com/rebound-mqtt/rebound/reports"
)

func TestFitness(t *testing.T) {
	for _, tc := range []struct {
		canary, measured *float64
		want             string
	}{
		{ptr(0.002), ptr(0.2), Fit},
		{ptr(0.02), ptr(0.2), Fit}, // 10 % exactly does not exceed
		{ptr(0.0201), ptr(0.2), Degraded},
		{ptr(0.1), ptr(0.2), Degraded}, // 50 % exactly
		{ptr(0.1001), ptr(0.2), Saturated},
		{ptr(3.0), ptr(0.2), Saturated},
		{ptr(0.001), ptr(0.0), Saturated},
		{ptr(0.0), ptr(0.0), Fit},
		{nil, ptr(0.2), Unknown},
		{ptr(0.2), nil, Unknown},
		{nil, nil, Unknown},
	} {
		if got := Fitness(tc.canary, tc.measured); got != tc.want {
			t.Errorf("canary %v measured %v: %s, want %s", tc.canary, tc.measured, got, tc.want)
		}
	}
}

func TestPhaseFitness(t *testing.T) {
	outage := reports.Quantile{N: 1000, P50: ptr(0.16), P90: ptr(0.19), P99: ptr(0.2)}
	connect := reports.Quantile{N: 1000, P50: ptr(1.0), P99: ptr(2.0)}
	none := reports.Quantile{}
	for _, tc := range []struct {
		name            string
		canary          *float64
		outage, connect reports.Quantile
		want, against   string
	}{
		{"outage comes first", ptr(0.03), outage, connect, Degraded, "outage p99"},
		{"the phase that connects", ptr(0.03), none, connect, Fit, "connect p99"},
		{"censored: the highest quantile reached", ptr(0.03), reports.Quantile{N: 950, Censored: 50, P50: ptr(0.1), P90: ptr(0.25)}, none, Degraded, "outage p90"},
		{"nobody came back", ptr(0.03), reports.Quantile{Censored: 50}, none, Unknown, "outage (no quantile reached)"},
		{"no canary", nil, outage, none, Unknown, "outage p99"},
		{"nothing timed", ptr(0.099), none, none, Fit, "nothing timed"},
		{"nothing timed, harness halts", ptr(0.1), none, none, Degraded, "nothing timed"},
		{"nothing timed, no canary", nil, none, none, Unknown, "nothing timed"},
	} {
		if got, against := PhaseFitness(tc.canary, tc.outage, tc.connect); got != tc.want || against != tc.against {
			t.Errorf("%s: %s against %s, want %s against %s", tc.name, got, against, tc.want, tc.against)
		}
	}
}

func TestWorseFitness(t *testing.T) {
	order := []string{"", Fit, Degraded, Unknown, Saturated}
	for i, a := range order {
		for j, b := range order {
			if got, want := WorseFitness(a, b), order[max(i, j)]; got != want {
				t.Errorf("worse of %q and %q: %q, want %q", a, b, got, want)
			}
		}
	}
}
