package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// kickEffective demands that a call that was answered with success ended a
// connection: one that lived on is no client that is "back in 0 ms".
func kickEffective(ev Evidence) Result {
	if len(faults(ev.Plan, kicks)) == 0 {
		return notApplicable("the plan closes no connection")
	}
	var t tally
	issued := 0
	for _, a := range ev.Actions {
		if !kicks(a.Fault) || a.Outcome == "" {
			continue
		}
		issued++
		if a.Outcome == "no-effect" {
			t.fault(ev.kicker(a), 1, "%s in %s wave %d: issued at %s, answered success at %s, lived on",
				a.ClientID, a.Phase, a.Wave, clock(a.Issued), clock(a.Answered))
		}
	}
	otherwise := valid("no connection lived on after one of %d actions", issued)
	if issued == 0 {
		otherwise = unknown("no action was issued")
	}
	return t.verdict(fmt.Sprintf("%d of %d actions were answered with success and the connection lived on", t.count, issued), otherwise)
}

// kicker is who said that it had ended a connection.
func (ev Evidence) kicker(a Action) timeline.Charge {
	switch {
	case a.Fault == "disconnect":
		return timeline.ChargeClient
	case ev.Plan.Closer == "fin", ofProcess(a.Fault), fromBelow(a.Fault):
		return timeline.ChargeHarness // the FIN is ours, and so is the signal
	}
	return timeline.ChargeBroker
}
