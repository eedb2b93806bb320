package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// bfText is the ground of the tests of faults on the broker: two fleets, with
// traffic to one, and one fault.
const bfText = `
name: broker-fault
clients: 12
fleets:
  - name: a
    share: 50%
    session: {clean: false, keep_alive: 10s}
    reconnect: {policy: fixed, delay: 100ms}
    subscribe: [{topic: "d/{client}", qos: 1}]
  - name: b
    share: 50%
    session: {clean: false, keep_alive: 10s}
    reconnect: {policy: fixed, delay: 100ms}
    subscribe: [{topic: "e/{client}", qos: 1}]
traffic:
  - {to: a, topic: "d/{client}", qos: 1, each: 10/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 600ms}
  - name: storm
    faults: [FAULT]
    until: {back: 100%}
    timeout: 40s
  - {name: after, for: 400ms}
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

// bfCase is one fault on the broker and what must come of it.
type bfCase struct {
	fault   string
	rideOut bool
	kept    bool // sessions are there when their clients come back
	life    string
}

// bfPlay plays it on a target, with the driver that keeps to the letter.
func bfPlay(t *testing.T, text, on string, o Options, faults ...fault.Kind) (*reports.Report, string) {
	t.Helper()
	tables := DefaultTables()
	for _, f := range faults {
		for i := range tables.Faults {
			if tables.Faults[i].Name == f.Name {
				tables.Faults[i] = f
			}
		}
	}
	plan, err := NewPlan(scenario(t, text), PlanOptions{Tables: tables, Target: on, Driver: "strict"})
	if err != nil {
		t.Fatal(err)
	}
	o.Tables, o.Version = tables, "test"
	return pbRun(t, plan, o)
}

// onProcessTargets runs a test on each target whose broker is a process of ours.
func onProcessTargets(t *testing.T, test func(t *testing.T, on string)) {
	t.Helper()
	t.Run(broker.KindChild, func(t *testing.T) { t.Parallel(); test(t, broker.KindChild) })
	t.Run("mosquitto", func(t *testing.T) { t.Parallel(); pbNeedMosquitto(t); test(t, "mosquitto") })
}

func bfEvents(t *testing.T, dir string) []timeline.Event {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "events.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	events, err := timeline.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return timeline.Latest(events)
}

// nobodyWhile demands that nobody was let in while the broker was down or stood
// still, though the kernel takes the connections of a frozen one.
func nobodyWhile(t *testing.T, events []timeline.Event) (dialled int) {
	t.Helper()
	for _, x := range events {
		if x.Extent == nil {
			continue
		}
		from, to := x.Extent.Taken, x.Extent.Healing
		for _, e := range events {
			c := e.Conn
			if c == nil || c.Dialed < from || c.Dialed >= to {
				continue
			}
			dialled++
			if c.Connack != 0 && c.Connack < to || c.Restored != 0 && c.Restored < to || c.FirstMessage != 0 && c.FirstMessage < to {
				t.Errorf("%s connection %d was let in at %d, in [%d, %d]", c.ClientID, c.N, c.Connack, from, to)
			}
		}
	}
	return dialled
}

// TestBrokerFaults: each client of each fleet is a victim of what is done to the
// broker, all are back, nobody while it is down, and nothing but that shows.
func TestBrokerFaults(t *testing.T) {
	t.Parallel()
	onProcessTargets(t, func(t *testing.T, on string) {
		for _, c := range []bfCase{
			{"broker-kill: {for: 400ms}", false, false, "killed at"},
			{"broker-stop: {after: 50ms, for: 400ms}", false, false, "stopped at"},
			{"broker-restart: {down: 400ms}", false, false, "killed at"},
			{"broker-restart: {how: stop, down: 400ms, persistence: on}", false, true, "stopped at"},
			{"broker-freeze: {for: 700ms}", true, true, "frozen at"},
			{"broker-freeze: {for: 13s}", false, true, "frozen at"},
		} {
			t.Run(c.fault, func(t *testing.T) {
				t.Parallel()
				var pids []int
				text := strings.ReplaceAll(bfText, "FAULT", "{"+c.fault+"}")
				if !c.rideOut {
					text = strings.ReplaceAll(text, "keep_alive: 10s", "keep_alive: 1s")
				}
				r, dir := bfPlay(t, text, on, Options{OnPID: func(p int) { pids = append(pids, p) }})
				c.check(t, r, dir, pids)
			})
		}
	})
}

func (c bfCase) check(t *testing.T, r *reports.Report, dir string, pids []int) {
	onlyInvalid(t, r)
	if r.ExitCode != ExitPass {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Checks)
	}
	w := r.Waves[0]
	if w.Victims != 12 || c.rideOut && w.RodeOut != 12 || !c.rideOut && (w.Hit != 12 || w.Back != 12) {
		t.Errorf("%d victims: %d hit, %d back, %d rode out", w.Victims, w.Hit, w.Back, w.RodeOut)
	}
	if r.Unscripted.Ends != 0 || r.Unscripted.Control != 0 {
		t.Errorf("unscripted: %+v", r.Unscripted)
	}
	frozen := strings.HasPrefix(c.fault, "broker-freeze")
	if want := map[bool]int{true: 1, false: 2}[frozen]; len(pids) != want {
		t.Errorf("pids %v, want %d", pids, want)
	}
	if len(r.Extents) != 1 || !r.Extents[0].OK || r.Extents[0].Broker == nil || r.Extents[0].Seconds == nil || (r.Extents[0].Broker.Ready == nil) != frozen {
		t.Errorf("%+v", r.Extents)
	}
	var text strings.Builder
	if err := reports.Terminal(&text, r, reports.TerminalOptions{}); err != nil || !strings.Contains(text.String(), "broker     "+c.life) {
		t.Errorf("%v: %s", err, text.String())
	}
	events := bfEvents(t, dir)
	if dialled := nobodyWhile(t, events); frozen && !c.rideOut && dialled == 0 {
		t.Error("nobody dialled a frozen broker: the test shows nothing")
	}
	for _, e := range events {
		if c := e.Conn; c != nil && c.SessionWanted && c.Connack != 0 && c.SessionPresent != kept(r) {
			t.Errorf("%s connection %d: session present %v", c.ClientID, c.N, c.SessionPresent)
		}
	}
	if kept(r) != c.kept && !frozen {
		t.Errorf("%+v", r.Extents[0].Broker)
	}
	if notice := w.Waterfall["notice"].P50; frozen && !c.rideOut && (notice == nil || *notice < 10 || *notice > 12) {
		t.Errorf("the freeze was noticed after %v s, want keep alive and ping time-out", *notice)
	}
}

// kept reports whether sessions live on over the run's fault.
func kept(r *reports.Report) bool {
	b := r.Extents[0].Broker
	return b.Kept || b.Ended == timeline.Frozen
}

// TestBrokerStaysDown: without `for` the broker is dead to the end of the phase,
// then it is there again.
func TestBrokerStaysDown(t *testing.T) {
	t.Parallel()
	text := strings.NewReplacer("FAULT", "{broker-kill: {}}", "timeout: 40s", "timeout: 1s", "for: 400ms", "for: 1500ms").Replace(bfText)
	r, dir := bfPlay(t, text, broker.KindChild, Options{})
	onlyInvalid(t, r)
	if w := r.Waves[0]; w.Hit != 12 || w.Censored != 12 {
		t.Errorf("%d hit, %d censored", w.Hit, w.Censored)
	}
	if e := r.Extents[0]; e.Seconds == nil || *e.Seconds < 0.9 {
		t.Errorf("%+v", e)
	}
	nobodyWhile(t, bfEvents(t, dir))
}

// TestBrokerFaultsOverlap: a frozen broker can be killed and started again, and
// the end of the freeze leaves the new one alone.
func TestBrokerFaultsOverlap(t *testing.T) {
	t.Parallel()
	onProcessTargets(t, func(t *testing.T, on string) {
		text := strings.ReplaceAll(bfText, "FAULT", "{broker-freeze: {for: 1s}}, {broker-restart: {after: 200ms, down: 300ms}}")
		r, _ := bfPlay(t, text, on, Options{})
		onlyInvalid(t, r)
		if w := r.Waves[0]; w.Victims != 24 || w.Hit != 12 || w.Missed != 12 || w.Back != 12 || r.ExitCode != ExitPass {
			t.Errorf("exit %d: %d hit, %d missed, %d back of %d: %+v", r.ExitCode, w.Hit, w.Missed, w.Back, w.Victims, r.Checks)
		}
	})
}

// TestDoorOfAFrozenBroker: a fault at the door that ends while the broker stands
// still is lifted when that goes on, in whatever order they were written.
func TestDoorOfAFrozenBroker(t *testing.T) {
	t.Parallel()
	for _, faults := range []string{
		"{reject-auth: {for: 300ms}}, {broker-freeze: {after: 100ms, for: 1s}}",
		"{reject-auth: {}}, {broker-freeze: {after: 100ms}}",
		"{broker-freeze: {after: 100ms}}, {reject-auth: {}}",
	} {
		t.Run(faults, func(t *testing.T) {
			t.Parallel()
			text := strings.NewReplacer("FAULT", faults, "until: {back: 100%}\n    timeout: 40s", "for: 1s").Replace(bfText)
			r, _ := bfPlay(t, text, broker.KindChild, Options{})
			onlyInvalid(t, r)
			if len(r.Extents) != 2 || !r.Extents[0].OK || !r.Extents[1].OK || r.ExitCode != ExitPass {
				t.Errorf("exit %d: %+v", r.ExitCode, r.Extents)
			}
		})
	}
}

// TestPlantedLossOverARestart: a message that was acknowledged and thrown away
// before the restart is a legal loss if the broker was started empty, and lost if
// it had to keep what it had.
func TestPlantedLossOverARestart(t *testing.T) {
	t.Parallel()
	pbNeedMosquitto(t)
	for _, tc := range []struct {
		params string
		lost   bool
	}{{"{down: 300ms}", false}, {"{how: stop, down: 300ms, persistence: on}", true}} {
		t.Run(tc.params, func(t *testing.T) {
			t.Parallel()
			w := &pbWire{dials: map[string]int{}}
			w.lie = pbWhen(pbRead("a", 1, 3), func(c *pbConn, _ bool, p *mqtt.Packet, _ []byte) [][]byte {
				c.reply(mqtt.AppendPuback(nil, p.ID))
				return nil
			})(w)
			text := strings.NewReplacer("FAULT", "{broker-restart: "+tc.params+"}").Replace(bfText)
			r, _ := bfPlay(t, text, "mosquitto", Options{WrapConn: w.wrap})
			var legal, lost int
			for _, l := range r.Losses {
				switch {
				case l.Verdict == string(ledger.Lost):
					lost++
				case l.Verdict == string(ledger.LegalLoss) && l.Cause == ledger.CauseRestart:
					legal++
				}
			}
			if tc.lost {
				onlyInvalid(t, r, "lost")
			} else {
				onlyInvalid(t, r)
			}
			if w.hits != 1 || lost != bit(tc.lost) || legal != bit(!tc.lost) {
				t.Errorf("%d planted, %d lost, %d forgotten", w.hits, lost, legal)
			}
		})
	}
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestPlantedForgetfulRestart: a broker that was to keep its state and starts
// empty has forgotten its sessions.
func TestPlantedForgetfulRestart(t *testing.T) {
	t.Parallel()
	text := strings.ReplaceAll(bfText, "FAULT", "{broker-restart: {down: 300ms, persistence: on}}")
	r, _ := bfPlay(t, text, broker.KindChild, Options{}, plantedProcess("broker-restart", func(b processTarget) target.Target { return startsEmpty{b} }))
	onlyInvalid(t, r, "session-forgotten")
}

// processTarget is what a fault on the broker acts on.
type processTarget interface {
	target.Target
	target.Killer
	target.Stopper
	target.Starter
	target.Pauser
}

// The planted wrong ones, each over a real broker.
type (
	startsEmpty   struct{ processTarget }
	killsNobody   struct{ processTarget }
	startsNothing struct{ processTarget }
	staysFrozen   struct{ processTarget }
	failsToStart  struct{ processTarget }
)

var errPlanted = errors.New("planted")

func (b startsEmpty) Start(ctx context.Context, _ bool) error {
	return b.processTarget.Start(ctx, false)
}
func (killsNobody) Kill() error                         { return nil }
func (killsNobody) Start(context.Context, bool) error   { return nil }
func (startsNothing) Start(context.Context, bool) error { return nil }
func (failsToStart) Start(context.Context, bool) error  { return errPlanted }

func (b staysFrozen) Pause(paused bool) error {
	if paused {
		return b.processTarget.Pause(true)
	}
	return nil
}

// plantedProcess is a kind of fault that acts on something else than the broker.
func plantedProcess(name string, plant func(processTarget) target.Target) fault.Kind {
	k, err := fault.Find(name)
	if err != nil {
		panic(err)
	}
	real := k.New
	k.New = func(pf scenarios.PlanFault) (fault.Fault, error) {
		f, err := real(pf)
		return &plantedFault{Fault: f, plant: plant}, err
	}
	return k
}

type plantedFault struct {
	fault.Fault
	plant func(processTarget) target.Target
	once  sync.Once
	env   *fault.Env
}

func (p *plantedFault) planted(env *fault.Env) *fault.Env {
	p.once.Do(func() {
		p.env = new(*env)
		p.env.Target = p.plant(env.Target.(processTarget))
	})
	return p.env
}

func (p *plantedFault) Inject(ctx context.Context, env *fault.Env) error {
	return p.Fault.Inject(ctx, p.planted(env))
}

func (p *plantedFault) Heal(ctx context.Context, env *fault.Env) error {
	return p.Fault.Heal(ctx, p.planted(env))
}

// TestPlantedBrokerFaults: faults that do not do what they say show, and leave no
// process behind.
func TestPlantedBrokerFaults(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		fault string
		plant func(processTarget) target.Target
		turns []string
		words string // in a check that is not valid
	}{
		{"a kill that does not kill", "broker-kill: {for: 300ms}", func(b processTarget) target.Target { return killsNobody{b} }, []string{"kick-effective"}, "lived on"},
		{"a restart that starts nothing", "broker-restart: {down: 300ms}", func(b processTarget) target.Target { return startsNothing{b} }, []string{"never-returned"}, "found no broker"},
		{"a start that fails", "broker-restart: {down: 300ms}", func(b processTarget) target.Target { return failsToStart{b} }, []string{"never-returned"}, "not lifted: planted"},
		{"a freeze that is not lifted", "broker-freeze: {for: 300ms}", func(b processTarget) target.Target { return staysFrozen{b} }, nil, "the sentinel of 6 of 6 streams was not acknowledged"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var pid int
			text := strings.NewReplacer("FAULT", "{"+tc.fault+"}", "timeout: 40s", "timeout: 2s", "quiet: 300ms}, timeout: 20s", "quiet: 300ms}, timeout: 1s").Replace(bfText)
			r, _ := bfPlay(t, text, broker.KindChild, Options{OnPID: func(p int) { pid = p }}, plantedProcess(strings.Split(tc.fault, ":")[0], tc.plant))
			for _, name := range tc.turns {
				if verdicts(r)[name] != reports.Invalid {
					t.Errorf("%s is %s", name, verdicts(r)[name])
				}
			}
			if r.ExitCode == ExitPass || !strings.Contains(fmt.Sprint(r.Checks), tc.words) {
				t.Errorf("exit %d, %q is not there: %+v", r.ExitCode, tc.words, r.Checks)
			}
			if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); pid == 0 || err == nil {
				t.Errorf("process %d is left behind", pid)
			}
		})
	}
}

// TestBrokerFaultsNeedAProcess: a target whose broker is no process of the run is
// refused by the plan, in words that say which to use.
func TestBrokerFaultsNeedAProcess(t *testing.T) {
	for _, f := range []string{"broker-kill: {}", "broker-stop: {}", "broker-restart: {}", "broker-freeze: {}"} {
		for _, on := range []string{broker.KindEmbedded, "tcp://127.0.0.1:1883"} {
			_, err := NewPlan(scenario(t, strings.ReplaceAll(bfText, "FAULT", "{"+f+"}")), PlanOptions{Tables: DefaultTables(), Target: on, Kick: CloserFIN})
			if ExitCode(err) != ExitUsage || !strings.Contains(fmt.Sprint(err), "run it with --target child or --target mosquitto") {
				t.Errorf("%s on %s: %v", f, on, err)
			}
		}
	}
	for _, name := range []string{"broker-restart", "broker-outage", "broker-freeze", "kick-all"} {
		sc, _, err := LoadScenario(name, DefaultTables())
		if err != nil {
			t.Fatal(err)
		}
		cost, err := CostOf(sc, DefaultTables())
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(cost.Needs); got != map[bool]string{true: "[]", false: "[--target child or mosquitto]"}[name == "kick-all"] {
			t.Errorf("%s needs %s", name, got)
		}
	}
}
