package harness

import (
	"context"
	"time"
)

// Status is a glance at a running run, for a status line. Its numbers are
// indications: those of the report come from the evidence.
type Status struct {
	Phase     string
	Elapsed   time.Duration
	Clients   int
	Connected int     // connected and subscribed now
	Away      int     // lost and not yet back
	Victims   int     // clients closed in this phase
	Back      int     // of them back
	Kicks     int64   // closes issued so far
	KickRate  float64 // closes per second since the last status
	Attempted int64   // messages
	Acked     int64
	Delivered int64
	LostQoS0  int64         // missing copies that a later message of the stream has passed
	LostQoS1  int64         // the same at QoS 1; some may yet come
	Canary    time.Duration // p99 lateness so far
}

const statusEvery = 250 * time.Millisecond

// statusLoop reports four times a second until the run stops.
func (r *run) statusLoop(ctx context.Context) {
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.report()
		}
	}
}

// report gives the caller a status. It is called from the loop and at phase
// borders, one at a time.
func (r *run) report() {
	if r.opts.OnStatus == nil {
		return
	}
	r.statusMu.Lock()
	defer r.statusMu.Unlock()
	phase := r.currentPhase()
	s := Status{
		Phase: phase, Elapsed: time.Duration(r.clock.Now()), Clients: r.plan.Clients,
		Connected: r.connected(), Kicks: r.issued.Load(),
	}
	if p99, ok := r.sampler.CanaryP99(); ok {
		s.Canary = time.Duration(p99)
	}
	for _, f := range r.fleets {
		s.Away += f.Away()
	}
	s.Back, s.Victims, _ = r.victims.back(phase)
	t := r.book.Totals()
	s.Attempted, s.Acked, s.Delivered = t.Attempted, t.Acked, t.Delivered
	s.LostQoS0, s.LostQoS1 = t.Lost[0], t.Lost[1]
	now := r.clock.Now()
	if dt := now - r.lastStatus; dt > 0 {
		s.KickRate = float64(s.Kicks-r.lastKicks) / time.Duration(dt).Seconds()
	}
	r.lastStatus, r.lastKicks = now, s.Kicks
	r.opts.OnStatus(s)
}

func (r *run) connected() int {
	n := 0
	for _, f := range r.fleets {
		n += f.Connected()
	}
	return n
}
