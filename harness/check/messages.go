package check

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// messages is the check of one verdict of the accounts: what breaks the
// standard is invalid, what is worth a warning warns, what is legal is not
// looked at.
type messages struct {
	verdict ledger.Verdict
	what    string // in the plural
	qos     byte   // the plan must owe something at this QoS or above
	drain   bool   // before the drain a message of this verdict could still be put right
	mixed   bool   // not each exception of this verdict is a fault
}

func (m messages) run(ev Evidence) Result {
	switch {
	case m.qos == 0 && publishes(ev.Plan) != "":
		return notApplicable("%s", publishes(ev.Plan))
	case m.qos > 0 && !owes(ev.Plan, m.qos):
		return notApplicable("the plan owes nobody a message of QoS %d or above", m.qos)
	case !ev.Accounts:
		return unknown("there are no accounts of messages")
	case m.drain && !ev.Drained:
		return unknown("the run ended without a drain: what stands still could have gone on")
	}
	var t tally
	m.gather(ev, &t)
	looked, unlisted := m.looked(ev), ev.Unlisted[m.verdict]
	otherwise, more := valid("none among %d deliveries", looked), ""
	switch {
	case unlisted > 0 && m.mixed:
		more = fmt.Sprintf("; %d more were counted and not listed, and may be legal", unlisted)
		otherwise = unknown("%d of this kind were counted and not listed: nothing tells whether they are legal", unlisted)
		otherwise.Count = unlisted
	case unlisted > 0:
		t.fault(soleCharge(ev.Exceptions, m.verdict), unlisted, "%d more that are counted and not listed", unlisted)
	case looked == 0:
		otherwise = unknown("no message was owed or read")
	}
	return t.verdict(fmt.Sprintf("%s: %d (%s)%s", m.what, t.count, t.charged(), more), otherwise)
}

func (m messages) gather(ev Evidence, t *tally) {
	for i := range ev.Exceptions {
		x := &ev.Exceptions[i]
		switch {
		case x.Verdict != m.verdict:
		case x.Fault && x.Verdict == ledger.LostInClient && ev.underUsedID(x):
			t.faultOf(Fault{Exception: x}, timeline.ChargeBroker, "%s, its packet id was in use for another message", describe(x))
		case x.Fault:
			t.faultOf(Fault{Exception: x}, x.Charge, "%s", describe(x))
		case x.Warn:
			t.warn(1, "%s", describe(x))
		}
	}
}

// underUsedID reports whether the broker sent a message under a packet id that
// was in use: a client must take it for a copy of the message that it has, answer
// it, and hand nothing over [MQTT-4.3.3-2].
func (ev Evidence) underUsedID(x *ledger.Exception) bool {
	return slices.ContainsFunc(ev.Findings, func(f timeline.Finding) bool {
		return f.Rule == "packet-id" && f.Charge == timeline.ChargeBroker && f.ClientID == x.Subscriber && f.Stream == x.Stream && f.Seq == x.Seq
	})
}

// looked is how many deliveries the verdict could have met.
func (m messages) looked(ev Evidence) (n int64) {
	for _, q := range ev.Messages {
		if q.QoS >= int(m.qos) {
			n += max(q.Expected, q.Delivered)
		}
	}
	return n
}

// soleCharge is whom the listed faults of a verdict charge, where it is always
// the same: those that are not listed then charge it too.
func soleCharge(list []ledger.Exception, v ledger.Verdict) timeline.Charge {
	sole, any := timeline.ChargeNobody, false
	for i := range list {
		x := &list[i]
		if x.Verdict != v || !x.Fault {
			continue
		}
		if any && x.Charge != sole {
			return timeline.ChargeNobody
		}
		sole, any = x.Charge, true
	}
	return sole
}

// describe writes one exception with all that is known of it.
func describe(x *ledger.Exception) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "%s #%d (stream %d, QoS %d)", x.Topic, x.Seq, x.Stream, x.QoS)
	if x.Publisher != "" {
		fmt.Fprintf(&sb, " from %s", x.Publisher)
	}
	if x.Subscriber != "" {
		fmt.Fprintf(&sb, " to %s", x.Subscriber)
	}
	if x.Conn != 0 {
		fmt.Fprintf(&sb, " on connection %d", x.Conn)
	}
	if at := cmp.Or(x.At, x.Acked, x.Sent); at != 0 {
		fmt.Fprintf(&sb, " at %s", clock(at))
	}
	for _, why := range []string{x.Why, x.Cause} {
		if why != "" {
			fmt.Fprintf(&sb, ": %s", why)
		}
	}
	return sb.String()
}
