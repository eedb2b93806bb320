package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	// pollEvery is how often a phase looks at its condition. It decides only
	// when a phase ends, never a measured time: those come from the taps.
	pollEvery = 10 * time.Millisecond
	// sentinelWait is how long the drain waits for its sentinels (5 s is the
	// oracle's "overdue").
	sentinelWait = 5 * time.Second
	// stoppedDrain bounds the drain after an interrupt.
	stoppedDrain = 10 * time.Second
)

// phases runs the timetable: each phase starts its faults and ends by its
// time, its condition, its time-out, or an interrupt.
func (r *run) phases(ctx context.Context) error {
	for i := range r.plan.Phases {
		ph := &r.plan.Phases[i]
		if (r.interrupted() || r.failed) && !isDrain(ph) {
			continue
		}
		if err := r.onePhase(ctx, ph); err != nil {
			return err
		}
		if r.aborted != "" && !r.failed {
			return nil
		}
	}
	return nil
}

func (r *run) onePhase(ctx context.Context, ph *scenarios.PlanPhase) error {
	if len(ph.Waves) > 0 {
		if err := r.firstSnapshot(); err != nil { // before the phase: it stops the world
			return err
		}
	}
	r.setPhase(ph.Name)
	r.sampler.Mark()
	start := r.clock.Now()
	r.connect(ctx)
	r.report()
	if err := r.trafficFor(ctx, ph); err != nil {
		return err
	}

	// Faults stop with the phase, and at once when the run is interrupted.
	faulting, cancel := context.WithCancel(r.soft)
	defer cancel()
	stopNow := context.AfterFunc(ctx, cancel)
	defer stopNow()
	var waves errgroup.Group
	r.victims.announce(ph.Name, len(ph.Waves))
	for _, w := range ph.Waves {
		waves.Go(func() error { return r.wave(faulting, ph, w, start) })
	}

	until := r.condition(ph, start)
	reason, err := r.await(ctx, ph, until)
	cancel()
	err = errors.Join(err, waves.Wait())
	if err != nil {
		return err
	}
	var quiet time.Duration
	if isDrain(ph) {
		quiet = until.quiet() // before the sentinels
		if err := errors.Join(r.sentinel(ctx), r.lastSnapshot(ctx)); err != nil {
			return err
		}
	}
	if reason == reasonTimeout && ph.OnTimeout == "abort" {
		r.aborted = fmt.Sprintf("phase %s: not reached in %s: %s", ph.Name, ph.Timeout, until.short())
		reason = reasonAborted
	}
	ended := r.clock.Now()
	for _, f := range r.fleets {
		f.Flush()
	}
	r.watcher.Flush()
	r.ev.add(timeline.Event{Phase: &timeline.Phase{Name: ph.Name, Start: start, End: ended, Reason: reason, Quiet: int64(quiet)}})
	r.report()
	return errors.Join(r.ev.flush(), r.flushFindings())
}

// Why a phase ended.
const (
	reasonFor         = "for"
	reasonUntil       = "until"
	reasonTimeout     = "timeout"
	reasonInterrupted = "interrupted"
	reasonAborted     = "aborted"
)

// await returns when the phase is over. A phase with waves can not be over
// before its last wave was issued; its time-out counts from that wave.
func (r *run) await(ctx context.Context, ph *scenarios.PlanPhase, until *condition) (string, error) {
	limit := ph.Timeout
	if ph.Until == nil {
		limit = ph.For
	}
	if n := len(ph.Waves); n > 0 && ph.Until != nil {
		limit += ph.Waves[n-1].At
	}
	soft := r.soft.Done()
	if isDrain(ph) {
		soft = nil // an interrupted run still drains
		if r.interrupted() || r.failed {
			limit = min(limit, stoppedDrain)
		}
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(until.every())
	defer tick.Stop()
	watch := time.NewTicker(abortEvery)
	defer watch.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-soft:
			return reasonInterrupted, nil
		case <-deadline.C:
			if ph.Until == nil {
				return reasonFor, nil
			}
			if until.reached() {
				return reasonUntil, nil
			}
			return reasonTimeout, nil
		case <-tick.C:
			if until.reached() {
				return reasonUntil, nil
			}
		case <-watch.C:
			if why := r.broken(); why != "" && !r.failed {
				r.aborted, r.failed = why, true
				return reasonAborted, nil
			}
		}
	}
}

// wave issues the faults of one wave at its intended instant, and heals them
// when the phase is over, which ends ctx.
func (r *run) wave(ctx context.Context, ph *scenarios.PlanPhase, w scenarios.PlanWave, phaseStart timeline.Instant) error {
	start := phaseStart + timeline.Instant(w.At)
	issued := sync.OnceFunc(func() { r.victims.issuedAll(ph.Name) })
	defer issued()
	if !sleepUntil(ctx, r.clock, start) {
		return nil
	}
	// The event goes in first: a run killed in mid-wave still shows it.
	r.ev.add(timeline.Event{Wave: &timeline.Wave{
		Phase: ph.Name, Wave: w.Wave, Start: start, End: start + timeline.Instant(w.Horizon), Overlap: w.Overlap,
	}})
	var group errgroup.Group
	var faults []fault.Fault
	envs := make([]*fault.Env, len(w.Faults))
	for i, pf := range w.Faults {
		env := r.env(ph.Name, w.Wave, start)
		env.Number, envs[i] = i+1, env
		f, err := r.opts.Tables.newFault(pf)
		if err != nil {
			return err
		}
		faults = append(faults, f)
		r.victims.expect(ph.Name, cuts(pf))
		if pf.Fleet == "" { // whom it ends, only the evidence tells
			r.wide.Store(true)
		}
		group.Go(func() error {
			err := f.Inject(ctx, env)
			if errors.Is(err, fault.ErrStopped) {
				err = nil // the phase is over or the run was interrupted
			}
			return err
		})
	}
	err := group.Wait()
	if !w.HasVictims() {
		outlast(ctx, faults)
	}
	issued()
	if err == nil {
		end := start + timeline.Instant(firstOffset(w)+w.Horizon)
		if sleepUntil(ctx, r.clock, end) || r.clock.Now() >= end {
			r.victims.overdue(ph.Name, w.Wave)
		}
		<-ctx.Done()
	}
	return errors.Join(err, healAll(context.WithoutCancel(ctx), faults, envs))
}

// healAll heals the faults of a wave, all at once: what one lets go may have to
// pass what another still holds, and one at the door of a broker that another has
// frozen can be lifted only when that one is.
func healAll(ctx context.Context, faults []fault.Fault, envs []*fault.Env) error {
	errs := make([]error, len(faults))
	var healing sync.WaitGroup
	for i, f := range faults {
		healing.Go(func() { errs[i] = f.Heal(ctx, envs[i]) })
	}
	healing.Wait()
	return errors.Join(errs...)
}

// outlast waits until the time of each fault that has one is over, or ctx ends:
// nobody is missed while a fault without victims lasts, so that a phase that
// waits until all are back would be over before its fault.
func outlast(ctx context.Context, faults []fault.Fault) {
	for _, f := range faults {
		if timed, ok := f.(interface{ Over() <-chan struct{} }); ok && timed.Over() != nil {
			select {
			case <-timed.Over():
			case <-ctx.Done():
			}
		}
	}
}

// cuts is how many connections a frame fault ends when each of its packets
// passes; 0 for every other fault, whose actions come by the timetable.
func cuts(pf scenarios.PlanFault) int {
	if pf.Kind == "cut" || pf.Kind == "truncate" || pf.Kind == "swallow" && pf.Params["then"] == "close" && pf.Params["share"] == "" {
		return pf.Count
	}
	return 0
}

// env is what a fault may touch.
func (r *run) env(phase string, wave int, start timeline.Instant) *fault.Env {
	return &fault.Env{
		Clock: r.clock, Closer: r.victims.watch(phase, wave, r.closer, r.where), Phase: phase, Wave: wave, Start: start,
		Pace:     r.pace,
		Before:   r.traffic.Before,
		ClientID: func(fleet string, client int) string { return r.byName[fleet].ID(client) },
		Clients:  clients{r, phase, wave}, Frames: r.frames, Frame: r.framed, Links: r.links,
		Target: r.target, Everyone: r.everyone, Pattern: r.pattern, Extent: r.extent,
		Exec: r.execs(), Kernel: r.kernel, Freezes: &r.freezes,
		Record: func(a timeline.Action) {
			if a.Until == 0 { // else it is the second record of a lasting one
				r.issued.Add(1)
			}
			if isFrame(a.Fault) && a.Issued != 0 {
				r.victims.cut(phase, wave, a.ClientID, r.where[a.ClientID])
			}
			r.ev.add(timeline.Event{Action: &a})
		},
	}
}

// everyone gives each client of each fleet: the broker itself is a victim, and so
// are the control connections, whose ends are then no finding.
func (r *run) everyone(yield func(fleet string, client int) bool) {
	for _, f := range []*fleet.Fleet{r.control.Fleet, r.watcher.Fleet} {
		for i := range f.Len() {
			r.victims.mark(f.ID(i), f.LiveN(i))
		}
	}
	for _, f := range r.fleets {
		for i := range f.Len() {
			if !yield(f.Name(), i) {
				return
			}
		}
	}
}

// pattern is of the client ids of a fleet, or of all for "".
func (r *run) pattern(name string) string {
	var all []string
	for _, f := range r.fleets {
		if name == "" || f.Name() == name {
			all = append(all, f.Pattern())
		}
	}
	return strings.Join(all, "|")
}

// extent records a fault without victims, and numbers it.
func (r *run) extent(e *timeline.Extent) {
	if e.ID == 0 {
		e.ID = int(r.extents.Add(1))
	}
	r.ev.add(timeline.Event{Extent: new(*e)})
	if e.Process != "" && e.Process != timeline.Frozen && e.Healed != 0 {
		r.tellPID()
	}
}

// trafficFor starts the publishers at the first phase after the fleet is
// connected, and stops them where the drain begins.
func (r *run) trafficFor(ctx context.Context, ph *scenarios.PlanPhase) error {
	connecting := ph.Until != nil && (ph.Until.Connected != nil || ph.Until.ConnectedCount > 0)
	switch {
	case isDrain(ph):
		r.traffic.Stop()
	case !connecting && !r.publishing:
		r.publishing = true
		return r.traffic.Start(ctx)
	}
	return nil
}

// sleepUntil waits for an instant; false when ctx ended first.
func sleepUntil(ctx context.Context, clock *timeline.Clock, at timeline.Instant) bool {
	t := time.NewTimer(time.Duration(at - clock.Now()))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
