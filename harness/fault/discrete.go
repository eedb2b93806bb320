package fault

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// A discrete fault does one thing to each of its victims, once or several
// times. All such kinds share their parameters of whom and when, and the
// dispatcher.

//go:embed discrete.schema.json
var discreteSchema string

// maxHits bounds a plan, which holds each hit.
const maxHits = 1_000_000

// jitterStream keeps the jitter apart from other uses of one seed.
const jitterStream = 0x6a69_7474_6572

// schemaOf is the JSON Schema of a discrete kind: what all share, and its own
// on top. It panics on text that is no schema, as that is compiled in.
func schemaOf(kind, own string) json.RawMessage {
	var schema, more map[string]any
	for text, into := range map[string]*map[string]any{strings.ReplaceAll(discreteSchema, "{kind}", kind): &schema, own: &more} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			panic(fmt.Sprintf("schema of %s: %v", kind, err))
		}
	}
	properties := schema["properties"].(map[string]any)
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

// planDiscrete picks the victims (readWho) and lays them out in time (readWhen),
// all of that times over. own reads what else the kind has, and adds it to params.
func planDiscrete(kind string, spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64,
	own func(f *scenarios.Fields, params map[string]string),
) (scenarios.PlanFault, error) {
	f := spec.Fields()
	pf := scenarios.PlanFault{Kind: kind}
	var def string
	if len(fleets) > 0 {
		def = fleets[0].Name
	}
	pf.Fleet = f.Text("fleet", def)
	at := slices.IndexFunc(fleets, func(fl scenarios.PlanFleet) bool { return fl.Name == pf.Fleet })
	if at < 0 {
		f.Fail("fleet", "fleet: no fleet is named %q", pf.Fleet)
	}
	var fleet *scenarios.PlanFleet
	if at >= 0 {
		fleet = &fleets[at]
	}
	timing, again := readWhen(f, kind), readRepeats(f)
	clients, rule, who := readWho(f, fleet, seed)
	params := map[string]string{"who": rule}
	if own != nil {
		own(f, params)
	}
	if err := errorsOf(f, who); err != nil {
		return scenarios.PlanFault{}, err
	}
	if again.times > maxHits/max(1, len(clients)) {
		f.Fail("times", "%d victims, %d times each, are more than %d hits", len(clients), again.times, maxHits)
		return scenarios.PlanFault{}, f.Err()
	}
	timing.describe(params)
	again.describe(params)
	pf.Params, pf.Victims = params, again.victims(clients, timing.offsets(len(clients), seed), seed)
	pf.Count, pf.Digest = len(pf.Victims), digest(pf.Victims)
	return pf, nil
}

// errorsOf gives the mistakes of a mapping and of one inside it, which share a
// list; what only the inner one can know are its unread keys.
func errorsOf(f, inner *scenarios.Fields) error {
	if err := inner.Err(); err != nil {
		return err
	}
	return f.Err()
}

// repeats says how often each victim is hit.
type repeats struct {
	times  int
	every  time.Duration
	jitter float64 // share of every
}

func readRepeats(f *scenarios.Fields) repeats {
	const absent = time.Duration(-1)
	r := repeats{f.Count("times", 1), f.Duration("every", absent), f.Share("jitter", 0)}
	switch {
	case r.times == 0:
		f.Fail("times", "times is 0: want a whole number from 1")
	case r.times > 1 && !f.Has("every"):
		f.Fail("times", "times needs every")
	case f.Has("every") && !f.Has("times"):
		f.Fail("every", "every needs times")
	case f.Has("jitter") && !f.Has("every"):
		f.Fail("jitter", "jitter needs every")
	case r.every == 0:
		f.Fail("every", "every is 0s: the hits of one victim are apart")
	}
	return r
}

// describe adds what is not at its default: plans of older versions keep their
// hash.
func (r repeats) describe(params map[string]string) {
	if r.times == 1 {
		return
	}
	params["times"], params["every"] = fmt.Sprint(r.times), r.every.String()
	if r.jitter > 0 {
		params["jitter"] = scenarios.FormatShare(r.jitter)
	}
}

// victims lists the hits, round by round.
func (r repeats) victims(clients []int, offsets []time.Duration, seed uint64) []scenarios.Victim {
	rng := rand.New(rand.NewPCG(seed, jitterStream))
	all := make([]scenarios.Victim, 0, len(clients)*r.times)
	for round := range r.times {
		for i, client := range clients {
			v := scenarios.Victim{Client: client, Offset: offsets[i]}
			if r.times > 1 {
				v.Offset += time.Duration(round)*r.every + time.Duration(rng.Float64()*r.jitter*float64(r.every))
			}
			all = append(all, v)
		}
	}
	return all
}

// discrete is one planned discrete fault.
type discrete struct {
	kind    string
	fleet   string
	victims []scenarios.Victim // by offset
	// act does what the kind does, from Issued to Answered, and fills in a.
	act func(ctx context.Context, env *Env, a *timeline.Action)
	// paced: it acts through the closer, whose service may set a pace.
	paced bool

	mu     sync.Mutex // around Record and Progress: their owners need no lock
	issued int
}

func newDiscrete(pf scenarios.PlanFault, act func(context.Context, *Env, *timeline.Action)) (*discrete, error) {
	if len(pf.Victims) != pf.Count {
		return nil, fmt.Errorf("%s: %w (%d of %d)", pf.Kind, ErrNoVictims, len(pf.Victims), pf.Count)
	}
	victims := slices.Clone(pf.Victims)
	slices.SortStableFunc(victims, func(a, b scenarios.Victim) int { return cmp.Compare(a.Offset, b.Offset) })
	return &discrete{kind: pf.Kind, fleet: pf.Fleet, victims: victims, act: act}, nil
}

// Inject acts on each victim and records what came of it.
func (d *discrete) Inject(ctx context.Context, env *Env) error {
	return d.run(ctx, env, func(v scenarios.Victim) {
		a := d.action(env, v.Client)
		a.Intended = env.Start + timeline.Instant(v.Offset)
		if env.Before != nil {
			env.Before(d.fleet, v.Client)
		}
		d.act(ctx, env, &a)
		d.record(env, a)
	})
}

// Heal has nothing to undo: the clients come back by themselves.
func (d *discrete) Heal(context.Context, *Env) error { return nil }

// run goes through the timetable in an open loop: one dispatcher hands each
// victim to a free worker when its instant has come and never waits for an
// answer. If all workers are busy, or the machine is, the next call begins
// late, and the distance from Intended to Issued says by how much; a dispatcher
// that is behind catches up without a pause.
func (d *discrete) run(ctx context.Context, env *Env, one func(scenarios.Victim)) error {
	d.issued = 0
	todo := make(chan scenarios.Victim)
	workers := env.Concurrency
	if workers <= 0 {
		workers = DefaultConcurrency
	}
	var wg sync.WaitGroup
	for range min(workers, len(d.victims)) {
		wg.Go(func() {
			for v := range todo {
				if ctx.Err() != nil {
					continue // handed over in the moment of the cancel: never issued
				}
				d.count(env)
				one(v)
			}
		})
	}
	d.dispatch(ctx, env, todo)
	close(todo)
	wg.Wait()
	if d.issued < len(d.victims) && ctx.Err() != nil {
		return fmt.Errorf("%s: %d of %d victims: %w: %w", d.kind, d.issued, len(d.victims), ErrStopped, context.Cause(ctx))
	}
	return nil
}

// dispatch hands out the victims, each not before its instant nor faster than
// the closer's pace.
func (d *discrete) dispatch(ctx context.Context, env *Env, todo chan<- scenarios.Victim) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for _, v := range d.victims {
		if wait := time.Duration(env.Start + timeline.Instant(v.Offset) - env.Clock.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		if d.paced && env.Pace != nil && env.Pace(ctx) != nil {
			return
		}
		select {
		case todo <- v:
		case <-ctx.Done():
			return
		}
	}
}

// action is the record of an action on a client, as far as it is known before.
func (d *discrete) action(env *Env, client int) timeline.Action {
	return timeline.Action{
		Fault:    d.kind,
		Phase:    env.Phase,
		Wave:     env.Wave,
		Fleet:    d.fleet,
		Client:   client,
		ClientID: env.ClientID(d.fleet, client),
	}
}

func (d *discrete) record(env *Env, a timeline.Action) {
	d.mu.Lock()
	defer d.mu.Unlock()
	env.Record(a)
}

func (d *discrete) count(env *Env) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.issued++
	if env.Progress != nil {
		env.Progress(d.issued)
	}
}

// answered notes the answer to a call.
func answered(env *Env, a *timeline.Action, err error) {
	a.Answered = env.Clock.Now()
	if a.OK = err == nil; err != nil {
		a.Err = err.Error()
	}
}
