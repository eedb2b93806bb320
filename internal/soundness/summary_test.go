package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/reports"
)

func invalid(name string, charges map[string]int64) reports.Check {
	c := reports.Check{Name: name, Verdict: reports.Invalid, Charges: charges}
	for _, n := range charges {
		c.Count += n
	}
	return c
}

func failed(metric string) reports.Expectation {
	return reports.Expectation{Metric: metric, Text: metric + " equals 0", Verdict: reports.Invalid}
}

// TestWhatIsExcused: only a charge against a library under test, with evidence.
func TestWhatIsExcused(t *testing.T) {
	dup := map[string]string{"duplicated publisher-library": "losses.csv:7", "duplicated subscriber-library": "losses.csv:9",
		"lost client-library": "losses.csv:3", "duplicated broker": "losses.csv:8"}
	for name, c := range map[string]struct {
		driver string
		checks []reports.Check
		expect []reports.Expectation
		proof  map[string]string
		sound  bool
	}{
		"nothing":             {driver: "paho", sound: true},
		"a library":           {"paho", []reports.Check{invalid("duplicated", map[string]int64{"publisher-library": 2, "subscriber-library": 1})}, nil, dup, true},
		"and its expectation": {"paho", []reports.Check{invalid("duplicated", map[string]int64{"publisher-library": 2})}, []reports.Expectation{failed("duplicated.qos2")}, dup, true},
		"without evidence":    {"paho", []reports.Check{invalid("duplicated", map[string]int64{"publisher-library": 2})}, nil, nil, false},
		"the control":         {"strict", []reports.Check{invalid("duplicated", map[string]int64{"publisher-library": 2})}, nil, dup, false},
		"the broker":          {"paho", []reports.Check{invalid("duplicated", map[string]int64{"broker": 1})}, nil, dup, false},
		"the broker, too":     {"paho", []reports.Check{invalid("duplicated", map[string]int64{"broker": 1, "publisher-library": 5})}, nil, dup, false},
		"the harness":         {"paho", []reports.Check{invalid("duplicated", map[string]int64{"harness": 1})}, nil, dup, false},
		"nobody known":        {"paho", []reports.Check{invalid("duplicated", map[string]int64{"unknown": 1})}, nil, dup, false},
		"without a charge":    {"paho", []reports.Check{invalid("duplicated", nil)}, nil, dup, false},
		"only an expectation": {"paho", nil, []reports.Expectation{failed("outage.p99")}, dup, false},
		"an expectation that warns": {"paho", nil, []reports.Expectation{
			{Metric: "lost.qos1", Text: "lost.qos1 equals 0", Verdict: reports.Invalid, OnFail: "warn"}}, nil, true},
		"another's expectation": {"paho", []reports.Check{invalid("duplicated", map[string]int64{"publisher-library": 2})}, []reports.Expectation{failed("lost.qos1")}, dup, false},
		"expectation of a mixed check": {"paho", []reports.Check{invalid("lost", map[string]int64{"client-library": 2, "broker": 1})},
			[]reports.Expectation{failed("lost.qos1")}, dup, false},
		"a known defect": {"strict", []reports.Check{{Name: "lost", Verdict: reports.Invalid, Known: "docs/x.md#y", Charges: map[string]int64{"broker": 1}}},
			[]reports.Expectation{failed("lost.qos1")}, nil, true},
		"unknown is not invalid": {"paho", []reports.Check{{Name: "lost", Verdict: reports.Unknown, Charges: map[string]int64{"harness": 1}}}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			o := outcome{job: job{scenario: "s", driver: c.driver, seed: 1}, proof: c.proof,
				report: &reports.Report{Checks: c.checks, Expectations: c.expect}}
			if got := summarize([]outcome{o}, 1).sound(); got != c.sound {
				t.Errorf("sound = %v, want %v; finds %+v", got, c.sound, o.finds())
			}
		})
	}
}

// TestPremises: a run that shows nothing is sound only where the machine could
// not do its faults, and then it is told.
func TestPremises(t *testing.T) {
	unmet := reports.Check{Name: "assumptions", Verdict: reports.Unknown, Detail: "only 1 of 2 clients"}
	o := outcome{job: job{scenario: "s", driver: "paho", seed: 1}, report: &reports.Report{Checks: []reports.Check{unmet}}}
	if s := summarize([]outcome{o}, 1); s.sound() || !strings.Contains(o.line(), "!! premises not met") {
		t.Error(o.line())
	}
	o.report.Extents = []reports.Extent{{Fault: "netem", Skipped: "no such qdisc"}}
	if s := summarize([]outcome{o}, 1); !s.sound() || !strings.Contains(s.text(false), "netem: no such qdisc") || !strings.Contains(o.line(), "SKIPPED netem") {
		t.Error(o.line(), s.text(false))
	}
}

// TestARunWithoutAReportIsNotSound: what left nothing has shown nothing.
func TestARunWithoutAReportIsNotSound(t *testing.T) {
	s := summarize([]outcome{{job: job{scenario: "s", driver: "paho"}, state: state{Exit: 7}}}, 1)
	if s.sound() || !strings.Contains(s.text(false), "no report     1") {
		t.Error(s.text(false))
	}
}

func TestClosingTable(t *testing.T) {
	run := func(driver string, seed, exit int, r *reports.Report) outcome {
		return outcome{job: job{scenario: "resume", driver: driver, seed: seed}, state: state{Dir: "run", Exit: exit, Repeated: seed == 2}, report: r,
			proof: map[string]string{"dup-flag publisher-library": "findings.jsonl.gz line 1: x"}}
	}
	saturated := &reports.Report{Verdict: reports.Unknown,
		Checks:       []reports.Check{{Name: "will", Verdict: reports.Unknown, Detail: "findings that a starved harness explains: 3"}},
		Expectations: []reports.Expectation{{Text: "outage.p99 below 5s", Verdict: reports.Unknown, Why: "the harness was saturated"}}}
	lib := &reports.Report{Verdict: reports.Invalid, Checks: []reports.Check{invalid("dup-flag", map[string]int64{"publisher-library": 4})}}
	broker := &reports.Report{Verdict: reports.Invalid, Checks: []reports.Check{invalid("lost", map[string]int64{"broker": 2})}}

	s := summarize([]outcome{run("paho", 1, 1, lib), run("paho", 2, 1, lib), run("strict", 1, 3, saturated), run("strict", 2, 1, broker)}, 6)
	want := `runs          4 of 6
exit codes    1: 3 · 3: 1
verdicts      invalid: 3 · unknown: 1
repeated      2, because the machine was too busy to decide

INVALID, and not charged to a library under test with evidence
  check  charge  driver  scenario  runs  findings  first evidence
  lost   broker  strict  resume    1     2         seed 2, run/no evidence that can be pointed at

library finds
  check     charge             driver  scenario  runs  findings  first evidence
  dup-flag  publisher-library  paho    resume    2     8         seed 1, run/findings.jsonl.gz line 1: x

known defects
  none

expectations that only warn
  none

unknown
  check                       driver  scenario  runs  reason, as first given
  expect outage.p99 below 5s  strict  resume    1     the harness was saturated
  will                        strict  resume    1     findings that a starved harness explains: 3

UNSOUND, a run without its premises, or a find in the broker: look at each line above
`
	if d := cmp.Diff(want, s.text(false)); d != "" {
		t.Error(d)
	}
}

// TestUnknownsAddUp: reasons that differ in their numbers are one row.
func TestUnknownsAddUp(t *testing.T) {
	var all []outcome
	for seed, why := range []string{"3 of 7 drained", "12 of 19 drained", "no health"} {
		all = append(all, outcome{job: job{scenario: "s", driver: "paho", seed: seed},
			report: &reports.Report{Verdict: reports.Unknown, Checks: []reports.Check{{Name: "lost", Verdict: reports.Unknown, Detail: why}}}})
	}
	text := summarize(all, 3).text(true)
	for _, want := range []string{"s         2     3 of 7 drained", "s         1     no health", "STOPPED"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}
