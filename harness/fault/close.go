package fault

import (
	"context"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const closeName = "close"

// closeKind is the row of close.
func closeKind() Kind {
	return Kind{
		Name:   closeName,
		Doc:    "Closes the connection of each victim through the closer of the run, by default the CloseConnection API.",
		Schema: schemaOf(closeName, "{}"),
		Plan:   planClose,
		New:    newClose,
	}
}

func planClose(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	return planDiscrete(closeName, spec, fleets, seed, nil)
}

func newClose(pf scenarios.PlanFault) (Fault, error) {
	d, err := newDiscrete(pf, func(ctx context.Context, env *Env, a *timeline.Action) {
		a.Issued = env.Clock.Now()
		closed, err := env.Closer.CloseConnection(ctx, a.ClientID)
		answered(env, a, err)
		a.Found, a.Closed = closed.Found, closed.At
		a.Tries, a.Busy = closed.Tries, closed.Throttled
	})
	if err != nil {
		return nil, err
	}
	d.paced = true
	return d, nil
}
