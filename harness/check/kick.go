package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// kickEffective demands that a call that was answered with success ended a
// connection: one that lived on is no client that is "back in 0 ms".
func kickEffective(ev Evidence) reports.Check {
	if !closes(ev.Plan) {
		return notApplicable("the plan closes no connection")
	}
	var lived int64
	var examples []string
	issued := 0
	for _, a := range ev.Actions {
		if a.Outcome != "" {
			issued++
		}
		if a.Outcome != "no-effect" {
			continue
		}
		lived++
		if len(examples) < maxExamples {
			examples = append(examples, fmt.Sprintf("%s in %s wave %d: issued at %s, answered success at %s, lived on",
				a.ClientID, a.Phase, a.Wave, clock(a.Issued), clock(a.Answered)))
		}
	}
	switch {
	case lived > 0:
		return invalid(lived, examples, "%d of %d actions were answered with success and the connection lived on", lived, issued)
	case issued == 0:
		return unknown("no action was issued")
	}
	return valid("no connection lived on after one of %d actions", issued)
}

func closes(p *scenarios.Plan) bool {
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if f.Kind == "close" {
					return true
				}
			}
		}
	}
	return false
}
