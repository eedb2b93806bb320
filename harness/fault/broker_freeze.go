package fault

import (
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const brokerFreezeName = "broker-freeze"

// brokerFreezeKind is the row of broker-freeze.
func brokerFreezeKind() Kind {
	return Kind{
		Name:   brokerFreezeName,
		Doc:    "Stops the broker's process where it stands (SIGSTOP), sockets and all, and lets it go on (SIGCONT).",
		Schema: extentSchema(brokerFreezeName, "{}"),
		Needs:  []string{"freeze"},
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planOnBroker(brokerFreezeName, spec, fleets, nil)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newOnBroker(pf, timeline.Frozen) },
	}
}
