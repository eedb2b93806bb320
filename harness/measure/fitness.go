package measure

import "github.com/rebound-mqtt/rebound/reports"

// The fitness of the measuring instrument in one phase. It touches time only:
// a saturated phase makes its time expectations unknown; counts stand.
const (
	Fit       = "fit"
	Degraded  = "degraded"  // passes; the canary's p99 is printed as ± beside each percentile
	Saturated = "saturated" // the times of the phase are not the broker's
	Unknown   = "unknown"
)

// The shares of the measured time that the canary's p99 may reach.
const (
	degradedAbove  = 0.10
	saturatedAbove = 0.50
	untimedBelow   = 0.100 // s
)

// Fitness holds the canary's p99 lateness against a measured p99, both in
// seconds: degraded above 10 % of it, saturated above 50 %, unknown when either
// is missing. Only the canary judges, not CPU use: a storm is at 100 % anyway.
func Fitness(canaryP99, measuredP99 *float64) string {
	if canaryP99 == nil || measuredP99 == nil {
		return Unknown
	}
	switch c, m := *canaryP99, *measuredP99; {
	case c > saturatedAbove*m:
		return Saturated
	case c > degradedAbove*m:
		return Degraded
	}
	return Fit
}

// PhaseFitness judges one phase and says what the canary was held against: the
// outage p99 of the phase, else the connect p99 where the phase connects, else
// nothing. Where clients are censored and p99 is not reached, the highest
// quantile that is reached stands in: it is smaller, so the judgement stricter.
//
// A phase in which nothing is timed has nothing to blur: it is fit while the
// canary's p99 stays below 100 ms. Above, it is degraded: a harness that halts
// that long may be the cause of what is counted there (keep-alives).
func PhaseFitness(canaryP99 *float64, outage, connect reports.Quantile) (fitness, against string) {
	for _, m := range []struct {
		name string
		q    reports.Quantile
	}{{"outage", outage}, {"connect", connect}} {
		if m.q.N+m.q.Censored == 0 {
			continue
		}
		for _, q := range []struct {
			name string
			v    *float64
		}{{"p99", m.q.P99}, {"p90", m.q.P90}, {"p50", m.q.P50}} {
			if q.v != nil {
				return Fitness(canaryP99, q.v), m.name + " " + q.name
			}
		}
		return Unknown, m.name + " (no quantile reached)"
	}
	switch {
	case canaryP99 == nil:
		return Unknown, "nothing timed"
	case *canaryP99 < untimedBelow:
		return Fit, "nothing timed"
	}
	return Degraded, "nothing timed"
}

// WorseFitness gives the worse of two: saturated > unknown > degraded > fit.
// The empty string is no judgement and the best.
func WorseFitness(a, b string) string {
	rank := map[string]int{Fit: 1, Degraded: 2, Unknown: 3, Saturated: 4}
	if rank[b] > rank[a] {
		return b
	}
	return a
}
