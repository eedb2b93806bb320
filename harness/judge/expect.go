package judge

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// expectations judges each expectation of the plan.
func (j *judgement) expectations() {
	for _, x := range j.e.plan.Expect {
		j.r.Expectations = append(j.r.Expectations, j.expect(x))
	}
}

// limit is the one limit that an expectation has, and its operation.
func limit(x scenarios.Expectation) (op string, l *scenarios.Limit) {
	for _, o := range []struct {
		op string
		l  *scenarios.Limit
	}{{"below", x.Below}, {"at_most", x.AtMost}, {"at_least", x.AtLeast}, {"above", x.Above}, {"equals", x.Equals}} {
		if o.l != nil {
			return o.op, o.l
		}
	}
	return "", nil
}

// expect judges one expectation: in every wave for wave: each (the worst one
// is shown), else over all waves of its phase, or of the run.
func (j *judgement) expect(x scenarios.Expectation) reports.Expectation {
	op, l := limit(x)
	r := reports.Expectation{Metric: x.Metric, Fleet: x.Fleet, Phase: x.Phase, Op: op, OnFail: cmp.Or(x.OnFail, "fail"), Verdict: reports.Unknown}
	m, found := measure.Lookup(x.Metric)
	switch {
	case !found:
		r.Why = "this version has no such metric"
		return r
	case l == nil:
		r.Why = "it has no limit"
		return r
	}
	r.Unit, r.Limit, r.Text = m.Unit, l.Value, textOf(x, op, l)
	candidates := j.candidates(m, x)
	if len(candidates) == 0 {
		r.Why = "no wave of faults began"
		return r
	}
	worst := j.measure(m, &r, candidates[0])
	for _, w := range candidates[1:] {
		if got := j.measure(m, &r, w); got.worseThan(worst, op) {
			worst = got
		}
	}
	r.Wave, r.Measured, r.Shown, r.Verdict, r.Why = worst.wave, worst.v, worst.shown, worst.verdict, worst.why
	if x.Fleet != "" && m.Scope == measure.ScopeRun && len(j.e.plan.Fleets) > 1 {
		r.Verdict, r.Why = reports.Unknown, "this metric is not split by fleet in this version"
	}
	j.blur(m, x, &r)
	if r.Verdict == reports.Invalid && m.Check != "" {
		r.Known = j.known(m.Check)
	}
	return r
}

// textOf writes an expectation as one line.
func textOf(x scenarios.Expectation, op string, l *scenarios.Limit) string {
	parts := []string{x.Metric}
	for _, f := range [][2]string{{"fleet", x.Fleet}, {"phase", x.Phase}, {"wave", x.Wave}} {
		if f[1] != "" {
			parts = append(parts, f[0]+"="+f[1])
		}
	}
	return strings.Join(append(parts, strings.ReplaceAll(op, "_", " "), l.Text), " ")
}

// candidates are the waves over which an expectation is judged, each as a
// report of its own: the waves one by one, or all of them as one.
func (j *judgement) candidates(m measure.Metric, x scenarios.Expectation) []reports.Wave {
	if m.Scope != measure.ScopeWave {
		return []reports.Wave{j.r.Total}
	}
	fleet := x.Fleet
	if len(j.e.plan.Fleets) < 2 {
		fleet = "" // the whole is the fleet
	}
	each := x.Wave == "each"
	switch {
	case x.Phase == "" && fleet == "" && each:
		return j.r.Waves
	case x.Phase == "" && fleet == "":
		return []reports.Wave{j.r.Total}
	}
	waves := j.wavesIn(x.Phase, fleet)
	if !each {
		return []reports.Wave{j.sum.base(waves)}
	}
	var out []reports.Wave
	for _, w := range waves {
		out = append(out, j.sum.wave(w))
	}
	return out
}

// measured is one value held against a limit.
type measured struct {
	wave    int
	v       *float64 // nil = not known or not reached
	value   float64  // what it was judged by: v, or the bound that it exceeds
	shown   string
	verdict reports.Verdict
	why     string
}

// worseThan orders the waves of an expectation: by verdict, then by value.
func (a measured) worseThan(b measured, op string) bool {
	if a.verdict != b.verdict {
		return a.verdict.Merge(b.verdict) == a.verdict
	}
	switch op {
	case "at_least", "above":
		return a.value < b.value
	}
	return a.value > b.value
}

func (j *judgement) measure(m measure.Metric, r *reports.Expectation, w reports.Wave) measured {
	v, n, low, why := m.Value(j.r, &w)
	got := measured{wave: w.Wave, v: v, verdict: reports.Unknown, why: why, shown: "unknown"}
	switch {
	case v != nil:
		got.value, got.shown = *v, show(m.Unit, *v)
		got.verdict = verdictOf(holds(*v, r.Op, r.Limit))
	case bounded(m, why):
		// All that is known is that it is greater than the bound.
		got.value = w.Horizon
		if why == measure.WhyOverflow {
			got.value = overRange(m.Unit)
		}
		got.shown = "> " + show(m.Unit, got.value)
		got.verdict = beyond(got.value, r.Op, r.Limit)
		got.v = nil
	}
	if low {
		got.why = strings.TrimPrefix(got.why+fmt.Sprintf("; low-n: %d samples are too few for this quantile", n), "; ")
		if j.strict {
			got.verdict = reports.Unknown
		}
	}
	return got
}

// bounded reports whether an unknown value is at least known to exceed a
// bound: a quantile that was not reached exceeds the horizon. A mean with
// censored clients is not bounded by anything.
func bounded(m measure.Metric, why string) bool {
	if strings.HasSuffix(m.Name, ".mean") {
		return false
	}
	return why == measure.WhyNotReached || why == measure.WhyOverflow
}

// overRange is the end of the histograms' range, in the metric's unit.
func overRange(unit string) float64 {
	if unit == "s" {
		return 3600
	}
	return 10_000_000
}

func verdictOf(ok bool) reports.Verdict {
	if ok {
		return reports.Valid
	}
	return reports.Invalid
}

// holds compares a measured value with a limit.
func holds(v float64, op string, limit float64) bool {
	switch op {
	case "below":
		return v < limit
	case "at_most":
		return v <= limit
	case "at_least":
		return v >= limit
	case "above":
		return v > limit
	}
	return math.Abs(v-limit) <= 1e-9*max(1, math.Abs(limit))
}

// beyond judges a value of which only is known that it exceeds a bound.
func beyond(bound float64, op string, limit float64) reports.Verdict {
	if limit > bound {
		return reports.Unknown // it may still lie on either side
	}
	return verdictOf(op == "at_least" || op == "above")
}

// blur makes a time unknown where the harness was saturated, or where nothing
// says that it was not. A degraded harness passes.
func (j *judgement) blur(m measure.Metric, x scenarios.Expectation, r *reports.Expectation) {
	if !m.Timed {
		return
	}
	looked := j.phasesOf(m, x.Phase)
	for _, p := range j.r.Phases {
		if !slices.Contains(looked, p.Name) {
			continue
		}
		switch {
		case p.Fitness == measure.Saturated && !clears(*r, p.Canary.P99):
			r.Verdict = reports.Unknown
			r.Why = fmt.Sprintf("the harness was saturated in phase %s: its canary's p99 is %s, held against %s", p.Name, showP99(p.Canary), p.Against)
			return
		case p.Canary.N == 0:
			r.Verdict = reports.Unknown
			r.Why = fmt.Sprintf("the health of the harness in phase %s is not known", p.Name)
			return
		}
	}
}

// clears reports whether a passed expectation passes whatever the harness's own
// lateness did to the time: with the canary's p99 added and taken away it is
// on the same side of its limit. Lateness makes no failed one clear: that a
// starved harness measures too much is what it is known for.
func clears(r reports.Expectation, canary *float64) bool {
	if r.Verdict != reports.Valid || r.Measured == nil || canary == nil {
		return false
	}
	switch r.Op {
	case "below", "at_most":
		return *r.Measured+*canary < r.Limit
	case "above", "at_least":
		return *r.Measured-*canary > r.Limit
	}
	return false
}

func showP99(q reports.Quantile) string {
	if q.P99 == nil {
		return "not known"
	}
	return show("s", *q.P99)
}

// show writes a value for people, in three digits: 205 ms, 1.24 s, 95 %, 12.
func show(unit string, v float64) string {
	switch {
	case unit == "%":
		return digits3(v*100) + " %"
	case unit != "s":
		return digits3(v)
	case v == 0:
		return "0 s"
	case math.Abs(v) < 0.9995e-3:
		return digits3(v*1e6) + " µs"
	case math.Abs(v) < 0.9995:
		return digits3(v*1e3) + " ms"
	}
	return digits3(v) + " s"
}

// digits3 writes whole numbers whole and others with three digits.
func digits3(v float64) string {
	a := math.Abs(v)
	switch {
	case v == math.Trunc(v) && a < 1e15, a >= 99.95:
		return fmt.Sprintf("%.0f", v)
	case a >= 9.995:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
