package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// deaf demands that a client that is connected and subscribed reads what it is
// owed: a probe or a message that the broker acknowledged. The standard sets no
// bound; the 5 s are ours.
func deaf(ev Evidence) Result {
	probed := slices.ContainsFunc(ev.Plan.Fleets, func(f scenarios.PlanFleet) bool { return f.Probe != "" })
	if !probed && !owes(ev.Plan, 1) {
		return notApplicable("the plan owes nobody a probe or a message of QoS 1 or 2")
	}
	var t tally
	conns, streams, held := 0, 0, ev.holds()
	for i := range ev.Clients {
		for _, c := range ev.Clients[i].Conns {
			if c.ProbeAcked != 0 && c.Restored != 0 && accepted(c) {
				conns++
				ev.deafConn(c, held, &t)
			}
		}
	}
	known := ev.roster()
	ev.overdue(known, held, &t)
	if ev.Drained {
		streams = ev.unreached(known, &t)
	}
	otherwise := valid("none on %d connections that were owed a probe and %d streams that were closed", conns, streams)
	switch {
	case !ev.Accounts && owes(ev.Plan, 1):
		otherwise = unknown("there are no accounts of messages")
	case conns+streams == 0:
		otherwise = unknown("no probe and no stream's last message was acknowledged")
	}
	return t.verdict(fmt.Sprintf("clients that were connected and did not read what they were owed: %d (%s)", t.count, t.charged()), otherwise)
}

// deafConn judges one connection by its probes.
func (ev Evidence) deafConn(c *timeline.Conn, held holds, t *tally) {
	owed, until := max(c.ProbeAcked, c.Restored), ev.until(c)
	from := held.due(c.ClientID, owed)
	switch {
	case c.FirstMessage != 0 || c.LastPub >= owed || until-from <= patience:
	case slices.ContainsFunc(ev.Frames, func(f timeline.Frame) bool {
		return f.ClientID == c.ClientID && f.N == c.N && f.Type == "PUBLISH" && !f.Out && !f.Passed
	}): // it can have been the probe that a fault swallowed
	case ev.starved(from, from+patience):
		t.starve(1)
	default:
		t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s connection %d: a probe was acknowledged at %s, and nothing was read until %s",
			c.ClientID, c.N, clock(c.ProbeAcked), clock(until))
	}
}

// overdue judges the tails of ended sessions: that their epoch is over excuses
// what was on its way, not what was due long before on a live connection.
func (ev Evidence) overdue(known roster, held holds, t *tally) {
	for i := range ev.Exceptions {
		x := &ev.Exceptions[i]
		cl := known[x.Subscriber]
		if x.Verdict != ledger.LegalLoss || x.Acked == 0 || cl == nil {
			continue
		}
		for _, c := range cl.Conns {
			from := held.due(cl.ID, max(x.Acked, c.Restored))
			if c.Restored == 0 || !accepted(c) || min(ev.until(c), x.At)-from <= patience {
				continue
			}
			if ev.starved(from, from+patience) {
				t.starve(1)
			} else {
				t.faultOf(Fault{Exception: x}, timeline.ChargeBroker, "%s: acknowledged at %s and not read on connection %d, which lived until %s",
					describe(x), clock(x.Acked), c.N, clock(ev.until(c)))
			}
			break
		}
	}
}

// sentinelPatience is how long before the stop a sentinel must have been
// acknowledged: the drain waits 5 s for all sentinels together.
const sentinelPatience = timeline.Instant(time.Second)

// unreached judges the drain: a subscriber that was connected to the end and
// did not read the last message of a stream that it is owed messages of. It
// gives the number of streams whose last message was acknowledged.
func (ev Evidence) unreached(known roster, t *tally) int {
	acked := map[uint32]timeline.Instant{}
	for _, s := range ev.Sentinels {
		if s.Acked != 0 {
			acked[s.Stream] = s.Acked
		}
	}
	type pair struct {
		stream uint32
		client string
	}
	told := map[pair]bool{}
	for i := range ev.Exceptions {
		x := &ev.Exceptions[i]
		p := pair{x.Stream, x.Subscriber}
		at := acked[x.Stream]
		if x.Verdict != ledger.Undetermined || x.Cause == ledger.CauseUnreleased || x.QoS == 0 || at == 0 || told[p] {
			continue
		}
		c := ev.liveAtStop(known[x.Subscriber])
		if c == nil || max(at, c.Restored)+sentinelPatience > ev.Stop {
			continue
		}
		told[p] = true
		if ev.starved(at, ev.Stop) {
			t.starve(1)
			continue
		}
		t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s on connection %d: the stream's last message was acknowledged at %s and not read until %s",
			describe(x), c.N, clock(at), clock(ev.Stop))
	}
	return len(acked)
}

// liveAtStop is the connection of a client that was live and had its
// subscriptions when the run was stopped; nil if there was none.
func (ev Evidence) liveAtStop(cl *Client) *timeline.Conn {
	if cl == nil {
		return nil
	}
	for _, c := range slices.Backward(cl.Conns) {
		if c.Restored != 0 && accepted(c) && (c.End == 0 || c.End >= ev.Stop) {
			return c
		}
	}
	return nil
}
