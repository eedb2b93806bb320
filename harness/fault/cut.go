package fault

import (
	_ "embed"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed cut.schema.json
var cutSchema string

const (
	cutName    = "cut"
	sideBefore = "before"
	sideAfter  = "after"
)

// cutKind is the row of cut.
func cutKind() Kind {
	return Kind{
		Name:   cutName,
		Doc:    "Ends the connection of each victim right before or right after a certain control packet.",
		Schema: schemaOf(cutName, cutSchema),
		Plan:   planCut,
		New: func(pf scenarios.PlanFault) (Fault, error) {
			return newFrames(pf, readCut, "packet", "direction", "qos", "nth", "side")
		},
	}
}

func planCut(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planDiscrete(cutName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
		describePacket(readCut(f), params)
		params["side"] = f.Text("side", "")
	})
}

func readCut(f *scenarios.Fields) netfault.Rule {
	r := readPacket(f, cutName)
	switch side := f.Text("side", ""); {
	case side == sideBefore:
		r.Act = netfault.CutBefore
	case side == sideAfter:
		r.Act = netfault.CutAfter
	case !f.Has("side"):
		f.Fail("side", "%s needs side", cutName)
	default:
		f.Fail("side", "side is %q, want %s or %s", side, sideBefore, sideAfter)
	}
	return r
}
