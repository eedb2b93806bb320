package harness

import (
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// slowPoll is how often a phase looks at a condition over messages: each look
// goes through the accounts of all streams.
const slowPoll = 50 * time.Millisecond

// condition is the condition of one phase while it runs.
type condition struct {
	run   *run
	ph    *scenarios.PlanPhase
	start timeline.Instant
	since map[string]int64 // what the counter said when the phase began
}

func (r *run) condition(ph *scenarios.PlanPhase, start timeline.Instant) *condition {
	c := &condition{run: r, ph: ph, start: start, since: map[string]int64{}}
	if ph.Until != nil {
		for counter := range ph.Until.Count {
			c.since[counter] = r.counted(counter)
		}
	}
	return c
}

// every is how often it is worth a look.
func (c *condition) every() time.Duration {
	u := c.ph.Until
	if u != nil && (u.Drained || u.Count[scenarios.CountAttempted]+u.Count[scenarios.CountAcknowledged]+u.Count[scenarios.CountDelivered] > 0) {
		return slowPoll
	}
	return pollEvery
}

// reached looks at it.
func (c *condition) reached() bool {
	r, u := c.run, c.ph.Until
	switch {
	case u == nil:
		return false
	case u.Connected != nil:
		return float64(r.connected()) >= *u.Connected*float64(r.plan.Clients)
	case u.ConnectedCount > 0:
		return r.connected() >= u.ConnectedCount
	case u.Back != nil:
		back, victims, issuing := r.victims.back(c.ph.Name)
		return !issuing && float64(back) >= *u.Back*float64(victims)
	case u.BackCount > 0: // of those that can come back
		back, victims, issuing := r.victims.back(c.ph.Name)
		return !issuing && back >= min(u.BackCount, victims)
	case u.Quiet != nil:
		return c.quiet() >= *u.Quiet
	case u.Drained:
		return r.book.Settled()
	}
	for counter, n := range u.Count {
		return c.count(counter) >= int64(n)
	}
	return false
}

// quiet is for how long no client has read a message, from the start of the
// phase at the earliest.
func (c *condition) quiet() time.Duration {
	last := c.start
	for _, f := range c.run.fleets {
		last = max(last, f.LastMessage())
	}
	return time.Duration(c.run.clock.Now() - last)
}

// count is how far a counter has come since the start of the phase.
func (c *condition) count(counter string) int64 { return c.run.counted(counter) - c.since[counter] }

// short says, in words, how far it was reached.
func (c *condition) short() string {
	r, u := c.run, c.ph.Until
	switch {
	case u.Connected != nil || u.ConnectedCount > 0:
		return fmt.Sprintf("%d of %d clients connected and subscribed", r.connected(), r.plan.Clients)
	case u.Back != nil || u.BackCount > 0:
		back, victims, _ := r.victims.back(c.ph.Name)
		return fmt.Sprintf("%d of %d clients back", back, victims)
	case u.Drained:
		return "messages still owed"
	}
	for counter, n := range u.Count {
		return fmt.Sprintf("%s %d of %d", counter, c.count(counter), n)
	}
	return "messages still arriving"
}

// counted gives a live counter of the whole run.
func (r *run) counted(counter string) int64 {
	switch counter {
	case scenarios.CountConnects:
		n := int64(0)
		for _, f := range r.fleets {
			n += f.Accepted()
		}
		return n
	case scenarios.CountKicks:
		return r.issued.Load()
	case scenarios.CountAttempted:
		return r.book.Totals().Attempted
	case scenarios.CountAcknowledged:
		return r.book.Totals().Acked
	case scenarios.CountDelivered:
		return r.book.Totals().Delivered
	}
	return 0
}

func isDrain(ph *scenarios.PlanPhase) bool { return ph.Until.Drains() }
