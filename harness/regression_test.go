package harness

import (
	"slices"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/reports"
)

// regressionBase is a storm whose outages are as long as the redial is fixed, so
// that 30 ms more are far beyond what runs differ by.
const regressionBase = `
name: regression
clients: 30
fleets:
  - name: devices
    reconnect: {policy: fixed, delay: 50ms}
    subscribe: [{topic: "d/{client}", qos: 1}]
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - name: storm
    faults: [{close: {share: 100%}}]
    until: {back: 100%}
    timeout: 10s
  - {name: drain, until: {quiet: 200ms}, timeout: 20s}
`

// slowConnack makes a broker that takes longer for each CONNACK.
type slowConnack struct {
	mochi.HookBase
	by time.Duration
}

func (slowConnack) ID() string           { return "slow-connack" }
func (slowConnack) Provides(b byte) bool { return b == mochi.OnConnect }

func (h *slowConnack) OnConnect(*mochi.Client, packets.Packet) error {
	time.Sleep(h.by)
	return nil
}

// regressionRun is one run on the embedded broker.
func regressionRun(t *testing.T, seed uint64, o Options) *reports.Report {
	t.Helper()
	r, _ := play(t, scenario(t, regressionBase), PlanOptions{Seed: &seed}, o)
	return r
}

// fitRuns are five runs, seed by seed, whose harness had time enough: a run that
// had not says nothing of the broker, and is done again, five times at most.
func fitRuns(t *testing.T, o Options) (list []*reports.Report) {
	t.Helper()
	for seed := uint64(1); len(list) < 5; seed++ {
		if r := regressionRun(t, seed, o); seed > 10 || !stormSaturated(r) {
			list = append(list, r)
		}
	}
	return list
}

func stormSaturated(r *reports.Report) bool {
	return slices.ContainsFunc(r.Phases, func(p reports.Phase) bool { return p.Name == "storm" && p.Fitness == "saturated" })
}

// TestPlantedRegression: a broker whose CONNACK comes 30 ms later is worse at
// five runs a side, and the phase and the part of the outage are named.
func TestPlantedRegression(t *testing.T) {
	before := fitRuns(t, Options{})
	var slow Options
	slow.Broker.Hooks = []mochi.Hook{&slowConnack{by: 30 * time.Millisecond}}
	after := fitRuns(t, slow)
	c := reports.Compare(before, after, reports.CompareOptions{})
	if c.Verdict != reports.Worse || c.ExitCode != ExitWorse {
		t.Fatalf("%s, exit %d: %q", c.Verdict, c.ExitCode, c.Why)
	}
	worse := func(m reports.Metric) bool { return m.Verdict == reports.Worse }
	i := slices.IndexFunc(c.Parts, func(m reports.Metric) bool { return worse(m) && m.Name == "waterfall.connack.p50" })
	if i < 0 || c.Parts[i].Phase != "storm" {
		t.Errorf("the later CONNACK is not named: %q", c.Why)
	}
	for _, m := range c.Parts {
		if worse(m) && m.Name == "waterfall.backoff.p50" {
			t.Errorf("%s is called worse: %v -> %v", m.Name, *m.BaseMid, *m.NextMid)
		}
	}
	if again := reports.Compare(before, before, reports.CompareOptions{}); again.Verdict == reports.Worse {
		t.Errorf("a side against itself: %q", again.Why)
	}
}

// TestPlantedStallIsNotWorse: runs in which the harness stood still are called
// saturated, and the broker is not blamed for their times.
func TestPlantedStallIsNotWorse(t *testing.T) {
	before := fitRuns(t, Options{})
	var after []*reports.Report
	for seed := uint64(1); seed <= 5; seed++ {
		s := newStall(t)
		after = append(after, regressionRun(t, seed, Options{OnStatus: s.onStatus}))
		s.wait()
	}
	c := reports.Compare(before, after, reports.CompareOptions{})
	if c.Verdict != reports.Saturated || c.ExitCode != ExitUnknown {
		t.Errorf("%s, exit %d: %q", c.Verdict, c.ExitCode, c.Why)
	}
}
