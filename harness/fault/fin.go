package fault

import (
	"context"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const finName = "fin"

// finKind is the row of fin.
func finKind() Kind {
	return Kind{
		Name:   finName,
		Doc:    "Ends the connection of each victim with a FIN both ways, whoever the closer of the run is.",
		Schema: schemaOf(finName, "{}"),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDiscrete(finName, spec, fleets, seed, nil)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) {
			return newDiscrete(pf, ending(func(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error) {
				return env.Links.CloseConnection(ctx, a.ClientID)
			}))
		},
	}
}
