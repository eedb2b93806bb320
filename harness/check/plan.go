package check

import (
	"slices"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// owes reports whether the plan has traffic of this QoS or a higher one to a
// fleet that subscribes so: what is delivered is the lower of the two.
func owes(p *scenarios.Plan, qos byte) bool {
	return slices.ContainsFunc(p.Traffic, func(t scenarios.Traffic) bool {
		f := p.Fleet(t.To)
		return t.QoS >= qos && (f == nil || slices.ContainsFunc(f.Subscribe, func(s scenarios.Subscription) bool { return s.QoS >= qos }))
	})
}

// The premises of checks: "" = the plan contains their subject, else why not.

func always(*scenarios.Plan) string { return "" }

func publishes(p *scenarios.Plan) string { return publishesAt(p, 0, "the plan has no traffic") }

func publishesAt1(p *scenarios.Plan) string {
	return publishesAt(p, 1, "the plan has no traffic of QoS 1 or 2")
}

func publishesAt2(p *scenarios.Plan) string {
	return publishesAt(p, 2, "the plan has no traffic of QoS 2")
}

func publishesAt(p *scenarios.Plan, qos byte, otherwise string) string {
	if slices.ContainsFunc(p.Traffic, func(t scenarios.Traffic) bool { return t.QoS >= qos }) {
		return ""
	}
	return otherwise
}

func subscribes(p *scenarios.Plan) string {
	if slices.ContainsFunc(p.Fleets, func(f scenarios.PlanFleet) bool { return len(f.Subscribe) > 0 }) {
		return ""
	}
	return "no fleet of the plan subscribes"
}

// asksOrPublishes: something in the plan needs packet ids.
func asksOrPublishes(p *scenarios.Plan) string {
	if subscribes(p) == "" || publishesAt1(p) == "" {
		return ""
	}
	return "nothing in the plan needs a packet id"
}

func retains(p *scenarios.Plan) string {
	if slices.ContainsFunc(p.Traffic, func(t scenarios.Traffic) bool { return t.Retain }) ||
		slices.ContainsFunc(p.Fleets, func(f scenarios.PlanFleet) bool { return f.Will != nil && f.Will.Retain }) {
		return ""
	}
	return "the plan retains no message"
}

// frameFault reports whether a kind of fault waits for a packet instead of
// acting at an instant.
func frameFault(kind string) bool {
	return kind == "swallow" || kind == "cut" || kind == "truncate"
}

// faults lists the planned faults of these kinds.
func faults(p *scenarios.Plan, kind func(string) bool) (out []planned) {
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if kind(f.Kind) {
					out = append(out, planned{ph.Name, w.Wave, f})
				}
			}
		}
	}
	return out
}

// planned is one fault of one wave.
type planned struct {
	phase string
	wave  int
	scenarios.PlanFault
}

// ends reports whether a kind of fault ends connections.
func ends(kind string) bool { return kind != "swallow" }

// kicks reports whether a kind of fault is answered: a success says that it
// ended a connection. A takeover ends the old connection too, and has a check
// of its own.
func kicks(kind string) bool {
	return kind == "close" || kind == "disconnect" || ofProcess(kind) || fromBelow(kind)
}

// ofProcess reports whether a kind of fault ends the broker's process.
func ofProcess(kind string) bool {
	return kind == "broker-kill" || kind == "broker-stop" || kind == "broker-restart"
}

// fromBelow reports whether the harness itself ends the connection.
func fromBelow(kind string) bool { return kind == "fin" || kind == "rst" || kind == "slow-close" }
