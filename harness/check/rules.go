package check

import (
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
	return r.weigh(ev, func(timeline.Finding) bool { return false })
}

// weigh counts the breaches of the rule. Those that mild names are worth a
// warning only.
func (r rule) weigh(ev Evidence, mild func(timeline.Finding) bool) Result {
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
		return x.PacketID != 0 && x.PacketID == f.PacketID
	})
}

// suback is a rule of its own: where the target is known to grant no more than
// a certain QoS, a grant of just that is no fault.
func suback(ev Evidence) Result {
	top, known := ev.Target.Abilities.MaxQoS, ev.roster()
	return rule{"suback", subscribes}.weigh(ev, func(f timeline.Finding) bool {
		c := known.conn(f.ClientID, f.N)
		return top != nil && c != nil && downgraded(c.Subs, *top)
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
