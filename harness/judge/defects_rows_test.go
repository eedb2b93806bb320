package judge

import (
	"slices"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/reports"
)

// TestRowsOfDefects: each row names a check and a condition that are there, is
// bound to versions, and each condition has a row.
func TestRowsOfDefects(t *testing.T) {
	var rows []reports.KnownDefect
	for _, r := range broker.Rows() {
		rows = append(rows, r.Abilities.KnownDefects...)
	}
	for _, d := range fleet.Drivers() {
		rows = append(rows, d.Info().KnownDefects...)
	}
	used := map[string]bool{}
	for _, d := range rows {
		used[d.Condition] = true
		if _, ok := conditions[d.Condition]; !ok {
			t.Errorf("%s names the condition %q, which does not exist", d.Reference, d.Condition)
		}
		if !slices.ContainsFunc(check.Table(), func(c check.Check) bool { return c.Name == d.Check }) {
			t.Errorf("%s names the check %q, which does not exist", d.Reference, d.Check)
		}
		if d.Versions == "" || d.Doc == "" {
			t.Errorf("%s: %+v", d.Reference, d)
		}
	}
	for name := range conditions {
		if !used[name] {
			t.Errorf("no known defect names the condition %q", name)
		}
	}
}
