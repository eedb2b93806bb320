package fault

import (
	"context"
	_ "embed"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed slow-close.schema.json
var slowCloseSchema string

const (
	slowCloseName    = "slow-close"
	defaultSlowClose = time.Second
)

// slowCloseKind is the row of slow-close.
func slowCloseKind() Kind {
	return Kind{
		Name:   slowCloseName,
		Doc:    "Ends the connection of each victim at the client now, and at the broker only later: in between the broker has a ghost.",
		Schema: schemaOf(slowCloseName, slowCloseSchema),
		Link:   true,
		Plan: func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
			return planDiscrete(slowCloseName, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
				params["delay"] = f.Duration("delay", defaultSlowClose).String()
			})
		},
		New: newSlowClose,
	}
}

// slowClose is one planned slow-close.
type slowClose struct {
	*discrete
	mu     sync.Mutex
	hasten []func() // of the ghosts
}

func newSlowClose(pf scenarios.PlanFault) (Fault, error) {
	f := fieldsOf(pf, "delay")
	delay := f.Duration("delay", defaultSlowClose)
	if err := f.Err(); err != nil {
		return nil, err
	}
	s := &slowClose{}
	var err error
	s.discrete, err = newDiscrete(pf, ending(func(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error) {
		closed, hasten, err := env.Links.SlowClose(ctx, a.ClientID, delay)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hasten = append(s.hasten, hasten)
		return closed, err
	}))
	return s, err
}

// Heal ends the ghosts that are left.
func (s *slowClose) Heal(context.Context, *Env) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, hasten := range s.hasten {
		hasten()
	}
	s.hasten = nil
	return nil
}
