package fault

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

//go:embed close.schema.json
var closeSchema []byte

const closeName = "close"

// closeKind is the row of close.
func closeKind() Kind {
	return Kind{
		Name:   closeName,
		Doc:    "Closes the connection of each victim through the closer of the run, by default the CloseConnection API.",
		Schema: closeSchema,
		Plan:   planClose,
		New:    newClose,
	}
}

// planClose lays the victims out in time: the first at after, then evenly over
// spread or at rate, in a random order that the seed decides.
func planClose(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error) {
	f := spec.Fields()
	pf := scenarios.PlanFault{Kind: closeName}
	var def string
	if len(fleets) > 0 {
		def = fleets[0].Name
	}
	pf.Fleet = f.Text("fleet", def)
	at := slices.IndexFunc(fleets, func(fl scenarios.PlanFleet) bool { return fl.Name == pf.Fleet })
	if at < 0 {
		f.Fail("fleet", "fleet: no fleet is named %q", pf.Fleet)
	}
	after, spread, rate := f.Duration("after", 0), f.Duration("spread", 0), f.Rate("rate", 0)
	if f.Has("spread") && f.Has("rate") {
		f.Fail("rate", "close has at most one of spread and rate")
	}
	who := f.Sub("who")
	share, count := who.Share("share", 1), who.Count("count", 0)
	if who.Has("share") && share == 0 || who.Has("count") && count == 0 {
		f.Fail("who", "who names no victim")
	}
	if at >= 0 && count > fleets[at].Clients {
		who.Fail("count", "count is %d, and fleet %s has %d clients", count, pf.Fleet, fleets[at].Clients)
	}
	if err := errorsOf(f, who); err != nil {
		return scenarios.PlanFault{}, err
	}
	n := fleets[at].Clients
	pf.Params = map[string]string{"after": after.String(), "spread": spread.String()}
	if rate > 0 {
		delete(pf.Params, "spread")
		pf.Params["rate"] = scenarios.FormatRate(rate)
	}
	if count > 0 {
		pf.Params["who"] = fmt.Sprintf("count %d", count)
	} else {
		count = countOf(share, n)
		pf.Params["who"] = "share " + scenarios.FormatShare(share)
	}
	for i, client := range pick(n, count, seed) {
		offset := after + time.Duration(float64(spread)*float64(i)/float64(count))
		if rate > 0 {
			offset = after + time.Duration(float64(i)/rate*float64(time.Second))
		}
		pf.Victims = append(pf.Victims, scenarios.Victim{Client: client, Offset: offset})
	}
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

type closeFault struct {
	fleet   string
	victims []scenarios.Victim // by offset
}

func newClose(pf scenarios.PlanFault) (Fault, error) {
	if len(pf.Victims) != pf.Count {
		return nil, fmt.Errorf("%s: %w (%d of %d)", closeName, ErrNoVictims, len(pf.Victims), pf.Count)
	}
	victims := slices.Clone(pf.Victims)
	slices.SortStableFunc(victims, func(a, b scenarios.Victim) int { return cmp.Compare(a.Offset, b.Offset) })
	return &closeFault{fleet: pf.Fleet, victims: victims}, nil
}

// Heal has nothing to undo: the clients come back by themselves.
func (c *closeFault) Heal(context.Context, *Env) error { return nil }

// Inject closes the victims by the timetable, in an open loop: one dispatcher
// hands each victim to a free worker when its instant has come and never waits
// for an answer. If all workers are busy, or the machine is, the next call
// begins late, and the distance from Intended to Issued says by how much; a
// dispatcher that is behind catches up without a pause.
func (c *closeFault) Inject(ctx context.Context, env *Env) error {
	run := &closing{fault: c, env: env}
	todo := make(chan scenarios.Victim)
	workers := env.Concurrency
	if workers <= 0 {
		workers = DefaultConcurrency
	}
	var wg sync.WaitGroup
	for range min(workers, len(c.victims)) {
		wg.Go(func() {
			for v := range todo {
				run.one(ctx, v)
			}
		})
	}
	run.dispatch(ctx, todo)
	close(todo)
	wg.Wait()
	if run.issued < len(c.victims) && ctx.Err() != nil {
		return fmt.Errorf("%s: %d of %d victims: %w: %w", closeName, run.issued, len(c.victims), ErrStopped, context.Cause(ctx))
	}
	return nil
}

// closing is one Inject under way.
type closing struct {
	fault *closeFault
	env   *Env

	mu     sync.Mutex // around Record and Progress: their owners need no lock
	issued int
}

// dispatch hands out the victims, each not before its instant.
func (r *closing) dispatch(ctx context.Context, todo chan<- scenarios.Victim) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for _, v := range r.fault.victims {
		if wait := time.Duration(r.intended(v) - r.env.Clock.Now()); wait > 0 {
			timer.Reset(wait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		select {
		case todo <- v:
		case <-ctx.Done():
			return
		}
	}
}

func (r *closing) intended(v scenarios.Victim) timeline.Instant {
	return r.env.Start + timeline.Instant(v.Offset)
}

// one closes one victim and records what came of it.
func (r *closing) one(ctx context.Context, v scenarios.Victim) {
	if ctx.Err() != nil {
		return // handed over in the moment of the cancel: never issued
	}
	a := timeline.Action{
		Fault:    closeName,
		Phase:    r.env.Phase,
		Wave:     r.env.Wave,
		Fleet:    r.fault.fleet,
		Client:   v.Client,
		ClientID: r.env.ClientID(r.fault.fleet, v.Client),
		Intended: r.intended(v),
	}
	r.count()
	a.Issued = r.env.Clock.Now()
	closed, err := r.env.Closer.CloseConnection(ctx, a.ClientID)
	a.Answered = r.env.Clock.Now()
	a.OK, a.Found, a.Closed = err == nil, closed.Found, closed.At
	if err != nil {
		a.Err = err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.env.Record(a)
}

func (r *closing) count() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.issued++
	if r.env.Progress != nil {
		r.env.Progress(r.issued)
	}
}
