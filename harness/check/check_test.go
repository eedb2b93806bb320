package check

import (
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const ms = timeline.Instant(time.Millisecond)

// clean is the evidence of a run in which all is well: two clients, kicked
// once and back, QoS 1 traffic, drained.
func clean() Evidence {
	all, quiet := 1.0, 2*time.Second
	act := func(id string) Action {
		return Action{Outcome: "hit", Action: timeline.Action{
			Fault: "close", Phase: "storm", Wave: 1, Fleet: "devices", ClientID: id, Issued: 1000 * ms, Answered: 1002 * ms, OK: true,
		}}
	}
	return Evidence{
		Plan: &scenarios.Plan{
			Fleets: []scenarios.PlanFleet{{Clients: 2, Fleet: scenarios.Fleet{Name: "devices", Subscribe: []scenarios.Subscription{{Topic: "rb/{client}", QoS: 1}}}}},
			Traffic: []scenarios.Traffic{
				{From: "control", To: "devices", Topic: "rb/{client}", QoS: 1},
			},
			Phases: []scenarios.PlanPhase{
				{Name: "connect", Until: &scenarios.Until{Connected: &all}},
				{Name: "steady", For: time.Second},
				{Name: "storm", Until: &scenarios.Until{Back: &all}, Waves: []scenarios.PlanWave{{Wave: 1, Faults: []scenarios.PlanFault{{Kind: "close", Fleet: "devices", Count: 2}}}}},
				{Name: "drain", Until: &scenarios.Until{Quiet: &quiet}},
			},
		},
		Complete: true, Health: true, Accounts: true, Drained: true, Returned: 2,
		Phases: []timeline.Phase{
			{Name: "connect", Reason: "until"}, {Name: "steady", Reason: "for"}, {Name: "storm", Reason: "until"}, {Name: "drain", Reason: "until"},
		},
		Connected: map[string]int{"devices": 2},
		Actions:   []Action{act("a"), act("b")},
		Messages:  []reports.Messages{{QoS: 0}, {QoS: 1, Attempted: 10, Acknowledged: 10, Expected: 10, Delivered: 10}},
		Sentinels: []Sentinel{{Stream: 1, Topic: "rb/a", Sent: 1, Acked: 2}},
	}
}

func verdicts(ev Evidence) map[string]reports.Check {
	m := map[string]reports.Check{}
	for _, c := range Run(ev) {
		m[c.Name] = c
	}
	return m
}

func TestCleanRunIsValid(t *testing.T) {
	for name, c := range verdicts(clean()) {
		if c.Verdict != reports.Valid || c.Detail == "" || c.Count != 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// planted bends the clean evidence so that exactly the named check turns.
type planted struct {
	what    string
	check   string
	verdict reports.Verdict
	words   string // in the detail
	bend    func(*Evidence)
}

func plants() []planted {
	no, inv, na := reports.Unknown, reports.Invalid, reports.NotApplicable
	return []planted{
		{"missing evidence", "assumptions", no, "health.csv is cut", func(ev *Evidence) { ev.Missing = []string{"health.csv is cut"} }},
		{"interrupted", "assumptions", no, "interrupted", func(ev *Evidence) { ev.Interrupted = true }},
		{"aborted", "assumptions", no, "connect timed out", func(ev *Evidence) { ev.Aborted = "connect timed out" }},
		{"no health", "assumptions", no, "health", func(ev *Evidence) { ev.Health = false }},
		{"a phase before the fault timed out", "assumptions", no, "connect", func(ev *Evidence) { ev.Phases[0].Reason = "timeout" }},
		{"a phase did not run", "assumptions", no, "steady did not run", func(ev *Evidence) { ev.Phases = append(ev.Phases[:1:1], ev.Phases[2:]...) }},
		{"the drain timed out", "assumptions", no, "did not become quiet", func(ev *Evidence) { ev.Phases[3].Reason = "timeout" }},
		{"a client did not connect", "assumptions", no, "1 of 2 clients", func(ev *Evidence) { ev.Connected["devices"] = 1 }},
		{"an action was not issued", "assumptions", no, "1 of 2 planned actions", func(ev *Evidence) { ev.Actions = ev.Actions[:1] }},
		{"an action without an issue", "assumptions", no, "1 of 2 planned actions", func(ev *Evidence) { ev.Actions[1].Issued, ev.Actions[1].Outcome = 0, "" }},
		{"a call was not answered", "assumptions", no, "1 of 2 calls", func(ev *Evidence) { ev.Actions[1].Answered = 0 }},
		{"a call failed", "assumptions", no, "503", func(ev *Evidence) {
			ev.Actions[1].Outcome, ev.Actions[1].OK, ev.Actions[1].Err = "failed", false, "503"
		}},
		{"a sentinel was not acknowledged", "assumptions", no, "1 of 1 streams", func(ev *Evidence) { ev.Sentinels[0].Acked = 0 }},

		{"accounts that do not add up", "balance", no, "QoS 1: 3 too few", func(ev *Evidence) { ev.Messages[1].Balance = "3 too few" }},
		{"accounts with problems", "balance", no, "two accounts", func(ev *Evidence) { ev.Problems = []string{"stream 1 has two accounts"} }},

		{"a lost message", "lost", inv, "1 of 10", func(ev *Evidence) {
			ev.Messages[1].Lost = 1
			ev.Lost = []reports.Loss{{Verdict: "lost", QoS: 1, Topic: "rb/a", Seq: 7, Subscriber: "a", Phase: "storm"}}
		}},
		{"messages in doubt at a client that was there", "lost", no, "neither read", func(ev *Evidence) { ev.Undecided = 2 }},
		{"nothing was owed", "lost", no, "owed", func(ev *Evidence) { ev.Messages[1].Expected = 0 }},
		{"no drain", "lost", no, "drain", func(ev *Evidence) { ev.Drained = false }},
		{"a plan without QoS 1", "lost", na, "", func(ev *Evidence) { ev.Plan.Traffic[0].QoS = 0 }},
		{"a plan that subscribes at QoS 0", "lost", na, "", func(ev *Evidence) { ev.Plan.Fleets[0].Subscribe[0].QoS = 0 }},

		{"an unscripted end", "unscripted", inv, "eof 1", func(ev *Evidence) {
			ev.Unscripted = []End{{ClientID: "a", N: 2, Kind: timeline.EndEOF, Phase: "steady"}}
		}},
		{"an unscripted end of control", "unscripted", inv, "reset 1", func(ev *Evidence) { ev.Control = []End{{ClientID: "c", N: 1, Kind: timeline.EndReset}} }},
		{"a starved end", "unscripted", no, "starved", func(ev *Evidence) { ev.Unscripted = []End{{Kind: timeline.EndEOF, Starved: true}} }},

		{"a kick without effect", "kick-effective", inv, "1 of 2 actions", func(ev *Evidence) { ev.Actions[1].Outcome = "no-effect" }},

		{"a client that never returns", "never-returned", inv, "1", func(ev *Evidence) { ev.Away = []string{"b"} }},
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
					t.Errorf("%s is %s too: %s", name, c.Verdict, c.Detail)
				case name == p.check && (c.Verdict != p.verdict || !strings.Contains(c.Detail, p.words)):
					t.Errorf("%s is %s (%s), want %s with %q", name, c.Verdict, c.Detail, p.verdict, p.words)
				case name == p.check && c.Verdict == reports.Invalid && (c.Count != 1 || len(c.Examples) != 1):
					t.Errorf("%s: count %d, examples %q", name, c.Count, c.Examples)
				}
			}
		})
	}
}

// TestEachRowHasAPlant: no check can be added without a fault that turns it.
func TestEachRowHasAPlant(t *testing.T) {
	has := map[string]bool{}
	for _, p := range plants() {
		has[p.check] = true
	}
	for _, row := range Table() {
		if !has[row.Name] || row.Doc == "" || row.Run == nil {
			t.Errorf("check %s: planted %v, doc %q", row.Name, has[row.Name], row.Doc)
		}
		delete(has, row.Name)
	}
	for name := range has {
		t.Errorf("a plant for %q, which is no check", name)
	}
}

func TestTwoAtOnce(t *testing.T) {
	for what, c := range map[string]struct {
		bend func(*Evidence)
		want map[string]reports.Verdict // others are valid
	}{
		"no accounts": {func(ev *Evidence) { ev.Accounts, ev.Messages = false, nil },
			map[string]reports.Verdict{"balance": reports.Unknown, "lost": reports.Unknown}},
		"no closing mark": {func(ev *Evidence) { ev.Complete = false },
			map[string]reports.Verdict{"assumptions": reports.Unknown, "never-returned": reports.Unknown}},
		"away at an interrupt": {func(ev *Evidence) { ev.Interrupted, ev.Away = true, []string{"a"} },
			map[string]reports.Verdict{"assumptions": reports.Unknown, "never-returned": reports.Unknown}},
		"no traffic": {func(ev *Evidence) { ev.Plan.Traffic, ev.Messages = nil, nil },
			map[string]reports.Verdict{"balance": reports.NotApplicable, "lost": reports.NotApplicable}},
		"no fault in the plan": {func(ev *Evidence) { ev.Plan.Phases[2].Waves, ev.Actions = nil, nil },
			map[string]reports.Verdict{"kick-effective": reports.NotApplicable}},
		"no action at all": {func(ev *Evidence) { ev.Actions = nil },
			map[string]reports.Verdict{"assumptions": reports.Unknown, "kick-effective": reports.Unknown}},
		"interrupted before the kicks": {func(ev *Evidence) { ev.Interrupted, ev.Actions = true, nil },
			map[string]reports.Verdict{"assumptions": reports.Unknown, "kick-effective": reports.Unknown}},
		"nobody ever connected": {func(ev *Evidence) { ev.Connected = nil },
			map[string]reports.Verdict{"assumptions": reports.Unknown, "unscripted": reports.Unknown}},
	} {
		t.Run(what, func(t *testing.T) {
			ev := clean()
			c.bend(&ev)
			for name, got := range verdicts(ev) {
				want := c.want[name]
				if want == "" {
					want = reports.Valid
				}
				if got.Verdict != want {
					t.Errorf("%s is %s (%s), want %s", name, got.Verdict, got.Detail, want)
				}
			}
		})
	}
}

func TestAPanicIsUnknown(t *testing.T) {
	got := runTable([]Check{{Name: "broken", Run: func(Evidence) reports.Check { panic("oh") }}}, Evidence{})
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
	}
	for name, c := range verdicts(ev) {
		if len(c.Examples) > maxExamples {
			t.Errorf("%s has %d examples", name, len(c.Examples))
		}
		if c.Verdict == reports.Invalid && c.Count != 20 {
			t.Errorf("%s counts %d", name, c.Count)
		}
	}
}

// TestAPlanContentWithLess takes the plan's own share of connected clients.
func TestAPlanContentWithLess(t *testing.T) {
	ev := clean()
	half := 0.5
	ev.Plan.Phases[0].Until.Connected = &half
	ev.Connected["devices"] = 1
	if c := verdicts(ev)["assumptions"]; c.Verdict != reports.Valid {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
}
