package fault

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestKeepaliveStopKind: each victim is silenced once and let speak again, by its
// time or by Heal, whose second call does nothing; its record names the
// connection.
func TestKeepaliveStopKind(t *testing.T) {
	for name, params := range map[string]map[string]string{"by its time": {"for": "150ms"}, "by Heal": {}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, err := newKeepaliveStop(scenarios.PlanFault{
					Kind: "keepalive-stop", Fleet: "devices", Count: 2, Params: params,
					Victims: []scenarios.Victim{{Client: 4}, {Client: 2, Offset: 100 * time.Millisecond}},
				})
				if err != nil {
					t.Fatal(err)
				}
				c := &clients{}
				env, actions := testEnv(c)
				if err := f.Inject(t.Context(), env); err != nil {
					t.Fatal(err)
				}
				if len(params) > 0 {
					time.Sleep(time.Second)
					synctest.Wait()
				}
				for range 2 {
					if err := f.Heal(t.Context(), env); err != nil {
						t.Error(err)
					}
				}
				for _, want := range []string{"silence devices-4", "resume devices-4", "silence devices-2", "resume devices-2"} {
					if n := len(slices.DeleteFunc(slices.Clone(c.calls), func(call string) bool { return call != want })); n != 1 {
						t.Errorf("%d calls %s in %v", n, want, c.calls)
					}
				}
				if len(*actions) != 4 { // two of each
					t.Errorf("actions %+v", *actions)
				}
				for _, a := range *actions {
					if !a.Lasting || !a.OK || a.N != 1 {
						t.Errorf("action %+v", a)
					}
				}
			})
		})
	}
}

// TestKeepaliveStopPlan: a fleet without a keep alive is refused, named or not.
func TestKeepaliveStopPlan(t *testing.T) {
	with := scenarios.PlanFleet{Clients: 3, Fleet: scenarios.Fleet{Name: "with", Session: scenarios.Session{KeepAlive: 5 * time.Second}}}
	without := scenarios.PlanFleet{Clients: 3, Fleet: scenarios.Fleet{Name: "without"}}
	schema, err := scenarios.Compose(scenarios.Parts{Faults: Parts(), Policies: []string{"paho"}})
	if err != nil {
		t.Fatal(err)
	}
	for text, c := range map[string]struct {
		fleets []scenarios.PlanFleet
		ok     bool
	}{
		"{}":               {[]scenarios.PlanFleet{with, without}, true},
		"{for: 2s}":        {[]scenarios.PlanFleet{without, with}, false},
		"{fleet: with}":    {[]scenarios.PlanFleet{without, with}, true},
		"{fleet: without}": {[]scenarios.PlanFleet{with, without}, false},
	} {
		sc, err := scenarios.Load("x.yaml", []byte("name: x\nfleets: [{name: with, share: 50%}, {name: without, share: 50%}]\nphases: [{name: a, for: 1m, faults: [{keepalive-stop: "+text+"}]}]\n"), schema)
		if err != nil {
			t.Fatal(err)
		}
		pf, err := planKeepaliveStop(sc.Phases[0].Faults[0], c.fleets, 1)
		switch {
		case c.ok && (err != nil || pf.Count != 3):
			t.Errorf("%s: %v, %d victims", text, err, pf.Count)
		case !c.ok && (err == nil || !strings.Contains(err.Error(), "fleet without has no keep alive")):
			t.Errorf("%s: %v", text, err)
		}
	}
}
