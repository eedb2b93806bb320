package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// An extent is a fault without victims of its own: at the broker's door, on the
// way there, or from outside. All such kinds share `after` and `for`.

// extentSchema is the JSON Schema of such a kind; own adds its properties.
func extentSchema(kind, own string) json.RawMessage {
	schema := map[string]any{
		"type": "object", "x-want": "a mapping", "additionalProperties": false,
	}
	var more map[string]any
	if err := json.Unmarshal([]byte(own), &more); err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	properties := map[string]any{
		"after": map[string]any{"$ref": "#/$defs/duration", "description": "From the start of the wave.", "default": "0s"},
		"for":   json.RawMessage(forSchema),
	}
	if p, has := more["properties"].(map[string]any); has {
		maps.Copy(properties, p)
	}
	maps.Copy(schema, more)
	schema["properties"] = properties
	out, err := json.Marshal(schema)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	return out
}

// planExtent plans such a fault; own reads what else the kind has, and adds it
// to params.
func planExtent(kind string, spec scenarios.FaultSpec, own func(f *scenarios.Fields, params map[string]string)) (scenarios.PlanFault, error) {
	f := spec.Fields()
	pf := scenarios.PlanFault{Kind: kind, Extent: true, Params: map[string]string{}}
	pf.Params["after"] = f.Duration("after", 0).String()
	readFor(f, pf.Params)
	if own != nil {
		own(f, pf.Params)
	}
	if err := f.Err(); err != nil {
		return scenarios.PlanFault{}, err
	}
	pf.Digest = digest(nil)
	return pf, nil
}

// extent is one planned fault without victims.
type extent struct {
	kind        string
	after, last time.Duration // last: 0 = until Heal
	ends        bool
	always      bool // heal also what take failed at
	// take does what the kind does, and heal undoes it; each may say in e.Detail
	// what came of it. heal is called once, if take gave no error, or always.
	take func(ctx context.Context, env *Env, e *timeline.Extent) error
	heal func(ctx context.Context, env *Env, e *timeline.Extent) error

	mu     sync.Mutex // guards e; held during heal
	e      *timeline.Extent
	healed bool
	quit   chan struct{} // closed by Heal
	once   sync.Once     // of quit
	timer  sync.WaitGroup
	over   chan struct{} // closed when its time is over; nil = it has none
}

// Over is closed when the fault was lifted because its time was over; nil where
// it lasts until Heal. It is for after Inject.
func (x *extent) Over() <-chan struct{} { return x.over }

// newExtent makes one; ends says that it may end connections.
func newExtent(pf scenarios.PlanFault, ends bool, take, heal func(ctx context.Context, env *Env, e *timeline.Extent) error) (*extent, error) {
	last, err := lasts(pf)
	if err != nil {
		return nil, err
	}
	after, err := time.ParseDuration(pf.Params["after"])
	if err != nil {
		return nil, fmt.Errorf("%s: after: %w", pf.Kind, err)
	}
	return &extent{kind: pf.Kind, after: after, last: last, ends: ends, take: take, heal: heal, quit: make(chan struct{})}, nil
}

// Inject takes effect at its instant. What could not take effect is in its
// record, and no error of the run.
func (x *extent) Inject(ctx context.Context, env *Env) error {
	intended := env.Start + timeline.Instant(x.after)
	if !sleepUntil(ctx, env.Clock, intended) {
		return fmt.Errorf("%s: %w: %w", x.kind, ErrStopped, context.Cause(ctx))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.e = &timeline.Extent{
		Fault: x.kind, Phase: env.Phase, Wave: env.Wave, Intended: intended, Issued: env.Clock.Now(), Ends: x.ends,
	}
	err := x.take(ctx, env, x.e)
	x.e.Taken = env.Clock.Now()
	x.e.OK = err == nil && x.e.Skipped == ""
	if err != nil {
		x.e.Err = err.Error()
	}
	x.healed = x.e.Skipped != "" || !x.e.OK && !x.always // nothing to lift
	env.Extent(x.e)
	if !x.healed && x.last > 0 {
		x.over = make(chan struct{})
		x.timer.Go(func() {
			defer close(x.over)
			x.healInTime(context.WithoutCancel(ctx), env)
		})
	}
	return nil
}

func (x *extent) healInTime(ctx context.Context, env *Env) {
	timer := time.NewTimer(x.last)
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = x.lift(ctx, env) // its record says what went wrong
	case <-x.quit:
	}
}

// lift undoes it, once.
func (x *extent) lift(ctx context.Context, env *Env) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.e == nil || x.healed {
		return nil
	}
	x.healed = true
	x.e.Healing = env.Clock.Now()
	err := x.heal(ctx, env, x.e)
	x.e.Healed = env.Clock.Now()
	if err != nil {
		x.e.OK, x.e.Err = false, fmt.Sprintf("not lifted: %v", err)
	}
	env.Extent(x.e)
	return err
}

// Heal undoes it if that was not done yet.
func (x *extent) Heal(ctx context.Context, env *Env) error {
	x.once.Do(func() { close(x.quit) })
	x.timer.Wait()
	if err := x.lift(ctx, env); err != nil {
		return fmt.Errorf("%s: not lifted: %w", x.kind, err)
	}
	return nil
}

// sleepUntil waits for an instant; false when ctx ended first.
func sleepUntil(ctx context.Context, clock *timeline.Clock, at timeline.Instant) bool {
	timer := time.NewTimer(time.Duration(at - clock.Now()))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
