package fault

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// A lasting fault holds each of its victims for a time. All such kinds share
// the parameters of whom and when of the discrete ones, but for the repetitions,
// and `for`.

// forSchema is the parameter for, which makes a fault a lasting one.
const forSchema = `{"$ref": "#/$defs/duration", "description": "How long it lasts. Default: until the phase is over."}`

// lastingSchema is the JSON Schema of a lasting kind.
func lastingSchema(kind, own string) json.RawMessage {
	var schema map[string]any
	if err := json.Unmarshal(schemaOf(kind, own), &schema); err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	delete(schema, "dependentRequired")
	properties := schema["properties"].(map[string]any)
	for _, repeated := range []string{"times", "every", "jitter"} {
		if p, has := properties[repeated].(map[string]any); has && p["x-own"] == nil {
			delete(properties, repeated)
		}
	}
	properties["for"] = json.RawMessage(forSchema)
	out, err := json.Marshal(schema)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	return out
}

// planLasting plans a lasting fault like a discrete one, with `for`.
func planLasting(kind string, spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64,
	own func(f *scenarios.Fields, params map[string]string),
) (scenarios.PlanFault, error) {
	return planDiscrete(kind, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
		readFor(f, params)
		if own != nil {
			own(f, params)
		}
	})
}

// readFor reads `for` into the parameters.
func readFor(f *scenarios.Fields, params map[string]string) {
	d := f.Duration("for", 0)
	if !f.Has("for") {
		return
	}
	if d == 0 {
		f.Fail("for", "for is 0s: leave it out, and it lasts until the phase is over")
		return
	}
	params["for"] = d.String()
}

// lasts is how long a planned fault lasts; 0 = until the phase is over.
func lasts(pf scenarios.PlanFault) (time.Duration, error) {
	text := cmp.Or(pf.Params["for"], pf.Params["down"])
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: for: %w", pf.Kind, err)
	}
	return d, nil
}

// lasting is one planned lasting fault. Inject holds each victim at its
// instant; each is released when its time is over, by a goroutine that Heal
// waits for, or by Heal.
type lasting struct {
	*discrete
	last time.Duration // 0 = until Heal
	// hold does what the kind does, from Issued to Answered, and fills in a;
	// release undoes it. Neither is called twice for a victim that is held.
	hold    func(ctx context.Context, env *Env, a *timeline.Action)
	release func(env *Env, a *timeline.Action) error

	held  []*timeline.Action // OK and not released, by Issued; guarded by discrete.mu
	ripe  chan struct{}      // something new is held
	quit  chan struct{}      // closed by Heal
	once  sync.Once          // of quit
	timer sync.WaitGroup     // the goroutine that releases in time
}

func newLasting(pf scenarios.PlanFault,
	hold func(ctx context.Context, env *Env, a *timeline.Action), release func(env *Env, a *timeline.Action) error,
) (*lasting, error) {
	last, err := lasts(pf)
	if err != nil {
		return nil, err
	}
	d, err := newDiscrete(pf, nil)
	if err != nil {
		return nil, err
	}
	return &lasting{discrete: d, last: last, hold: hold, release: release, ripe: make(chan struct{}, 1), quit: make(chan struct{})}, nil
}

// Inject holds each victim, and returns when all are held.
func (l *lasting) Inject(ctx context.Context, env *Env) error {
	if l.last > 0 {
		l.timer.Go(func() { l.releaseInTime(env) })
	}
	return l.run(ctx, env, func(v scenarios.Victim) {
		a := l.action(env, v.Client)
		a.Intended, a.Lasting, a.Number = env.Start+timeline.Instant(v.Offset), true, env.Number
		if env.Before != nil {
			env.Before(l.fleet, v.Client)
		}
		env.Clients.Holding(l.fleet, v.Client)
		l.hold(ctx, env, &a)
		l.record(env, a)
		if a.OK {
			l.keep(&a)
		} else {
			env.Clients.Released(l.fleet, v.Client)
		}
	})
}

// keep notes a victim that is held.
func (l *lasting) keep(a *timeline.Action) {
	l.mu.Lock()
	l.held = append(l.held, a)
	l.mu.Unlock()
	select {
	case l.ripe <- struct{}{}:
	default:
	}
}

// releaseInTime releases each victim when its time is over, until Heal.
func (l *lasting) releaseInTime(env *Env) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next := time.Hour
		for _, a := range l.due(env.Clock.Now() - timeline.Instant(l.last)) {
			_ = l.free(env, a) // its record says what went wrong
		}
		if first := l.first(); first != nil {
			next = time.Duration(first.Issued + timeline.Instant(l.last) - env.Clock.Now())
		}
		timer.Reset(next)
		select {
		case <-timer.C:
		case <-l.ripe:
		case <-l.quit:
			return
		}
	}
}

// due takes those out that are held since an instant or longer.
func (l *lasting) due(since timeline.Instant) []*timeline.Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.SortStableFunc(l.held, func(a, b *timeline.Action) int { return cmp.Compare(a.Issued, b.Issued) })
	n, _ := slices.BinarySearchFunc(l.held, since+1, func(a *timeline.Action, t timeline.Instant) int { return cmp.Compare(a.Issued, t) })
	due := slices.Clone(l.held[:n])
	l.held = l.held[n:]
	return due
}

// first is the one that is held longest; nil = none.
func (l *lasting) first() *timeline.Action {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		return nil
	}
	return slices.MinFunc(l.held, func(a, b *timeline.Action) int { return cmp.Compare(a.Issued, b.Issued) })
}

// free releases a victim and records it again.
func (l *lasting) free(env *Env, a *timeline.Action) error {
	err := l.release(env, a)
	if err != nil {
		a.OK, a.Err = false, fmt.Sprintf("not lifted: %v", err)
	}
	a.Until = env.Clock.Now()
	l.record(env, *a)
	env.Clients.Released(a.Fleet, a.Client)
	return err
}

// Heal releases whoever is still held.
func (l *lasting) Heal(_ context.Context, env *Env) error {
	l.once.Do(func() { close(l.quit) })
	l.timer.Wait()
	var failed error
	for _, a := range l.due(env.Clock.Now()) {
		if err := l.free(env, a); err != nil && failed == nil {
			failed = fmt.Errorf("%s: %s is not released: %w", l.kind, a.ClientID, err)
		}
	}
	return failed
}
