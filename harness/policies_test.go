package harness

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// sideBySide are fleets of different policies, closed at once.
const sideBySide = `
name: side-by-side
clients: 40
fleets:
  - {name: jittered, share: 25%, reconnect: {policy: full-jitter, base: 300ms, max: 300ms}, subscribe: [{topic: "a/{client}", qos: 1}], connect: {rate: 2000/s}}
  - {name: napping, share: 25%, reconnect: {policy: nap}, subscribe: [{topic: "b/{client}", qos: 1}], connect: {rate: 2000/s}}
  - {name: stepping, share: 25%, reconnect: {policy: fixed, delay: 200ms}, subscribe: [{topic: "c/{client}", qos: 1}], connect: {rate: 2000/s}}
  - {name: gone, share: 25%, reconnect: {policy: none}, subscribe: [{topic: "d/{client}", qos: 1}], connect: {rate: 2000/s}}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - name: storm
    faults: [{close: {fleet: jittered}}, {close: {fleet: napping}}, {close: {fleet: stepping}}, {close: {fleet: gone}}]
    until: {back: 100%}
    timeout: 60s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: censored, fleet: gone, equals: 10}
  - {metric: back, fleet: jittered, equals: 10}
  - {metric: back, fleet: napping, equals: 10}
  - {metric: back, fleet: stepping, equals: 10}
  - {metric: herd.amplification, fleet: jittered, equals: 1}
  - {metric: herd.amplification, fleet: gone, equals: 0}
`

// nap is a policy of the user's own, by value.
func nap(scenarios.Reconnect, *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration { return time.Duration(attempt) * 150 * time.Millisecond }
}

// TestPoliciesSideBySide: in whole runs of each client library the waterfall's
// backoff is what the policy asked for, an own policy's too, and what the plan's
// seed has it draw; clients that never come back are censored, hold no phase up
// and are nobody's fault.
func TestPoliciesSideBySide(t *testing.T) {
	tables := DefaultTables()
	tables.Policies = fleet.Policies(fleet.Policy{Name: "nap", Doc: "Naps.", Backoff: nap})
	path := filepath.Join(t.TempDir(), "side-by-side.yaml")
	if err := os.WriteFile(path, []byte(sideBySide), 0o600); err != nil {
		t.Fatal(err)
	}
	sc, _, err := LoadScenario(path, tables)
	if err != nil {
		t.Fatal(err)
	}
	for _, driver := range []string{"paho", "strict"} {
		t.Run(driver, func(t *testing.T) {
			plan, err := NewPlan(sc, PlanOptions{Tables: tables, Driver: driver})
			if err != nil {
				t.Fatal(err)
			}
			r, dir := pbRun(t, plan, Options{Tables: tables, Version: "test"})
			if r.ExitCode != ExitPass || verdicts(r)["never-returned"] != reports.Valid {
				t.Errorf("exit %d, checks %v, %+v", r.ExitCode, verdicts(r), r.Expectations)
			}
			for _, p := range r.Phases {
				if p.Name == "storm" && p.Reason != reasonUntil {
					t.Errorf("the storm ended by its %s", p.Reason)
				}
			}
			back := map[string]int{}
			for _, o := range outages(t, dir) {
				if o.Back() {
					back[o.Fleet]++
					slept(t, plan, tables, o)
				} else if o.Fleet != "gone" || o.Censored != judge.CensoredStopped || len(o.Attempts) != 0 {
					t.Errorf("%s: %s after %d attempts", o.ClientID, o.Censored, len(o.Attempts))
				}
			}
			if back["jittered"] != 10 || back["napping"] != 10 || back["stepping"] != 10 || back["gone"] != 0 {
				t.Errorf("back: %v", back)
			}
		})
	}
}

// slept holds the backoff of an outage against the policy: what was asked for
// before the first dial, and what the waterfall shows, which is never less, and
// more by no more than a busy machine takes to wake up.
func slept(t *testing.T, plan *scenarios.Plan, tables Tables, o *judge.Outage) {
	t.Helper()
	f := plan.Fleet(o.Fleet)
	p, err := fleet.FindPolicy(f.Reconnect.Policy, tables.Policies)
	if err != nil {
		t.Fatal(err)
	}
	draw := rand.New(rand.NewPCG(mix(plan.Seed, "reconnect of "+o.Fleet, 0, 0), uint64(o.Client)))
	want := int64(p.Backoff(f.Reconnect, draw)(1))
	asked := int64(0)
	for _, c := range o.Attempts {
		asked += c.Backoff
	}
	const awake = int64(150 * time.Millisecond)
	i := slices.IndexFunc(o.Attempts, func(c *timeline.Conn) bool { return c.Backoff == want })
	if i != 0 || o.Parts.Backoff < asked || o.Parts.Backoff > asked+awake {
		t.Errorf("%s: the policy says %s first, %s were asked for, backoff is %s", o.ClientID, time.Duration(want), time.Duration(asked), time.Duration(o.Parts.Backoff))
	}
}

const oneWay = `
name: one-way
clients: 6
fleets:
  - {name: gone, session: {keep_alive: 60s}, reconnect: {policy: none}, subscribe: [{topic: "d/{client}", qos: 1}], connect: {rate: 2000/s}}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: storm, faults: [{blackhole: {for: 1200ms}}], until: {back: 100%}, timeout: 20s}
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

// TestLastingOnThoseWhoDoNotComeBack: a lasting fault goes on for its time, or
// until all that it holds are lost, also where nobody would come back.
func TestLastingOnThoseWhoDoNotComeBack(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		rode     int
		atLeast  float64
	}{
		"ridden out": {"", "", 6, 1.2},
		"lost":       {"keep_alive: 60s", "keep_alive: 1s", 0, 0.5}, // their silence began before the fault
	} {
		t.Run(name, func(t *testing.T) {
			sc := scenario(t, oneWay, c.old, c.new)
			if c.old != "" {
				sc = scenario(t, oneWay, c.old, c.new, "blackhole: {for: 1200ms}", "keepalive-stop: {}")
			}
			r, _ := play(t, sc, PlanOptions{}, Options{})
			storm := r.Phases[1]
			if took := storm.End - storm.Start; r.Total.RodeOut != c.rode || r.Total.Censored != 6-c.rode || took < c.atLeast || storm.Reason != reasonUntil {
				t.Errorf("%d rode out, %d censored, %g s, by %s", r.Total.RodeOut, r.Total.Censored, took, storm.Reason)
			}
		})
	}
}
