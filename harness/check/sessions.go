package check

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// sessionForgotten demands that a kept session is there when its client comes
// back. MQTT 3.1.1 knows no expiry [MQTT-3.1.2-4]; only a target whose ability
// record says so may drop sessions.
func sessionForgotten(ev Evidence) Result {
	kept := func(f scenarios.PlanFleet) bool { return !f.Session.Clean }
	switch {
	case !slices.ContainsFunc(ev.Plan.Fleets, kept):
		return notApplicable("no fleet of the plan keeps its session")
	case ev.lacks("env.json"):
		return unknown("the abilities of the target are not known")
	case !ev.Target.Abilities.KeepsSession:
		return notApplicable("the target does not promise to keep sessions")
	}
	var t tally
	resumed, lapsed := 0, 0
	for i := range ev.Clients {
		var began timeline.Instant // of the session
		for _, c := range ev.Clients[i].all() {
			if !accepted(c) {
				continue
			}
			since := began
			if !c.SessionPresent {
				began = c.Connack
			}
			switch {
			case c.Clean || !c.SessionWanted:
			case c.SessionPresent: // [MQTT-3.2.2-2]
				resumed++
			case ev.lapsed(since, c.Connack):
				lapsed++
			default:
				resumed++
				t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s connection %d at %s: session present 0", c.ClientID, c.N, clock(c.Connack))
			}
		}
	}
	otherwise := valid("%d of %d sessions were resumed", resumed, resumed)
	switch {
	case lapsed > 0:
		otherwise = valid("%d of %d sessions were resumed, beside %d that a restart of the broker was free to forget", resumed, resumed, lapsed)
	case resumed > 0:
	case slices.ContainsFunc(faults(ev.Plan, ends), func(p planned) bool {
		f := ev.Plan.Fleet(p.Fleet)
		return f == nil || kept(*f)
	}):
		otherwise = unknown("no client came back to a kept session")
		if ev.riddenOut() {
			otherwise = notApplicable("each client rode its faults out: no connection ended")
		}
	default:
		otherwise = notApplicable("nothing in the plan ends a connection of a fleet that keeps its session")
	}
	return t.verdict(fmt.Sprintf("kept sessions that the broker had forgotten: %d of %d", t.count, resumed), otherwise)
}

// riddenOut reports whether each issued action was lifted before its client
// noticed.
func (ev Evidence) riddenOut() bool {
	issued := false
	for _, a := range ev.Actions {
		if a.Outcome != "rode-out" && a.Outcome != "" {
			return false
		}
		issued = issued || a.Outcome != ""
	}
	return issued
}

// lapsed reports whether the broker was free to forget, by an instant, a session
// that began at another.
func (ev Evidence) lapsed(began, by timeline.Instant) bool {
	return slices.ContainsFunc(ev.Lapses, func(l ledger.Lapse) bool { return l.Holds(began) && l.To < by })
}

// sessionInvented demands that session present tells of no session that can
// not exist.
func sessionInvented(ev Evidence) Result {
	var t tally
	for i := range ev.Clients {
		cl := &ev.Clients[i]
		list := cl.all()
		fresh := ev.freshID(cl)
		for k, c := range list {
			if why := invented(list[:k], c, fresh); why != "" {
				t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s connection %d at %s: session present 1 %s", c.ClientID, c.N, clock(c.Connack), why)
			}
		}
	}
	n := ev.connacks()
	otherwise := valid("no session out of nothing in %d CONNACKs", n)
	if n == 0 {
		otherwise = unknown("no CONNACK was read")
	}
	return t.verdict(fmt.Sprintf("CONNACKs that tell of a session that can not exist: %d of %d", t.count, n), otherwise)
}

// invented says why the session that a CONNACK tells of can not exist, "" if it
// can. before holds the client's connections whose CONNECT was written earlier.
func invented(before []*timeline.Conn, c *timeline.Conn, fresh bool) string {
	switch {
	case c.Connack == 0 || !c.SessionPresent:
		return ""
	case c.ConnackCode != 0:
		return fmt.Sprintf("beside return code %d", c.ConnackCode) // [MQTT-3.2.2-4]
	case c.Clean:
		return "for a clean session" // [MQTT-3.2.2-1]
	}
	// A CONNECT that was written and not refused can have left a session, also
	// where its CONNACK was never read. A clean one leaves nothing behind, and
	// ends what was there [MQTT-3.1.2-6].
	exists := !fresh
	for _, b := range before {
		switch {
		case b.Connect == 0 || b.ConnackCode != 0:
		case !b.Clean:
			exists = true
		case accepted(b) && b.Connack <= c.Connect && !overlapped(before, b):
			exists = false
		}
	}
	if !exists {
		return "where no session was kept before" // [MQTT-3.2.2-3]
	}
	return ""
}

// overlapped reports whether a kept CONNECT can have reached the broker after
// that of b although it was written before: it was not answered by then.
func overlapped(list []*timeline.Conn, b *timeline.Conn) bool {
	return slices.ContainsFunc(list, func(o *timeline.Conn) bool {
		return !o.Clean && o.Connect != 0 && o.Connect <= b.Connect && (o.Connack == 0 || o.Connack > b.Connect)
	})
}

// freshID reports whether the broker can not know the client's id from before
// the run: it carries the run's own.
func (ev Evidence) freshID(cl *Client) bool {
	f := ev.Plan.Fleet(cl.Fleet)
	return f != nil && strings.Contains(f.ClientID, "{run}")
}
