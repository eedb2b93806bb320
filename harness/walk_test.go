package harness

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// wander walks over three faults of a small fleet.
const wander = `
name: wander
clients: 12
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    reconnect: {policy: full-jitter, base: 50ms, max: 200ms}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - name: walk
    walk:
      steps: 6
      every: 400ms
      jitter: 50%
      at_once: 2
      of:
        - close: {who: {share: 50%}, spread: 50ms}
        - disconnect: {who: {count: 2}}
        - takeover: {who: {share: 25%}, hold: 100ms}
    until: {back: 100%}
    timeout: 20s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: unscripted, equals: 0}
`

// TestWalkPlan: every choice of a walk stands in the plan, and the same seed
// gives the same plan, byte for byte.
func TestWalkPlan(t *testing.T) {
	got := planText(t, scenario(t, wander), 7, 0)
	path := "testdata/walk-plan.golden"
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("the plan of seed 7 (-want +got):\n%s", d)
	}
	other := planText(t, scenario(t, wander), 8, 0)
	if other == got {
		t.Error("seeds 7 and 8 gave the same plan")
	}
	read, err := scenarios.ReadPlan(bytes.NewReader([]byte(got)))
	if err != nil || len(read.Phase("walk").Waves) != 6 {
		t.Errorf("read back: %v", err)
	}
}

// TestWalkDraws: each fault is drawn as often as any other, alone and beside
// others, each step within its bounds, and a longer walk begins like a shorter
// one.
func TestWalkDraws(t *testing.T) {
	ph := scenarios.Phase{
		Name: "w", Faults: make([]scenarios.FaultSpec, 4), For: time.Hour,
		Walk: &scenarios.Walk{Steps: 1000, Every: time.Second, Jitter: 0.5, AtOnce: 3},
	}
	all := steps(ph, 1)
	sizes, drawn := map[int]int{}, map[int]int{}
	for k, st := range all {
		sizes[len(st.drawn)]++
		for _, i := range st.drawn {
			drawn[i]++
		}
		if st.at < st.early || st.at >= st.late || st.early != time.Duration(k)*time.Second || st.late != st.early+time.Second/2 {
			t.Errorf("step %d: %+v", k, st)
		}
		if !slices.IsSorted(st.drawn) || len(slices.Compact(slices.Clone(st.drawn))) != len(st.drawn) {
			t.Errorf("step %d draws %v", k, st.drawn)
		}
	}
	for n := 1; n <= 3; n++ { // a third of 1,000, deviation 15
		if sizes[n] < 273 || sizes[n] > 393 {
			t.Errorf("%d steps have %d faults", sizes[n], n)
		}
	}
	for i := range 4 { // half of 1,000: two faults of four on average
		if drawn[i] < 430 || drawn[i] > 570 {
			t.Errorf("fault %d is drawn in %d steps", i, drawn[i])
		}
	}
	ph.Walk.Steps = 10
	if d := cmp.Diff(fmt.Sprint(all[:10]), fmt.Sprint(steps(ph, 1))); d != "" {
		t.Errorf("a shorter walk begins otherwise:\n%s", d)
	}
}

// TestWalkRefuses: a walk is right or wrong whatever its seed, and the faults
// that it did not draw first are looked at too.
func TestWalkRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, now, says string }{
		"a victim due in what may be the next step": {"spread: 50ms", "spread: 300ms", "is watched for 200ms only"},
		"a step that may come after the phase":      {"until: {back: 100%}\n    timeout: 20s", "for: 2200ms", "wave 6 would begin at 2.2s"},
		"more victims than clients":                 {"count: 2", "count: 200", "fleet devices has 12 clients"},
	} {
		for seed := range uint64(5) {
			_, err := NewPlan(scenario(t, wander, c.old, c.now), PlanOptions{Tables: DefaultTables(), Seed: &seed})
			if err == nil || !strings.Contains(err.Error(), c.says) || ExitCode(err) != ExitUsage {
				t.Errorf("%s, seed %d: exit %d: %v", name, seed, ExitCode(err), err)
			}
		}
	}
}

// TestWalk runs one with overlapping faults, with each client library: outcomes
// add up, and nothing ends but what was scripted.
func TestWalk(t *testing.T) {
	for _, driver := range []string{"paho", "strict"} {
		t.Run(driver, func(t *testing.T) {
			sc := scenario(t, wander)
			seed := uint64(7)
			r, dir := play(t, sc, PlanOptions{Driver: driver, Seed: &seed}, Options{})
			addsUp(t, dir, 1)
			planned := 0
			plan, err := NewPlan(sc, PlanOptions{Tables: DefaultTables(), Driver: driver, Seed: &seed})
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range plan.Phase("walk").Waves {
				for _, f := range w.Faults {
					planned += f.Count
				}
			}
			if len(r.Waves) != 6 || r.Total.Victims != planned || r.Total.Hit == 0 {
				t.Errorf("%d waves, %d victims of %d, %d hits", len(r.Waves), r.Total.Victims, planned, r.Total.Hit)
			}
			if v := verdicts(r); v["never-returned"] != "valid" || v["unscripted"] != "valid" {
				t.Errorf("checks %v", v)
			}
		})
	}
}
