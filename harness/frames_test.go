package harness

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Whole runs in which a scripted frame fault acts on each packet of the QoS 1
// and QoS 2 exchanges, in both directions. What was scripted is nobody's fault.

// pcNodes is a fleet that publishes and receives at QoS 1 and 2, and its peers.
const pcNodes = `
name: frames
clients: 4
fleets:
  - name: nodes
    share: 50%
    client_id: "nodes-{run}-{index:06}"
    connect: {rate: 2000/s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "down/+/{client}", qos: 2}]
  - name: peers
    share: 50%
    client_id: "peers-{run}-{index:06}"
    connect: {rate: 2000/s}
    subscribe: [{topic: "up/+/{client}", qos: 2}]
traffic:
  - {from: nodes, to: peers, topic: "up/one/{client}", qos: 1, each: 25/s}
  - {from: nodes, to: peers, topic: "up/two/{client}", qos: 2, each: 25/s}
  - {from: peers, to: nodes, topic: "down/one/{client}", qos: 1, each: 25/s}
  - {from: peers, to: nodes, topic: "down/two/{client}", qos: 2, each: 25/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 200ms}
  # storm
  - {name: drain, until: {quiet: 300ms}, timeout: 10s}
`

// pcAct is what a frame fault does with its packet, and the end of its phase.
type pcAct struct {
	name, fault, until string
	ends, passes       bool // the connection ends; the packet passes
}

var pcActs = []pcAct{
	{"swallowed", "swallow: {%s}", "for: 1s", false, false},
	{"swallowed, closed", "swallow: {%s, then: close}", "until: {back: 100%}, timeout: 20s", true, false},
	{"cut before", "cut: {%s, side: before}", "until: {back: 100%}, timeout: 20s", true, false},
	{"cut after", "cut: {%s, side: after}", "until: {back: 100%}, timeout: 20s", true, true},
}

// pcStandStill is how many messages stand still for each packet that is lost
// and whose connection lives on: the publisher waits for its answer, and the
// broker sends a QoS 2 message on when its PUBREL has come.
var pcStandStill = map[string]int64{
	"PUBACK in": 1, "PUBREC in": 1, "PUBREL out": 2, "PUBCOMP in": 1,
}

// pcEachFrame runs every cell of packet, direction and act.
func pcEachFrame(t *testing.T, driver fleet.Driver, judge func(t *testing.T, cell string, act pcAct, r pcRun)) {
	for _, packet := range []string{"PUBACK", "PUBREC", "PUBREL", "PUBCOMP"} {
		for _, direction := range []string{"in", "out"} {
			for _, act := range pcActs {
				cell := packet + " " + direction
				t.Run(cell+" "+act.name, func(t *testing.T) {
					t.Parallel()
					fault := fmt.Sprintf(act.fault, fmt.Sprintf("fleet: nodes, packet: %s, direction: %s", packet, direction))
					r := pcPlay(t, pcNodes, driver, "# storm", "- {name: storm, faults: ["+fault+"], "+act.until+"}")
					r.acted(t, packet, direction == "out", act)
					judge(t, cell, act, r)
				})
			}
		}
	}
}

// acted says that the fault met its packet once at each node, that the actions
// and the way back agree, and that the accounts add up.
func (r pcRun) acted(t *testing.T, packet string, out bool, act pcAct) {
	t.Helper()
	hits := map[string]int{}
	for _, f := range r.frames() {
		hits[f.ClientID]++
		if f.Type != packet || f.Out != out || f.Passed != act.passes || f.PacketID == 0 || f.Stream == 0 || f.Seq == 0 {
			t.Errorf("frame %+v", f)
		}
	}
	var actions []timeline.Action
	for _, e := range r.events {
		if e.Action != nil {
			actions = append(actions, *e.Action)
		}
	}
	if len(hits) != 2 || len(r.frames()) != 2 {
		t.Errorf("hits %v, want one at each of 2 nodes", hits)
	}
	if w := r.Total; act.ends && (w.Hit != 2 || w.Back != 2 || len(actions) != 2) {
		t.Errorf("want 2 hits and 2 back: %+v, %d actions", w, len(actions))
	}
	for _, m := range r.Messages {
		if m.Balance != "" || m.QoS > 0 && m.Attempted == 0 {
			t.Errorf("QoS %d: %+v", m.QoS, m)
		}
	}
}

// TestFramesStrict: a library that keeps to the standard, on a broker that
// does: nothing turns.
func TestFramesStrict(t *testing.T) {
	pcEachFrame(t, fleet.Strict{}, func(t *testing.T, cell string, act pcAct, r pcRun) {
		still := int64(0)
		if !act.ends {
			still = 2 * pcStandStill[cell] // two nodes
		}
		if n := r.count(func(m reports.Messages) int64 { return m.Scripted }); n != still {
			t.Errorf("%d messages are scripted, want %d", n, still)
		}
		if n := r.count(func(m reports.Messages) int64 { return m.Lost + m.Undetermined + m.LegalLoss + m.Stuck }); n != 0 {
			t.Errorf("%d messages are in doubt", n)
		}
		if r.Verdict != reports.Valid || r.ExitCode != ExitPass {
			t.Errorf("verdict %s, exit %d", r.Verdict, r.ExitCode)
		}
		r.exactly(t, pcWant{})
	})
}

// pcPahoKnown are the true faults of paho 1.5.1 that a reconnect in the middle
// of exchanges can show, whichever they were:
//
//   - cut between PUBREL and PUBCOMP it sends PUBLISH again [MQTT-4.3.3-1], and
//     the broker, if it had the PUBREL, delivers twice;
//   - it hands a QoS 2 PUBLISH to the handler again when the broker sends it
//     again before the PUBREL [MQTT-4.3.3-2];
//   - what it took while away it sends for the first time with DUP=1
//     [MQTT-4.3.2-1].
var pcPahoKnown = map[string][]string{
	"publish-after-pubrel": {pcPublisher},
	"duplicated":           {pcPublisher, pcSubscriber},
	"dup-flag":             {pcPublisher},
}

// pcMosquittoKnown is the true fault of mosquitto 2.0.11 that a loss right after
// a loss can show: if a CONNACK can not be written, the PUBRELs that were to be
// sent again after it are forgotten, and the next connection gets the PUBLISHes
// once more [MQTT-4.3.3-1] (TestTrackRecordMosquittoRepublish).
var pcMosquittoKnown = map[string][]string{
	"publish-after-pubrel": {string(timeline.ChargeBroker)},
	"duplicated":           {string(timeline.ChargeBroker)},
}

// only says that nothing turned but known faults.
func (r pcRun) only(t *testing.T, known ...map[string][]string) {
	t.Helper()
	for name, charges := range r.turned() {
		for charge := range strings.SplitSeq(charges, "+") {
			if !slices.ContainsFunc(known, func(k map[string][]string) bool { return slices.Contains(k[name], charge) }) {
				t.Errorf("%s turned, by %s", name, charge)
			}
		}
	}
	if t.Failed() {
		r.show(t)
	}
}

// pcPahoMust is what turns for certain, by the exchange that the fault is about.
var pcPahoMust = map[string]pcWant{
	"PUBREC out swallowed, closed": {"duplicated": pcSubscriber},
	"PUBREC out cut before":        {"duplicated": pcSubscriber},
	"PUBREL out swallowed, closed": {"publish-after-pubrel": pcPublisher},
	"PUBCOMP in swallowed, closed": {"publish-after-pubrel": pcPublisher, "duplicated": pcPublisher},
	"PUBCOMP in cut before":        {"publish-after-pubrel": pcPublisher, "duplicated": pcPublisher},
}

// TestFramesPaho: the same with the library under test. What turns is its own:
// nothing where no connection ends, and else its known faults alone.
func TestFramesPaho(t *testing.T) {
	pcEachFrame(t, fleet.Paho{}, func(t *testing.T, cell string, act pcAct, r pcRun) {
		if !act.ends {
			r.exactly(t, pcWant{})
			return
		}
		r.only(t, pcPahoKnown)
		got := r.turned()
		for name, charge := range pcPahoMust[cell+" "+act.name] {
			if !strings.Contains(got[name], charge) {
				t.Errorf("%s did not turn by %s: %v", name, charge, got)
				r.show(t)
			}
		}
	})
}

// TestEndsOfVictims: a takeover and a disconnect in good order, of every node at
// once and then of one of them over and over, and closes of one client over and
// over, in the middle of traffic at QoS 1 and 2. Whatever a library resumes, no
// verdict turns but by its own known faults.
func TestEndsOfVictims(t *testing.T) {
	for _, c := range []struct {
		name, fault string
		victims     int
		check       string // has something to look at
		quick       bool   // a loss can come right after a loss
	}{
		{"takeover", "takeover: {fleet: nodes, hold: 50ms}", 2, "takeover", false},
		{"disconnect", "disconnect: {fleet: nodes}", 2, "kick-effective", false},
		{"takeovers of one client", "takeover: {fleet: nodes, who: {count: 1}, times: 20, every: 150ms, hold: 50ms}", 20, "takeover", true},
		{"disconnects of one client", "disconnect: {fleet: nodes, who: {count: 1}, times: 20, every: 100ms}", 20, "kick-effective", true},
		{"closes of one client", "close: {fleet: nodes, who: {count: 1}, times: 60, every: 40ms, jitter: 50%}", 60, "kick-effective", true},
	} {
		for _, d := range []fleet.Driver{fleet.Paho{}, fleet.Strict{}} {
			name := d.Info().Name
			t.Run(c.name+" "+name, func(t *testing.T) {
				t.Parallel()
				r := pcPlayFit(t, pcNodes, d, "# storm", "- {name: storm, faults: ["+c.fault+"], until: {back: 100%}, timeout: 20s}")
				w := r.Total
				if w.Victims != c.victims || w.Unaffected != 0 || w.Hit+w.LateHit+w.NoOp+w.Missed != c.victims || w.Hit < c.victims/2 {
					t.Errorf("outcomes: %+v", w)
				}
				if v := verdicts(r.Report)[c.check]; v != reports.Valid {
					t.Errorf("%s is %s", c.check, v)
				}
				for _, m := range r.Messages {
					if m.Balance != "" || m.QoS > 0 && (m.Lost != 0 || m.Undetermined != 0 || m.Delivered == 0) {
						t.Errorf("QoS %d: %+v", m.QoS, m)
					}
				}
				var known []map[string][]string
				if name == "paho" {
					known = append(known, pcPahoKnown)
				}
				if c.quick {
					known = append(known, pcMosquittoKnown)
				}
				r.only(t, known...)
			})
		}
	}
}
