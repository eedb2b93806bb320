package fault

import (
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const brokerKillName = "broker-kill"

// brokerKillKind is the row of broker-kill.
func brokerKillKind() Kind {
	return Kind{
		Name:     brokerKillName,
		Doc:      "Kills the broker's process, as a crash does; it is started again after for, or when the phase is over.",
		Schema:   extentSchema(brokerKillName, `{"properties": {`+persistence+`}}`),
		Needs:    []string{"kill", "restart"},
		NeedsFor: needsPersistence,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planOnBroker(brokerKillName, spec, fleets, readPersistence)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newOnBroker(pf, timeline.Killed) },
	}
}
