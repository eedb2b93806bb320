package fault

import (
	_ "embed"
	"fmt"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed swallow.schema.json
var swallowSchema string

const swallowName = "swallow"

// swallowKind is the row of swallow.
func swallowKind() Kind {
	return Kind{
		Name:   swallowName,
		Doc:    "Loses single control packets of each victim below the client library, which wrote them, or never reads them.",
		Schema: schemaOf(swallowName, swallowSchema),
		Plan:   planSwallow,
		New: func(pf scenarios.PlanFault) (Fault, error) {
			return newFrames(pf, readSwallow, "packet", "direction", "qos", "nth", "share", "then", "seed")
		},
	}
}

func planSwallow(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planDiscrete(swallowName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
		r := readSwallow(f)
		describePacket(r, params)
		params["then"] = thenGoOn
		if r.Close {
			params["then"] = thenClose
		}
		if r.Nth == 0 {
			delete(params, "nth")
			params["share"] = scenarios.FormatShare(r.Share)
			params["seed"] = strconv.FormatUint(seed, 10) // of the draws, which no victim shows
			if f.Count("times", 1) > 1 {
				f.Fail("times", "share acts to the end of the phase: it is armed once")
			}
		}
	})
}

const (
	thenGoOn  = "go-on"
	thenClose = "close"
)

// readSwallow reads the rule, as written or as planned.
func readSwallow(f *scenarios.Fields) netfault.Rule {
	r := readPacket(f, swallowName)
	r.Act = netfault.Swallow
	switch then := f.Text("then", thenGoOn); then {
	case thenGoOn:
	case thenClose:
		r.Close = true
	default:
		f.Fail("then", "then is %q, want %s or %s", then, thenGoOn, thenClose)
	}
	r.Share = f.Share("share", 0)
	if !f.Has("share") {
		return r
	}
	if f.Has("nth") {
		f.Fail("share", "%s has at most one of nth and share", swallowName)
	}
	if r.Share == 0 {
		f.Fail("share", "share is none of the packets")
	}
	r.Nth = 0
	return r
}

// seedOf reads the seed of the draws from a plan.
func seedOf(pf scenarios.PlanFault) (uint64, error) {
	text, has := pf.Params["seed"]
	if !has {
		return 0, nil
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: seed %q of the plan: %w", pf.Kind, text, err)
	}
	return seed, nil
}
