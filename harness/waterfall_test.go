package harness

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// outages traces the outages of a run's folder.
func outages(t *testing.T, dir string) []*judge.Outage {
	t.Helper()
	pf, err := os.Open(filepath.Join(dir, "plan.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	defer pf.Close() //nolint:errcheck // read only
	plan, err := scenarios.ReadPlan(pf)
	if err != nil {
		t.Fatal(err)
	}
	ef, err := os.Open(filepath.Join(dir, "events.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer ef.Close() //nolint:errcheck // read only
	events, err := timeline.Read(ef)
	if err != nil {
		t.Fatal(err)
	}
	var conns []timeline.Conn
	var actions []timeline.Action
	var waves []timeline.Wave
	var stop timeline.Instant
	for _, e := range timeline.Latest(events) {
		switch {
		case e.Conn != nil:
			conns = append(conns, *e.Conn)
		case e.Action != nil:
			actions = append(actions, *e.Action)
		case e.Wave != nil:
			waves = append(waves, *e.Wave)
		case e.Mark != nil && e.Mark.Stop != 0:
			stop = e.Mark.Stop
		}
	}
	return judge.Trace(judge.Events{Conns: conns, Actions: actions, Waves: waves, Stop: stop}, judge.RulesOf(plan)).Outages
}

// addsUp demands that the parts of every outage of a real run add up to the
// time until the client was back, to the nanosecond, and that none is negative;
// also for those that were back too late for their wave.
func addsUp(t *testing.T, dir string, atLeast int) {
	t.Helper()
	list := outages(t, dir)
	if len(list) < atLeast {
		t.Errorf("%d outages, want at least %d", len(list), atLeast)
	}
	for _, o := range list {
		if o.Returned == 0 {
			continue // it has no end to add up to
		}
		if o.Back() && o.Until != o.Returned {
			t.Errorf("%s: back at %d, watched until %d", o.ClientID, o.Returned, o.Until)
		}
		p := judge.Decompose(o)
		if p.Sum() != int64(o.Returned-o.Start) {
			t.Errorf("%s: parts %+v add up to %d, it was away for %d", o.ClientID, p, p.Sum(), o.Returned-o.Start)
		}
		for i, v := range p.Values() {
			if v < 0 {
				t.Errorf("%s: %s is %d", o.ClientID, judge.PartNames()[i], v)
			}
		}
	}
}
