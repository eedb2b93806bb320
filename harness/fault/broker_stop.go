package fault

import (
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const brokerStopName = "broker-stop"

// brokerStopKind is the row of broker-stop.
func brokerStopKind() Kind {
	return Kind{
		Name:     brokerStopName,
		Doc:      "Ends the broker's process in good order (SIGTERM); it is started again after for, or when the phase is over.",
		Schema:   extentSchema(brokerStopName, `{"properties": {`+persistence+`}}`),
		Needs:    []string{"stop", "restart"},
		NeedsFor: needsPersistence,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planOnBroker(brokerStopName, spec, fleets, readPersistence)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newOnBroker(pf, timeline.Stopped) },
	}
}
