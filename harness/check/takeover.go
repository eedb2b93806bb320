package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// takeover demands that the broker closes the connection of a client that
// connects again [MQTT-3.1.4-2]. How soon, the standard does not say: the 5 s
// are ours.
func takeover(ev Evidence) Result {
	var t tally
	seen, held := 0, ev.holds()
	for i := range ev.Clients {
		list := ev.Clients[i].all()
		for _, old := range list {
			by := successor(list, old)
			if by == nil {
				continue
			}
			seen++
			deadline := held.due(old.ClientID, by.Connack) + patience
			switch {
			case ev.until(old) <= deadline:
			case by.Connect < old.Connack && ev.until(by) <= deadline:
				// Both were on their way at once: the broker may have taken them
				// in the other order, and closed the one that we take for the newer.
			case ev.starved(by.Connack, deadline):
				t.starve(1)
			default:
				t.faultOf(Fault{Conn: old}, timeline.ChargeBroker, "%s: %s was still open at %s, 5 s after %s was accepted at %s",
					old.ClientID, which(old), clock(deadline), which(by), clock(by.Connack))
			}
		}
	}
	if seen == 0 {
		if len(faults(ev.Plan, func(kind string) bool { return kind == "takeover" })) > 0 {
			return unknown("no connection of a client was taken over")
		}
		return notApplicable("no client connected while its old connection was open")
	}
	return t.verdict(fmt.Sprintf("old connections that a new one did not end: %d of %d", t.count, seen),
		valid("each of %d old connections ended", seen))
}

// successor is the first connection that was accepted while old was open.
func successor(list []*timeline.Conn, old *timeline.Conn) *timeline.Conn {
	var by *timeline.Conn
	for _, c := range list {
		if c == old || !accepted(c) || !old.Live(c.Connack) || c.Connack == old.Connack && c.N <= old.N {
			continue
		}
		if by == nil || c.Connack < by.Connack {
			by = c
		}
	}
	return by
}

func which(c *timeline.Conn) string {
	if c.Rival {
		return fmt.Sprintf("rival connection %d", c.N)
	}
	return fmt.Sprintf("connection %d", c.N)
}
