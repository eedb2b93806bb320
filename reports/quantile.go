package reports

import (
	"fmt"
	"slices"
	"strings"
)

// This file alone reads the quantiles of a Quantile, and all that it gives out
// stands beside n and censored: a percentile without them cannot be printed.
// A test holds the package to that.

// scale writes one value of a distribution.
type scale func(float64) string

// named is one quantile by its name.
type named struct {
	Name  string // p50 p90 p99 p999 max
	Value *float64
}

// each gives the quantiles in rising order.
func (q Quantile) each() []named {
	return []named{{"p50", q.P50}, {"p90", q.P90}, {"p99", q.P99}, {"p999", q.P999}, {"max", q.Max}}
}

// get gives one quantile by name.
func (q Quantile) get(name string) *float64 {
	for _, e := range q.each() {
		if e.Name == name {
			return e.Value
		}
	}
	return nil
}

// reached is one quantile as far as it is known of all: the greatest is not
// when some never came.
func (q Quantile) reached(name string) *float64 {
	if name == "max" && q.Censored > 0 {
		return nil
	}
	return q.get(name)
}

// sample is one quantile as compare takes it, with its counts.
func (q Quantile) sample(name string) sample {
	return sample{
		value: q.reached(name), n: q.N, censored: q.Censored,
		low: slices.Contains(q.LowN, name), known: q.get(name) != nil || q.Censored > 0,
	}
}

// text writes one quantile. One that was not reached reads "> 60 s", and so
// does the greatest of a distribution of which some never came: it is at least
// the horizon.
func (q Quantile) text(name string, s scale, horizon float64) string {
	v := q.reached(name)
	switch {
	case v != nil:
		return s(*v)
	case q.Censored == 0:
		return "–"
	case horizon <= 0:
		return "not reached"
	}
	return "> " + roundSeconds(horizon)
}

// counts writes what a quantile must be read with: its n, its censored, what
// lay above the histogram's range, and the shown quantiles that have too few
// values behind them.
func (q Quantile) counts(shown ...string) string {
	parts := []string{"n=" + commas(q.N)}
	if q.Censored > 0 {
		parts = append(parts, commas(q.Censored)+" censored")
	}
	if q.Overflow > 0 {
		parts = append(parts, commas(q.Overflow)+" above range")
	}
	var low []string
	for _, name := range shown {
		if slices.Contains(q.LowN, name) {
			low = append(low, quantileName(name))
		}
	}
	if len(low) > 0 {
		parts = append(parts, "too few for "+strings.Join(low, " and "))
	}
	return strings.Join(parts, ", ")
}

// mark is one quantile of a line and the words before it.
type mark struct{ name, label string }

var percentileMarks = []mark{{"p50", "p50"}, {"p90", "p90"}, {"p99", "p99"}, {"max", "max"}}
var shareMarks = []mark{{"p50", "50 %"}, {"p90", "90 %"}, {"p99", "99 %"}, {"max", "all"}}

// line writes quantiles in a row: "p50 161 ms   …   max 211 ms   (n=1,000, …)".
// middle stands before the counts, notes inside their brackets. Quantiles with
// too few values are grey.
func (q Quantile) line(marks []mark, s scale, horizon float64, i ink, middle string, notes ...string) string {
	var cells, shown []string
	for _, m := range marks {
		cell := m.label + " " + q.text(m.name, s, horizon)
		if slices.Contains(q.LowN, m.name) {
			cell = i.grey(cell)
		}
		cells, shown = append(cells, cell), append(shown, m.name)
	}
	if q.N == 0 && q.Censored == 0 {
		cells = []string{"no values"}
	}
	if middle != "" {
		cells = append(cells, middle)
	}
	inside := append([]string{q.counts(shown...)}, notes...)
	return strings.Join(cells, "   ") + "   (" + strings.Join(inside, ", ") + ")"
}

// cellHeads are the columns of a table of quantiles; cells fills them.
var cellHeads = []string{"p50", "p90", "p99", "p99.9", "max", "n", "censored"}

// cells writes a row of a table of quantiles, counts included. Quantiles with
// too few values stand in brackets.
func (q Quantile) cells(s scale, horizon float64) []string {
	var out []string
	for _, e := range q.each() {
		t := q.text(e.Name, s, horizon)
		if slices.Contains(q.LowN, e.Name) && t != "–" {
			t = "(" + t + ")"
		}
		out = append(out, t)
	}
	n := commas(q.N)
	if q.Overflow > 0 {
		n += fmt.Sprintf(" + %s above range", commas(q.Overflow))
	}
	return append(out, n, commas(q.Censored))
}

// canaryNote writes the uncertainty that the harness itself adds: "± 2 ms canary".
func canaryNote(c Quantile) string {
	v := c.get("p99")
	if v == nil {
		return "± unknown canary"
	}
	return "± " + seconds(*v) + " canary"
}

// waterfallParts are the parts of an outage, in the order in which they pass.
var waterfallParts = []string{"lag", "close", "notice", "retry", "backoff", "dial", "connack", "resubscribe", "first_message"}

// alwaysShown parts stand in the terminal's waterfall even when they are zero
// in the median; the others only when they are not.
var alwaysShown = []string{"close", "notice", "backoff", "dial", "connack", "resubscribe", "first_message"}

// medians writes the waterfall in one line, in ms, with the n behind it. A part
// that is not known of all, as the close of a takeover is not, has its own n.
func medians(parts map[string]Quantile) string {
	var cells []string
	n, censored := int64(0), int64(0)
	for _, name := range waterfallParts {
		n = max(n, parts[name].N)
	}
	for _, name := range waterfallParts {
		q, ok := parts[name]
		v := q.get("p50")
		if !ok || v == nil && q.N == 0 || (v == nil || *v == 0) && !slices.Contains(alwaysShown, name) {
			continue
		}
		text := "–"
		if v != nil {
			text = millis(*v)
		}
		if q.N < n {
			text += fmt.Sprintf(" (n=%s)", commas(q.N))
		}
		cells = append(cells, strings.ReplaceAll(name, "_", " ")+" "+text)
		censored = max(censored, q.Censored)
	}
	if len(cells) == 0 {
		return "no values (n=0)"
	}
	return strings.Join(cells, " · ") + "   (median ms, " + Quantile{N: n, Censored: censored}.counts() + ")"
}

// millis writes seconds as a bare number of ms.
func millis(s float64) string {
	switch ms := s * 1e3; {
	case ms == 0:
		return "0"
	case ms > 0 && ms < 0.005:
		return "<0.01"
	default:
		return three(ms)
	}
}

// quantileName writes p999 as p99.9.
func quantileName(name string) string {
	if name == "p999" {
		return "p99.9"
	}
	return name
}

// get gives one quantile of a stretch of time by name, as each of a Quantile.
func (p LatencyPoint) get(name string) *float64 {
	return Quantile{P50: p.P50, P99: p.P99, Max: p.Max}.get(name)
}

// proberAway says how much of the first message was owed to a prober that was
// itself not back, as when the broker is the victim.
func (w Wave) proberAway() string {
	if w.ProberAway == nil || w.ProberAway.Max == nil {
		return ""
	}
	return fmt.Sprintf(" · of the first message, prober away %s, at most %s", known(w.ProberAway.P50, seconds), seconds(*w.ProberAway.Max))
}
