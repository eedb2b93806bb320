package check

import (
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestCleanRunIsValid(t *testing.T) {
	for name, c := range verdicts(clean()) {
		if c.Verdict != reports.Valid || c.Detail == "" || c.Count != 0 || c.Warnings != 0 || c.Charges != nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestCleanDetails: a valid check says what it looked at.
func TestCleanDetails(t *testing.T) {
	got := map[string]string{}
	for name, c := range verdicts(clean()) {
		got[name] = c.Detail
	}
	for name, want := range map[string]string{
		"lost":              "0 of 20 acknowledged QoS 1 and 2 messages lost",
		"stuck":             "none among 20 deliveries",
		"duplicated":        "none among 30 deliveries",
		"suback":            "no breach on 7 connections",
		"collateral":        "no other client was disconnected in 2 waves",
		"session-forgotten": "3 of 3 sessions were resumed",
		"session-invented":  "no session out of nothing in 7 CONNACKs",
		"takeover":          "each of 2 old connections ended",
		"keep-alive":        "none of 7 connections was silent for longer and lived on",
		"will":              "3 of 3 abnormal ends were watched, and each published its Will",
		"kick-effective":    "no connection lived on after one of 2 actions",
		"deaf":              "none on 6 connections that were owed a probe and 1 streams that were closed",
		"never-returned":    "every client was back at the end (3 outages)",
		"leak":              "what 400 cycles took came back",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
}

// TestRodeOut: where nobody lost a connection, no session can have been resumed
// or forgotten, and that is no gap in the evidence. What was never issued does
// not tell.
func TestRodeOut(t *testing.T) {
	for what, tc := range map[string]struct {
		outcomes [4]string
		want     reports.Verdict
	}{
		"nobody came back":           {[4]string{"hit", "hit", "hit", "hit"}, reports.Unknown},
		"one was hit":                {[4]string{"rode-out", "hit", "rode-out", "rode-out"}, reports.Unknown},
		"each rode out":              {[4]string{"rode-out", "rode-out", "rode-out", "rode-out"}, reports.NotApplicable},
		"each that was issued":       {[4]string{"rode-out", "", "rode-out", ""}, reports.NotApplicable},
		"the first was never issued": {[4]string{"", "rode-out", "rode-out", ""}, reports.NotApplicable},
		"nothing was issued":         {[4]string{}, reports.Unknown},
	} {
		ev := clean()
		for i := range ev.Clients {
			for _, c := range ev.Clients[i].all() {
				c.SessionWanted = false
			}
		}
		for i, outcome := range tc.outcomes {
			ev.Actions[i].Outcome = outcome
		}
		if c := verdicts(ev)["session-forgotten"]; c.Verdict != tc.want {
			t.Errorf("%s: %s: %s", what, c.Verdict, c.Detail)
		}
	}
}

// TestSilence: a client that a fault silences on its connection holds nothing back
// from its broker, which must close it; one that is held altogether does.
func TestSilence(t *testing.T) {
	for name, c := range map[string]struct {
		n    int // connection that the action names
		want reports.Verdict
	}{"silent": {1, reports.Invalid}, "held": {0, reports.Valid}} {
		ev := clean()
		lone := ev.lone()
		lone.LastOut = stopped - 17_500*ms - 1
		ev.Actions = append(ev.Actions, Action{Outcome: "hit", Action: timeline.Action{
			Fault: "x", Fleet: lone.Fleet, Client: lone.Client, ClientID: lone.ClientID, N: c.n,
			Lasting: true, OK: true, Issued: lone.LastOut, Until: stopped,
		}})
		if got := verdicts(ev)["keep-alive"]; got.Verdict != c.want {
			t.Errorf("%s: %s: %s", name, got.Verdict, got.Detail)
		}
	}
}

// TestLeftForGood: that a client is away whose policy never has it dial again is
// nobody's fault, unless its last connection did not come to be accepted.
func TestLeftForGood(t *testing.T) {
	ev := clean()
	ev.Away = []string{"b"}
	fleet := ev.Plan.Fleet(ev.roster()["b"].Fleet)
	fleet.Reconnect.Policy = scenarios.PolicyNone
	if c := verdicts(ev)["never-returned"]; c.Verdict != reports.Valid || !strings.Contains(c.Detail, "with policy none 1 are away") {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
	ev.Away = []string{"b", "c"} // c's fleet has another policy
	if c := verdicts(ev)["never-returned"]; c.Verdict != reports.Invalid || c.Count != 1 || !strings.HasPrefix(c.Detail, "clients not back at the end: 1 (") {
		t.Errorf("beside one that comes back: %s: %s", c.Verdict, c.Detail)
	}
	ev.Away = ev.Away[:1]
	for _, c := range ev.roster()["b"].Conns {
		c.Connack = 0
	}
	if c := verdicts(ev)["never-returned"]; c.Verdict != reports.Invalid {
		t.Errorf("without a CONNACK: %s: %s", c.Verdict, c.Detail)
	}
	fleet.Reconnect.Policy = scenarios.PolicyPaho
	ev = clean()
	ev.Away = []string{"b"}
	if c := verdicts(ev)["never-returned"]; c.Verdict != reports.Invalid {
		t.Errorf("paho: %s: %s", c.Verdict, c.Detail)
	}
}

// TestPlanted: each planted history turns exactly its check, and no other.
func TestPlanted(t *testing.T) {
	for _, p := range plants() {
		t.Run(p.what, func(t *testing.T) {
			ev := clean()
			p.bend(&ev)
			for name, c := range verdicts(ev) {
				switch {
				case name != p.check && c.Verdict != reports.Valid:
					t.Errorf("%s is %s too: %s %q", name, c.Verdict, c.Detail, c.Examples)
				case name != p.check:
				case c.Verdict != p.verdict || !strings.Contains(c.Detail+strings.Join(c.Examples, ""), p.words):
					t.Errorf("%s is %s (%s, %q), want %s with %q", name, c.Verdict, c.Detail, c.Examples, p.verdict, p.words)
				case c.Verdict == reports.Invalid:
					one := int64(1)
					if name == "leak" {
						one = 9 // it counts what was left behind
					}
					if c.Count != one || len(c.Examples) != 1 || c.Charges[string(p.charge)] != one || len(c.Charges) != 1 {
						t.Errorf("%s: count %d, charges %v (want %s), examples %q", name, c.Count, c.Charges, p.charge, c.Examples)
					}
				}
			}
		})
	}
}

// TestEachRowHasAPlant: no check can be added without a fault that turns it.
func TestEachRowHasAPlant(t *testing.T) {
	has, turns := map[string]bool{}, map[string]bool{}
	for _, p := range plants() {
		has[p.check] = true
		turns[p.check] = turns[p.check] || p.verdict == reports.Invalid
	}
	for _, row := range Table() {
		if !has[row.Name] || row.Doc == "" || row.Run == nil {
			t.Errorf("check %s: planted %v, doc %q", row.Name, has[row.Name], row.Doc)
		}
		if !turns[row.Name] && row.Name != "assumptions" && row.Name != "balance" {
			t.Errorf("no plant makes %s invalid", row.Name)
		}
		for _, id := range strings.Split(row.Statement, ", ") {
			if row.Statement != "" && !strings.HasPrefix(id, "MQTT-") {
				t.Errorf("check %s: statement %q", row.Name, id)
			}
		}
		delete(has, row.Name)
	}
	for name := range has {
		t.Errorf("a plant for %q, which is no check", name)
	}
}

func TestSeveralAtOnce(t *testing.T) {
	const v = reports.Valid
	for what, c := range map[string]struct {
		bend func(*Evidence)
		want map[string]reports.Verdict // others are valid
	}{
		"no accounts": {func(ev *Evidence) { ev.Accounts, ev.Messages = false, nil }, map[string]reports.Verdict{
			"balance": no, "lost": no, "not-redelivered": no, "lost-in-client": no, "duplicated": no, "reordered": no, "unexpected": no,
			"misrouted": no, "wrong-qos": no, "stuck": no, "deaf": no,
		}},
		"accounts of nothing": {func(ev *Evidence) { ev.Messages = []reports.Messages{{}, {QoS: 1}, {QoS: 2}} }, map[string]reports.Verdict{
			"lost": no, "not-redelivered": no, "lost-in-client": no, "duplicated": no, "reordered": no, "unexpected": no,
			"misrouted": no, "wrong-qos": no, "stuck": no,
		}},
		"accounts of QoS 0 alone": {func(ev *Evidence) { ev.Messages = ev.Messages[:1] }, map[string]reports.Verdict{
			"lost": no, "not-redelivered": no, "lost-in-client": no, "stuck": no,
		}},
		"no drain": {func(ev *Evidence) { ev.Drained = false }, map[string]reports.Verdict{
			"lost": no, "not-redelivered": no, "lost-in-client": no, "stuck": no,
		}},
		"no closing mark": {func(ev *Evidence) { ev.Complete = false }, map[string]reports.Verdict{
			"assumptions": no, "packet-id": no, "publish-after-pubrel": no, "resend-after-clean": no, "dup-flag": no, "first-packet": no, "resend-order": no,
			"retained-on-resume": no, "suback": no, "unknown-ack": no, "server-packet": no, "unscripted": no, "collateral": no,
			"session-forgotten": no, "session-invented": no, "takeover": no, "keep-alive": no, "will": no, "kick-effective": no,
			"deaf": no, "never-returned": no, "leak": no,
		}},
		"an end that the events no longer explain": {func(ev *Evidence) {
			ev.Missing = []string{"events.jsonl.gz has 9 of 10 lines"}
			ev.Unscripted = append(ev.Unscripted, End{ClientID: "b", N: 2, At: 60 * sec, Kind: timeline.EndEOF})
		}, map[string]reports.Verdict{"assumptions": no, "unscripted": no}},
		"no env": {func(ev *Evidence) {
			ev.Missing, ev.Target = []string{"env.json is missing"}, reports.Target{}
		}, map[string]reports.Verdict{"assumptions": no, "session-forgotten": no, "will": no}},
		"no findings": {func(ev *Evidence) { ev.Missing = []string{"findings.jsonl.gz is cut: the run was killed"} }, map[string]reports.Verdict{
			"assumptions": no, "packet-id": no, "publish-after-pubrel": no, "resend-after-clean": no, "dup-flag": no, "first-packet": no, "resend-order": no,
			"retained-on-resume": no, "suback": no, "unknown-ack": no, "server-packet": no,
		}},
		"away at an interrupt": {func(ev *Evidence) { ev.Interrupted, ev.Away = true, []string{"a"} }, map[string]reports.Verdict{
			"assumptions": no, "never-returned": no,
		}},
		"no traffic": {func(ev *Evidence) { ev.Plan.Traffic, ev.Messages = nil, nil }, map[string]reports.Verdict{
			"balance": na, "lost": na, "not-redelivered": na, "lost-in-client": na, "duplicated": na, "reordered": na, "unexpected": na,
			"misrouted": na, "wrong-qos": na, "stuck": na, "publish-after-pubrel": na, "resend-after-clean": na, "dup-flag": na, "resend-order": na, "retained-on-resume": na,
		}},
		"no traffic of QoS 2": {func(ev *Evidence) { ev.Plan.Traffic = ev.Plan.Traffic[:2] }, map[string]reports.Verdict{"publish-after-pubrel": na}},
		"traffic of QoS 0 alone": {func(ev *Evidence) { ev.Plan.Traffic = ev.Plan.Traffic[:1] }, map[string]reports.Verdict{
			"lost": na, "not-redelivered": na, "lost-in-client": na, "stuck": na, "publish-after-pubrel": na, "resend-after-clean": na, "resend-order": na,
		}},
		"subscriptions of QoS 0 alone": {func(ev *Evidence) { ev.Plan.Fleets[0].Subscribe[0].QoS = 0 }, map[string]reports.Verdict{
			"lost": na, "not-redelivered": na, "lost-in-client": na, "stuck": na,
		}},
		"nobody subscribes": {func(ev *Evidence) {
			for i := range ev.Plan.Fleets {
				ev.Plan.Fleets[i].Subscribe, ev.Plan.Fleets[i].Probe = nil, ""
			}
		}, map[string]reports.Verdict{
			"lost": na, "not-redelivered": na, "lost-in-client": na, "stuck": na, "suback": na, "deaf": na,
		}},
		"nobody subscribes or publishes": {func(ev *Evidence) {
			ev.Plan.Traffic = ev.Plan.Traffic[:1]
			ev.Plan.Fleets[0].Subscribe, ev.Plan.Fleets[1].Subscribe = nil, nil
		}, map[string]reports.Verdict{
			"lost": na, "not-redelivered": na, "lost-in-client": na, "stuck": na, "publish-after-pubrel": na, "resend-after-clean": na, "resend-order": na, "suback": na,
			"packet-id": na, "unknown-ack": na,
		}},
		"nothing is retained": {func(ev *Evidence) { ev.Plan.Traffic[0].Retain = false }, map[string]reports.Verdict{"retained-on-resume": na}},
		"no fault in the plan": {func(ev *Evidence) { ev.Plan.Phases[2].Waves, ev.Actions, ev.Waves = nil, nil, nil }, map[string]reports.Verdict{
			"kick-effective": na, "collateral": na,
		}},
		"no fault, nobody came back": {func(ev *Evidence) {
			ev.Plan.Phases[2].Waves, ev.Actions, ev.Waves = nil, nil, nil
			for i := range ev.Clients {
				ev.Clients[i].Rivals = nil
				for _, c := range ev.Clients[i].Conns {
					c.SessionWanted = false
				}
			}
		}, map[string]reports.Verdict{"kick-effective": na, "collateral": na, "session-forgotten": na, "takeover": na}},
		"only packets are swallowed, nobody came back": {func(ev *Evidence) {
			w := ev.Plan.Phases[2].Waves
			w[0].Faults, w[1].Faults = nil, w[1].Faults[1:]
			ev.Actions = nil
			for i := range ev.Clients {
				for _, c := range ev.Clients[i].Conns {
					c.SessionWanted = false
				}
			}
		}, map[string]reports.Verdict{"kick-effective": na, "session-forgotten": na}},
		"the faults are on a fleet with clean sessions": {func(ev *Evidence) {
			ev.Plan.Fleets[devices].Session.Clean = true
			for i := range ev.Clients {
				for _, c := range ev.Clients[i].Conns {
					c.SessionWanted = false
				}
			}
		}, map[string]reports.Verdict{"session-forgotten": na}},
		"nobody came back to a kept session": {func(ev *Evidence) {
			for i := range ev.Clients {
				for _, c := range ev.Clients[i].Conns {
					c.SessionWanted = false
				}
			}
		}, map[string]reports.Verdict{"session-forgotten": no}},
		"no takeover in the plan": {func(ev *Evidence) {
			w := ev.Plan.Phases[2].Waves
			w[1].Faults = w[1].Faults[1:]
			ev.Actions, ev.Clients[a].Rivals = ev.Actions[:2:2], nil
		}, map[string]reports.Verdict{"takeover": na}},
		"no close in the plan": {func(ev *Evidence) {
			ev.Plan.Phases[2].Waves[0].Faults[0].Kind = "takeover"
			ev.Actions[0].Fault, ev.Actions[1].Fault = "takeover", "takeover"
		}, map[string]reports.Verdict{"kick-effective": na}},
		"no action at all": {func(ev *Evidence) { ev.Actions = nil }, map[string]reports.Verdict{"assumptions": no, "kick-effective": no}},
		"interrupted before the kicks": {func(ev *Evidence) { ev.Interrupted, ev.Actions, ev.Frames = true, nil, nil }, map[string]reports.Verdict{
			"assumptions": no, "kick-effective": no,
		}},
		"nobody was ever counted as connected": {func(ev *Evidence) { ev.Connected = nil }, map[string]reports.Verdict{"assumptions": no, "unscripted": no}},
		"nobody ever connected": {func(ev *Evidence) { ev.Connected, ev.Clients, ev.Sentinels, ev.Wills = nil, nil, nil, nil }, map[string]reports.Verdict{
			"assumptions": no, "unscripted": no, "packet-id": no, "publish-after-pubrel": no, "resend-after-clean": no, "dup-flag": no, "first-packet": no, "resend-order": no,
			"retained-on-resume": no, "suback": no, "unknown-ack": no, "server-packet": no, "session-forgotten": no, "session-invented": no,
			"takeover": no, "keep-alive": no, "deaf": no,
		}},
		"a subscriber in doubt and deaf": {func(ev *Evidence) {
			ev.Undecided = 1
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
		}, map[string]reports.Verdict{"lost": no, "deaf": inv}},
		"a subscriber in doubt without its sentinel": {func(ev *Evidence) {
			ev.Undecided, ev.Sentinels[0].Acked = 1, 0
			add(ledger.Exception{Verdict: ledger.Undetermined, QoS: 1, Subscriber: "b", Stream: 1})(ev)
		}, map[string]reports.Verdict{"lost": no, "assumptions": no, "deaf": v}},
	} {
		t.Run(what, func(t *testing.T) {
			ev := clean()
			c.bend(&ev)
			for name, got := range verdicts(ev) {
				want := c.want[name]
				if want == "" {
					want = v
				}
				if got.Verdict != want {
					t.Errorf("%s is %s (%s %q), want %s", name, got.Verdict, got.Detail, got.Examples, want)
				}
			}
		})
	}
}

func TestAPanicIsUnknown(t *testing.T) {
	got := runTable([]Check{{Name: "broken", Run: func(Evidence) Result { panic("oh") }}}, Evidence{})
	if len(got) != 1 || got[0].Name != "broken" || got[0].Verdict != reports.Unknown || !strings.Contains(got[0].Detail, "oh") {
		t.Errorf("%+v", got)
	}
	// Evidence without a plan makes every check that looks at it panic: none
	// of them may then say valid.
	for _, c := range Run(Evidence{Complete: true}) {
		if c.Verdict == reports.Valid && c.Name != "never-returned" {
			t.Errorf("%s is valid without any evidence", c.Name)
		}
	}
}

func TestExamplesAreBounded(t *testing.T) {
	ev := clean()
	for range 20 {
		ev.Away = append(ev.Away, "x")
		ev.Unscripted = append(ev.Unscripted, End{Kind: timeline.EndEOF})
		ev.Findings = append(ev.Findings, timeline.Finding{Rule: "suback", Charge: broker}, timeline.Finding{Rule: "dup-flag", Warn: true})
		ev.Lost = append(ev.Lost, reports.Loss{Verdict: "lost", QoS: 1})
		ev.Messages[1].Lost++
	}
	for name, c := range verdicts(ev) {
		if len(c.Examples) > maxExamples || len(c.Warned) > maxExamples {
			t.Errorf("%s has %d examples and %d of warnings", name, len(c.Examples), len(c.Warned))
		}
		if c.Verdict == reports.Invalid && (c.Count != 20 || len(c.Examples) != maxExamples) {
			t.Errorf("%s counts %d and shows %d", name, c.Count, len(c.Examples))
		}
		if name == "dup-flag" && (c.Verdict != reports.Valid || c.Warnings != 20 || len(c.Warned) != maxExamples) {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// TestAPlanContentWithLess takes the plan's own share of connected clients.
func TestAPlanContentWithLess(t *testing.T) {
	ev := clean()
	half := 0.5
	ev.Plan.Phases[0].Until.Connected = &half
	ev.Plan.Fleets = append(ev.Plan.Fleets[:0:0], ev.Plan.Fleets[0], scenarios.PlanFleet{Clients: 2, Fleet: scenarios.Fleet{Name: "others"}})
	ev.Connected["devices"] = 1
	if c := verdicts(ev)["assumptions"]; c.Verdict != reports.Valid {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
}

// What an older version did not record is not judged, and never passes.
func TestOlderRecordings(t *testing.T) {
	known := map[string]bool{}
	for _, row := range Table() {
		known[row.Name] = true
	}
	for name, since := range recordedSince {
		if !known[name] {
			t.Errorf("there is no check %s", name)
		}
		ev := clean()
		for version, want := range map[int]bool{0: false, since - 1: true, since: false} {
			ev.Recorded = version
			if got := verdicts(ev)[name].Verdict == reports.NotApplicable && strings.Contains(verdicts(ev)[name].Detail, "did not look"); got != want {
				t.Errorf("%s recorded by version %d: skipped %v, want %v", name, version, got, want)
			}
		}
	}
}
