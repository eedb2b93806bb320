package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// MaxAnnotations is how many annotations of a kind GitHub shows for a step; the
// others it drops without a word.
const MaxAnnotations = 10

// Annotations gives the workflow commands that make GitHub Actions show what did
// not hold: at most MaxAnnotations, the worst first. That is how the run ended,
// then the checks that fail it by their findings, then the expectations by how
// far they are off, then what is unknown. Runs that passed give none.
func Annotations(reports ...*Report) []string {
	var all []annotation
	for i, r := range reports {
		title := "rebound " + r.Run.Scenario
		if len(reports) > 1 {
			title += fmt.Sprintf(", run %d", i+1)
		}
		all = append(all, r.annotations(title)...)
	}
	slices.SortStableFunc(all, func(a, b annotation) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.weight, a.weight))
	})
	var out []string
	for _, a := range all[:min(len(all), MaxAnnotations)] {
		out = append(out, WorkflowError(a.title, a.text))
	}
	return out
}

// WorkflowError is the workflow command of one error. By GitHub's rules a
// message has %, CR and LF escaped, and a property : and , besides.
func WorkflowError(title, message string) string {
	return "::error title=" + escapeProperty.Replace(title) + "::" + escapeData.Replace(message)
}

var (
	escapeData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	escapeProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

type annotation struct {
	rank        int // 0 is the worst
	weight      float64
	title, text string
}

func (r *Report) annotations(title string) []annotation {
	var out []annotation
	add := func(rank int, weight float64, what, text string) {
		out = append(out, annotation{rank, weight, oneLine(strings.TrimSpace(title+" "+what), maxCell), oneLine(text, maxCell)})
	}
	word := r.word()
	for _, c := range r.Checks {
		switch {
		case r.failsBy(c):
			add(1, float64(c.Count), "check "+c.Name, c.found())
		case c.Verdict == Unknown && word != "PASS":
			add(3, float64(c.Count), "check "+c.Name, c.found())
		}
	}
	for _, e := range r.Expectations {
		switch {
		case r.failsOn(e):
			add(2, e.off(), "expectation", e.found())
		case e.Verdict == Unknown && word != "PASS":
			add(4, 0, "expectation", e.found())
		}
	}
	switch {
	case r.Run.Aborted != "":
		add(0, 0, "", fmt.Sprintf("%s, aborted: %s", word, r.Run.Aborted))
	case !r.Run.Complete:
		add(0, 0, "", word+": the evidence ends without its closing mark")
	case word != "PASS" && (len(out) == 0 || word != "FAIL" && word != "UNKNOWN"):
		add(0, 0, "", fmt.Sprintf("%s, exit code %d", word, r.ExitCode))
	}
	return out
}

// found says what a check found.
func (c Check) found() string {
	text := strings.TrimSuffix(string(c.Verdict)+": "+c.Detail, ": ")
	if c.Known != "" {
		text += " (known defect: " + c.Known + ")"
	}
	return text
}

// found says what was expected and what was measured.
func (e Expectation) found() string {
	text := fmt.Sprintf("expected %s, measured %s", e.Text, e.shown())
	if e.Verdict != Valid && e.Verdict != Invalid {
		text = "unknown: " + text
	}
	return text
}

// off is how far the measured value lies from its limit, as a part of the limit.
// What was not reached is further off than all that was.
func (e Expectation) off() float64 {
	switch {
	case e.Measured == nil:
		return math.Inf(1)
	case e.Limit == 0:
		return math.Abs(*e.Measured)
	}
	return math.Abs(*e.Measured-e.Limit) / math.Abs(e.Limit)
}
