package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// process is a fake broker process; each call takes 10 ms.
type process struct {
	calls []string
	fail  string // the call that fails
}

var errBroken = errors.New("broken")

func (p *process) call(what string) error {
	time.Sleep(10 * time.Millisecond)
	p.calls = append(p.calls, what)
	if p.fail == what {
		return errBroken
	}
	return nil
}

func (p *process) Info() target.Info                     { return target.Info{} }
func (p *process) Close() error                          { return nil }
func (p *process) Kill() error                           { return p.call("kill") }
func (p *process) Stop() error                           { return p.call("stop") }
func (p *process) Pause(on bool) error                   { return p.call(fmt.Sprintf("pause %v", on)) }
func (p *process) Start(_ context.Context, k bool) error { return p.call(fmt.Sprintf("start %v", k)) }

// everyoneOf gives each client of two fleets.
func everyoneOf(yield func(string, int) bool) {
	_ = yield("a", 0) && yield("a", 1) && yield("b", 0)
}

// brokerEnv is an Env over a fake broker, with what is recorded in it.
func brokerEnv(t *testing.T, p *process) (env *Env, c *clients, actions *[]timeline.Action, extents *[]timeline.Extent) {
	t.Helper()
	c, extents = new(clients), new([]timeline.Extent)
	env, actions = testEnv(c)
	env.Target, env.Everyone = p, everyoneOf
	env.Extent = func(e *timeline.Extent) { *extents = append(*extents, *e) }
	return env, c, actions, extents
}

// TestOnBroker: the process is acted on once, at its instant, and lifted once, in
// its time or by Heal, however often that is called; each client of each fleet is
// a victim in one instant.
func TestOnBroker(t *testing.T) {
	for _, tc := range []struct {
		kind, params string
		calls        []string
		heals        bool // by Heal alone
		process      string
		kept         bool
	}{
		{"broker-kill", "{after: 1s}", []string{"kill", "start false"}, true, timeline.Killed, false},
		{"broker-kill", "{for: 2s, persistence: on}", []string{"kill", "start true"}, false, timeline.Killed, true},
		{"broker-stop", "{for: 2s}", []string{"stop", "start false"}, false, timeline.Stopped, false},
		{"broker-restart", "{}", []string{"kill", "start false"}, false, timeline.Killed, false},
		{"broker-restart", "{how: stop, down: 2s, persistence: on}", []string{"stop", "start true"}, false, timeline.Stopped, true},
		{"broker-freeze", "{for: 2s}", []string{"pause true", "pause false"}, false, timeline.Frozen, false},
		{"broker-freeze", "{}", []string{"pause true", "pause false"}, true, timeline.Frozen, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := new(process)
			env, c, actions, extents := brokerEnv(t, p)
			pf, err := planAs(t, tc.kind, tc.params, 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			if !pf.Everyone || pf.Count != 6 || pf.Fleet != "" { // of two fleets
				t.Errorf("%s: %+v", tc.kind, pf)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			after, _ := time.ParseDuration(pf.Params["after"])
			if got, want := env.Clock.Now(), env.Start+timeline.Instant(after+10*time.Millisecond); got != want {
				t.Errorf("%s: in effect at %d, want %d", tc.kind, got, want)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if tc.heals != (len(p.calls) == 1) {
				t.Errorf("%s %s: after a minute: %v", tc.kind, tc.params, p.calls)
			}
			for range 2 {
				if err := f.Heal(t.Context(), env); err != nil {
					t.Error(err)
				}
			}
			if !slices.Equal(p.calls, tc.calls) {
				t.Errorf("%s %s: %v, want %v", tc.kind, tc.params, p.calls, tc.calls)
			}
			checkBrokerRecords(t, tc.process, tc.kept, *actions, *extents)
			want := 3
			if tc.process == timeline.Frozen {
				want = 6 // held, and released
			}
			if len(c.calls) != want {
				t.Errorf("%s: %v", tc.kind, c.calls)
			}
		})
	}
}

func checkBrokerRecords(t *testing.T, process string, kept bool, actions []timeline.Action, extents []timeline.Extent) {
	t.Helper()
	e := extents[len(extents)-1]
	if len(extents) != 2 || !e.OK || e.Ends || e.Process != process || e.Kept != kept || e.Taken-e.Issued != timeline.Instant(10*time.Millisecond) || e.Healed <= e.Healing {
		t.Errorf("%+v", extents)
	}
	last := map[string]timeline.Action{}
	for _, a := range actions {
		last[a.ClientID] = a
		if a.Intended != e.Intended || a.Issued != e.Issued || a.Answered != e.Taken || !a.OK || a.Lasting != (process == timeline.Frozen) {
			t.Errorf("%+v", a)
		}
	}
	for _, id := range []string{"a-0", "a-1", "b-0"} {
		if until := last[id].Until; (until != 0) != (process == timeline.Frozen) || until != 0 && until != e.Healed {
			t.Errorf("%s was released at %d, the broker at %d", id, until, e.Healed)
		}
	}
}

// TestOnBrokerFails: what could not be done stands in the records, and is lifted
// if half of it may stand.
func TestOnBrokerFails(t *testing.T) {
	for kind, tc := range map[string]struct {
		fail  string
		calls []string
		heal  bool // fails
	}{
		"broker-kill":    {"kill", []string{"kill", "start false"}, false},
		"broker-stop":    {"stop", []string{"stop", "start false"}, false},
		"broker-restart": {"start false", []string{"kill", "start false"}, true},
		"broker-freeze":  {"pause true", []string{"pause true", "pause false"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := &process{fail: tc.fail}
			env, _, actions, extents := brokerEnv(t, p)
			pf, err := planAs(t, kind, "{after: 0s}", 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), env); err != nil {
				t.Error(err)
			}
			if err := f.Heal(t.Context(), env); (err != nil) != tc.heal {
				t.Errorf("%s: Heal: %v", kind, err)
			}
			e := (*extents)[len(*extents)-1]
			if !slices.Equal(p.calls, tc.calls) || e.OK || !strings.Contains(e.Err, "broken") {
				t.Errorf("%s: %v, %+v", kind, p.calls, e)
			}
			for _, a := range *actions {
				if a.OK != tc.heal {
					t.Errorf("%s: %+v", kind, a)
				}
			}
		})
	}
}

// TestFreezesOverlap: a broker that two faults have frozen goes on with the end
// of the later one.
func TestFreezesOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(process)
		env, _, _, _ := brokerEnv(t, p)
		env.Freezes = new(Freezes)
		env.Record, env.Extent = func(timeline.Action) {}, func(*timeline.Extent) {} // those of brokerEnv are for one fault
		var faults []Fault
		for _, params := range []string{"{for: 1s}", "{}"} {
			pf, err := planAs(t, "broker-freeze", params, 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			faults = append(faults, f)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if want := []string{"pause true", "pause true"}; !slices.Equal(p.calls, want) {
			t.Errorf("while the second one stands: %v", p.calls)
		}
		for _, f := range faults {
			if err := f.Heal(t.Context(), env); err != nil {
				t.Error(err)
			}
		}
		if want := []string{"pause true", "pause true", "pause false"}; !slices.Equal(p.calls, want) {
			t.Errorf("%v, want %v", p.calls, want)
		}
	})
}

// TestOnBrokerNeedsAProcess: a target whose broker is no process of ours is told
// so, and nothing is done.
func TestOnBrokerNeedsAProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, kind := range []string{"broker-kill", "broker-stop", "broker-restart", "broker-freeze"} {
			env, _, _, extents := brokerEnv(t, nil)
			env.Target = struct{ target.Target }{}
			f := makeFault(t, scenarios.PlanFault{Kind: kind, Params: map[string]string{"after": "0s", "how": "stop"}})
			if err := errors.Join(f.Inject(t.Context(), env), f.Heal(t.Context(), env)); err != nil {
				t.Error(err)
			}
			if e := (*extents)[0]; e.OK || !strings.Contains(e.Err, ErrNotOffered.Error()) {
				t.Errorf("%s: %+v", kind, e)
			}
		}
	})
}
