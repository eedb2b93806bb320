package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// will demands that each connection with a Will that ended without DISCONNECT
// published it, once and as it was given [MQTT-3.1.2-8], also the one that a
// takeover ended, and that no other did [MQTT-3.14.4-3]. A Will does not say of
// which connection it is, so they are counted by client: no fewer than the ends
// that certainly owe one, no more than those that can have caused one.
func will(ev Evidence) Result {
	if !slices.ContainsFunc(ev.Plan.Fleets, func(f scenarios.PlanFleet) bool { return f.Will != nil }) {
		return notApplicable("no client of the plan has a Will")
	}
	if len(ev.WillWatch) == 0 {
		return unknown("nobody was there to read the Wills")
	}
	var t tally
	read := willsByClient(ev.Wills, &t)
	actions := ev.actionsByClient()
	ends, watched, held := 0, 0, ev.holds()
	for i := range ev.Clients {
		cl := &ev.Clients[i]
		w := read[cl.ID]
		delete(read, cl.ID)
		b := ev.bill(cl, actions[cl.ID], held, w.last)
		ends += b.ended
		watched += b.owed
		ev.settle(cl, b, w, &t)
	}
	for id, w := range read {
		t.fault(timeline.ChargeBroker, int64(w.first), "%s: %d Wills of a client that is in no fleet", id, w.first)
	}
	otherwise := valid("%d of %d abnormal ends were watched, and each published its Will", watched, ends)
	switch {
	case ev.lacks("env.json"):
		otherwise = unknown("the abilities of the target are not known")
	case ends > 0 && watched == 0:
		otherwise = unknown("%d connections ended abnormally, and none so that its Will could be seen", ends)
	}
	return t.verdict(fmt.Sprintf("Wills that are missing, too many or wrong: %d", t.count), otherwise)
}

// wills counts the Wills of one client. A copy with DUP may repeat one that was
// read, or be the first that came through.
type wills struct {
	first, copies int
	last          timeline.Instant // the latest one was read
}

// willsByClient counts the Wills and finds those that differ from what the
// CONNECT said.
func willsByClient(list []timeline.Will, t *tally) map[string]wills {
	read := map[string]wills{}
	for _, w := range list {
		n := read[w.ClientID]
		if w.DUP {
			n.copies++
		} else {
			n.first++
		}
		n.last = max(n.last, w.At)
		read[w.ClientID] = n
		if w.Wrong != "" {
			t.fault(timeline.ChargeBroker, 1, "%s at %s on %s: %s", w.ClientID, clock(w.At), w.Topic, w.Wrong)
		}
	}
	return read
}

// bill is what a client's connections owe.
type bill struct {
	ended int // ended abnormally before the stop
	owed  int // of them, with a watcher there from before until 5 s later
	may   int // connections that can have published a Will
	last  *timeline.Conn
}

// bill goes through the connections of one client, of which the latest Will was
// read at last. A connection that the broker wrote to later has left none.
func (ev Evidence) bill(cl *Client, actions []Action, held holds, last timeline.Instant) (b bill) {
	for _, c := range cl.all() {
		if !c.Will || c.Connect == 0 || c.ConnackCode != 0 {
			continue // refused: no Will was stored
		}
		sure, may := ev.abnormal(c, actions)
		if may && c.Alive <= last {
			b.may++
		}
		if !sure || c.Scripted || !accepted(c) || c.End == 0 || c.End > ev.Stop {
			continue
		}
		b.ended++
		if ev.seen(c, held) {
			b.owed++
			b.last = c
		}
	}
	return b
}

// abnormal reports whether the broker certainly (sure) or possibly (may) saw a
// connection end without DISCONNECT. actions are those on its client.
func (ev Evidence) abnormal(c *timeline.Conn, actions []Action) (sure, may bool) {
	struck := func(kind func(string) bool) bool {
		return slices.ContainsFunc(actions, func(a Action) bool { return kind(a.Fault) && c.Live(a.Issued) })
	}
	switch {
	case c.Disconnect != "out":
		// What a target's own kick does with the Will is its ability.
		kicked := struck(func(kind string) bool { return kind == "close" })
		return !kicked || ev.Target.Abilities.SendsWill, true
	case slices.ContainsFunc(ev.Frames, func(f timeline.Frame) bool {
		return f.ClientID == c.ClientID && f.N == c.N && f.Out && f.Type == "DISCONNECT" && !f.Passed
	}):
		return true, true
	}
	// The DISCONNECT may have crossed the broker's own close, or not got through.
	return false, c.EndKind != timeline.EndLocal || c.PartialOut > 0 ||
		struck(func(kind string) bool { return ends(kind) && kind != "disconnect" })
}

// watchLead is how long before we saw an end a watcher must have been there:
// the broker saw it earlier than we did. The bound is ours.
const watchLead = timeline.Instant(100 * time.Millisecond)

// seen reports whether the Will of a connection could be read: a watcher was
// there from before the end until 5 s later, and so was a fit harness.
func (ev Evidence) seen(c *timeline.Conn, held holds) bool {
	to := held.due(c.ClientID, c.End) + patience
	return covers(ev.WillWatch, c.End-watchLead, to) && to <= ev.Stop && !ev.starved(c.End, to)
}

// settle compares what was read with the bill.
func (ev Evidence) settle(cl *Client, b bill, w wills, t *tally) {
	if missing := b.owed - w.first - w.copies; missing > 0 {
		if ev.willQoS(cl) == 0 {
			// QoS 0 promises no delivery (section 4.3.1).
			t.warn(int64(missing), "%s: %d of %d Wills at QoS 0 were not read", cl.ID, missing, b.owed)
		} else {
			t.fault(timeline.ChargeBroker, int64(missing), "%s: %d Wills of %d abnormal ends were read, the last of them of connection %d at %s",
				cl.ID, w.first+w.copies, b.owed, b.last.N, clock(b.last.End))
		}
	}
	if excess := w.first - b.may; excess > 0 {
		t.fault(timeline.ChargeBroker, int64(excess), "%s: %d Wills were read of %d connections that can have left one", cl.ID, w.first, b.may)
	}
}

// willQoS is the QoS at which a client's Will can be expected.
func (ev Evidence) willQoS(cl *Client) byte {
	qos := byte(2)
	if f := ev.Plan.Fleet(cl.Fleet); f != nil && f.Will != nil {
		qos = f.Will.QoS
	}
	if top := ev.Target.Abilities.MaxQoS; top != nil && *top < int(qos) {
		return byte(*top)
	}
	return qos
}
