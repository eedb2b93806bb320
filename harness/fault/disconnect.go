package fault

import (
	"context"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const disconnectName = "disconnect"

// disconnectKind is the row of disconnect.
func disconnectKind() Kind {
	return Kind{
		Name:   disconnectName,
		Doc:    "Has the client library of each victim disconnect in good order, and connect again.",
		Schema: schemaOf(disconnectName, "{}"),
		Plan:   planDisconnect,
		New:    newDisconnect,
	}
}

func planDisconnect(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planDiscrete(disconnectName, spec, fleets, seed, nil)
}

func newDisconnect(pf scenarios.PlanFault) (Fault, error) {
	return newDiscrete(pf, func(ctx context.Context, env *Env, a *timeline.Action) {
		a.Issued = env.Clock.Now()
		if env.Clients == nil {
			answered(env, a, ErrNotOffered)
			return
		}
		answered(env, a, env.Clients.Disconnect(ctx, a.Fleet, a.Client))
	})
}
