package reports

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// SelfCheck is what runs of one and the same thing say of themselves: how much
// they differ by chance, and how small a change they could show.
type SelfCheck struct {
	SchemaVersion int    `json:"schema_version"`
	Scenario      string `json:"scenario"`
	Clients       int    `json:"clients"`

	Verdict  Outcome  `json:"verdict"` // refused, unfinished, saturated, inconclusive (too few runs, or too noisy ones, to tell drift from chance), same, or worse or better: the later runs drifted away from the earlier ones
	Why      []string `json:"why"`
	ExitCode int      `json:"exit_code"` // 0, 2 refused, 3 unfinished or saturated (or inconclusive where a decision is required)
	Runs     Side     `json:"runs"`
	Refused  []Differ `json:"refused"`
	Allowed  []Differ `json:"allowed"`

	Sizes   []int        `json:"runs_a_side"` // of Metric.Smallest
	Power   float64      `json:"power"`       // how often a change of that size would be found
	Metrics []SelfMetric `json:"metrics"`     // the gated family
}

// SelfMetric is one gated metric of a SelfCheck.
type SelfMetric struct {
	Name     string     `json:"name"`
	Values   []*float64 `json:"runs"` // a value a run; nil = not reached
	Mid      *float64   `json:"median"`
	Noise    *float64   `json:"noise"`           // A/A, relative: see Metric.Noise
	Spread   *float64   `json:"spread"`          // standard deviation of the logarithms of the runs
	Margin   float64    `json:"margin"`          // least relative change that matters
	Drift    *float64   `json:"drift"`           // shift of the later half of the runs against the earlier one, relative
	DriftP   *float64   `json:"drift_p"`         // of it, uncorrected
	Smallest []*float64 `json:"smallest_change"` // relative rise that so many runs a side would call worse; nil = none
}

// selfSizes are the runs a side that a self-check speaks of, beside its own.
var selfSizes = []int{5, 10, 20}

// selfPower is how often a change that "could be shown" is found.
const selfPower = 0.9

// CheckSelf holds runs of one thing against themselves. The halves of Drift are
// by time, the one split that says anything: over all splits the test is right
// as often as it says by construction.
func CheckSelf(runs []*Report, o CompareOptions) SelfCheck {
	o.Alpha = cmp.Or(o.Alpha, defaultAlpha)
	s := SelfCheck{SchemaVersion: CompareSchema, Runs: sideOf(runs), Refused: []Differ{}, Allowed: []Differ{}, Sizes: []int{}, Power: selfPower, Metrics: []SelfMetric{}}
	if len(runs) == 0 {
		s.Verdict, s.Why, s.ExitCode = Refused, []string{"no runs"}, ExitUsage
		return s
	}
	s.Scenario, s.Clients = runs[0].Run.Scenario, runs[0].Run.Clients
	half := Compare(runs[:len(runs)/2], runs[len(runs)/2:], o)
	if len(runs) == 1 {
		half = Compare(runs, runs, o) // for what is wrong with the run itself
	}
	if again := twice(runs, nil); len(again) > 0 {
		half.Verdict, half.Refused, half.ExitCode = Refused, again, ExitUsage
	}
	s.Refused, s.Allowed, s.ExitCode = half.Refused, half.Allowed, half.ExitCode
	s.Verdict = half.Verdict
	switch half.Verdict {
	case Refused:
		s.Why = []string{"the runs are not of one thing"}
		return s
	case Unfinished:
		s.Why = s.Runs.unfinished("")
		return s
	case Saturated:
		s.Why = s.Runs.saturated("")
		return s
	}
	s.Sizes = sizesWith(len(runs))
	for _, g := range gated {
		if v := valuesOf(runs, g.get); len(v.floats) == len(runs) {
			s.Metrics = append(s.Metrics, selfMetric(g.name, v, s.Sizes, half.Gates, o))
		}
	}
	s.conclude(len(runs), half, o)
	return s
}

func (s *SelfCheck) conclude(n int, half Comparison, o CompareOptions) {
	s.ExitCode = ExitPass
	switch {
	case n < fewestRuns || len(s.Metrics) == 0:
		s.Verdict = Inconclusive
		s.Why = []string{fmt.Sprintf("%s: a self-check needs at least %d with outages: run --repeat %d", plural(int64(n), "run"), fewestRuns, decidingRuns)}
		if o.Require {
			s.ExitCode = ExitUnknown
		}
	case half.Verdict == Worse || half.Verdict == Better:
		s.Verdict, s.Why = half.Verdict, append([]string{"the later half of the runs is not like the earlier one: look for drift before any comparison"}, half.Why...)
	case half.Verdict == Same:
		s.Verdict, s.Why = Same, []string{"the later half of the runs is like the earlier one"}
	default: // halves that are too few to show drift show no sameness either
		s.Verdict, s.Why = Inconclusive, append([]string{"not known whether the later half of the runs is like the earlier one"}, half.Why...)
		if o.Require {
			s.ExitCode = ExitUnknown
		}
	}
	if n >= fewestRuns && len(s.Metrics) > 0 {
		for i, size := range s.Sizes {
			s.Why = append(s.Why, s.couldShow(i, size))
		}
	}
}

// couldShow says what so many runs a side could show.
func (s *SelfCheck) couldShow(i, size int) string {
	var parts []string
	for _, m := range s.Metrics {
		change := "none"
		if c := m.Smallest[i]; c != nil {
			change = "+" + percentOf(*c)
		}
		parts = append(parts, m.Name+" "+change)
	}
	return fmt.Sprintf("smallest change that %d runs a side could show: %s", size, strings.Join(parts, ", "))
}

// sizesWith puts the number of runs at hand among the sizes, in order.
func sizesWith(n int) []int {
	var out []int
	for _, s := range selfSizes {
		if n < s && (len(out) == 0 || out[len(out)-1] < n) && n >= fewestRuns {
			out = append(out, n)
		}
		out = append(out, s)
	}
	if n > out[len(out)-1] {
		out = append(out, n)
	}
	return out
}

func selfMetric(name string, v values, sizes []int, halves []Metric, o CompareOptions) SelfMetric {
	m := SelfMetric{Name: name, Values: v.runs, Mid: finite(middle(v.floats)), Smallest: make([]*float64, len(sizes))}
	m.Noise, m.Margin = margin(v.floats, o.Margin)
	for _, h := range halves {
		if h.Name == name {
			m.Drift, m.DriftP = h.Relative, h.PValue
		}
	}
	sigma := logSpread(v.floats)
	m.Spread = finite(sigma)
	if len(v.floats) < fewestRuns || m.Spread == nil {
		return m
	}
	for i, n := range sizes {
		m.Smallest[i] = smallestChange(sigma, m.Margin, o.Alpha, n)
	}
	return m
}

// logSpread is the standard deviation of the logarithms; NaN where there are none.
func logSpread(vs []float64) float64 {
	if len(vs) < 2 {
		return math.NaN()
	}
	mean, sum := 0.0, 0.0
	for _, v := range vs {
		mean += math.Log(v) / float64(len(vs))
	}
	for _, v := range vs {
		sum += (math.Log(v) - mean) * (math.Log(v) - mean)
	}
	return math.Sqrt(sum / float64(len(vs)-1))
}

const selfTrials = 2000

// smallestChange is the least relative rise that n runs a side would call worse
// with selfPower, if runs are log-normal with the spread sigma: by simulation
// with a fixed seed, at the strictest level of Holm's correction, rounded up to
// a percent. nil = none.
//
// A rise moves all logarithms of the new runs by the same. So each trial has one
// rise at which it turns: where the order statistic that bounds the interval
// clears 0, and the shift the margin.
func smallestChange(sigma, margin, alpha float64, n int) *float64 {
	k, _ := cutOff(n, n, alpha/float64(len(gated)))
	if k < 0 {
		return nil
	}
	rng := rand.New(rand.NewPCG(uint64(n), 17))
	draw := func() []float64 {
		vs := make([]float64, n)
		for i := range vs {
			vs[i] = sigma * rng.NormFloat64()
		}
		return vs
	}
	turns := make([]float64, selfTrials)
	for i := range turns {
		d := differences(draw(), draw())
		turns[i] = max(-d[k], math.Log1p(margin)-medianOf(d))
	}
	slices.Sort(turns)
	return finite(math.Ceil(math.Expm1(turns[int(selfPower*selfTrials)])*100) / 100)
}

// page is the self-check in words.
func (s SelfCheck) page() page {
	p := page{
		title: fmt.Sprintf("rebound compare --self-check · %s · %s", s.Scenario, plural(int64(s.Clients), "client")),
		head:  []string{"", "runs"},
		facts: [][]string{
			{"rebound", s.Runs.Rebound}, {"broker", s.Runs.Broker}, {"driver", s.Runs.Driver},
			{"runs", s.Runs.runs()}, {"seeds", s.Runs.Seeds}, {"victims", s.Runs.Counts.text()},
		},
		word: strings.ToUpper(string(s.Verdict)), lines: s.Why,
	}
	b := block{
		title: "gated metrics",
		note: fmt.Sprintf("smallest: the least rise that so many runs a side would call worse %s of the time, by simulation with the spread of these runs (log-normal)",
			percentOf(s.Power)),
		head: []string{"", "median", "A/A noise", "spread", "margin", "drift", "p"}, align: "lrrrrrr",
	}
	for _, n := range s.Sizes {
		b.head = append(b.head, fmt.Sprintf("smallest at %d", n))
	}
	part := func(v *float64, format func(float64) string) string {
		if v == nil {
			return "–"
		}
		return format(*v)
	}
	plus := func(v float64) string { return signed(v, percentOf) }
	for _, m := range s.Metrics {
		row := []string{m.Name, part(m.Mid, seconds) + counts(int64(s.Runs.Counts.Back), int64(s.Runs.Counts.Censored), false),
			part(m.Noise, percentOf), part(m.Spread, percentOf), "± " + percentOf(m.Margin), part(m.Drift, plus), part(m.DriftP, pValue)}
		for _, c := range m.Smallest {
			row = append(row, part(c, plus))
		}
		b.rows = append(b.rows, row)
	}
	p.blocks = nonEmpty(
		block{title: "not comparable", note: "--allow NAME takes them all the same", lines: differLines(s.Refused)},
		block{title: "allowed to differ", lines: differLines(s.Allowed)}, b)
	return p
}
