package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// A fault on the broker's process makes a victim of each client of each fleet,
// whose actions are all issued in one instant, and of the control connections.
// What becomes of the process is an extent, and the kinds share its parameters.

// abilityOf asserts an ability of the target.
func abilityOf[A any](env *Env) (A, error) {
	a, ok := env.Target.(A)
	if !ok {
		return a, fmt.Errorf("%w: the target's broker is no process of ours", ErrNotOffered)
	}
	return a, nil
}

// onBroker is one planned fault on the broker's process.
type onBroker struct {
	*extent
	process string // timeline.Killed, …
	keep    bool   // what starts again finds what the one before had kept

	actions []timeline.Action // of a freeze: those to record again when it is lifted
}

// planOnBroker plans such a fault; own reads what else the kind has.
func planOnBroker(kind string, spec scenarios.FaultSpec, fleets []scenarios.PlanFleet,
	own func(f *scenarios.Fields, params map[string]string),
) (scenarios.PlanFault, error) {
	pf, err := planExtent(kind, spec, own)
	if err != nil {
		return pf, err
	}
	pf.Everyone = true
	for _, f := range fleets {
		pf.Count += f.Clients
	}
	return pf, nil
}

// newOnBroker makes one.
func newOnBroker(pf scenarios.PlanFault, process string) (Fault, error) {
	b := &onBroker{process: process, keep: pf.Params["persistence"] == "on"}
	var err error
	if b.extent, err = newExtent(pf, false, b.strike, b.undo); err != nil {
		return nil, err
	}
	return b, nil
}

// strike acts on the process, and records what that was to each client.
func (b *onBroker) strike(ctx context.Context, env *Env, e *timeline.Extent) error {
	b.actions = b.actions[:0]
	for fleet, client := range env.Everyone {
		if env.Before != nil {
			env.Before(fleet, client)
		}
		if b.process == timeline.Frozen {
			env.Clients.Holding(fleet, client)
		} else {
			env.Clients.Closing(fleet, client)
		}
		b.actions = append(b.actions, timeline.Action{
			Fault: b.kind, Phase: env.Phase, Wave: env.Wave, Fleet: fleet, Client: client,
			ClientID: env.ClientID(fleet, client), Intended: e.Intended, Lasting: b.process == timeline.Frozen, Number: env.Number,
		})
	}
	e.Process, e.Kept = b.process, b.keep
	e.Issued = env.Clock.Now()
	err := b.act(context.WithoutCancel(ctx), env)
	answer := timeline.Action{}
	answered(env, &answer, err)
	for i := range b.actions {
		a := &b.actions[i]
		a.Issued, a.Answered, a.OK, a.Err = e.Issued, answer.Answered, answer.OK, answer.Err
		env.Record(*a)
	}
	if env.Progress != nil {
		env.Progress(len(b.actions))
	}
	if err != nil {
		b.released(env)
	}
	return err
}

func (b *onBroker) act(ctx context.Context, env *Env) error {
	switch b.process {
	case timeline.Killed:
		k, err := abilityOf[target.Killer](env)
		if err != nil {
			return err
		}
		return b.end(ctx, env, k.Kill)
	case timeline.Stopped:
		s, err := abilityOf[target.Stopper](env)
		if err != nil {
			return err
		}
		return b.end(ctx, env, s.Stop)
	}
	p, err := abilityOf[target.Pauser](env)
	if err != nil {
		return err
	}
	return env.Freezes.freeze(p)
}

// end ends the broker. One that did not end as it should may have ended all the
// same: nothing lifts a fault that failed, so that it is started again at once.
func (b *onBroker) end(ctx context.Context, env *Env, by func() error) error {
	err := by()
	if err == nil {
		return nil
	}
	s, serr := abilityOf[target.Starter](env)
	if serr == nil {
		serr = s.Start(ctx, b.keep)
	}
	return errors.Join(err, serr)
}

// undo lets the broker go on, or starts it again.
func (b *onBroker) undo(ctx context.Context, env *Env, _ *timeline.Extent) error {
	if b.process != timeline.Frozen {
		s, err := abilityOf[target.Starter](env)
		if err != nil {
			return err
		}
		return s.Start(ctx, b.keep)
	}
	p, err := abilityOf[target.Pauser](env)
	if err == nil {
		err = env.Freezes.thaw(p)
	}
	until := env.Clock.Now()
	for i := range b.actions {
		a := &b.actions[i]
		a.Until = until
		if err != nil {
			a.OK, a.Err = false, fmt.Sprintf("not lifted: %v", err)
		}
		env.Record(*a)
	}
	b.released(env)
	return err
}

// released says that a freeze holds nobody any more.
func (b *onBroker) released(env *Env) {
	for i := range b.actions {
		if a := &b.actions[i]; a.Lasting {
			env.Clients.Released(a.Fleet, a.Client)
		}
	}
}

// persistence is the parameter of what starts again.
const persistence = `"persistence": {
	"enum": ["on", "off"], "x-want": "on or off", "default": "off",
	"description": "on: it finds what the one before it kept, as far as the target keeps anything; off: it starts empty."}`

func readPersistence(f *scenarios.Fields, params map[string]string) {
	params["persistence"] = f.Text("persistence", "off")
}

// needsPersistence is NeedsFor of a fault that starts the broker again.
func needsPersistence(spec scenarios.FaultSpec) []string {
	if spec.Fields().Text("persistence", "off") == "on" {
		return []string{"persist"}
	}
	return nil
}

// without is a JSON Schema without one of its properties.
func without(schema json.RawMessage, property string) json.RawMessage {
	var s map[string]any
	if err := json.Unmarshal(schema, &s); err != nil {
		panic(err) // as in schemaOf
	}
	delete(s["properties"].(map[string]any), property)
	out, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return out
}
