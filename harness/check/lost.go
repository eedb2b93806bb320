package check

import (
	"fmt"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// lost demands that each message of QoS 1 or 2 that the broker acknowledged
// reached each subscriber that was owed it: at least once [MQTT-4.3.2-2],
// exactly once [MQTT-4.3.3-2]. QoS 0 loss is counted and no failure (section
// 4.3.1).
func lost(ev Evidence) Result {
	switch {
	case !owes(ev.Plan, 1):
		return notApplicable("the plan owes nobody a message of QoS 1 or 2")
	case !ev.Accounts:
		return unknown("there are no accounts of messages")
	case !ev.Drained:
		return unknown("the run ended without a drain: a message could still have come")
	}
	var t tally
	expected, missing, levels := owed(ev.Messages)
	listed := lossCharges(ev, &t)
	// The balance and the list count the same losses apart from each other. The
	// higher count stands: what the list lacks charges the broker, which had
	// taken the message over [MQTT-4.5.0-1].
	if more := max(missing-t.warnings, listed+ev.Unlisted[ledger.Lost]) - listed; more > 0 {
		t.count += more
		t.charge(timeline.ChargeBroker, more)
	}
	t.examples = lossExamples(ev.Lost, t.examples)
	otherwise := valid("0 of %d acknowledged %s messages lost", expected, levels)
	switch {
	case ev.Undecided > 0:
		otherwise = unknown("%d of %d acknowledged %s messages were neither read nor certainly lost", ev.Undecided, expected, levels)
		otherwise.Count = ev.Undecided
	case expected > 0 && undetermined(ev.Messages) >= expected:
		otherwise = unknown("of all %d acknowledged %s messages it is not known whether they would have come: who was owed them was away at the end", expected, levels)
	case expected == 0:
		otherwise = unknown("no %s message was owed to any subscriber", levels)
	}
	return t.verdict(fmt.Sprintf("%d of %d acknowledged %s messages were not delivered (%s)", t.count, expected, levels, t.charged()), otherwise)
}

// undetermined adds up what was owed at QoS 1 and 2 to clients that were away at
// the end.
func undetermined(list []reports.Messages) (n int64) {
	for _, m := range list {
		if m.QoS > 0 {
			n += m.Undetermined
		}
	}
	return n
}

// owed adds up what was owed and lost at QoS 1 and 2, and names the levels.
func owed(list []reports.Messages) (expected, missing int64, levels string) {
	var names []string
	for _, m := range list {
		if m.QoS == 0 {
			continue
		}
		expected += m.Expected
		missing += m.Lost
		if m.Expected > 0 || m.Lost > 0 {
			names = append(names, fmt.Sprint(m.QoS))
		}
	}
	if len(names) == 0 {
		names = []string{"1"}
	}
	return expected, missing, "QoS " + strings.Join(names, " and ")
}

// lossCharges enters the losses that the accounts list, and gives their number.
func lossCharges(ev Evidence, t *tally) int64 {
	for i := range ev.Exceptions {
		x := &ev.Exceptions[i]
		switch {
		case x.Verdict != ledger.Lost:
		case x.Warn && !x.Fault:
			t.warn(1, "%s", describe(x))
		case x.Charge == timeline.ChargeNobody:
			t.faultOf(Fault{Exception: x}, timeline.ChargeBroker, "%s", describe(x))
		default:
			t.faultOf(Fault{Exception: x}, x.Charge, "%s", describe(x))
		}
	}
	return t.count
}

// lossExamples prefers the rows of losses.csv, which name the phase.
func lossExamples(rows []reports.Loss, otherwise []string) []string {
	var out []string
	for _, l := range rows {
		if len(out) == maxExamples {
			break
		}
		if l.QoS > 0 && l.Verdict == string(ledger.Lost) {
			out = append(out, fmt.Sprintf("%s #%d to %s in phase %s: %s", l.Topic, l.Seq, l.Subscriber, l.Phase, l.Why))
		}
	}
	if out == nil {
		return otherwise
	}
	return out
}
