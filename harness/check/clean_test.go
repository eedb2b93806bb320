package check

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	ms  = timeline.Instant(time.Millisecond)
	sec = timeline.Instant(time.Second)

	stopped = 100 * sec // the clients are stopped here
)

// Where the clients, connections and messages of the clean run are.
const (
	devices, others = 0, 1 // fleets
	a, b, c         = 0, 1, 2
	kick            = 1 * sec  // wave 1: both devices are closed
	second          = 30 * sec // wave 2: a is taken over, a PUBACK to b is swallowed
)

// clean is the evidence of a run in which all is well and every check has
// something to look at: two devices with kept sessions and Wills, both kicked,
// then one taken over and back; a third client that no fault names; traffic of
// each QoS, drained; so many cycles that a leak would show.
func clean() Evidence {
	return Evidence{
		Plan: cleanPlan(), Complete: true, Health: true, Accounts: true, Drained: true, Returned: 3, Stop: stopped,
		Phases: []timeline.Phase{
			{Name: "connect", Reason: "until"}, {Name: "steady", Reason: "for"}, {Name: "storm", Reason: "until"}, {Name: "drain", Reason: "until"},
		},
		Waves: []timeline.Wave{
			{Phase: "storm", Wave: 1, Start: kick, End: 20 * sec}, {Phase: "storm", Wave: 2, Start: second, End: 50 * sec},
		},
		Target:    reports.Target{Abilities: reports.Abilities{KeepsSession: true, SendsWill: true}},
		Connected: map[string]int{"devices": 2, "others": 1},
		Actions: []Action{
			act("close", 1, "a", kick), act("close", 1, "b", kick), act("takeover", 2, "a", second), act("swallow", 2, "b", second),
		},
		Frames: []timeline.Frame{{
			Fault: "swallow", Phase: "storm", Wave: 2, Fleet: "devices", Client: 1, ClientID: "b", N: 2, At: second + 500*ms,
			Type: "PUBACK", PacketID: 7, Stream: 2, Seq: 5,
		}},
		Clients: []Client{
			{Fleet: "devices", Index: 0, ID: "a", Conns: []*timeline.Conn{
				ended(conn("a", 1, 100*ms), kick+3*ms), ended(resumed(conn("a", 2, kick+100*ms)), second+3*ms), closing(resumed(conn("a", 4, second+sec))),
			}, Rivals: []*timeline.Conn{rival("a", 3, second, second+sec+6*ms)}},
			{Fleet: "devices", Index: 1, ID: "b", Conns: []*timeline.Conn{
				ended(conn("b", 1, 100*ms), kick+3*ms), closing(resumed(conn("b", 2, kick+100*ms))),
			}},
			{Fleet: "others", Index: 0, ID: "c", Conns: []*timeline.Conn{noWill(closing(conn("c", 1, 100*ms)))}},
		},
		Wills: []timeline.Will{
			{ClientID: "a", Topic: "rb/a/will", QoS: 1, At: kick + 5*ms}, {ClientID: "b", Topic: "rb/b/will", QoS: 1, At: kick + 5*ms},
			{ClientID: "a", Topic: "rb/a/will", QoS: 1, At: second + 5*ms},
		},
		WillWatch: []Span{{50 * ms, stopped}}, Unlisted: map[ledger.Verdict]int64{},
		Leak: &Leak{Cycles: 400, HeapBytes: 1 << 20, FDs: 2, Goroutines: []Growth{
			{Creator: "github.com/eclipse/paho.mqtt.golang.startComms", Charge: timeline.ChargeClient, More: 8},
		}},
		Messages: []reports.Messages{
			{QoS: 0, Attempted: 10, Expected: 10, Delivered: 9, Lost: 1},
			{QoS: 1, Attempted: 10, Acknowledged: 10, Expected: 10, Delivered: 10},
			{QoS: 2, Attempted: 10, Acknowledged: 10, Completed: 10, Expected: 10, Delivered: 10},
		},
		Sentinels: []Sentinel{{Stream: 1, Topic: "rb/a", Sent: stopped - 5*sec, Acked: stopped - 5*sec + ms}},
	}
}

func cleanPlan() *scenarios.Plan {
	all, quiet := 1.0, 2*time.Second
	fleet := func(name string, clients int, will *scenarios.Will) scenarios.PlanFleet {
		return scenarios.PlanFleet{Clients: clients, Probe: "rb/{client}", Fleet: scenarios.Fleet{
			Name: name, ClientID: "{fleet}-{run}-{index}", Session: scenarios.Session{KeepAlive: 10 * time.Second}, Will: will,
			Subscribe: []scenarios.Subscription{{Topic: "rb/{client}", QoS: 2}},
		}}
	}
	return &scenarios.Plan{
		Fleets: []scenarios.PlanFleet{fleet("devices", 2, &scenarios.Will{Topic: "rb/{client}/will", QoS: 1}), fleet("others", 1, nil)},
		Traffic: []scenarios.Traffic{
			{From: "control", To: "devices", Topic: "rb/{client}", QoS: 0, Retain: true},
			{From: "control", To: "devices", Topic: "rb/{client}", QoS: 1},
			{From: "control", To: "devices", Topic: "rb/{client}", QoS: 2},
		},
		Phases: []scenarios.PlanPhase{
			{Name: "connect", Until: &scenarios.Until{Connected: &all}},
			{Name: "steady", For: time.Second},
			{Name: "storm", Until: &scenarios.Until{Back: &all}, Waves: []scenarios.PlanWave{
				{Wave: 1, Faults: []scenarios.PlanFault{{Kind: "close", Fleet: "devices", Count: 2}}},
				{Wave: 2, Faults: []scenarios.PlanFault{{Kind: "takeover", Fleet: "devices", Count: 1}, {Kind: "swallow", Fleet: "devices", Count: 2}}},
			}},
			{Name: "drain", Until: &scenarios.Until{Quiet: &quiet}},
		},
	}
}

func act(fault string, wave int, id string, at timeline.Instant) Action {
	return Action{Outcome: "hit", Action: timeline.Action{
		Fault: fault, Phase: "storm", Wave: wave, Fleet: "devices", ClientID: id, Intended: at, Issued: at, Answered: at + 2*ms, OK: true,
	}}
}

// conn is a connection that is back within 13 ms and live to the end.
func conn(id string, n int, dial timeline.Instant) *timeline.Conn {
	return &timeline.Conn{
		ClientID: id, N: n, KeepAlive: 10, Will: true,
		Dial: dial, Dialed: dial + ms, Connect: dial + 2*ms, Connack: dial + 5*ms, Restored: dial + 8*ms,
		Subs:   []timeline.Sub{{Filter: "rb/" + id, QoS: 2, Granted: 2, Sent: dial + 6*ms, Acked: dial + 8*ms}},
		Probes: 1, ProbeAcked: dial + 10*ms, FirstMessage: dial + 11*ms, LastPub: dial + 11*ms, LastIn: dial + 11*ms,
		LastOut: stopped - sec, MaxOutGap: int64(10 * sec), PingReqs: 1, PingResps: 1,
	}
}

func resumed(c *timeline.Conn) *timeline.Conn {
	c.SessionWanted, c.SessionPresent, c.Restored = true, true, c.Connack
	c.Subs[0].Sent, c.Subs[0].Acked, c.Subs[0].Restored = 0, 0, true
	return c
}

// ended has the broker end a connection.
func ended(c *timeline.Conn, at timeline.Instant) *timeline.Conn {
	c.End, c.EndKind, c.LastOut = at, timeline.EndEOF, at-10*ms
	return c
}

// closing has the harness stop a client.
func closing(c *timeline.Conn) *timeline.Conn {
	c.End, c.EndKind, c.Scripted, c.Disconnect = stopped+10*ms, timeline.EndLocal, true, "out"
	return c
}

func noWill(c *timeline.Conn) *timeline.Conn {
	c.Will = false
	return c
}

func rival(id string, n int, connect, end timeline.Instant) *timeline.Conn {
	return &timeline.Conn{
		ClientID: id, N: n, Rival: true, KeepAlive: 10, SessionPresent: true,
		Dial: connect - 2*ms, Dialed: connect - ms, Connect: connect, Connack: connect + 2*ms, LastOut: connect, LastIn: connect + 2*ms,
		End: end, EndKind: timeline.EndEOF,
	}
}

// at gives connection k, from 0, of a client's library.
func (ev *Evidence) at(client, k int) *timeline.Conn { return ev.Clients[client].Conns[k] }

// lone gives the last connection of c, its only one in the clean run.
func (ev *Evidence) lone() *timeline.Conn { return ev.at(c, len(ev.Clients[c].Conns)-1) }

func verdicts(ev Evidence) map[string]reports.Check {
	m := map[string]reports.Check{}
	for _, c := range Run(ev) {
		m[c.Name] = c.Check
	}
	return m
}
