package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/reports"
)

// helperVar has TestExecHelper do the work of an outside program.
const helperVar = "REBOUND_TEST_HELPER"

// outsider is outside with a drain: its programs are this test binary, of which
// the first does as it is told and the second heals.
func outsider(do string) string {
	own := func(arg string) string { return `["` + os.Args[0] + `", "-test.run=^TestExecHelper$", ` + arg + `]` }
	return strings.NewReplacer("dev-{run}-", "dev-", "for: 2500ms", fmt.Sprintf(
		"until: {back: 100%%}, timeout: 60s, faults: [{exec: {inject: %s, heal: %s, env: [%s], after: 300ms, for: 500ms}}]", own(do), own("heal"), helperVar,
	)).Replace(outside)
}

func TestExecHelper(t *testing.T) {
	first := os.Getenv(helperVar)
	if first == "" {
		return // no test: the program that the others start
	}
	do := os.Args[len(os.Args)-1]
	fmt.Println(do, "in", os.Getenv("REBOUND_PHASE"))
	switch do {
	case "close":
		if err := closeOutside(t.Context(), os.Getenv("REBOUND_ENDPOINT"), first, 7); err != nil {
			t.Error(err)
		}
	case "fail":
		os.Exit(3)
	}
}

// TestExec: what a program of the scenario ends is charged to exec; what it
// says is in exec.log. A phase that waits until all are back is not over before
// the time of its fault, of which nobody is a victim.
func TestExec(t *testing.T) {
	t.Setenv(helperVar, "dev-000000")
	r, dir := play(t, scenario(t, outsider("close")), PlanOptions{}, Options{AllowExec: true})
	if r.Unscripted.Ends != 0 || len(r.Extents) != 1 {
		t.Fatalf("%+v, %+v", r.Unscripted, r.Extents)
	}
	x := r.Extents[0]
	if !x.OK || x.Ended != 7 || x.Seconds == nil || *x.Seconds < 0.5 || !strings.Contains(x.Detail, "inject: exit 0") || !strings.Contains(x.Detail, "heal: exit 0") {
		t.Errorf("%+v", x)
	}
	if len(r.Waves) != 1 || r.Waves[0].Victims != 7 || r.Waves[0].Back != 7 || r.Waves[0].Outage.N != 7 {
		t.Errorf("waves: %+v", r.Waves)
	}
	onlyInvalid(t, r)
	if v := verdicts(r)["assumptions"]; v != reports.Valid {
		t.Errorf("assumptions: %s", v)
	}
	log, err := os.ReadFile(filepath.Join(dir, "exec.log"))
	if err != nil || !strings.Contains(string(log), "\nclose in steady\n") || !strings.Contains(string(log), "\nheal in steady\n") {
		t.Errorf("exec.log (%v):\n%s", err, log)
	}
}

// TestExecFails: a program that fails leaves the run unable to decide, and is
// healed all the same.
func TestExecFails(t *testing.T) {
	t.Setenv(helperVar, "dev-000000")
	r, _ := play(t, scenario(t, outsider("fail")), PlanOptions{}, Options{AllowExec: true})
	if r.ExitCode != ExitUnknown || verdicts(r)["assumptions"] != reports.Unknown {
		t.Errorf("exit %d, assumptions %s", r.ExitCode, verdicts(r)["assumptions"])
	}
	if len(r.Extents) != 1 || r.Extents[0].OK || r.Extents[0].Err != "inject: exit status 3" || !strings.Contains(r.Extents[0].Detail, "heal: exit 0") {
		t.Errorf("%+v", r.Extents)
	}
}

// TestExecAsksFirst: without leave nothing is started, not even a folder.
func TestExecAsksFirst(t *testing.T) {
	plan, err := NewPlan(scenario(t, outsider("close")), PlanOptions{Tables: DefaultTables()})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	_, err = Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: dir})
	if !errors.Is(err, ErrExecNotAllowed) || ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "--allow-exec") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder was made: %v", err)
	}
}

// TestExecInterrupted: the program that undoes the fault runs also when the run
// is stopped by hand.
func TestExecInterrupted(t *testing.T) {
	t.Setenv(helperVar, "dev-000000")
	text := strings.NewReplacer(", for: 500ms}}]", "}}]", "until: {back: 100%}, timeout: 60s", "for: 60s").Replace(outsider("close"))
	plan, err := NewPlan(scenario(t, text), PlanOptions{Tables: DefaultTables()})
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var once sync.Once
	dir := filepath.Join(t.TempDir(), "run")
	r, err := Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: dir, AllowExec: true, Stop: stop, OnStatus: func(Status) {
		if log, err := os.ReadFile(filepath.Join(dir, "exec.log")); err == nil && strings.Contains(string(log), "close in steady") {
			once.Do(func() { close(stop) })
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if r.ExitCode != ExitInterrupted || len(r.Extents) != 1 || !strings.Contains(r.Extents[0].Detail, "heal: exit 0") {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Extents)
	}
}
