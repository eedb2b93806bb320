package fault

import (
	_ "embed"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed truncate.schema.json
var truncateSchema string

const truncateName = "truncate"

// truncateKind is the row of truncate.
func truncateKind() Kind {
	return Kind{
		Name:   truncateName,
		Doc:    "Ends the connection of each victim inside a certain control packet, of which a part passes.",
		Schema: schemaOf(truncateName, truncateSchema),
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDiscrete(truncateName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
				r := readTruncate(f)
				describePacket(r, params)
				params["bytes"] = strconv.Itoa(r.Keep)
			})
		},
		New: func(pf scenarios.PlanFault) (Fault, error) {
			return newFrames(pf, readTruncate, "packet", "direction", "qos", "nth", "bytes")
		},
	}
}

func readTruncate(f *scenarios.Fields) netfault.Rule {
	r := readPacket(f, truncateName)
	r.Act, r.Keep = netfault.Truncate, f.Count("bytes", 1)
	if r.Keep == 0 {
		f.Fail("bytes", "bytes is 0: want a whole number from 1")
	}
	return r
}
