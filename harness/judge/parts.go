package judge

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Parts is the waterfall of one outage, in nanoseconds. The parts of an outage
// that is back add up to it exactly, and none is negative.
type Parts struct {
	Lag          int64 // intended to issued: the harness's own delay
	Close        int64 // issued to closed at the broker; 0 when b is not known
	Notice       int64 // closed (or, b not known, issued) to the tap's first error
	Retry        int64 // attempts that ended before back, also past CONNACK
	Backoff      int64 // gaps without an attempt: the client's policy
	Dial         int64 // of the attempt that came back, as all below
	Connack      int64
	Resubscribe  int64
	FirstMessage int64

	ClosedKnown bool // b is known, so Close is a measurement
}

// PartNames are the names of the parts in the order of the waterfall.
func PartNames() []string {
	return []string{"lag", "close", "notice", "retry", "backoff", "dial", "connack", "resubscribe", "first_message"}
}

// Values are the parts in the order of PartNames, in nanoseconds.
func (p Parts) Values() []int64 {
	return []int64{p.Lag, p.Close, p.Notice, p.Retry, p.Backoff, p.Dial, p.Connack, p.Resubscribe, p.FirstMessage}
}

// Sum of all parts, in nanoseconds.
func (p Parts) Sum() int64 {
	var sum int64
	for _, v := range p.Values() {
		sum += v
	}
	return sum
}

// cursor walks forward along an outage and hands out the time that it passed.
// It never goes back and never beyond the end, so that the steps can neither
// be negative nor leave a gap, whatever the order of the stamps.
type cursor struct{ at, end timeline.Instant }

// to advances to t and gives the length of the step. An unknown instant (0)
// advances nothing: its time falls to the next known one.
func (c *cursor) to(t timeline.Instant) int64 {
	t = min(max(t, c.at), c.end)
	step := int64(t - c.at)
	c.at = t
	return step
}

// Decompose takes an outage that is back apart: [Start, Returned].
func Decompose(o *Outage) Parts {
	p, cur := began(o, o.Returned)
	last := len(o.Attempts) - 1
	for i, c := range o.Attempts {
		p.Backoff += cur.to(c.Dial)
		if i == last {
			break
		}
		p.Retry += cur.to(attemptEnd(o.Attempts, i, o.Returned))
	}
	if last >= 0 {
		c := o.Attempts[last]
		p.Dial = cur.to(c.Dialed)
		p.Connack = cur.to(c.Connack)
		p.Resubscribe = cur.to(c.Restored)
		p.FirstMessage = cur.to(o.Returned)
	}
	return p
}

// proberAway is how long, of the time from subscriptions restored to back, the
// control connection that probes the client was not live: the broker was its
// victim too. Watchers of Wills, which subscribe, are no probers.
func (o *Outage) proberAway(control []*Client, rules Rules) timeline.Instant {
	if !o.Back() || len(o.Attempts) == 0 || rules.Back[o.Fleet] != scenarios.BackFirstMessage {
		return 0
	}
	var probers []*Client
	for _, cl := range control {
		if !slices.ContainsFunc(cl.Conns, func(c *timeline.Conn) bool { return len(c.Subs) > 0 }) {
			probers = append(probers, cl)
		}
	}
	if len(probers) == 0 {
		return 0
	}
	from := o.Attempts[len(o.Attempts)-1].Restored
	away := max(0, o.Returned-from)
	for _, c := range probers[o.Client%len(probers)].Conns {
		if accepted(c) {
			away -= max(0, min(o.Returned, cmp.Or(c.End, o.Returned))-max(from, c.Connack))
		}
	}
	return away
}

// Unfinished takes an outage that nobody saw end apart, up to where the watch
// ended: each attempt is then a retry, and the parts add up to it just so.
func Unfinished(o *Outage) Parts {
	p, cur := began(o, o.Until)
	for i, c := range o.Attempts {
		p.Backoff += cur.to(c.Dial)
		p.Retry += cur.to(attemptEnd(o.Attempts, i, o.Until))
	}
	p.Backoff += cur.to(o.Until)
	return p
}

// began gives the parts up to the noticed end, and the cursor there.
func began(o *Outage, end timeline.Instant) (p Parts, cur cursor) {
	cur = cursor{at: o.Start, end: end}
	if o.Action != nil {
		p.Lag = cur.to(o.Issued)
		if o.Closed != 0 {
			p.ClosedKnown = true
			p.Close = cur.to(min(o.Closed, o.Noticed))
		}
		p.Notice = cur.to(o.Noticed)
	}
	return p, cur
}

// attemptEnd is when an attempt ended. One whose last record was lost ended
// before the next dial; the last one may still be open at the end of the watch.
func attemptEnd(attempts []*timeline.Conn, i int, end timeline.Instant) timeline.Instant {
	switch {
	case attempts[i].End != 0:
		return attempts[i].End
	case i+1 < len(attempts):
		return attempts[i+1].Dial
	}
	return end
}
