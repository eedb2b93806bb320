package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/reports"
)

// The tests run themselves in the place of the command: this environment
// variable says what it does.
const actAs = "SOUNDNESS_TEST_ACT_AS"

func TestMain(m *testing.M) {
	if what := os.Getenv(actAs); what != "" {
		os.Exit(act(what, os.Args[len(os.Args)-1]))
	}
	os.Exit(m.Run())
}

// act is a command that leaves the report named, or waits to be stopped. It
// counts its calls in a file beside the folder of the outputs.
func act(what, dir string) int {
	f, err := os.OpenFile(os.Getenv("SOUNDNESS_TEST_CALLS"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return 7
	}
	f.WriteString(filepath.Base(dir) + "\n")
	f.Close()
	r := &reports.Report{Verdict: reports.Valid}
	switch what {
	case "saturated", "saturated-first":
		if what == "saturated" || filepath.Base(dir) == "run" {
			r.Verdict, r.Harness.Fitness = reports.Unknown, "saturated"
		}
	case "nothing":
		return 7
	case "wait":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt)
		os.WriteFile(filepath.Join(filepath.Dir(os.Getenv("SOUNDNESS_TEST_CALLS")), "waiting"), nil, 0o644)
		select {
		case <-signals:
		case <-time.After(time.Minute):
			return 7
		}
		r.Run.Interrupted = true
	}
	if writeReport(dir, r) != nil {
		return 7
	}
	return 0
}

func writeReport(dir string, r *reports.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, "report.json"))
	if err != nil {
		return err
	}
	defer f.Close()
	return reports.WriteJSON(f, r)
}

// bed is a folder for outputs, and a command that acts.
type bed struct {
	t *testing.T
	options
	calls string
	text  bytes.Buffer
}

func newBed(t *testing.T, what string) *bed {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	b := &bed{t: t, options: options{jobs: 1, out: filepath.Join(dir, "out"), binary: self}, calls: filepath.Join(dir, "calls")}
	t.Setenv(actAs, what)
	t.Setenv("SOUNDNESS_TEST_CALLS", b.calls)
	return b
}

func (b *bed) jobs() []job {
	return []job{
		{scenario: "one", text: []byte("1"), driver: "paho", seed: 1, target: "mosquitto"},
		{scenario: "two", text: []byte("2"), driver: "strict", seed: 1, target: "tcp://127.0.0.1:1883", clients: 100},
	}
}

func (b *bed) run(jobs []job) []outcome {
	b.t.Helper()
	b.text.Reset()
	outcomes, stopped, err := runAll(jobs, b.options, &b.text, nil)
	if err != nil || stopped {
		b.t.Fatalf("stopped %v, %v", stopped, err)
	}
	return outcomes
}

// called gives the names of the folders of the calls so far.
func (b *bed) called() string {
	text, _ := os.ReadFile(b.calls)
	return strings.Join(strings.Fields(string(text)), " ")
}

// TestResume: what is done is not done again; what changed is.
func TestResume(t *testing.T) {
	b := newBed(t, "valid")
	if got := b.run(b.jobs()); len(got) != 2 || got[0].report == nil || b.called() != "run run" {
		t.Fatalf("%d outcomes, calls %q", len(got), b.called())
	}
	if got := b.run(b.jobs()); len(got) != 2 || b.called() != "run run" || !strings.Contains(b.text.String(), "done before") {
		t.Errorf("done again: %d outcomes, calls %q\n%s", len(got), b.called(), &b.text)
	}

	jobs := b.jobs()
	jobs[0].text = []byte("another scenario")
	if b.run(jobs); b.called() != "run run run" {
		t.Errorf("a changed scenario: calls %q", b.called())
	}
	jobs[1].clients = 50
	if b.run(jobs); b.called() != "run run run run" {
		t.Errorf("other arguments: calls %q", b.called())
	}
	path := filepath.Join(jobs[1].folder(b.out), "run", "report.json")
	if err := os.WriteFile(path, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b.run(jobs); b.called() != "run run run run run" {
		t.Errorf("a report that can not be read: calls %q", b.called())
	}

	state := filepath.Join(jobs[0].folder(b.out), stateFile)
	text, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := digestFile(b.binary)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(state, bytes.ReplaceAll(text, []byte(digest), []byte("another binary")), 0o644); err != nil {
		t.Fatal(err)
	}
	if b.run(jobs); b.called() != "run run run run run run" {
		t.Errorf("another binary: calls %q", b.called())
	}
}

// TestSaturatedRunsAreRepeatedOnce, and the second one counts.
func TestSaturatedRunsAreRepeatedOnce(t *testing.T) {
	b := newBed(t, "saturated")
	got := b.run(b.jobs()[:1])
	if b.called() != "run again" || !got[0].Repeated || got[0].Dir != "again" || got[0].report.Verdict != reports.Unknown {
		t.Errorf("calls %q, outcome %+v", b.called(), got[0].state)
	}
	if b.run(b.jobs()[:1]); b.called() != "run again" {
		t.Errorf("repeated again: calls %q", b.called())
	}
	b = newBed(t, "saturated-first")
	if got := b.run(b.jobs()[:1]); b.called() != "run again" || !got[0].Repeated || got[0].report.Verdict != reports.Valid {
		t.Errorf("calls %q, outcome %+v", b.called(), got[0].state)
	}
}

// TestOnlyIndecisionIsRepeated: a verdict that stands is not tried again.
func TestOnlyIndecisionIsRepeated(t *testing.T) {
	for name, c := range map[string]struct {
		r    *reports.Report
		want bool
	}{
		"no report":         {nil, false},
		"valid":             {&reports.Report{Verdict: reports.Valid, Harness: reports.Harness{Fitness: "saturated"}}, false},
		"invalid":           {&reports.Report{Verdict: reports.Invalid, Harness: reports.Harness{Fitness: "saturated"}}, false},
		"unknown and fit":   {&reports.Report{Verdict: reports.Unknown, Harness: reports.Harness{Fitness: "fit"}}, false},
		"unknown, a phase":  {&reports.Report{Verdict: reports.Unknown, Phases: []reports.Phase{{Fitness: "fit"}, {Fitness: "saturated"}}}, true},
		"unknown, the run":  {&reports.Report{Verdict: reports.Unknown, Harness: reports.Harness{Fitness: "saturated"}}, true},
		"unknown, degraded": {&reports.Report{Verdict: reports.Unknown, Phases: []reports.Phase{{Fitness: "degraded"}}}, false},
	} {
		if got := starved(c.r); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestARunWithoutAReportIsTriedAgain by the next call, and told of in this one.
func TestARunWithoutAReportIsTriedAgain(t *testing.T) {
	b := newBed(t, "nothing")
	got := b.run(b.jobs()[:1])
	if len(got) != 1 || got[0].report != nil || got[0].Exit != 7 {
		t.Fatalf("%+v", got)
	}
	if b.run(b.jobs()[:1]); b.called() != "run run" {
		t.Errorf("calls %q", b.called())
	}
}

// TestStop: a signal ends the run under way, which does not count, and starts
// no more; the next call goes on there.
func TestStop(t *testing.T) {
	b := newBed(t, "wait")
	signals := make(chan os.Signal, 1)
	done := make(chan struct{})
	var outcomes []outcome
	var stopped bool
	var err error
	go func() {
		defer close(done)
		outcomes, stopped, err = runAll(b.jobs(), b.options, &b.text, signals)
	}()
	waiting := filepath.Join(filepath.Dir(b.calls), "waiting")
	for deadline := time.Now().Add(30 * time.Second); ; {
		if _, err := os.Stat(waiting); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the command was not started")
		}
		time.Sleep(5 * time.Millisecond)
	}
	signals <- syscall.SIGINT
	<-done
	if err != nil || !stopped || len(outcomes) != 0 || b.called() != "run" {
		t.Errorf("stopped %v, %v, %d outcomes, calls %q", stopped, err, len(outcomes), b.called())
	}
	t.Setenv(actAs, "valid")
	if got := b.run(b.jobs()); len(got) != 2 || b.called() != "run run run" {
		t.Errorf("after the stop: %d outcomes, calls %q", len(got), b.called())
	}
}

// TestProofs finds the first line that bears a charge out.
func TestProofs(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "losses.csv"), []byte(`verdict,topic,seq,fault,charge,cause
duplicated,a,1,false,,redelivery
duplicated,b,2,true,publisher-library,republish
duplicated,c,3,true,publisher-library,republish
`), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "findings.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	enc := json.NewEncoder(z)
	for _, line := range []map[string]any{
		{"rule": "dup-flag", "charge": "publisher-library", "warn": true},
		{"rule": "dup-flag", "charge": "publisher-library", "id": "m-1", "detail": "DUP=1"},
	} {
		if err := enc.Encode(line); err != nil {
			t.Fatal(err)
		}
	}
	z.Close()
	f.Close()

	got := proofs(dir, &reports.Report{Checks: []reports.Check{
		invalid("duplicated", map[string]int64{"publisher-library": 2, "broker": 1}),
		invalid("dup-flag", map[string]int64{"publisher-library": 1}),
		{Name: "leak", Verdict: reports.Invalid, Charges: map[string]int64{"client-library": 1}, Examples: []string{"30 of f"}},
		invalid("stuck", map[string]int64{"client-library": 1}),
	}})
	want := map[string]string{
		"duplicated publisher-library": "losses.csv:3: b #2 republish",
		"dup-flag publisher-library":   "findings.jsonl.gz line 2: m-1: DUP=1",
		"leak client-library":          "report.json: 30 of f",
	}
	if len(got) != len(want) {
		t.Errorf("got %v", got)
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %q, want %q", k, got[k], v)
		}
	}
}

func TestMatrix(t *testing.T) {
	o, err := parse([]string{"--seeds", "2", "--scenarios", "kick-all,will-check", "--drivers", "paho,strict"}, new(bytes.Buffer))
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := matrix(o)
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) != 8 || jobs[0].seed != 1 || jobs[4].seed != 2 {
		t.Fatalf("%d jobs: %v", len(jobs), jobs)
	}
	if got := strings.Join(jobs[0].args(), " "); got != "run kick-all --driver paho --target mosquitto --seed 1 --quiet --allow-exec --clients 100" {
		t.Error(got)
	}
	if got := strings.Join(jobs[2].args(), " "); strings.Contains(got, "--clients") {
		t.Error(got)
	}
	o.scenarios = []string{"no-such"}
	if _, err := matrix(o); err == nil {
		t.Error("an unknown scenario was taken")
	}
	o.scenarios = nil
	if all, err := matrix(o); err != nil || len(all) < 4*14 {
		t.Errorf("%d jobs, %v", len(all), err)
	}
	for _, bad := range [][]string{{"--seeds", "0"}, {"--jobs", "0"}, {"--drivers", ""}, {"x"}, {"--no"}} {
		if _, err := parse(bad, new(bytes.Buffer)); err == nil {
			t.Errorf("%v was taken", bad)
		}
	}
}
