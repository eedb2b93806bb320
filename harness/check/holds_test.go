package check

import (
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// hold has a lasting fault hold a client, which rides it out. It is told as a
// frame fault, of which any number is planned.
func hold(id string, from, to timeline.Instant) func(*Evidence) {
	return func(ev *Evidence) {
		x := act("swallow", 2, id, from)
		x.Lasting, x.Until, x.Outcome = true, to, "rode-out"
		ev.Actions = append(ev.Actions, x)
	}
}

// TestHoldsMoveWhatIsDue: what nobody can do while a fault holds the client is
// due when it is released, and not a moment later.
func TestHoldsMoveWhatIsDue(t *testing.T) {
	const from, late = 40 * sec, timeline.Instant(1)
	for what, tc := range map[string]struct {
		check string
		bend  func(ev *Evidence, by timeline.Instant) // by: how much too late
		hold  func(*Evidence)
	}{
		"a probe that is not read": {"deaf", func(ev *Evidence, by timeline.Instant) {
			r := ev.at(b, 1)
			r.FirstMessage, r.LastPub, r.ProbeAcked = 0, 0, from
			ev.Stop = from + 20*sec + patience + by
		}, hold("b", from+2*sec, from+20*sec)},
		"a tail that waits": {"deaf", func(ev *Evidence, by timeline.Instant) {
			add(ledger.Exception{Verdict: ledger.LegalLoss, QoS: 1, Subscriber: "b", Acked: from, At: from + 20*sec + patience + by})(ev)
		}, hold("b", from-sec, from+20*sec)},
		"a SUBSCRIBE without an answer": {"suback", func(ev *Evidence, by timeline.Instant) {
			ev.at(b, 1).Subs = []timeline.Sub{{QoS: 1, Granted: 1, Sent: from, Acked: from + 20*sec + patience + by}}
		}, hold("b", from+patience, from+20*sec)},
		"silence": {"keep-alive", func(ev *Evidence, by timeline.Instant) {
			ev.at(b, 1).MaxOutGap = int64(20*sec + 17_500*ms + by)
		}, hold("b", from, from+20*sec)},
		"silence to the end": {"keep-alive", func(ev *Evidence, by timeline.Instant) {
			r := ev.at(b, 1)
			r.LastOut = stopped - (20*sec + 17_500*ms + by)
			r.MaxOutGap = int64(max(stopped, r.End) - r.LastOut)
		}, hold("b", stopped-25*sec, stopped-5*sec)},
		"an old connection": {"takeover", func(ev *Evidence, by timeline.Instant) {
			ev.at(a, 1).End = second + 4*sec + patience + by
			ev.at(a, 1).LastOut = ev.at(a, 1).End
		}, hold("a", second+sec, second+4*sec)},
	} {
		for by, want := range map[timeline.Instant]reports.Verdict{0: reports.Valid, late: reports.Invalid} {
			ev := clean()
			tc.hold(&ev)
			tc.bend(&ev, by)
			if c := verdicts(ev)[tc.check]; c.Verdict != want {
				t.Errorf("%s, %d ns too late: %s is %s: %s", what, by, tc.check, c.Verdict, c.Detail)
			}
		}
		ev := clean()
		tc.bend(&ev, 0)
		if c := verdicts(ev)[tc.check]; c.Verdict != reports.Invalid {
			t.Errorf("%s without a hold: %s is %s", what, tc.check, c.Verdict)
		}
	}
}

// TestHoldExcusesItsOwnSilence: a fault that was over before a client fell silent
// for good is no reason for the broker to keep the connection.
func TestHoldExcusesItsOwnSilence(t *testing.T) {
	ev := clean()
	last := stopped - 17_500*ms - 1
	ev.at(b, 1).LastOut = last
	hold("b", last-20*sec, last)(&ev)
	if c := verdicts(ev)["keep-alive"]; c.Verdict != reports.Invalid {
		t.Errorf("%s: %s", c.Verdict, c.Detail)
	}
}

// TestRodeOutNeedsALife: who rode a fault out and was never heard of again may as
// well be cut still.
func TestRodeOutNeedsALife(t *testing.T) {
	for what, tc := range map[string]struct {
		bend func(ev *Evidence)
		want reports.Verdict
	}{
		"it read on":              {func(ev *Evidence) { ev.at(b, 1).LastIn = 40*sec + 1 }, reports.Valid},
		"it read nothing":         {func(*Evidence) {}, reports.Unknown},
		"it was never lifted":     {func(ev *Evidence) { ev.Actions[len(ev.Actions)-1].Until = 0 }, reports.Valid},
		"the run was interrupted": {func(ev *Evidence) { ev.Interrupted = true }, reports.Valid},
		"another is away":         {func(ev *Evidence) { ev.Away = []string{"a"} }, reports.Invalid},
	} {
		ev := clean()
		hold("b", 40*sec, 50*sec)(&ev)
		ev.at(b, 1).LastIn = 40 * sec
		tc.bend(&ev)
		if c := verdicts(ev)["never-returned"]; c.Verdict != tc.want {
			t.Errorf("%s: %s: %s", what, c.Verdict, c.Detail)
		}
	}
}

// TestHeldSilence: of a record that does not say when its client last wrote, all
// that was held is taken off the longest gap.
func TestHeldSilence(t *testing.T) {
	c := conn("b", 1, 10*sec)
	c.MaxOutGap, c.LastOut = int64(30*sec), 0
	held := holds{"b": {{5 * sec, c.Connect + sec}, {20 * sec, 24 * sec}, {58 * sec, 90 * sec}}}
	if got := silence(c, held, 60*sec); got != 23*sec {
		t.Errorf("%d, want %d", got, 23*sec)
	}
}

// TestHoldsOverlap: a moment under two faults is one moment.
func TestHoldsOverlap(t *testing.T) {
	ev := clean()
	for _, h := range []func(*Evidence){hold("b", 10, 20), hold("b", 15, 30), hold("b", 50, 0)} {
		h(&ev)
	}
	h := ev.holds()
	for _, tc := range []struct{ from, to, want timeline.Instant }{
		{0, 40, 20}, {12, 18, 6}, {30, 50, 0}, {0, 60, 30}, {55, 60, 5},
	} {
		if got := h.within("b", tc.from, tc.to); got != tc.want {
			t.Errorf("of [%d, %d] it was held for %d, want %d", tc.from, tc.to, got, tc.want)
		}
	}
	if got := h.due("z", 7); got != 7 {
		t.Errorf("a client that nobody held: %d", got)
	}
}

// TestHeld: an action holds its client until it is lifted, or until the one
// connection ended that it names, and one that never took effect holds nobody.
func TestHeld(t *testing.T) {
	ended := kick + 3*ms // connection 1 of b; its connection 2 ends after the stop
	for what, tc := range map[string]struct {
		change func(*Action)
		to     timeline.Instant // 0 = it does not hold
	}{
		"until it was lifted":                {func(*Action) {}, 20 * sec},
		"it was never lifted":                {func(x *Action) { x.Until = 0 }, stopped},
		"its connection ended":               {func(x *Action) { x.N = 1 }, ended},
		"its connection lived on":            {func(x *Action) { x.N = 2 }, 20 * sec},
		"its connection never ended":         {func(x *Action) { x.N = 3 }, 20 * sec},
		"nothing is known of its connection": {func(x *Action) { x.N = 9 }, 20 * sec},
		"the call failed, and it was lifted": {func(x *Action) { x.OK = false }, 20 * sec},
		"it never took effect":               {func(x *Action) { x.OK, x.Until = false, 0 }, 0},
		"it was never issued":                {func(x *Action) { x.Issued = 0 }, 0},
		"it does not last":                   {func(x *Action) { x.Lasting = false }, 0},
	} {
		ev := clean()
		ev.Clients[b].Conns = append(ev.Clients[b].Conns, conn("b", 3, 60*sec))
		hold("b", sec, 20*sec)(&ev)
		tc.change(&ev.Actions[len(ev.Actions)-1])
		var want []Span
		if tc.to != 0 {
			want = []Span{{sec, tc.to}}
		}
		if got := ev.holds()["b"]; !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
}

// TestSessionsAfterARestart: a restart is free to forget the sessions that began
// in its lapse, once, and no other.
func TestSessionsAfterARestart(t *testing.T) {
	began, back := 105*ms, kick+105*ms // of b's session, and of its return
	for what, tc := range map[string]struct {
		lapse ledger.Lapse
		want  reports.Verdict
	}{
		"all is forgotten":                    {ledger.Lapse{To: back - 1}, reports.Valid},
		"what began just in the lapse":        {ledger.Lapse{From: began - 1, To: back - 1}, reports.Valid},
		"what began before it":                {ledger.Lapse{From: began, To: back - 1}, reports.Invalid},
		"a restart that is still to come":     {ledger.Lapse{To: back}, reports.Invalid},
		"a restart before the session was so": {ledger.Lapse{To: began - 1}, reports.Invalid},
	} {
		ev := clean()
		ev.at(b, 1).SessionPresent = false
		ev.Lapses = []ledger.Lapse{tc.lapse}
		words := "2 of 2 sessions were resumed, beside 1 that a restart"
		if tc.want == reports.Invalid {
			words = "had forgotten: 1 of 3"
		}
		if c := verdicts(ev)["session-forgotten"]; c.Verdict != tc.want || !strings.Contains(c.Detail, words) {
			t.Errorf("%s: %s: %s", what, c.Verdict, c.Detail)
		}
	}
	ev := clean()
	ev.Lapses = []ledger.Lapse{{To: back - 1}}
	ev.at(b, 1).SessionPresent = false
	again := resumed(conn("b", 3, 60*sec))
	again.SessionPresent = false
	ev.Clients[b].Conns = append(ev.Clients[b].Conns, again)
	if c := verdicts(ev)["session-forgotten"]; c.Verdict != reports.Invalid || c.Count != 1 {
		t.Errorf("forgotten again without a restart: %s: %s", c.Verdict, c.Detail)
	}
}
