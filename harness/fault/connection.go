package fault

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Of the faults of the connection itself, which act through Env.Links: those
// that end it, and those that impair it for a time.

// ending gives the act of a discrete fault that ends connections with how.
func ending(how func(ctx context.Context, env *Env, a *timeline.Action) (target.Closed, error)) func(context.Context, *Env, *timeline.Action) {
	return func(ctx context.Context, env *Env, a *timeline.Action) {
		a.Issued = env.Clock.Now()
		if env.Links == nil || env.Clients == nil {
			answered(env, a, ErrNotOffered)
			return
		}
		env.Clients.Closing(a.Fleet, a.Client)
		closed, err := how(ctx, env, a)
		answered(env, a, err)
		a.Found, a.Closed = closed.Found, closed.At
	}
}

// The directions of an impairment, as seen by the client.
const (
	bothWays = "both"
	upOnly   = "up"
	downOnly = "down"
)

// readWays reads which ways are impaired.
func readWays(f *scenarios.Fields) string {
	direction := f.Text("direction", bothWays)
	if direction != bothWays && direction != upOnly && direction != downOnly {
		f.Fail("direction", "direction is %q, want %s, %s or %s", direction, bothWays, upOnly, downOnly)
	}
	return direction
}

// impair puts what happens to bytes on the ways that are meant.
func impair(direction string, w netfault.Way) (im netfault.Impairment) {
	if direction != downOnly {
		im.Up = w
	}
	if direction != upOnly {
		im.Down = w
	}
	return im
}

// readWay reads what a kind does to bytes, and adds it to params.
type readWay = func(f *scenarios.Fields, params map[string]string) netfault.Way

// planWay plans a fault that makes bytes late.
func planWay(kind string, spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64, read readWay) (scenarios.PlanFault, error) {
	return planLasting(kind, spec, fleets, seed, func(f *scenarios.Fields, params map[string]string) {
		if read(f, params).Jitter > 0 {
			params["seed"] = strconv.FormatUint(seed, 10) // of the draws, which no victim shows
		}
		params["direction"] = readWays(f)
	})
}

// newWay makes such a fault; key is its own parameter.
func newWay(pf scenarios.PlanFault, read readWay, key string) (Fault, error) {
	f := fieldsOf(pf, "direction", key)
	im := impair(readWays(f), read(f, map[string]string{}))
	if err := f.Err(); err != nil {
		return nil, err
	}
	im.New = true
	return newImpairing(pf, im)
}

// readTime reads a time that must be given.
func readTime(f *scenarios.Fields, kind, key string) time.Duration {
	d := f.Duration(key, 0)
	switch {
	case !f.Has(key):
		f.Fail(key, "%s needs %s", kind, key)
	case d == 0:
		f.Fail(key, "%s is 0s: that is no %s", key, kind)
	}
	return d
}

// impairing is one planned fault that impairs the links of its victims.
type impairing struct {
	*lasting
	im   netfault.Impairment
	seed uint64 // each victim has draws of its own

	mu    sync.Mutex
	lifts map[*timeline.Action]func()
}

func newImpairing(pf scenarios.PlanFault, im netfault.Impairment) (Fault, error) {
	seed, err := seedOf(pf)
	if err != nil {
		return nil, err
	}
	x := &impairing{im: im, seed: seed, lifts: map[*timeline.Action]func(){}}
	x.lasting, err = newLasting(pf, x.on, x.off)
	return x, err
}

func (x *impairing) on(_ context.Context, env *Env, a *timeline.Action) {
	a.Issued = env.Clock.Now()
	if env.Links == nil {
		answered(env, a, ErrNotOffered)
		return
	}
	im := x.im
	im.Seed = seedFor(x.seed, a.Client)
	lift := env.Links.Impair(a.ClientID, im)
	x.mu.Lock()
	x.lifts[a] = lift
	x.mu.Unlock()
	answered(env, a, nil)
}

func (x *impairing) off(_ *Env, a *timeline.Action) error {
	x.mu.Lock()
	lift := x.lifts[a]
	delete(x.lifts, a)
	x.mu.Unlock()
	if lift != nil {
		lift()
	}
	return nil
}

// seedFor gives each client of a fault draws of its own.
func seedFor(seed uint64, client int) uint64 { return seed ^ uint64(client+1)*0x9e37_79b9_7f4a_7c15 }

// planDials plans a fault of the dials of its victims. It acts on none of their
// connections, so that it is an extent, with clients.
func planDials(kind string, spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	pf, err := planLasting(kind, spec, fleets, seed, func(f *scenarios.Fields, _ map[string]string) {
		for _, key := range []string{"spread", "rate", "poisson", "times"} {
			if f.Has(key) {
				f.Fail(key, "%s acts on all of its clients at once: it has no %s", kind, key)
			}
		}
	})
	if err != nil {
		return scenarios.PlanFault{}, err
	}
	delete(pf.Params, "spread")
	pf.Extent = true
	return pf, nil
}

// newDials makes a fault of the dials of some clients; done says in a word what
// became of them.
func newDials(pf scenarios.PlanFault, dials netfault.Dials, done string) (Fault, error) {
	if len(pf.Victims) != pf.Count {
		return nil, fmt.Errorf("%s: %w (%d of %d)", pf.Kind, ErrNoVictims, len(pf.Victims), pf.Count)
	}
	g := &gate{done: done, of: map[int]int{}}
	return newExtent(pf, false,
		func(_ context.Context, env *Env, e *timeline.Extent) error {
			if env.Links == nil {
				return ErrNotOffered
			}
			for _, v := range pf.Victims {
				g.lifts = append(g.lifts, env.Links.Impair(env.ClientID(pf.Fleet, v.Client), netfault.Impairment{
					Dials: dials, Dialled: func() { g.dialled(v.Client) },
				}))
			}
			e.Detail = fmt.Sprintf("dials of %d clients of %s", len(pf.Victims), pf.Fleet)
			return nil
		},
		func(_ context.Context, _ *Env, e *timeline.Extent) error {
			for _, lift := range g.lifts {
				lift()
			}
			e.Detail = g.text(len(pf.Victims), pf.Fleet)
			return nil
		})
}

// gate counts the dials that were not let through.
type gate struct {
	done  string
	lifts []func()

	mu sync.Mutex
	n  int
	of map[int]int // by client
}

func (g *gate) dialled(client int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.n++
	g.of[client]++
}

func (g *gate) text(clients int, fleet string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprintf("%d dials by %d of %d clients of %s %s", g.n, len(g.of), clients, fleet, g.done)
}

// dialsSchema is the schema of a fault of dials.
func dialsSchema(kind string) json.RawMessage {
	var schema map[string]any
	if err := json.Unmarshal(lastingSchema(kind, `{"x-want": "a mapping of fleet, who, after and for"}`), &schema); err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	properties := schema["properties"].(map[string]any)
	for _, key := range []string{"spread", "rate", "poisson"} {
		delete(properties, key)
	}
	delete(schema, "not")
	delete(schema, "x-not")
	out, err := json.Marshal(schema)
	if err != nil {
		panic(fmt.Sprintf("schema of %s: %v", kind, err))
	}
	return out
}
