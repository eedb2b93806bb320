package fault

import (
	"context"
	_ "embed"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed rst.schema.json
var rstSchema string

const (
	rstName = "rst"
	// Who sends the RST.
	byClient = "client"
	byBroker = "broker"

	needReset = "reset"
)

// rstKind is the row of rst.
func rstKind() Kind {
	return Kind{
		Name:   rstName,
		Doc:    "Resets the connection of each victim, busy or idle: from its client's socket, so that both ends get an RST, or from the broker's.",
		Schema: schemaOf(rstName, rstSchema),
		Link:   true,
		Needs:  []string{"socket"},
		Note:   rstNote,
		NeedsFor: func(spec scenarios.FaultSpec) []string {
			if readBy(spec.Fields()) == byBroker {
				return []string{needReset}
			}
			return nil
		},
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDiscrete(rstName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
				if by := readBy(f); by != byClient { // plans of older versions keep their hash
					params["by"] = by
				}
			})
		},
		New: newRST,
	}
}

func readBy(f *scenarios.Fields) string {
	by := f.Text("by", byClient)
	if by != byClient && by != byBroker {
		f.Fail("by", "by is %q, want %s or %s", by, byClient, byBroker)
	}
	return by
}

func newRST(pf scenarios.PlanFault) (Fault, error) {
	f := fieldsOf(pf, "by")
	reset := resetByClient
	if readBy(f) == byBroker {
		reset = resetByBroker
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	return newDiscrete(pf, ending(reset))
}

// resetByClient aborts the socket below the client.
func resetByClient(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error) {
	closed, synthetic, err := env.Links.Reset(ctx, a.ClientID)
	if synthetic {
		a.Detail = "synthetic"
	}
	return closed, err
}

// resetByBroker has the broker reset the socket that it accepted.
func resetByBroker(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error) {
	resetter, ok := env.Target.(target.Resetter)
	if !ok {
		return target.Closed{}, ErrNotOffered
	}
	env.Links.Doom(a.ClientID)
	return resetter.Reset(ctx, a.ClientID)
}
