package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// neverReturned demands that each client that was once there was back when the
// run was stopped.
func neverReturned(ev Evidence) Result {
	switch {
	case !ev.Complete:
		return unknown("the evidence ends before the run did")
	case len(ev.Away) > 0 && ev.Interrupted:
		c := unknown("clients away when the run was interrupted: %d", len(ev.Away))
		c.Count = int64(len(ev.Away))
		return c
	}
	var t tally
	known, left := ev.roster(), 0
	for _, id := range ev.Away {
		if ev.leftForGood(known[id]) {
			left++
			continue
		}
		charge, why := ev.away(known[id])
		t.faultOf(Fault{Client: id}, charge, "%s: %s", id, why)
	}
	back := valid("every client was back at the end (%d outages)", ev.Returned)
	if left > 0 {
		back = valid("every client that comes back was back at the end (%d outages); with policy %s %d are away", ev.Returned, scenarios.PolicyNone, left)
	}
	if mute := ev.mute(known); mute > 0 && !ev.Interrupted && ev.Aborted == "" {
		back = unknown("clients that rode a fault out, and read nothing from its issue to the end: %d. Whether they are there, nobody saw", mute)
		back.Count = int64(mute)
	}
	return t.verdict(fmt.Sprintf("clients not back at the end: %d (%s)", len(ev.Away)-left, t.charged()), back)
}

// mute counts the clients whose connection a lasting fault held, and that have
// shown no sign of life on it since: no end, and nothing that they read.
func (ev Evidence) mute(known roster) int {
	clients := map[string]bool{}
	for i := range ev.Actions {
		a := &ev.Actions[i]
		cl := known[a.ClientID]
		if !a.Lasting || a.Outcome != "rode-out" || a.Until == 0 || cl == nil || len(cl.Conns) == 0 {
			continue
		}
		c := cl.Conns[len(cl.Conns)-1]
		if accepted(c) && c.Connack <= a.Issued && c.LastIn <= a.Issued && (c.End == 0 || c.Scripted || c.End >= ev.Stop) {
			clients[a.ClientID] = true
		}
	}
	return len(clients)
}

// leftForGood reports whether a client's policy never has it dial again, and it
// has not: the broker had accepted its last connection.
func (ev Evidence) leftForGood(cl *Client) bool {
	if cl == nil || len(cl.Conns) == 0 || ev.Plan == nil {
		return false
	}
	f := ev.Plan.Fleet(cl.Fleet)
	return f != nil && f.Reconnect.Policy == scenarios.PolicyNone && accepted(cl.Conns[len(cl.Conns)-1])
}

// away says where a client stood on its way back, by its last attempt, and who
// was to take the next step.
func (ev Evidence) away(cl *Client) (timeline.Charge, string) {
	if cl == nil || len(cl.Conns) == 0 {
		return timeline.ChargeNobody, "nothing is known of its connections"
	}
	c := cl.Conns[len(cl.Conns)-1]
	at := fmt.Sprintf("connection %d, dialled at %s", c.N, clock(c.Dial))
	ended := c.End != 0 && c.End < ev.Stop
	if x := ev.barred(cl.Fleet, c); x != nil {
		return timeline.ChargeClient, fmt.Sprintf("%s, was turned away by the fault %s and did not try again after it", at, x.Fault)
	}
	switch {
	case c.ConnackCode != 0:
		return timeline.ChargeBroker, fmt.Sprintf("%s, was refused with return code %d", at, c.ConnackCode)
	case ended && accepted(c):
		return timeline.ChargeClient, fmt.Sprintf("%s, ended at %s, and no dial came after it", at, clock(c.End))
	case c.EndKind == timeline.EndDial || c.Dialed == 0:
		return timeline.ChargeBroker, at + ", found no broker"
	case c.Connect == 0:
		return timeline.ChargeClient, at + ", wrote no CONNECT"
	case c.Connack == 0:
		return timeline.ChargeBroker, at + ", got no CONNACK"
	case c.Restored == 0:
		return unanswered(c), at + ", is not subscribed"
	}
	return timeline.ChargeBroker, at + ", is subscribed and read no message"
}

// barred is the fault that turned an attempt to connect away: it was in effect
// meanwhile, and was lifted. nil = none.
func (ev Evidence) barred(fleet string, c *timeline.Conn) *timeline.Extent {
	if accepted(c) {
		return nil
	}
	for i := range ev.Extents {
		x := &ev.Extents[i]
		if x.Bars && x.OK && (x.Fleet == "" || x.Fleet == fleet) && x.Issued <= max(c.Connack, c.End) && c.Dial <= x.Healed {
			return x
		}
	}
	return nil
}

// unanswered is who has to act on a connection that is not subscribed.
func unanswered(c *timeline.Conn) timeline.Charge {
	for _, s := range c.Subs {
		if s.Sent != 0 && (s.Acked == 0 || s.Granted >= 0x80) {
			return timeline.ChargeBroker
		}
	}
	return timeline.ChargeClient
}
