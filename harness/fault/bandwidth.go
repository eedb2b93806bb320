package fault

import (
	_ "embed"
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed bandwidth.schema.json
var bandwidthSchema string

const bandwidthName = "bandwidth"

// bandwidthKind is the row of bandwidth.
func bandwidthKind() Kind {
	return Kind{
		Name:   bandwidthName,
		Doc:    "Limits the bytes per second of each victim's connection in one direction or both.",
		Schema: lastingSchema(bandwidthName, bandwidthSchema),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planWay(bandwidthName, spec, fleets, seed, readBandwidth)
		},
		New: func(pf scenarios.PlanFault) (Fault, error) { return newWay(pf, readBandwidth, "per_second") },
	}
}

func readBandwidth(f *scenarios.Fields, params map[string]string) (w netfault.Way) {
	n := f.Bytes("per_second", 0)
	switch {
	case !f.Has("per_second"):
		f.Fail("per_second", "bandwidth needs per_second")
	case n == 0:
		f.Fail("per_second", "per_second is 0B: that is a blackhole")
	}
	w.Rate, params["per_second"] = float64(n), fmt.Sprintf("%dB", n)
	return w
}
