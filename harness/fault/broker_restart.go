package fault

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	brokerRestartName = "broker-restart"
	defaultDown       = time.Second
)

const brokerRestartSchema = `{"properties": {
	"down": {"$ref": "#/$defs/duration", "description": "How long there is no broker, from its end to the start of the next one.", "default": "1s"},
	"how": {"enum": ["kill", "stop"], "x-want": "kill or stop", "default": "kill", "description": "kill: SIGKILL, as a crash; stop: SIGTERM, in good order."},
	` + persistence + `
}}`

// brokerRestartKind is the row of broker-restart.
func brokerRestartKind() Kind {
	return Kind{
		Name:     brokerRestartName,
		Doc:      "Ends the broker's process and starts it again at the same addresses, with or without what it had kept.",
		Schema:   without(extentSchema(brokerRestartName, brokerRestartSchema), "for"),
		Needs:    []string{"kill", "stop", "restart"},
		NeedsFor: needsPersistence,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, _ uint64) (scenarios.PlanFault, error) {
			return planOnBroker(brokerRestartName, spec, fleets, func(f *scenarios.Fields, params map[string]string) {
				down := f.Duration("down", defaultDown)
				if down <= 0 {
					f.Fail("down", "down is %s: want some time, such as 1ms", down)
				}
				params["down"], params["how"] = down.String(), f.Text("how", timeline.Killed)
				readPersistence(f, params)
			})
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newOnBroker(pf, pf.Params["how"]) },
	}
}
