package fault

import (
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const dialTimeoutName = "dial-timeout"

// dialTimeoutKind is the row of dial-timeout.
func dialTimeoutKind() Kind {
	return Kind{
		Name:   dialTimeoutName,
		Doc:    "Lets each new dial of its clients hang until the client's own time-out; their connections stay.",
		Schema: dialsSchema(dialTimeoutName),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDials(dialTimeoutName, spec, fleets, seed)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newDials(pf, netfault.DialsHang, "hung") },
	}
}
