package fault

import (
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const refuseName = "refuse"

// refuseKind is the row of refuse.
func refuseKind() Kind {
	return Kind{
		Name:   refuseName,
		Doc:    "Refuses each new dial of its clients (ECONNREFUSED); their connections stay.",
		Schema: dialsSchema(refuseName),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDials(refuseName, spec, fleets, seed)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newDials(pf, netfault.DialsRefused, "refused") },
	}
}
