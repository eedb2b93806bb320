package judge

import (
	"cmp"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Outcome is what became of one issued action of a discrete fault.
type Outcome string

// The outcomes. "Live" is: CONNACK 0 read and not ended, at the tap.
const (
	Hit      Outcome = "hit"       // ended the connection that was live at i
	LateHit  Outcome = "late-hit"  // ended a newer connection than the one live at i (or than none)
	NoOp     Outcome = "no-op"     // the client was not live at i, and nothing ended by it
	Missed   Outcome = "missed"    // live at i, ended for another cause before the action took effect
	NoEffect Outcome = "no-effect" // answered success, and the connection lived on
	Failed   Outcome = "failed"    // answered an error, and the connection lived on
	RodeOut  Outcome = "rode-out"  // lifted before the client noticed; only of a lasting fault
)

// Hits reports whether an action of this outcome ended a connection.
func (o Outcome) Hits() bool { return o == Hit || o == LateHit }

// Acted is an issued action with its outcome and, for a hit, the connection
// that it ended.
type Acted struct {
	Action  *timeline.Action
	Outcome Outcome
	Conn    *timeline.Conn
}

const (
	// lifeSign: a client may notice its end long after the answer, and until
	// then it still reads what its kernel had buffered. A packet that came
	// later than this after the answer shows that the connection lived on (the
	// bound is ours, the same as for an overdue message). It is for connections
	// without traffic: where there is some, Conn.Alive is the proof.
	lifeSign = timeline.Instant(5 * time.Second)

	// clockSlack is how far before b the tap may see the end that b's close
	// caused: the error of the two processes' readings of one clock.
	clockSlack = timeline.Instant(100 * time.Microsecond)
)

// explain gives each issued action of one client its outcome. One action
// explains at most one end, and an end has at most one action: the earliest
// issued one that can have caused it. A takeover ends nothing before its rival
// writes CONNECT; rivals are those of the client. A lasting fault explains every
// end that comes under it.
func explain(conns, rivals []*timeline.Conn, actions []*timeline.Action) ([]Acted, map[*timeline.Conn]*timeline.Action) {
	order, given := make([]*timeline.Action, 0, len(actions)), make(map[*timeline.Action]*timeline.Action, len(actions))
	for _, a := range actions {
		b := a
		if r := rivalOf(a, rivals); r != nil && r.Connect > a.Issued {
			later := *a
			later.Issued = r.Connect
			b = &later
		}
		given[b] = a
		order = append(order, b)
	}
	slices.SortFunc(order, func(a, b *timeline.Action) int {
		if a.Lasting != b.Lasting { // the discrete ones first: they are sure of what they ended
			return cmp.Compare(bit(a.Lasting), bit(b.Lasting))
		}
		return compareActions(a, b)
	})
	causes := make(map[*timeline.Conn]*timeline.Action)
	acted := make([]Acted, 0, len(actions))
	for _, b := range order {
		a := given[b]
		outcome, conn := explainOne(conns, b, causes)
		if conn != nil {
			causes[conn] = a
		}
		acted = append(acted, Acted{Action: a, Outcome: outcome, Conn: conn})
	}
	return acted, causes
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rivalOf gives the connection that a takeover opened: its CONNACK is the
// action's answer. nil = it opened none, or is another fault.
func rivalOf(a *timeline.Action, rivals []*timeline.Conn) *timeline.Conn {
	for _, r := range rivals {
		if a.Answered != 0 && r.Connack == a.Answered && r.Dial >= a.Issued {
			return r
		}
	}
	return nil
}

func explainOne(conns []*timeline.Conn, a *timeline.Action, causes map[*timeline.Conn]*timeline.Action) (Outcome, *timeline.Conn) {
	if a.Lasting {
		return explainLasting(conns, a, causes)
	}
	if a.N != 0 {
		return explainNamed(conns, a, causes)
	}
	at := liveAt(conns, a.Intended)
	if at != nil && canEnd(at, a, causes) {
		return Hit, at
	}
	if at != nil && !endedBefore(at, a, causes) {
		if a.OK {
			return NoEffect, nil
		}
		return Failed, nil
	}
	for _, c := range conns {
		newer := at == nil && c.Connack > a.Intended || at != nil && c.N > at.N
		if newer && known(c, a) && canEnd(c, a, causes) {
			return LateHit, c
		}
	}
	if at == nil {
		return NoOp, nil
	}
	return Missed, nil
}

// explainNamed explains an action that says itself which connection it ended: a
// frame fault ends a connection from below, in the middle of its packets, so
// that what the client still reads of what had arrived says nothing against it.
func explainNamed(conns []*timeline.Conn, a *timeline.Action, causes map[*timeline.Conn]*timeline.Action) (Outcome, *timeline.Conn) {
	for _, c := range conns {
		switch {
		case c.N != a.N:
		case !accepted(c), causes[c] != nil:
			return NoOp, nil // cut in its handshake: an open outage goes on
		case unscripted(c) && c.End >= effect(a):
			return Hit, c
		case c.End != 0 && c.End < effect(a):
			return Missed, nil
		default:
			return NoEffect, nil
		}
	}
	return NoOp, nil
}

// liveAt gives the newest connection that was live at t, or nil.
func liveAt(conns []*timeline.Conn, t timeline.Instant) *timeline.Conn {
	for _, c := range slices.Backward(conns) {
		if live(c, t) {
			return c
		}
	}
	return nil
}

// effect is the earliest instant at which an action can have ended a
// connection: b where it is known (never before s), else s.
func effect(a *timeline.Action) timeline.Instant {
	if a.Closed > a.Issued {
		return max(a.Issued, a.Closed-clockSlack)
	}
	return a.Issued
}

// canEnd reports whether the action can have caused the end of c.
func canEnd(c *timeline.Conn, a *timeline.Action, causes map[*timeline.Conn]*timeline.Action) bool {
	if !unscripted(c) || causes[c] != nil || c.End < effect(a) {
		return false
	}
	if a.Found != nil && !*a.Found {
		return false // the endpoint says that it closed nothing
	}
	return !livedOn(c, a)
}

// livedOn reports whether c, which ended later, provably outlived the action.
func livedOn(c *timeline.Conn, a *timeline.Action) bool {
	if a.Answered == 0 {
		return false
	}
	if c.Alive > a.Answered {
		return true // the broker wrote something to it that we sent only then
	}
	limit := a.Answered + lifeSign
	// An answered error is no reason to wait for: only an end near it is its own.
	return c.LastIn > limit || (!a.OK && c.End > limit)
}

// endedBefore reports whether c, live at i, ended for another cause than a:
// before a took effect, or by an earlier action, or, when the endpoint says
// that the client was not online, without any sign of life after the answer
// (the broker had let it go before, and the client noticed late).
func endedBefore(c *timeline.Conn, a *timeline.Action, causes map[*timeline.Conn]*timeline.Action) bool {
	if !unscripted(c) {
		return false
	}
	if causes[c] != nil || c.End < effect(a) {
		return true
	}
	notFound := a.Found != nil && !*a.Found
	// What is read after the answer may be what the kernel had buffered: only a
	// message that was sent later shows that the broker still had the client.
	buffered := c.Alive <= a.Answered && c.End <= a.Answered+lifeSign
	return notFound && (c.End <= a.Answered || c.LastIn <= a.Answered || buffered)
}

// known reports whether the broker can have known c when the action took
// effect: its CONNECT was written by then.
func known(c *timeline.Conn, a *timeline.Action) bool {
	switch {
	case a.Closed != 0:
		return c.Connect <= a.Closed+clockSlack
	case a.Answered != 0:
		return c.Connect <= a.Answered
	}
	return true
}
