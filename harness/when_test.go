package harness

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// conditions ends its phases by numbers, live counters and a drain without debts.
const conditions = `
name: conditions
clients: 40
fleets:
  - name: devices
    labels: {site: {a: 25%, b: 75%}}
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {to: devices, topic: "rb/{client}/cmd", qos: 1, each: 10/s}
phases:
  - {name: connect, until: {connected: 40}, timeout: 20s}
  - {name: steady, until: {count: {delivered: 200}}, timeout: 20s}
  - name: storm
    faults:
      - close: {who: {label: {site: a}}, poisson: 100/s}
      - disconnect: {who: {list: [0, 5, 10-12]}, after: 50ms}
    until: {back: 8}
    timeout: 20s
  - name: again
    faults: [{close: {who: {label: {site: b}, count: 10, seeded: 3}, spread: 400ms}}]
    repeat: {times: 3, every: 200ms, overlap: true}
    until: {count: {connects: 20}}
    timeout: 20s
  - {name: drain, until: {drained: true}, timeout: 20s}
expect:
  - {metric: connected, equals: 100%}
  - {metric: lost.qos1, equals: 0}
  - {metric: unscripted, equals: 0, on_fail: abort}
`

// reasons are why the phases of a report ended.
func reasons(r *reports.Report) string {
	var out []string
	for _, p := range r.Phases {
		out = append(out, p.Name+" "+p.Reason)
	}
	return strings.Join(out, ", ")
}

func TestConditions(t *testing.T) {
	r, _ := play(t, scenario(t, conditions), PlanOptions{}, Options{})
	if got := reasons(r); got != "connect until, steady until, storm until, again until, drain until" {
		t.Errorf("%s", got)
	}
	for _, x := range r.Expectations {
		if x.Verdict != reports.Valid {
			t.Errorf("%s: %s, measured %s: %s", x.Text, x.Verdict, x.Shown, x.Why)
		}
	}
	onlyInvalid(t, r)
	if r.Run.Aborted != "" {
		t.Errorf("aborted: %s", r.Run.Aborted)
	}
	if len(r.Waves) != 4 || r.Waves[0].Victims < 10 || r.Waves[0].Victims > 15 {
		t.Errorf("%d waves, %d victims in the first", len(r.Waves), r.Waves[0].Victims)
	}
	for _, w := range r.Waves[1:3] {
		if w.Victims != 10 || w.Horizon < 0.3 {
			t.Errorf("an overlapping wave of %d victims is watched for %g s", w.Victims, w.Horizon)
		}
	}
}

// TestFailedCloseHoldsUpNoPhase: a client that could not be closed is none that
// can come back.
func TestFailedCloseHoldsUpNoPhase(t *testing.T) {
	refuse := func(next target.ConnectionCloser) target.ConnectionCloser {
		var n atomic.Int64
		return closerFunc(func(ctx context.Context, id string) (target.Closed, error) {
			if n.Add(1)%2 == 0 {
				return target.Closed{}, errors.New("not today")
			}
			return next.CloseConnection(ctx, id)
		})
	}
	began := time.Now()
	r, _ := play(t, scenario(t, quick, "timeout: 20s\n  - {name: drain", "timeout: 60s\n  - {name: drain"), PlanOptions{}, Options{WrapClose: refuse})
	if got := reasons(r); !strings.Contains(got, "storm until") || time.Since(began) > 30*time.Second {
		t.Errorf("%s after %s", got, time.Since(began))
	}
	if w := r.Total; w.Back != 20 || w.Unaffected != 20 {
		t.Errorf("%d back, %d unaffected", w.Back, w.Unaffected)
	}
}

// cutter ends a connection from below, by no fault of the plan.
type cutter struct {
	net.Conn
	after time.Duration
	made  time.Time
}

func (c cutter) Read(b []byte) (int, error) {
	if err := c.SetReadDeadline(c.made.Add(c.after)); err != nil {
		return 0, err
	}
	return c.Conn.Read(b)
}

const aborted = `
name: aborted
clients: 10
fleets:
  - {name: devices, reconnect: {policy: fixed, delay: 3s}, connect: {rate: 2000/s}, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: storm, faults: [{close: {who: {count: 4}}}], until: {back: 100%}, timeout: 1s}
  - {name: long, for: 100s}
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: censored, phase: storm, fleet: devices, at_most: 4, on_fail: abort}
  - {metric: unscripted, at_most: 9, on_fail: abort}
`

// TestAbort: a run ends in good order as soon as an expectation has failed for
// good, and says which.
func TestAbort(t *testing.T) {
	for name, c := range map[string]struct {
		old, new, says string
		wrap           func(string, net.Conn) net.Conn
	}{
		"not broken": {old: "for: 100s", new: "for: 1s"},
		"censored":   {old: "at_most: 4", new: "at_most: 3", says: "expectation censored at most 3: 4 so far"},
		"unscripted": {old: "at_most: 9", new: "at_most: 5", says: "expectation unscripted at most 5: 6 so far",
			wrap: func(id string, conn net.Conn) net.Conn {
				if strings.HasPrefix(id, "devices-") {
					return cutter{conn, 2 * time.Second, time.Now()}
				}
				return conn
			}},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			r, _ := play(t, scenario(t, aborted, c.old, c.new), PlanOptions{}, Options{WrapConn: c.wrap})
			if c.says == "" {
				if r.Run.Aborted != "" || !strings.Contains(reasons(r), "long for, drain until") {
					t.Errorf("aborted: %q, %s", r.Run.Aborted, reasons(r))
				}
				return
			}
			if !strings.Contains(r.Run.Aborted, strings.SplitN(c.says, ":", 2)[0]) || r.ExitCode != ExitFail || time.Since(began) > 40*time.Second {
				t.Errorf("aborted: %q, exit %d, after %s", r.Run.Aborted, r.ExitCode, time.Since(began))
			}
			if got := reasons(r); !strings.Contains(got, "long aborted, drain until") && !strings.Contains(got, "storm aborted, drain until") {
				t.Errorf("%s", got)
			}
			if !r.Run.Complete {
				t.Error("the folder is not complete")
			}
		})
	}
}

// TestAbortWaitsForTheHorizon: the horizon counts from the first victim and not
// from the start of the wave; who is back by then is not censored, and ends no run.
func TestAbortWaitsForTheHorizon(t *testing.T) {
	sc := scenario(t, aborted, "at_most: 4, on_fail", "equals: 0, on_fail", "delay: 3s", "delay: 600ms",
		"{who: {count: 4}}}], until: {back: 100%}, timeout: 1s}", "{who: {count: 4}, after: 700ms}}], repeat: {times: 2, every: 1s}, for: 5s}", "for: 100s", "for: 100ms")
	r, _ := play(t, sc, PlanOptions{}, Options{})
	if r.Run.Aborted != "" || r.Total.Censored != 0 || r.Total.Back != 8 {
		t.Errorf("aborted %q, %d back, %d censored", r.Run.Aborted, r.Total.Back, r.Total.Censored)
	}
}

// TestPlanRefusesConditions covers conditions that only the plan can tell are
// never reached.
func TestPlanRefusesConditions(t *testing.T) {
	for _, c := range []struct{ old, new, says string }{
		{"{back: 8}", "{back: 16}", "until back 16 is never reached: its faults act on 1"},
		{"{name: steady, until: {count: {delivered: 200}}, timeout: 20s}", "{name: steady, until: {drained: true}, timeout: 20s}", "until drained is the drain"},
		{", overlap: true", "", "is watched for 200ms only"},
	} {
		_, err := NewPlan(scenario(t, conditions, c.old, c.new), PlanOptions{Tables: DefaultTables()})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	_, err := NewPlan(scenario(t, conditions), PlanOptions{Tables: DefaultTables(), Clients: 39})
	if err == nil || !strings.Contains(err.Error(), "until connected 40 is never reached by 39 clients") || !errors.Is(err, ErrUsage) {
		t.Errorf("%v", err)
	}
}

// TestPlanShowsLabels: rule and counts are in plan.yaml, and which clients have
// which label comes from the seed.
func TestPlanShowsLabels(t *testing.T) {
	sc := scenario(t, conditions)
	text := planText(t, sc, 1, 0)
	for _, want := range []string{"labelled:", "label_seed:", "who: share 100% of site=a", "who: list 0, 5, 10-12", "poisson: 100/s", "overlap: true", "who: count 10 of site=b, seeded 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("plan.yaml has no %q", want)
		}
	}
	p, err := scenarios.ReadPlan(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if f := p.Fleets[0]; f.Labelled["site"]["a"] != 10 || len(f.With("site", "a")) != 10 {
		t.Errorf("%+v", f.Labelled)
	}
}
