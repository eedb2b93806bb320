package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// maxExamples is the number of examples that a check shows.
const maxExamples = 5

// unknownCharge stands in Check.Charges for findings that charge nobody known.
const unknownCharge = "unknown"

// tally gathers what one check finds. The zero value is ready.
type tally struct {
	count    int64   // findings that turn the verdict
	faults   []Fault // those of count that are about one thing
	starved  int64   // findings that the harness's own starvation explains
	charges  map[string]int64
	examples []string
	warnings int64
	warned   []string
}

// fault adds n findings of one kind.
func (t *tally) fault(charge timeline.Charge, n int64, format string, args ...any) {
	t.count += n
	t.charge(charge, n)
	t.examples = example(t.examples, format, args)
}

// faultOf adds one finding with what it is about.
func (t *tally) faultOf(f Fault, charge timeline.Charge, format string, args ...any) {
	t.fault(charge, 1, format, args...)
	t.faults = append(t.faults, f)
}

// starve adds a finding that is charged to the starved harness: alone it makes
// the verdict unknown and nobody wrong.
func (t *tally) starve(n int64) {
	t.starved += n
	t.charge(timeline.ChargeHarness, n)
}

// warn adds n findings that are worth a warning and turn no verdict.
func (t *tally) warn(n int64, format string, args ...any) {
	t.warnings += n
	t.warned = example(t.warned, format, args)
}

func (t *tally) charge(charge timeline.Charge, n int64) {
	if t.charges == nil {
		t.charges = map[string]int64{}
	}
	name := string(charge)
	if charge == timeline.ChargeNobody {
		name = unknownCharge
	}
	t.charges[name] += n
}

// example keeps the first few; the words of the others are never made.
func example(list []string, format string, args []any) []string {
	if len(list) == maxExamples {
		return list
	}
	return append(list, fmt.Sprintf(format, args...))
}

// verdict is invalid with the given words where there are findings, unknown
// where only starvation explains them, else what the caller says.
func (t *tally) verdict(words string, otherwise Result) Result {
	c := otherwise
	switch {
	case t.count > 0:
		c = Result{
			Check: reports.Check{Verdict: reports.Invalid, Count: t.count + t.starved, Detail: words, Examples: t.examples, Charges: t.charges},
			Named: t.count == int64(len(t.faults)), Faults: t.faults,
		}
		if t.starved > 0 {
			c.Detail += fmt.Sprintf("; %d more are charged to the starved harness", t.starved)
		}
	case t.starved > 0:
		c = unknown("findings that a starved harness explains: %d", t.starved)
		c.Count, c.Charges = t.starved, t.charges
	}
	c.Warnings, c.Warned = t.warnings, t.warned
	return c
}

// charged writes whom the findings charge: "broker 3, harness 1".
func (t *tally) charged() string { return counted(t.charges) }

func counted(counts map[string]int64) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, counts[k]))
	}
	return strings.Join(parts, ", ")
}

func valid(format string, args ...any) Result {
	return Result{Check: reports.Check{Verdict: reports.Valid, Detail: fmt.Sprintf(format, args...)}}
}

func unknown(format string, args ...any) Result {
	return Result{Check: reports.Check{Verdict: reports.Unknown, Detail: fmt.Sprintf(format, args...)}}
}

func notApplicable(format string, args ...any) Result {
	return Result{Check: reports.Check{Verdict: reports.NotApplicable, Detail: fmt.Sprintf(format, args...)}}
}

// clock writes an instant as seconds of the run.
func clock(t timeline.Instant) string { return fmt.Sprintf("%.3f s", float64(t)/1e9) }
