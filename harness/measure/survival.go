package measure

import (
	"cmp"
	"math"
	"slices"

	"github.com/rebound-mqtt/rebound/reports"
)

// Obs is one outage: how long it was watched, and how the watch ended.
type Obs struct {
	Time int64 // ns from the start of the outage; less than 0 counts as 0
	Back bool  // true: back at Time; false: censored at Time, still away then
}

// Step is one point of a survival curve: what holds from T to the next step.
type Step struct {
	T        int64   // ns
	S        float64 // share still away after T
	AtRisk   int     // away and watched just before T
	Censored int     // so far, T included
	Low      float64 // 95 % interval of S: Greenwood's variance on the log-log scale
	High     float64
}

// Curve is the Kaplan-Meier estimate of the share still away over time.
type Curve struct {
	N     int    // outages
	Back  int    // of them back; the others are censored
	Steps []Step // one for each distinct time of a return or a censoring, in order
}

// z95 is the two-sided 95 % point of the normal distribution.
const z95 = 1.959963984540054

// KaplanMeier estimates the curve. Of a return and a censoring at one instant
// the return comes first: the censored client was still watched then.
//
// The interval does not exist where S is 1 or 0. At 1 both limits are 1; at 0
// the lower is 0 and the upper stays that of the step before.
func KaplanMeier(obs []Obs) Curve {
	sorted := slices.Clone(obs)
	for i := range sorted {
		sorted[i].Time = max(0, sorted[i].Time)
	}
	slices.SortFunc(sorted, func(a, b Obs) int { return cmp.Compare(a.Time, b.Time) })

	c := Curve{N: len(sorted)}
	// Between two censorings the product of the curve telescopes to
	// base × left ÷ from, which keeps S exact where nothing is censored.
	base, from := 1.0, len(sorted)
	s, high, variance, censored := 1.0, 1.0, 0.0, 0
	for i := 0; i < len(sorted); {
		t, risk, back, cens := sorted[i].Time, len(sorted)-i, 0, 0
		for ; i < len(sorted) && sorted[i].Time == t; i++ {
			if sorted[i].Back {
				back++
			} else {
				cens++
			}
		}
		if back > 0 {
			s = base * float64(risk-back) / float64(from)
			variance += float64(back) / (float64(risk) * float64(risk-back)) // +Inf with the last client
		}
		if cens > 0 {
			base, from = s, risk-back-cens
		}
		var low float64
		low, high = interval(s, variance, high)
		c.Back, censored = c.Back+back, censored+cens
		c.Steps = append(c.Steps, Step{T: t, S: s, AtRisk: risk, Censored: censored, Low: low, High: high})
	}
	return c
}

// interval gives the log-log limits of S from Greenwood's sum.
func interval(s, sum, before float64) (low, high float64) {
	switch {
	case s >= 1:
		return 1, 1
	case s <= 0:
		return 0, before
	}
	half := z95 * math.Sqrt(sum) / math.Abs(math.Log(s))
	return math.Pow(s, math.Exp(half)), math.Pow(s, math.Exp(-half))
}

// Quantile gives the first instant by which the share p (0..1) is back. False
// means that the curve does not get there: more is censored than p allows.
func (c Curve) Quantile(p float64) (ns int64, reached bool) {
	if p <= 0 {
		return 0, c.N > 0
	}
	for _, st := range c.Steps {
		if 1-st.S >= p-1e-12 {
			return st.T, true
		}
	}
	return 0, false
}

// Fraction gives the share that is back at t (ns), t included.
func (c Curve) Fraction(t int64) float64 {
	i, found := slices.BinarySearchFunc(c.Steps, t, func(s Step, t int64) int { return cmp.Compare(s.T, t) })
	if found {
		i++
	}
	if i == 0 {
		return 0
	}
	return 1 - c.Steps[i-1].S
}

// RMTA gives the restricted mean time away: the area under the curve from 0 to
// the horizon, in ns. Where the last outage was censored before the horizon
// the curve stays flat to it: a client not seen to return is away. Without any
// outage it is 0; the caller says "no samples".
func (c Curve) RMTA(horizon int64) float64 {
	if c.N == 0 {
		return 0
	}
	area, s, at := 0.0, 1.0, int64(0)
	for _, st := range c.Steps {
		if st.T >= horizon {
			break
		}
		area += s * float64(st.T-at)
		s, at = st.S, st.T
	}
	return area + s*float64(max(0, horizon-at))
}

// cutAt censors at the horizon what ended after it.
func cutAt(obs []Obs, horizon int64) []Obs {
	cut := slices.Clone(obs)
	for i, o := range cut {
		if o.Time > horizon {
			cut[i] = Obs{Time: horizon}
		}
	}
	return cut
}

// SurvivalSummary summarises outages watched to the horizon (ns); what ended
// later counts as censored there. With nothing censored the quantiles come from
// the histogram, else from the Kaplan-Meier curve: nil is then "not reached",
// Max is the instant at which the curve comes to 0, and Mean is not known. N is
// the number of returns; too few values are judged by all outages watched.
func SurvivalSummary(obs []Obs, horizon int64) reports.Quantile {
	obs = cutAt(obs, horizon)
	h := NewHist(Nanoseconds)
	for _, o := range obs {
		if o.Back {
			h.Record(max(0, o.Time))
		}
	}
	censored := len(obs) - int(h.N())
	s := h.Summary(int64(censored))
	if censored == 0 {
		return s
	}
	c := KaplanMeier(obs)
	at := func(p float64) *float64 {
		ns, ok := c.Quantile(p)
		if !ok {
			return nil
		}
		f := float64(ns) / 1e9
		return &f
	}
	s.Mean, s.P50, s.P90, s.P99, s.P999, s.Max = nil, at(0.5), at(0.9), at(0.99), at(0.999), at(1)
	s.LowN = lowN(int64(c.N))
	return s
}
