package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/reports"
)

// lost demands that each QoS 1 message that the broker acknowledged reached
// each subscriber that was owed it: at least once [MQTT-4.3.2-2]. QoS 0 loss
// is counted and no failure (section 4.3.1).
func lost(ev Evidence) reports.Check {
	if !owes(ev.Plan) {
		return notApplicable("the plan owes nobody a QoS 1 message")
	}
	if !ev.Accounts {
		return unknown("there are no accounts of messages")
	}
	if !ev.Drained {
		return unknown("the run ended without a drain: a message could still have come")
	}
	var expected, missing int64
	for _, m := range ev.Messages {
		if m.QoS == 1 {
			expected += m.Expected
			missing += m.Lost
		}
	}
	switch {
	case missing > 0:
		return invalid(missing, lossExamples(ev.Lost), "%d of %d acknowledged QoS 1 messages were not delivered", missing, expected)
	case ev.Undecided > 0:
		c := unknown("%d of %d acknowledged QoS 1 messages were neither read nor certainly lost", ev.Undecided, expected)
		c.Count = ev.Undecided
		return c
	case expected == 0:
		return unknown("no QoS 1 message was owed to any subscriber")
	}
	return valid("0 of %d acknowledged QoS 1 messages lost", expected)
}

func lossExamples(rows []reports.Loss) []string {
	var out []string
	for _, l := range rows {
		if len(out) == maxExamples {
			break
		}
		if l.QoS == 1 && l.Verdict == "lost" {
			out = append(out, fmt.Sprintf("%s #%d to %s in phase %s: %s", l.Topic, l.Seq, l.Subscriber, l.Phase, l.Why))
		}
	}
	return out
}
