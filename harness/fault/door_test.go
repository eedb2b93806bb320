package fault

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// keeper is a target that remembers its gates.
type keeper struct {
	target.Target
	up    map[string]target.Gate
	tally target.GateTally
	err   error
}

func (k *keeper) SetGate(_ context.Context, g target.Gate) (target.GateTally, error) {
	if k.err != nil {
		return target.GateTally{}, k.err
	}
	before := k.up[g.Name]
	if g.Open() {
		delete(k.up, g.Name)
	} else {
		k.up[g.Name] = g
	}
	if before.Open() {
		return target.GateTally{}, nil
	}
	return k.tally, g.Check()
}

// doorEnv is of a wave that has begun, at a keeper.
func doorEnv() (*Env, *keeper, *[]timeline.Extent) {
	env, _ := testEnv(nil)
	k := &keeper{up: map[string]target.Gate{}}
	var extents []timeline.Extent
	env.Start, env.Target = env.Clock.Now(), k
	env.Pattern = func(fleet string) string { return "ids of " + fleet }
	env.Extent = func(e *timeline.Extent) { extents = append(extents, *e) }
	return env, k, &extents
}

// TestDoorGates: each kind puts up the gate that its parameters describe, also
// when it is read from a plan, and takes it away.
func TestDoorGates(t *testing.T) {
	for what, tc := range map[string]struct {
		kind, params string
		want         target.Gate
		ends, bars   bool
	}{
		"slow-auth": {"slow-auth", "{}", target.Gate{SlowAuth: &target.SlowAuth{
			Delay: 100 * time.Millisecond, Distribution: "fixed", Workers: 8, Queue: 10_000,
		}}, false, true},
		"slow-auth, all of it": {"slow-auth", "{delay: 2s, distribution: exponential, max: 5s, workers: 0, queue: 3}", target.Gate{SlowAuth: &target.SlowAuth{
			Delay: 2 * time.Second, Distribution: "exponential", Max: 5 * time.Second, Queue: 3,
		}}, false, true},
		"reject-auth":              {"reject-auth", "{}", target.Gate{RejectAuth: &target.RejectAuth{Share: 1, Code: 5}}, false, true},
		"reject-auth, all of it":   {"reject-auth", "{fleet: devices, share: 30%, code: 4}", target.Gate{RejectAuth: &target.RejectAuth{Share: 0.3, Code: 4}}, false, true},
		"connect-limit":            {"connect-limit", "{rate: 500/s}", target.Gate{ConnectLimit: &target.ConnectLimit{Rate: 500, Burst: 50, Then: "refuse"}}, false, true},
		"connect-limit, all of it": {"connect-limit", "{rate: 1/2s, burst: 7, then: hang}", target.Gate{ConnectLimit: &target.ConnectLimit{Rate: 0.5, Burst: 7, Then: "hang"}}, false, true},
		"subscribe-slow":           {"subscribe-slow", "{delay: 1s}", target.Gate{SubscribeSlow: &target.SubscribeSlow{Delay: time.Second}}, true, false},
		"publish-quota":            {"publish-quota", "{rate: 5/s}", target.Gate{PublishQuota: &target.PublishQuota{Rate: 5, Burst: 1, Then: "delay"}}, true, false},
		"publish-quota, close":     {"publish-quota", "{rate: 5/s, burst: 2, then: close}", target.Gate{PublishQuota: &target.PublishQuota{Rate: 5, Burst: 2, Then: "close"}}, true, false},
	} {
		pf, err := planAs(t, tc.kind, tc.params, 10, 7)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		env, k, extents := doorEnv()
		k.tally = target.GateTally{Seen: 1234, Passed: 1000, Refused: 234}
		f := makeFault(t, pf)
		if err := f.Inject(t.Context(), env); err != nil || len(k.up) != 1 {
			t.Errorf("%s: %v, gates %v", what, err, k.up)
		}
		for name, got := range k.up {
			want := tc.want
			want.Name, want.Clients, want.Seed = name, "ids of "+pf.Fleet, 7
			if !reflect.DeepEqual(got, want) || name == "" {
				t.Errorf("%s: %+v, want %+v", what, got, want)
			}
		}
		for range 2 {
			if err := f.Heal(t.Context(), env); err != nil || len(k.up) != 0 {
				t.Errorf("%s: healed, %v, gates %v", what, err, k.up)
			}
		}
		if len(*extents) != 2 {
			t.Fatalf("%s: records %+v", what, *extents)
		}
		e := (*extents)[1]
		if e.Ends != tc.ends || e.Bars != tc.bars || !e.OK || e.Healed == 0 || e.Fleet != pf.Fleet || !strings.HasPrefix(e.Detail, "1,234 ") {
			t.Errorf("%s: %+v", what, e)
		}
	}
}

// Two faults of one kind are two gates, and the heal of one leaves the other.
func TestDoorsCompose(t *testing.T) {
	env, k, _ := doorEnv()
	var faults []Fault
	for seed := range uint64(2) {
		pf, err := planAs(t, "reject-auth", "{share: 50%}", 10, seed)
		if err != nil {
			t.Fatal(err)
		}
		f := makeFault(t, pf)
		if err := f.Inject(t.Context(), env); err != nil {
			t.Fatal(err)
		}
		faults = append(faults, f)
	}
	if len(k.up) != 2 {
		t.Fatalf("gates %v", k.up)
	}
	if err := faults[0].Heal(t.Context(), env); err != nil || len(k.up) != 1 {
		t.Fatalf("%v, gates %v", err, k.up)
	}
	for _, g := range k.up {
		if g.Seed != 1 {
			t.Errorf("the other one was healed: %+v", g)
		}
	}
}

// What can not take effect is in the record.
func TestDoorFails(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*Env, *keeper)
		words  string
	}{
		"no gatekeeper": {func(env *Env, _ *keeper) { env.Target = nil }, ErrNotOffered.Error()},
		"no pattern":    {func(env *Env, _ *keeper) { env.Pattern = nil }, ErrNotOffered.Error()},
		"refused":       {func(_ *Env, k *keeper) { k.err = errors.New("the child is gone") }, "the child is gone"},
	} {
		env, k, extents := doorEnv()
		tc.change(env, k)
		pf, err := planAs(t, "slow-auth", "{}", 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		f := makeFault(t, pf)
		if err := errors.Join(f.Inject(t.Context(), env), f.Heal(t.Context(), env)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if len(*extents) != 1 || (*extents)[0].OK || !strings.Contains((*extents)[0].Err, tc.words) {
			t.Errorf("%s: %+v", what, *extents)
		}
	}
}

func TestDoorMistakes(t *testing.T) {
	for params, want := range map[string]string{
		"slow-auth: {distribution: normal}":                `distribution is "normal", want fixed or uniform or exponential`,
		"slow-auth: {fleet: nobody}":                       `no fleet is named "nobody"`,
		"slow-auth: {who: {share: 10%}}":                   `unknown key "who"`,
		"reject-auth: {share: 0%}":                         "none of the clients",
		"reject-auth: {code: 2}":                           "code is 2, want 4 or 5",
		"connect-limit: {}":                                "connect-limit needs rate",
		"connect-limit: {rate: 0/s}":                       `rate is "0/s"`,
		"connect-limit: {rate: 1/s, burst: 0, then: drop}": `then is "drop", want refuse or hang or close`,
		"publish-quota: {rate: 1/s, then: drop}":           `then is "drop", want delay or close`,
		"subscribe-slow: {for: 0s}":                        "leave it out",
	} {
		kind, text, _ := strings.Cut(params, ": ")
		if _, err := planAs(t, kind, text, 10, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", params, err, want)
		}
	}
	if _, err := slowAuth().make(scenarios.PlanFault{Kind: "slow-auth", Params: map[string]string{"after": "0s", "delay": "soon"}}); err == nil {
		t.Error("a plan that makes no sense was taken")
	}
}

func TestDoorDetail(t *testing.T) {
	d := door{packet: "PUBLISH", passed: "handled"}
	for want, tally := range map[string]target.GateTally{
		"no PUBLISH came":           {},
		"1 PUBLISH seen: 1 handled": {Seen: 1, Passed: 1},
		"no PUBLISH came; what came before the broker ended is not known": {Partial: true},
		"1,234,567 PUBLISHes seen: 1,234,500 handled, 60 refused, 6 closed, 1 given up by the client before their turn; 12 had to wait": {
			Seen: 1_234_567, Passed: 1_234_500, Refused: 60, Closed: 6, Gone: 1, Delayed: 12,
		},
	} {
		if got := d.detail(tally); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
