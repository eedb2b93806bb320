package fault

import (
	"context"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const rstName = "rst"

// rstKind is the row of rst.
func rstKind() Kind {
	return Kind{
		Name:   rstName,
		Doc:    "Resets the connection of each victim: both ends get an RST, busy or idle.",
		Schema: schemaOf(rstName, "{}"),
		Link:   true,
		Needs:  []string{"socket"},
		Note:   rstNote,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDiscrete(rstName, spec, fleets, seed, nil)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) {
			return newDiscrete(pf, ending(func(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error) {
				closed, synthetic, err := env.Links.Reset(ctx, a.ClientID)
				if synthetic {
					a.Detail = "synthetic"
				}
				return closed, err
			}))
		},
	}
}
