package reports

import (
	"math"
)

// sample is what one run has to say of a metric. known false = the run does
// not have it. A nil value was not reached by the horizon.
type sample struct {
	value       *float64
	n, censored int64
	low         bool // too few values for this quantile
	known       bool
}

// pick gives the sample of a run.
type pick func(*Report) sample

// plainValue is a sample that is no quantile: nil = not known.
func plainValue(v *float64) sample { return sample{value: v, known: v != nil} }

// countOf makes a pick of a whole number.
func countOf(get func(*Report) int64) pick {
	return func(r *Report) sample {
		v := float64(get(r))
		return plainValue(&v)
	}
}

// quantilePick makes a pick of one quantile; false = the run does not have the
// distribution.
func quantilePick(name string, get func(*Report) (Quantile, bool)) pick {
	return func(r *Report) sample {
		q, ok := get(r)
		if !ok {
			return sample{}
		}
		return q.sample(name)
	}
}

// values are the samples of a side, and their floats with +Inf for what was not
// reached.
type values struct {
	runs        []*float64
	floats      []float64
	n, censored int64
	missing     int // runs that do not have the metric
	low         bool
}

func valuesOf(rs []*Report, get pick) values {
	v := values{runs: []*float64{}}
	for _, r := range rs {
		s := get(r)
		v.n, v.censored, v.low = v.n+s.n, v.censored+s.censored, v.low || s.low
		v.runs = append(v.runs, s.value)
		switch {
		case !s.known:
			v.missing++
		case s.value == nil:
			v.floats = append(v.floats, math.Inf(1))
		default:
			v.floats = append(v.floats, *s.value)
		}
	}
	return v
}

// finite is v, or nil where it is no number that can be written.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// name of a metric and of the part of the run that it is of.
type name struct {
	metric, unit string
	phase        string
	wave         int
	fleet        string
}

// compared fills in all of a metric but what judges it; false where one side
// has no value.
func compared(is name, base, next []*Report, alpha float64, get pick) (Metric, bool) {
	a, b := valuesOf(base, get), valuesOf(next, get)
	m := Metric{
		Name: is.metric, Unit: is.unit, Phase: is.phase, Wave: is.wave, Fleet: is.fleet,
		Base: a.runs, Next: b.runs, BaseN: a.n, NextN: b.n, BaseCens: a.censored, NextCens: b.censored,
		Low: a.low || b.low, Missing: a.missing + b.missing,
	}
	m.raw = raw{base: a.floats, next: b.floats}
	m.BaseMid, m.NextMid = finite(middle(a.floats)), finite(middle(b.floats))
	if len(a.floats) == 0 || len(b.floats) == 0 {
		return m, false
	}
	s := hodgesLehmann(a.floats, b.floats, alpha)
	m.Shift, m.ShiftLow, m.ShiftHigh, m.Coverage = finite(s.mid), finite(s.low), finite(s.high), s.coverage
	m.PValue, m.Cliff = finite(mannWhitney(a.floats, b.floats)), finite(cliffDelta(a.floats, b.floats))
	if m.Shift != nil && m.BaseMid != nil && *m.BaseMid != 0 {
		m.Relative = finite(*m.Shift / *m.BaseMid)
	}
	m.raw = raw{a.floats, b.floats, s}
	return m, true
}

// raw is what the JSON of a Metric cannot say: infinite values.
type raw struct {
	base, next []float64
	shift      shift
}
