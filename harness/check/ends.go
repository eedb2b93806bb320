package check

import (
	"fmt"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// unscripted demands that nothing but a fault ends an accepted connection.
// Ends that the harness's own starvation explains are charged to it: alone
// they make the verdict unknown and not the broker wrong.
func unscripted(ev Evidence) Result {
	connected := 0
	for _, n := range ev.Connected {
		connected += n
	}
	otherwise := valid("each end has its fault")
	if connected == 0 {
		otherwise = unknown("no client was ever connected")
	}
	return judgeEnds(ev, false, "ends that no fault explains", otherwise)
}

// collateral demands that a fault leaves the others alone: while one is under
// way no connection ends but those of the clients that it names. An end belongs
// either here or to unscripted, never to both.
func collateral(ev Evidence) Result {
	if !ev.Plan.Faulted() {
		return notApplicable("the plan has no fault")
	}
	otherwise := valid("no other client was disconnected in %d waves", len(ev.Waves))
	if len(ev.Waves) == 0 {
		otherwise = unknown("no wave of faults was run")
	}
	return judgeEnds(ev, true, "ends of clients that no fault names, while one was under way", otherwise)
}

// judgeEnds judges those ends without a cause that are of bystanders, or those
// that are not.
func judgeEnds(ev Evidence, bystanders bool, what string, otherwise Result) Result {
	var t tally
	kinds := map[string]int64{}
	known, victims := ev.roster(), victimsOf(ev)
	for _, e := range slices.Concat(ev.Unscripted, ev.Control) {
		switch {
		case bystander(ev.Waves, victims, e) != bystanders:
		case e.Starved:
			t.starve(1)
		default:
			kinds[string(e.Kind)]++
			c := known.conn(e.ClientID, e.N)
			t.faultOf(Fault{Conn: c, Client: e.ClientID}, ev.chargeEnd(e, c),
				"%s connection %d at %s in phase %s: %s", e.ClientID, e.N, clock(e.At), e.Phase, e.Kind)
		}
	}
	if t.count > 0 && (!ev.Complete || ev.lacks("events.jsonl.gz")) {
		// An action is written after the end that it made.
		c := unknown("%s: %d (%s), but the events are not all there: one that is missing may explain them", what, t.count, counted(kinds))
		c.Count = t.count
		return c
	}
	return t.verdict(fmt.Sprintf("%s: %d (%s)", what, t.count, counted(kinds)), otherwise)
}

// named is a client that a wave's faults name.
type named struct {
	phase string
	wave  int
	id    string
}

// victimsOf gathers whom the faults of each wave name: the victims of the plan,
// the clients of issued actions and of packets that were acted on (a plan that
// was read from its file does not list its victims), and all of a fleet whose
// every client is a victim.
func victimsOf(ev Evidence) map[named]bool {
	set := map[named]bool{}
	for _, a := range ev.Actions {
		set[named{a.Phase, a.Wave, a.ClientID}] = true
	}
	for _, f := range ev.Frames {
		set[named{f.Phase, f.Wave, f.ClientID}] = true
	}
	for _, f := range faults(ev.Plan, func(string) bool { return true }) {
		fleet, listed := ev.Plan.Fleet(f.Fleet), map[int]bool{}
		for _, v := range f.Victims {
			listed[v.Client] = true
		}
		all := fleet != nil && f.Count >= fleet.Clients
		for i := range ev.Clients {
			if cl := &ev.Clients[i]; cl.Fleet == f.Fleet && (all || listed[cl.Index]) {
				set[named{f.phase, f.wave, cl.ID}] = true
			}
		}
	}
	return set
}

// bystander reports whether a connection ended while faults were under way of
// which none names its client.
func bystander(waves []timeline.Wave, victims map[named]bool, e End) bool {
	inside := false
	for _, w := range waves {
		if w.Start <= e.At && e.At <= w.End {
			if victims[named{w.Phase, w.Wave, e.ClientID}] {
				return false
			}
			inside = true
		}
	}
	return inside
}

// pingPatience: a PINGREQ that is this old and has no answer is overdue. The
// bound is ours; libraries wait longer before they give the connection up.
const pingPatience = timeline.Instant(time.Second)

// provocation: a breach that is no older than this when the library closes is
// why it closes. The bound is ours.
const provocation = timeline.Instant(time.Second)

// provoked reports whether the broker broke the protocol right before the
// library closed the connection, as a side has to that meets a violation
// [MQTT-4.8.0-1].
func (ev Evidence) provoked(c *timeline.Conn) bool {
	if c.SessionPresent && c.Clean { // [MQTT-3.2.2-1]; no rule of the tap
		return c.End-c.Connack <= provocation
	}
	return slices.ContainsFunc(ev.Findings, func(f timeline.Finding) bool {
		return f.Rule != timeline.RuleEnd && f.ClientID == c.ClientID && f.N == c.N && f.Charge == timeline.ChargeBroker && !f.Warn && f.Count == 0 &&
			f.At <= c.End && c.End-f.At <= provocation
	})
}

// chargeEnd says whose fault an end is that nothing explains. Without the
// record of the connection (nil) only the kind of end is known.
func (ev Evidence) chargeEnd(e End, c *timeline.Conn) timeline.Charge {
	switch {
	case c != nil && silence(c, nil, c.End) > limit(c):
		// The broker had to close it [MQTT-3.1.2-24]: the library let its keep
		// alive pass [MQTT-3.1.2-23].
		return timeline.ChargeClient
	case e.Kind != timeline.EndLocal:
		return timeline.ChargeBroker
	case c != nil && c.PingReqs > c.PingResps && c.End-c.LastIn > pingPatience:
		// The library gave up a connection on which the broker owed it a
		// PINGRESP [MQTT-3.12.4-1].
		return timeline.ChargeBroker
	case c != nil && ev.provoked(c):
		return timeline.ChargeBroker
	}
	return timeline.ChargeClient
}
