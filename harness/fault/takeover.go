package fault

import (
	"context"
	_ "embed"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed takeover.schema.json
var takeoverSchema string

const (
	takeoverName = "takeover"
	defaultHold  = time.Second
)

// takeoverKind is the row of takeover.
func takeoverKind() Kind {
	return Kind{
		Name:   takeoverName,
		Doc:    "Opens a second connection under the id of each victim, so that the broker closes the first one.",
		Schema: schemaOf(takeoverName, takeoverSchema),
		Plan:   planTakeover,
		New:    newTakeover,
	}
}

func planTakeover(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planDiscrete(takeoverName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
		params["hold"] = f.Duration("hold", defaultHold).String()
	})
}

func newTakeover(pf scenarios.PlanFault) (Fault, error) {
	f := fieldsOf(pf, "hold")
	hold := f.Duration("hold", defaultHold)
	if err := f.Err(); err != nil {
		return nil, err
	}
	return newDiscrete(pf, func(ctx context.Context, env *Env, a *timeline.Action) {
		a.Issued = env.Clock.Now()
		if env.Clients == nil {
			answered(env, a, ErrNotOffered)
			return
		}
		at, err := env.Clients.Takeover(ctx, a.Fleet, a.Client, hold)
		answered(env, a, err)
		if err == nil {
			a.Answered = at // the CONNACK was read
		}
	})
}
