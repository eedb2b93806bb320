package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Whole runs of paho on mochi in which the faults of the connection act.

const onLinks = `
name: links
clients: 6
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    session: {clean: false, keep_alive: 2s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 10/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 300ms}
  # storm
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: censored, equals: 0}
  - {metric: lost.qos1, equals: 0}
  - {metric: unscripted, equals: 0}
`

// storm is a phase with these faults.
func storm(faults string) string {
	return "- {name: storm, faults: [" + faults + "], until: {back: 100%}, timeout: 40s}"
}

// clean says that a run passed, and that no check says anything of anybody.
func clean(t *testing.T, r *reports.Report) {
	t.Helper()
	onlyInvalid(t, r)
	for _, e := range r.Expectations {
		if e.Verdict != reports.Valid {
			t.Errorf("%s is %s", e.Metric, e.Verdict)
		}
	}
}

// byIndex gives the one outage of each client that had one.
func byIndex(t *testing.T, dir string) map[int]*judge.Outage {
	t.Helper()
	of := map[int]*judge.Outage{}
	for _, o := range outages(t, dir) {
		if of[o.Client] != nil {
			t.Errorf("client %d was away twice", o.Client)
		}
		of[o.Client] = o
	}
	return of
}

// shows says what a run in which a fault ended the connections of three clients
// does not show of it: each ended by this kind, is explained, and is back; nobody
// else saw anything.
func shows(t *testing.T, r *reports.Report, dir string, kind timeline.EndKind) error {
	var wrong []error
	if w := r.Waves[0]; w.Hit != 3 || w.Back != 3 || w.Victims != 3 {
		wrong = append(wrong, fmt.Errorf("%d victims, %d hit, %d back", w.Victims, w.Hit, w.Back))
	}
	for i, o := range byIndex(t, dir) {
		if i > 2 || o.Lost.EndKind != kind {
			wrong = append(wrong, fmt.Errorf("client %d ended with %s", i, o.Lost.EndKind))
		}
	}
	return errors.Join(wrong...)
}

// TestEndsOfLinks: each kind ends as it says, is explained, and everybody is back.
func TestEndsOfLinks(t *testing.T) {
	t.Parallel()
	for fault, kind := range map[string]timeline.EndKind{
		"rst: {who: {list: [0, 1, 2]}}":                                                timeline.EndReset,
		"fin: {who: {list: [0, 1, 2]}}":                                                timeline.EndEOF,
		"slow-close: {who: {list: [0, 1, 2]}, delay: 300ms}":                           timeline.EndEOF,
		"truncate: {who: {list: [0, 1, 2]}, packet: PUBLISH, direction: in, bytes: 7}": timeline.EndEOF,
		"truncate: {who: {list: [0, 1, 2]}, packet: PUBACK, direction: out, bytes: 2}": timeline.EndEOF,
	} {
		t.Run(fault, func(t *testing.T) {
			r, dir := play(t, scenario(t, onLinks, "# storm", storm("{"+fault+"}")), PlanOptions{Target: "embedded"}, Options{})
			clean(t, r)
			if err := shows(t, r, dir, kind); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestBlackholes: what is cut both ways, or down, paho notices by its keep alive
// plus its ping time-out of 10 s, looked at each quarter of the keep alive; what
// is cut up, the broker closes after 1.5 times the keep alive; all of it is
// notice. A short one is ridden out, by its victim alone.
func TestBlackholes(t *testing.T) {
	t.Parallel()
	const keep, check = 2 * time.Second, 500 * time.Millisecond
	r, dir := play(t, scenario(t, onLinks, "# storm", storm(`
    {blackhole: {who: {list: [0]}, for: 15s}},
    {blackhole: {who: {list: [1]}, direction: down, for: 15s}},
    {blackhole: {who: {list: [2]}, direction: up, for: 15s}},
    {blackhole: {who: {list: [3]}, for: 800ms}}`)), PlanOptions{Target: "embedded"}, Options{})
	clean(t, r)
	if w := r.Waves[0]; w.Hit != 3 || w.RodeOut != 1 || w.Back != 3 || w.Unaffected != 1 {
		t.Errorf("%d hit, %d rode out, %d back, %d unaffected", w.Hit, w.RodeOut, w.Back, w.Unaffected)
	}
	if len(r.Notes) != 1 {
		t.Errorf("notes: %q", r.Notes)
	}
	const slack = time.Second // of a busy machine
	for i, want := range map[int]struct {
		kind        timeline.EndKind
		least, most time.Duration
	}{
		// From the issue, so that the keep alive may have begun up to a packet's gap before.
		0: {timeline.EndLocal, keep - check + 10*time.Second, keep + 2*check + 10*time.Second + slack},
		1: {timeline.EndLocal, keep - check + 10*time.Second, keep + 2*check + 10*time.Second + slack},
		2: {timeline.EndEOF, keep, 3*keep/2 + time.Second + slack},
	} {
		o := byIndex(t, dir)[i]
		if o == nil {
			t.Errorf("client %d was never away", i)
			continue
		}
		if notice := time.Duration(o.Parts.Notice); o.Lost.EndKind != want.kind || notice < want.least || notice > want.most {
			t.Errorf("client %d noticed after %s by %s, want %s to %s by %s", i, notice, o.Lost.EndKind, want.least, want.most, want.kind)
		}
		if !o.Back() || o.Away() < 15*time.Second {
			t.Errorf("client %d was back %v after %s, before the lift", i, o.Back(), o.Away())
		}
	}
	if n := len(byIndex(t, dir)); n != 3 {
		t.Errorf("%d clients were away", n)
	}
}

// TestLateLinks: late, slow and narrow links are ridden out, and nothing is lost.
func TestLateLinks(t *testing.T) {
	t.Parallel()
	r, _ := play(t, scenario(t, onLinks, "# storm", storm(`
    {latency: {who: {list: [0, 1]}, delay: 60ms, for: 1s}},
    {jitter: {who: {list: [1, 2]}, up_to: 60ms, for: 1s}},
    {bandwidth: {who: {list: [3]}, per_second: 2KiB, for: 1s}}`)), PlanOptions{Target: "embedded"}, Options{})
	clean(t, r)
	if w := r.Waves[0]; w.RodeOut != 5 || w.Victims != 5 {
		t.Errorf("%d of %d rode it out", w.RodeOut, w.Victims)
	}
}

// TestDeadDials: the way back is refused, or hangs; nobody's connection is
// touched, and the report counts the dials.
func TestDeadDials(t *testing.T) {
	t.Parallel()
	for kind, detail := range map[string]string{"refuse": "by 2 of 3 clients of devices refused", "dial-timeout": "2 dials by 2 of 3 clients of devices hung"} {
		t.Run(kind, func(t *testing.T) {
			r, dir := play(t, scenario(t, onLinks, "policy: immediate", "policy: fixed, delay: 100ms", "# storm", storm(
				"{"+kind+": {who: {list: [0, 1, 2]}, for: 800ms}}, {rst: {who: {list: [0, 1, 3]}, after: 100ms}}")), PlanOptions{Target: "embedded"}, Options{})
			clean(t, r)
			if w := r.Waves[0]; w.Victims != 3 || w.Back != 3 {
				t.Errorf("%d victims, %d back", w.Victims, w.Back)
			}
			for i, o := range byIndex(t, dir) {
				if long := o.Away() > 600*time.Millisecond; long != (i < 2) {
					t.Errorf("client %d was away for %s", i, o.Away())
				}
			}
			if len(r.Extents) != 1 || len(r.Extents[0].Detail) < len(detail) || r.Extents[0].Detail[len(r.Extents[0].Detail)-len(detail):] != detail {
				t.Errorf("%+v", r.Extents)
			}
		})
	}
}

// TestDeadDialsAlone: where nobody dials, a phase until all are back still lasts
// as long as its fault.
func TestDeadDialsAlone(t *testing.T) {
	t.Parallel()
	r, _ := play(t, scenario(t, onLinks, "# storm", storm("{refuse: {for: 700ms}}"), "  - {metric: censored, equals: 0}\n", ""), PlanOptions{Target: "embedded"}, Options{})
	if took := r.Phases[2].End - r.Phases[2].Start; took < 0.7 || *r.Extents[0].Seconds < 0.7 {
		t.Errorf("the phase took %g s, the fault %g s", took, *r.Extents[0].Seconds)
	}
}

// wrongReset is a reset with a planted fault: it does to each victim what it is
// told to, and records a success.
type wrongReset struct {
	fault.Fault
	victims []scenarios.Victim
	do      func(ctx context.Context, env *fault.Env, id string)
}

func (w wrongReset) Inject(ctx context.Context, env *fault.Env) error {
	found := true
	for _, v := range w.victims {
		now, id := env.Clock.Now(), env.ClientID("devices", v.Client)
		env.Clients.Closing("devices", v.Client)
		w.do(ctx, env, id)
		env.Record(timeline.Action{Fault: "rst", Phase: env.Phase, Wave: env.Wave, Fleet: "devices", Client: v.Client, ClientID: id,
			Intended: env.Start, Issued: now, Closed: now, Answered: env.Clock.Now(), OK: true, Found: &found})
	}
	return nil
}

// TestPlantedResets: a whole run shows a reset that is none, and so does the
// report of one that does nothing.
func TestPlantedResets(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(ctx context.Context, env *fault.Env, id string){
		"a FIN":   func(ctx context.Context, env *fault.Env, id string) { _, _ = env.Links.CloseConnection(ctx, id) },
		"nothing": func(context.Context, *fault.Env, string) {},
	} {
		t.Run(name, func(t *testing.T) {
			tables := planted("rst", func(f fault.Fault, pf scenarios.PlanFault) fault.Fault {
				return wrongReset{f, pf.Victims, do}
			})
			text := strings.ReplaceAll(storm("{rst: {who: {list: [0, 1, 2]}}}"), "40s", "2s")
			r, dir := playWith(t, tables, scenario(t, onLinks, "# storm", text))
			err := shows(t, r, dir, timeline.EndReset)
			if err == nil {
				t.Error("not caught")
			}
			if name == "nothing" {
				onlyInvalid(t, r, "kick-effective")
			}
			t.Log(err)
		})
	}
}

// heldOn is a blackhole that leaves one client cut.
type heldOn struct{ fault.Fault }

func (h heldOn) Inject(ctx context.Context, env *fault.Env) error {
	env.Links.Impair(env.ClientID("devices", 0), netfault.Impairment{Up: netfault.Way{Hold: true}, Down: netfault.Way{Hold: true}})
	return h.Fault.Inject(ctx, env)
}

// TestPlantedHeal: a run whose Heal leaves one client cut can not pass.
func TestPlantedHeal(t *testing.T) {
	t.Parallel()
	tables := planted("blackhole", func(f fault.Fault, _ scenarios.PlanFault) fault.Fault { return heldOn{f} })
	text := strings.ReplaceAll(storm("{blackhole: {who: {list: [0, 1]}, for: 300ms}}"), "40s", "3s")
	r, _ := playWith(t, tables, scenario(t, onLinks, "# storm", text))
	if r.ExitCode == 0 {
		t.Errorf("it passed: %+v", r.Waves[0])
	}
	t.Logf("exit %d: %v", r.ExitCode, verdicts(r))
}

// TestPlantedHealIsNotRiddenOut: nor can one in which nobody sends that client
// anything, and no phase waits for it.
func TestPlantedHealIsNotRiddenOut(t *testing.T) {
	t.Parallel()
	quiet := []string{"traffic:\n  - {from: control, to: devices, topic: \"rb/{client}/cmd\", qos: 1, each: 10/s}\n", "",
		"  - {metric: lost.qos1, equals: 0}\n", "", "keep_alive: 2s", "keep_alive: 30s",
		"# storm", "- {name: storm, faults: [{blackhole: {who: {list: [0, 1]}, for: 300ms}}], for: 1s}"}
	for name, want := range map[string]reports.Verdict{"as it is": reports.Valid, "planted": reports.Unknown} {
		tables := DefaultTables()
		if name == "planted" {
			tables = planted("blackhole", func(f fault.Fault, _ scenarios.PlanFault) fault.Fault { return heldOn{f} })
		}
		r, _ := playWith(t, tables, scenario(t, onLinks, quiet...))
		if got := verdicts(r)["never-returned"]; got != want || r.Total.RodeOut != 2 {
			t.Errorf("%s: %s, exit %d, %d rode out", name, got, r.ExitCode, r.Total.RodeOut)
		}
	}
}

// planted are the tables with a planted fault in one row.
func planted(kind string, change func(fault.Fault, scenarios.PlanFault) fault.Fault) Tables {
	t := DefaultTables()
	for i, k := range t.Faults {
		if k.Name == kind {
			t.Faults[i].New = func(pf scenarios.PlanFault) (fault.Fault, error) {
				f, err := k.New(pf)
				return change(f, pf), err
			}
		}
	}
	return t
}

// playWith plays a scenario with tables of its own.
func playWith(t *testing.T, tables Tables, sc *scenarios.Scenario) (*reports.Report, string) {
	t.Helper()
	plan, err := NewPlan(sc, PlanOptions{Tables: tables, Target: "embedded"})
	if err != nil {
		t.Fatal(err)
	}
	return pbRun(t, plan, Options{Tables: tables, Version: "test"})
}
