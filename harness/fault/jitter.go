package fault

import (
	_ "embed"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed jitter.schema.json
var jitterSchema string

const jitterName = "jitter"

// jitterKind is the row of jitter.
func jitterKind() Kind {
	return Kind{
		Name:   jitterName,
		Doc:    "Makes each victim's link late by a random time in one direction or both; the order stays.",
		Schema: lastingSchema(jitterName, jitterSchema),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planWay(jitterName, spec, fleets, seed, readJitter)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newWay(pf, readJitter, "up_to") },
	}
}

func readJitter(f *scenarios.Fields, params map[string]string) (w netfault.Way) {
	w.Jitter = readTime(f, jitterName, "up_to")
	params["up_to"] = w.Jitter.String()
	return w
}
