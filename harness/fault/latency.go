package fault

import (
	_ "embed"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed latency.schema.json
var latencySchema string

const latencyName = "latency"

// latencyKind is the row of latency.
func latencyKind() Kind {
	return Kind{
		Name:   latencyName,
		Doc:    "Makes each victim's link late by a fixed time in one direction or both.",
		Schema: lastingSchema(latencyName, latencySchema),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planWay(latencyName, spec, fleets, seed, readLatency)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newWay(pf, readLatency, "delay") },
	}
}

func readLatency(f *scenarios.Fields, params map[string]string) (w netfault.Way) {
	w.Delay = readTime(f, latencyName, "delay")
	params["delay"] = w.Delay.String()
	return w
}
