package fault

import (
	"context"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const keepaliveStopName = "keepalive-stop"

// keepaliveStopKind is the row of keepalive-stop.
func keepaliveStopKind() Kind {
	return Kind{
		Name:   keepaliveStopName,
		Doc:    "Has each victim write nothing more on its connection, PINGREQ included, and read on, so that the broker must close it.",
		Schema: lastingSchema(keepaliveStopName, "{}"),
		Plan:   planKeepaliveStop,
		New:    newKeepaliveStop,
	}
}

func planKeepaliveStop(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planLasting(keepaliveStopName, spec, fleets, seed, func(f *scenarios.Fields, _ map[string]string) {
		name := f.Text("fleet", "")
		for i, fl := range fleets {
			if (fl.Name == name || name == "" && i == 0) && fl.Session.KeepAlive == 0 {
				f.Fail("fleet", "%s: fleet %s has no keep alive: no broker would close its connections", keepaliveStopName, fl.Name)
			}
		}
	})
}

func newKeepaliveStop(pf scenarios.PlanFault) (Fault, error) {
	var resumes sync.Map // client -> what ends its silence
	hold := func(_ context.Context, env *Env, a *timeline.Action) {
		a.Issued = env.Clock.Now()
		n, resume, err := env.Clients.Silence(a.Fleet, a.Client)
		if err == nil {
			a.N = n
			resumes.Store(a.Client, resume)
		}
		answered(env, a, err)
	}
	release := func(_ *Env, a *timeline.Action) error {
		if resume, held := resumes.LoadAndDelete(a.Client); held {
			resume.(func())()
		}
		return nil
	}
	return newLasting(pf, hold, release)
}
