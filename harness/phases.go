package harness

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/fault"
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
		if r.interrupted() && !isDrain(ph) {
			continue
		}
		if err := r.onePhase(ctx, ph); err != nil {
			return err
		}
		if r.aborted != "" {
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

	reason, err := r.await(ctx, ph, start)
	cancel()
	err = errors.Join(err, waves.Wait())
	if err != nil {
		return err
	}
	if isDrain(ph) {
		if err := errors.Join(r.sentinel(ctx), r.lastSnapshot(ctx)); err != nil {
			return err
		}
	}
	if reason == reasonTimeout && ph.OnTimeout == "abort" {
		r.aborted = fmt.Sprintf("phase %s: not reached in %s: %s", ph.Name, ph.Timeout, r.short(ph))
		reason = reasonAborted
	}
	for _, f := range r.fleets {
		f.Flush()
	}
	r.watcher.Flush()
	r.ev.add(timeline.Event{Phase: &timeline.Phase{Name: ph.Name, Start: start, End: r.clock.Now(), Reason: reason}})
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
func (r *run) await(ctx context.Context, ph *scenarios.PlanPhase, start timeline.Instant) (string, error) {
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
		if r.interrupted() {
			limit = min(limit, stoppedDrain)
		}
	}
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
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
			if r.reached(ph, start) {
				return reasonUntil, nil
			}
			return reasonTimeout, nil
		case <-tick.C:
			if ph.Until != nil && r.reached(ph, start) {
				return reasonUntil, nil
			}
		}
	}
}

// reached looks at the phase's condition.
func (r *run) reached(ph *scenarios.PlanPhase, start timeline.Instant) bool {
	u := ph.Until
	switch {
	case u.Connected != nil:
		return float64(r.connected()) >= *u.Connected*float64(r.plan.Clients)
	case u.Back != nil:
		back, victims, issuing := r.victims.back(ph.Name)
		return !issuing && float64(back) >= *u.Back*float64(victims)
	case u.Quiet != nil:
		last := start // quiet counts from the phase's start at the earliest
		for _, f := range r.fleets {
			last = max(last, f.LastMessage())
		}
		return r.clock.Now()-last >= timeline.Instant(*u.Quiet)
	}
	return false
}

// short says, in words, how far the phase's condition was reached.
func (r *run) short(ph *scenarios.PlanPhase) string {
	if ph.Until.Connected != nil {
		return fmt.Sprintf("%d of %d clients connected and subscribed", r.connected(), r.plan.Clients)
	}
	if ph.Until.Back != nil {
		back, victims, _ := r.victims.back(ph.Name)
		return fmt.Sprintf("%d of %d clients back", back, victims)
	}
	return "messages still arriving"
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
		Phase: ph.Name, Wave: w.Wave, Start: start, End: start + timeline.Instant(w.Horizon),
	}})
	env := r.env(ph.Name, w.Wave, start)
	var group errgroup.Group
	var faults []fault.Fault
	for _, pf := range w.Faults {
		f, err := r.opts.Tables.newFault(pf)
		if err != nil {
			return err
		}
		faults = append(faults, f)
		r.victims.expect(ph.Name, cuts(pf))
		group.Go(func() error {
			err := f.Inject(ctx, env)
			if errors.Is(err, fault.ErrStopped) {
				err = nil // the phase is over or the run was interrupted
			}
			return err
		})
	}
	err := group.Wait()
	issued()
	if err == nil {
		<-ctx.Done()
	}
	for _, f := range faults {
		err = errors.Join(err, f.Heal(context.WithoutCancel(ctx), env))
	}
	return err
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
		Clock: r.clock, Closer: r.victims.watch(phase, r.closer, r.where), Phase: phase, Wave: wave, Start: start,
		Pace:     r.pace,
		Before:   r.traffic.Before,
		ClientID: func(fleet string, client int) string { return r.byName[fleet].ID(client) },
		Clients:  clients{r, phase}, Frames: r.frames, Frame: r.framed, Links: r.links,
		Target: r.target, Everyone: r.everyone, Extent: r.extent,
		Record: func(a timeline.Action) {
			if a.Until == 0 { // else it is the second record of a lasting one
				r.issued.Add(1)
			}
			if isFrame(a.Fault) && a.Issued != 0 {
				r.victims.cut(phase, a.ClientID, r.where[a.ClientID])
			}
			r.ev.add(timeline.Event{Action: &a})
		},
	}
}

// everyone gives each client of each fleet.
func (r *run) everyone(yield func(fleet string, client int) bool) {
	for _, f := range r.fleets {
		for i := range f.Len() {
			if !yield(f.Name(), i) {
				return
			}
		}
	}
}

// extent records a fault without victims, and numbers it.
func (r *run) extent(e *timeline.Extent) {
	if e.ID == 0 {
		e.ID = int(r.extents.Add(1))
	}
	r.ev.add(timeline.Event{Extent: new(*e)})
}

// trafficFor starts the publishers at the first phase after the fleet is
// connected, and stops them where the drain begins.
func (r *run) trafficFor(ctx context.Context, ph *scenarios.PlanPhase) error {
	connecting := ph.Until != nil && ph.Until.Connected != nil
	switch {
	case isDrain(ph):
		r.traffic.Stop()
	case !connecting && !r.publishing:
		r.publishing = true
		return r.traffic.Start(ctx)
	}
	return nil
}

func isDrain(ph *scenarios.PlanPhase) bool { return ph.Until != nil && ph.Until.Quiet != nil }

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
