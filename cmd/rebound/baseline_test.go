package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Each scenario beside the committed baselines still means what the baseline of
// its name has run: else every comparison with it would be refused.
func TestBaselinesFitTheirScenarios(t *testing.T) {
	files, err := filepath.Glob("../../reports/baselines/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenario of a baseline: %v", err)
	}
	for _, file := range files {
		sc, _, err := harness.LoadScenario(file, harness.DefaultTables())
		if err != nil {
			t.Fatal(err)
		}
		runs, err := readSide([]string{strings.TrimSuffix(file, ".yaml")})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range runs {
			if r.Run.ScenarioHash != scenarios.Hash(sc) {
				t.Errorf("%s: run %s is of scenario %s, the file is %s: renew the baseline", file, r.Run.ID, r.Run.ScenarioHash, scenarios.Hash(sc))
			}
		}
	}
}

// The row of a format that draws no self-check says so, and no other answer.
func TestEveryFormatIsNamed(t *testing.T) {
	for _, f := range reports.CompareFormats() {
		flags := compareFlags{format: f.Name, self: true}
		if _, _, err := flags.parse(); (err != nil) != (f.Self == nil) {
			t.Errorf("%s with --self-check: %v", f.Name, err)
		}
		flags.self = false
		if _, got, err := flags.parse(); err != nil || got.Name != f.Name {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
}
