package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// rule is the check of one rule of the protocol: the tap found its breaches
// while the packets passed, and here they are weighed.
type rule struct {
	name    string
	subject func(*scenarios.Plan) string // "" = the plan contains it, else why not
}

func (r rule) run(ev Evidence) Result {
	return r.weigh(ev, func(timeline.Finding) bool { return false }, func(*tally) {})
}

// weigh counts the breaches of the rule, and what more finds. Those breaches that
// mild names are worth a warning only.
func (r rule) weigh(ev Evidence, mild func(timeline.Finding) bool, more func(*tally)) Result {
	if why := r.subject(ev.Plan); why != "" {
		return notApplicable("%s", why)
	}
	var t tally
	for i := range ev.Findings {
		f := ev.Findings[i]
		switch {
		case f.Rule != r.name || ev.excused(f):
		case f.Count > 0:
			r.further(&t, f)
		case f.Warn || mild(f):
			t.warn(1, "%s", breach(f))
		default:
			t.faultOf(Fault{Finding: &ev.Findings[i]}, f.Charge, "%s", breach(f))
		}
	}
	more(&t)
	otherwise := valid("no breach on %d connections", ev.connacks())
	switch {
	case ev.lacks("findings.jsonl.gz"):
		otherwise = unknown("the findings of the tap are not all there")
	case ev.connacks() == 0:
		otherwise = unknown("no client was ever connected")
	}
	return t.verdict(fmt.Sprintf("breaches: %d (%s)", t.count, t.charged()), otherwise)
}

// further adds a line that stands for many.
func (r rule) further(t *tally, f timeline.Finding) {
	if f.Warn {
		t.warn(f.Count, "%d more that are counted and not listed", f.Count)
		return
	}
	t.fault(f.Charge, f.Count, "%d more that are counted and not listed", f.Count)
}

// breach writes one finding with all that is known of it.
func breach(f timeline.Finding) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%s connection %d at %s", f.ClientID, f.N, clock(f.At))
	if f.PacketID != 0 {
		fmt.Fprintf(&sb, ", packet id %d", f.PacketID)
	}
	if f.Stream != 0 {
		fmt.Fprintf(&sb, ", stream %d #%d", f.Stream, f.Seq)
	}
	if f.Detail != "" {
		fmt.Fprintf(&sb, ": %s", f.Detail)
	}
	return sb.String()
}

// excused reports whether a packet that a frame fault kept from passing
// explains a finding: one of the same client, before it, with the same message
// or, where one of the two messages is not known, the same packet id.
//
// A library is never excused. The tap stands between it and the fault, so the
// library sees what the tap sees: that the broker did not get what the library
// wrote, or that it never read an answer, is no reason to break a rule. It is
// the broker that looks wrong from above for what it did not get.
func (ev Evidence) excused(f timeline.Finding) bool {
	switch f.Charge {
	case timeline.ChargePublisher, timeline.ChargeSubscriber, timeline.ChargeClient:
		return false
	}
	return slices.ContainsFunc(ev.Frames, func(x timeline.Frame) bool {
		switch {
		case x.Passed || f.Count > 0 || x.ClientID != f.ClientID || x.At > f.At:
			return false
		case x.Stream != 0 && f.Stream != 0:
			return x.Stream == f.Stream && x.Seq == f.Seq
		}
		return x.PacketID != 0 && x.PacketID == f.PacketID && oneSide(x, f)
	})
}

// oneSide reports whether the packet id of a frame and that of a finding were
// given out by the same side: client and broker each number their own packets
// [MQTT-2.3.1-4]. A finding without the packet that it is about says nothing.
func oneSide(x timeline.Frame, f timeline.Finding) bool {
	p, known := f.Packet()
	return !known || idOfClient(x.Type, x.Out) == idOfClient(p.Type, p.Out)
}

// idOfClient reports whether the client gave out the id of a packet: what answers
// one goes the other way.
func idOfClient(kind string, out bool) bool {
	switch kind {
	case "PUBACK", "PUBREC", "PUBCOMP", "SUBACK", "UNSUBACK":
		return !out
	}
	return out
}

// suback is a rule of its own: where the target is known to grant no more than
// a certain QoS, a grant of just that is no fault. And no packet shows that one
// never came.
func suback(ev Evidence) Result {
	top, known := ev.Target.Abilities.MaxQoS, ev.roster()
	return rule{"suback", subscribes}.weigh(ev, func(f timeline.Finding) bool {
		c := known.conn(f.ClientID, f.N)
		return top != nil && c != nil && downgraded(c.Subs, *top)
	}, ev.unanswered)
}

// unanswered finds SUBSCRIBEs that had no SUBACK in 5 s on a connection that
// lived on [MQTT-3.8.4-1]. The bound is ours.
func (ev Evidence) unanswered(t *tally) {
	held := ev.holds()
	for i := range ev.Clients {
		for _, c := range ev.Clients[i].Conns {
			open := 0
			var sent timeline.Instant
			for _, s := range c.Subs {
				if due := held.due(c.ClientID, s.Sent); s.Sent != 0 && cmp.Or(s.Acked, ev.until(c))-due > patience {
					open, sent = open+1, due
				}
			}
			switch {
			case open == 0 || ev.swallowedOn(c, "SUBSCRIBE", "SUBACK"):
			case ev.starved(sent, sent+patience):
				t.starve(1)
			default:
				t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s connection %d: no SUBACK for %d filters that were asked for at %s, open until %s",
					c.ClientID, c.N, open, clock(sent), clock(ev.until(c)))
			}
		}
	}
}

// swallowedOn reports whether a frame fault kept a packet of one of the types from
// passing on a connection.
func (ev Evidence) swallowedOn(c *timeline.Conn, types ...string) bool {
	return slices.ContainsFunc(ev.Frames, func(f timeline.Frame) bool {
		return f.ClientID == c.ClientID && f.N == c.N && !f.Passed && slices.Contains(types, f.Type)
	})
}

// downgraded reports whether the target granted its highest QoS where more was
// asked, and each other grant is what was asked. A server may grant less
// [MQTT-3.8.4-6].
func downgraded(subs []timeline.Sub, top int) bool {
	lowered := false
	for _, s := range subs {
		switch {
		case s.Acked == 0 && !s.Restored:
			return false // not answered at all
		case s.Granted == s.QoS:
		case int(s.Granted) == top && s.Granted < s.QoS:
			lowered = true
		default:
			return false
		}
	}
	return lowered
}
