package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// silence is the longest gap between two packets from client to broker, the
// one up to the given instant included, without the time in which a fault held
// the client: nobody could close the connection then. Of a gap between two
// packets it is not known where it lay, so that all that was held before the last
// one counts; a record's longest gap may be the one up to its end.
func silence(c *timeline.Conn, held holds, until timeline.Instant) timeline.Instant {
	gap := timeline.Instant(c.MaxOutGap)
	if c.LastOut == 0 {
		return gap - held.within(c.ClientID, c.Connect, until)
	}
	last := until - c.LastOut - held.within(c.ClientID, c.LastOut, until)
	if gap <= max(until, c.End)-c.LastOut {
		return last
	}
	return max(last, gap-held.within(c.ClientID, c.Connect, c.LastOut))
}

// limit is the silence after which the broker must close a connection: 1.5
// times its keep alive, no limit where that is off [MQTT-3.1.2-24].
func limit(c *timeline.Conn) timeline.Instant {
	if c.KeepAlive == 0 {
		return math.MaxInt64
	}
	return timeline.Instant(c.KeepAlive) * 3 * timeline.Instant(time.Second) / 2
}

// keepAlive demands that the broker closes a connection whose client fell
// silent. A tenth and a second of tolerance are ours.
func keepAlive(ev Evidence) Result {
	if !slices.ContainsFunc(ev.Plan.Fleets, func(f scenarios.PlanFleet) bool { return f.Session.KeepAlive > 0 }) {
		return notApplicable("no fleet of the plan has a keep alive")
	}
	var t tally
	looked, held := 0, ev.holdsOfBroker()
	for i := range ev.Clients {
		for _, c := range ev.Clients[i].all() {
			if !accepted(c) || c.KeepAlive == 0 {
				continue
			}
			looked++
			until := ev.until(c)
			gap := silence(c, held, until)
			if late := limit(c) + limit(c)/10 + timeline.Instant(time.Second); gap <= late {
				continue
			}
			if ev.starved(c.Connack, until) {
				t.starve(1)
				continue
			}
			t.faultOf(Fault{Conn: c}, timeline.ChargeBroker, "%s connection %d: keep alive %d s, silent for %s, open until %s",
				c.ClientID, c.N, c.KeepAlive, time.Duration(gap).Round(time.Millisecond), clock(until))
		}
	}
	otherwise := valid("none of %d connections was silent for longer and lived on", looked)
	if looked == 0 {
		otherwise = unknown("no client was ever connected with a keep alive")
	}
	return t.verdict(fmt.Sprintf("connections that outlived 1.5 times their keep alive in silence: %d", t.count), otherwise)
}
