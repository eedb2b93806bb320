package reports

import (
	"fmt"
	"slices"
	"strings"
)

// This file says in words and tables what a Comparison holds; compare_text.go
// and compare_md.go lay them out.

// block is one part of the page: lines, or a table.
type block struct {
	title string
	note  string
	lines []string
	head  []string
	align string // as summary.table takes it
	rows  [][]string
}

// maxParts is how many parts are shown; the JSON has the rest.
const maxParts = 15

// page is all that is said, for every layout.
type page struct {
	title  string
	head   []string // of facts
	facts  [][]string
	word   string   // the verdict
	lines  []string // why, and what there is to do about it
	blocks []block
}

// page is the comparison in words: versions first, for they are what one
// compares, then the verdict, then what it rests on.
func (c Comparison) page() page {
	p := page{
		title: fmt.Sprintf("rebound compare · %s · %s", c.Scenario, plural(int64(c.Clients), "client")),
		head:  []string{"", "old", "new"},
		facts: [][]string{
			{"rebound", c.Base.Rebound, c.Next.Rebound},
			{"broker", c.Base.Broker, c.Next.Broker},
			{"driver", c.Base.Driver, c.Next.Driver},
			{"runs", c.Base.runs(), c.Next.runs()},
			{"seeds", c.Base.Seeds, c.Next.Seeds},
			{"victims", c.Base.Counts.text(), c.Next.Counts.text()},
		},
		word: strings.ToUpper(string(c.Verdict)), lines: append(slices.Clone(c.Why), c.advice()...),
	}
	p.blocks = nonEmpty(
		block{title: "not comparable", note: "--allow NAME compares all the same", lines: differLines(c.Refused)},
		block{title: "allowed to differ", lines: differLines(c.Allowed)},
		block{title: "differences that may explain the rest", lines: c.Warnings},
		c.explanation(),
		c.gateBlock(),
		c.pointBlock(),
		c.ruleBlock(),
		metricBlock("the rest of the run", "uncorrected: decides nothing", c.Totals, len(c.Totals)),
		c.flipBlock(),
		metricBlock("phases, waves and fleets, the clearest first", "uncorrected: decides nothing", c.Parts, maxParts),
	)
	return p
}

func nonEmpty(blocks ...block) []block {
	return slices.DeleteFunc(blocks, func(b block) bool { return len(b.lines) == 0 && len(b.rows) == 0 })
}

func differLines(ds []Differ) []string {
	var out []string
	for _, d := range ds {
		out = append(out, d.text()+" ("+d.Name+")")
	}
	return out
}

// runs writes how many runs a side has, and how the harness was in those that
// were not fit.
func (s Side) runs() string {
	var order []string
	count := map[string]int64{}
	for _, r := range s.Each {
		if r.Fitness == fit {
			continue
		}
		if count[r.Fitness] == 0 {
			order = append(order, r.Fitness)
		}
		count[r.Fitness]++
	}
	text := commas(s.Runs)
	for _, f := range order {
		text += fmt.Sprintf(", harness %s in %s", plain(f), commas(count[f]))
	}
	return text
}

func (n SideCounts) text() string {
	if n.Victims == 0 {
		return "0"
	}
	return fmt.Sprintf("%s = %s back + %s censored + %s unaffected + %s absent",
		commas(n.Victims), commas(n.Back), commas(n.Censored), commas(n.Unaffected), commas(n.Absent))
}

// advice is what to do about a comparison that is inconclusive.
func (c Comparison) advice() []string {
	switch {
	case c.Verdict != Inconclusive || c.NeedRuns == 0:
		return nil
	case c.NeedRuns > manyRuns:
		return []string{fmt.Sprintf("more runs will hardly decide it: it may need over %s a side", commas(manyRuns))}
	}
	return []string{fmt.Sprintf("needs about %s a side: run --repeat %d", plural(int64(c.NeedRuns), "run"), c.NeedRuns)}
}

// manyRuns is the number of runs a side above which nobody should try.
const manyRuns = 100

// explanation is which parts of a worse run grew by more than chance explains:
// the parts of the waterfall, by phase, wave and fleet.
func (c Comparison) explanation() block {
	b := block{title: "where it got worse", note: "parts that grew, uncorrected: they explain and decide nothing"}
	if c.Verdict != Worse {
		return b
	}
	for _, m := range c.Parts {
		if m.PValue != nil && *m.PValue < c.Alpha && m.raw.shift.mid > 0 && strings.HasPrefix(m.Name, "waterfall.") && len(b.lines) < maxExplained {
			b.lines = append(b.lines, m.label()+" "+m.change())
		}
	}
	return b
}

const maxExplained = 8

func (c Comparison) gateBlock() block {
	b := block{
		title: "gated metrics",
		note: fmt.Sprintf("medians of %s and %s runs; %sworse: corrected p below %s and a shift over the margin",
			commas(c.Base.Runs), commas(c.Next.Runs), coverageOf(c.Gates), three(c.Alpha)),
		head:  []string{"", "old", "new", "shift", "interval", "delta", "p", "corrected", "noise", "margin", "verdict"},
		align: "lrrrrrrrrrl",
	}
	for _, m := range c.Gates {
		corrected, noise := "–", "–"
		if m.Holm != nil {
			corrected = pValue(*m.Holm)
		}
		if m.Noise != nil {
			noise = percentOf(*m.Noise)
		}
		b.rows = append(b.rows, append(m.cells(), corrected, noise, "± "+percentOf(m.Margin), string(m.Verdict)))
	}
	return b
}

// coverageOf says what intervals of metrics cover: it depends on the number of
// runs alone.
func coverageOf(ms []Metric) string {
	for _, m := range ms {
		if m.Coverage > 0 {
			return "intervals of " + percentOf(m.Coverage) + "; "
		}
	}
	return ""
}

// pointBlock shows the runs themselves where they are too few for statistics.
func (c Comparison) pointBlock() block {
	b := block{title: "the runs themselves", head: []string{"", "old", "new"}, align: "lll"}
	if min(c.Base.Runs, c.Next.Runs) >= fewestRuns {
		return b
	}
	for _, m := range c.Gates {
		b.rows = append(b.rows, []string{m.Name, m.points(m.Base), m.points(m.Next)})
	}
	return b
}

// points writes a value a run, at most ten of them.
func (m Metric) points(vs []*float64) string {
	var out []string
	for _, v := range vs[:min(len(vs), 10)] {
		out = append(out, m.value(v))
	}
	if len(vs) > 10 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

func (c Comparison) ruleBlock() block {
	b := block{title: "exact rules", note: "a rise from 0 is worse at any number of runs", head: []string{"", "old", "new", ""}, align: "lrrl"}
	var zero []string
	for _, r := range c.Rules {
		if r.Base == 0 && r.Next == 0 {
			zero = append(zero, r.Name)
			continue
		}
		b.rows = append(b.rows, []string{r.Name, commas(r.Base), commas(r.Next), r.word()})
	}
	if len(zero) > 0 {
		b.lines = []string{"0 on both sides: " + strings.Join(zero, ", ")}
	}
	return b
}

// word says what a rule makes of its counts.
func (r Rule) word() string {
	switch {
	case r.Worse:
		return "WORSE"
	case r.NextKnown > 0 && r.Next > r.Base && r.Next == r.NextKnown:
		return "known defect (" + plain(r.Known) + "): no verdict"
	case r.Next > r.Base:
		return "rose, but not from 0: no verdict"
	case r.Next < r.Base:
		return "fell"
	}
	return "same"
}

func (c Comparison) flipBlock() block {
	b := block{title: "expectations that flipped", head: []string{"expectation", "old", "new", "measured"}, align: "llll"}
	for _, f := range c.Flipped {
		b.rows = append(b.rows, []string{f.Text, string(f.From), string(f.To), f.Base + " → " + f.Next})
	}
	return b
}

func metricBlock(title, note string, ms []Metric, limit int) block {
	b := block{title: title, note: note, head: []string{"", "old", "new", "shift", "interval", "delta", "p"}, align: "lrrrrrr"}
	for _, m := range ms[:min(len(ms), limit)] {
		b.rows = append(b.rows, m.cells())
	}
	if left := len(ms) - limit; left > 0 {
		b.note += fmt.Sprintf("; %s more in the JSON", commas(left))
	}
	return b
}

// cells are a row of a table: name, medians with their counts, shift, interval,
// Cliff's delta and p.
func (m Metric) cells() []string {
	p, delta := "–", "–"
	if m.PValue != nil {
		p = pValue(*m.PValue)
	}
	if m.Cliff != nil {
		delta = fmt.Sprintf("%+.2f", *m.Cliff)
	}
	return []string{m.label(), m.median(m.raw.base, m.BaseMid) + counts(m.BaseN, m.BaseCens, m.Low), m.median(m.raw.next, m.NextMid) + counts(m.NextN, m.NextCens, m.Low),
		m.shiftText(), m.interval(), delta, p}
}

// label names a metric and its part of the run.
func (m Metric) label() string {
	var where []string
	if m.Phase != "" {
		where = append(where, m.Phase)
	}
	if m.Wave > 0 {
		where = append(where, "wave "+commas(m.Wave))
	}
	if m.Fleet != "" {
		where = append(where, "fleet "+m.Fleet)
	}
	return strings.Join(append(where, m.Name), " ")
}

func (m Metric) scale() scale {
	if m.Unit == "s" {
		return seconds
	}
	return number
}

func (m Metric) value(v *float64) string {
	if v == nil {
		return "not reached"
	}
	return m.scale()(*v)
}

// median writes the median of a side; one without values is no quantile that was
// not reached.
func (m Metric) median(side []float64, mid *float64) string {
	if len(side) == 0 {
		return "no value"
	}
	return m.value(mid)
}

// counts is what a quantile must be read with; "" for what is none.
func counts(n, censored int64, low bool) string {
	if n == 0 && censored == 0 {
		return ""
	}
	parts := []string{"n=" + commas(n)}
	if censored > 0 {
		parts = append(parts, commas(censored)+" censored")
	}
	if low {
		parts = append(parts, "too few in a run")
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// shiftText is the shift in the unit of the metric and in percent.
func (m Metric) shiftText() string {
	if len(m.raw.base) == 0 || len(m.raw.next) == 0 {
		return "–"
	}
	if m.Shift == nil {
		return "beyond the horizon"
	}
	if *m.Shift == 0 {
		return "0"
	}
	text := signed(*m.Shift, m.scale())
	if m.Relative != nil {
		text += fmt.Sprintf(" (%+.1f %%)", *m.Relative*100)
	}
	return text
}

func (m Metric) interval() string {
	if m.Coverage == 0 {
		return "–"
	}
	limit := func(v *float64, open string) string {
		if v == nil {
			return open
		}
		return signed(*v, m.scale())
	}
	return limit(m.ShiftLow, "−∞") + " … " + limit(m.ShiftHigh, "∞")
}

// change is old → new and what lies between them.
func (m Metric) change() string {
	text := fmt.Sprintf("%s → %s, shift %s", m.median(m.raw.base, m.BaseMid), m.median(m.raw.next, m.NextMid), m.shiftText())
	if m.PValue != nil {
		text += ", p " + pValue(*m.PValue)
	}
	return text
}

// sentence is the verdict of a gated metric in words.
func (m Metric) sentence() string {
	text := fmt.Sprintf("%s %s", m.Name, m.change())
	if m.Holm != nil {
		text += fmt.Sprintf(" (corrected %s)", pValue(*m.Holm))
	}
	text += ", margin ± " + percentOf(m.Margin)
	if m.Why != "" {
		text += ": " + m.Why
	}
	return text
}

func signed(v float64, s scale) string {
	if v > 0 {
		return "+" + s(v)
	}
	return s(v)
}

// percentOf writes a fraction in percent: 0.1 is 10 %.
func percentOf(v float64) string { return three(v*100) + " %" }

// pValue writes a p with two significant digits, and never a 0.
func pValue(p float64) string {
	switch {
	case p < 0.0001:
		return "< 0.0001"
	case p >= 1:
		return "1"
	}
	digits := 2
	for q := p; q < 0.1; q *= 10 {
		digits++
	}
	return fmt.Sprintf("%.*f", digits, p)
}
