package check

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestAway: who had to take the next step of a client that is not back.
func TestAway(t *testing.T) {
	for what, tc := range map[string]struct {
		charge timeline.Charge
		words  string
		change func(*timeline.Conn)
	}{
		"refused":                {broker, "was refused with return code 3", func(c *timeline.Conn) { c.ConnackCode, c.End = 3, 2*sec }},
		"no dial after its end":  {library, "ended at 60.000 s, and no dial came after it", func(c *timeline.Conn) { c.End = 60 * sec }},
		"ended with the stop":    {broker, "is subscribed and read no message", func(c *timeline.Conn) { c.End = stopped }},
		"still open":             {broker, "is subscribed and read no message", func(c *timeline.Conn) { c.End = 0 }},
		"dial failed":            {broker, "found no broker", func(c *timeline.Conn) { c.EndKind, c.Connack, c.End = timeline.EndDial, 0, 2*sec }},
		"dial under way":         {broker, "found no broker", func(c *timeline.Conn) { c.Dialed, c.Connect, c.Connack, c.End = 0, 0, 0, 0 }},
		"no CONNECT":             {library, "wrote no CONNECT", func(c *timeline.Conn) { c.Connect, c.Connack, c.End = 0, 0, 0 }},
		"no CONNACK":             {broker, "got no CONNACK", func(c *timeline.Conn) { c.Connack, c.End = 0, 2*sec }},
		"no SUBACK":              {broker, "is not subscribed", func(c *timeline.Conn) { c.Restored, c.Subs = 0, []timeline.Sub{{Sent: 1, Acked: 2}, {Sent: 1}} }},
		"a filter is refused":    {broker, "is not subscribed", func(c *timeline.Conn) { c.Restored, c.Subs = 0, []timeline.Sub{{Sent: 1, Acked: 2, Granted: 0x80}} }},
		"each filter is granted": {library, "is not subscribed", func(c *timeline.Conn) { c.Restored, c.Subs = 0, []timeline.Sub{{Sent: 1, Acked: 2, Granted: 2}} }},
		"no SUBSCRIBE":           {library, "is not subscribed", func(c *timeline.Conn) { c.Restored, c.Subs = 0, []timeline.Sub{{Granted: 0x80}} }},
	} {
		ev := clean()
		tc.change(ev.at(b, 1))
		charge, words := ev.away(&ev.Clients[b])
		if charge != tc.charge || !strings.HasPrefix(words, "connection 2, dialled at 1.100 s, ") || !strings.HasSuffix(words, tc.words) {
			t.Errorf("%s: charged to %q: %s", what, charge, words)
		}
	}
	// The same refusals while a door was shut: the client has not come again.
	shut := timeline.Extent{Fault: "reject-auth", Issued: sec, Healed: 3 * sec, OK: true, Bars: true}
	for what, tc := range map[string]struct {
		charge timeline.Charge
		words  string
		change func(*timeline.Conn, *timeline.Extent)
	}{
		"refused by a door":        {library, "was turned away by the fault reject-auth and did not try again after it", func(*timeline.Conn, *timeline.Extent) {}},
		"by the door of its fleet": {library, "did not try again after it", func(_ *timeline.Conn, x *timeline.Extent) { x.Fleet = "devices" }},
		"hung":                     {library, "did not try again after it", func(c *timeline.Conn, _ *timeline.Extent) { c.Connack, c.ConnackCode, c.End = 0, 0, 4*sec }},
		"by another fleet's door":  {broker, "return code 3", func(_ *timeline.Conn, x *timeline.Extent) { x.Fleet = "others" }},
		"before the door was shut": {broker, "return code 3", func(_ *timeline.Conn, x *timeline.Extent) { x.Issued = 10 * sec }},
		"after it was opened":      {broker, "return code 3", func(_ *timeline.Conn, x *timeline.Extent) { x.Healed = sec + 1 }},
		"as it was shut":           {library, "did not try again after it", func(c *timeline.Conn, x *timeline.Extent) { x.Issued = c.End }},
		"as it was opened":         {library, "did not try again after it", func(c *timeline.Conn, x *timeline.Extent) { x.Healed = c.Dial }},
		"the door failed":          {broker, "return code 3", func(_ *timeline.Conn, x *timeline.Extent) { x.OK = false }},
		"it bars nobody":           {broker, "return code 3", func(_ *timeline.Conn, x *timeline.Extent) { x.Bars = false }},
	} {
		ev := clean()
		c, x := ev.at(b, 1), shut
		c.Connack, c.ConnackCode, c.End = 2*sec, 3, 2*sec
		tc.change(c, &x)
		ev.Extents = []timeline.Extent{x}
		if charge, words := ev.away(&ev.Clients[b]); charge != tc.charge || !strings.HasSuffix(words, tc.words) {
			t.Errorf("%s: charged to %q: %s", what, charge, words)
		}
	}
	for _, cl := range []*Client{nil, {}} {
		if charge, words := (Evidence{}).away(cl); charge != timeline.ChargeNobody || !strings.HasPrefix(words, "nothing is known") {
			t.Errorf("%v: charged to %q: %s", cl, charge, words)
		}
	}
}

// TestVictims: the faults of a wave name their clients in each of four ways,
// and nobody of another wave, phase or fleet.
func TestVictims(t *testing.T) {
	ev := Evidence{
		Plan: &scenarios.Plan{
			Fleets: []scenarios.PlanFleet{{Clients: 3, Fleet: scenarios.Fleet{Name: "x"}}, {Clients: 1, Fleet: scenarios.Fleet{Name: "y"}}},
			Phases: []scenarios.PlanPhase{{Name: "storm", Waves: []scenarios.PlanWave{
				{Wave: 1, Faults: []scenarios.PlanFault{{Kind: "close", Fleet: "x", Count: 2, Victims: []scenarios.Victim{{Client: 2}}}}},
				{Wave: 2, Faults: []scenarios.PlanFault{{Kind: "swallow", Fleet: "y", Count: 1}, {Kind: "close", Fleet: "z", Count: 0}}},
			}}},
		},
		Clients: []Client{{Fleet: "x", ID: "x0"}, {Fleet: "x", Index: 1, ID: "x1"}, {Fleet: "x", Index: 2, ID: "x2"}, {Fleet: "y", ID: "y0"}, {Fleet: "z", ID: "z0"}},
		Actions: []Action{{Action: timeline.Action{Phase: "storm", Wave: 2, ClientID: "x0"}}},
		Frames:  []timeline.Frame{{Phase: "storm", Wave: 3, ClientID: "x1"}},
	}
	want := map[named]bool{{"storm", 1, "x2"}: true, {"storm", 2, "x0"}: true, {"storm", 3, "x1"}: true, {"storm", 2, "y0"}: true}
	if diff := cmp.Diff(want, victimsOf(ev), cmp.AllowUnexported(named{})); diff != "" {
		t.Error(diff)
	}
}

// TestOverlappingWaves: a client that one of two waves under way names is no
// bystander, whichever comes first.
func TestOverlappingWaves(t *testing.T) {
	waves := []timeline.Wave{{Phase: "p", Wave: 1, End: 9}, {Phase: "p", Wave: 2, End: 9}, {Phase: "p", Wave: 3, Start: 9, End: 10}}
	for wave, want := range map[int]bool{0: true, 1: false, 2: false, 3: true} {
		if got := bystander(waves, map[named]bool{{"p", wave, "a"}: true}, End{ClientID: "a", At: 5}); got != want {
			t.Errorf("named by wave %d: bystander %v", wave, got)
		}
	}
}

// TestCharges: findings are charged apart, and starved ones beside them.
func TestCharges(t *testing.T) {
	ev := clean()
	ev.Unscripted = []End{
		{ClientID: "a", N: 2, At: 60 * sec, Kind: timeline.EndEOF}, {ClientID: "a", N: 2, At: 60 * sec, Kind: timeline.EndReset},
		{ClientID: "a", N: 2, At: 60 * sec, Kind: timeline.EndLocal}, {ClientID: "a", N: 2, At: 60 * sec, Kind: timeline.EndEOF, Starved: true},
	}
	got := verdicts(ev)["unscripted"]
	want := reports.Check{
		Name: "unscripted", Verdict: reports.Invalid, Count: 4,
		Detail:   "ends that no fault explains: 3 (eof 1, local-close 1, reset 1); 1 more are charged to the starved harness",
		Examples: []string{"a connection 2 at 60.000 s in phase : eof", "a connection 2 at 60.000 s in phase : reset", "a connection 2 at 60.000 s in phase : local-close"},
		Charges:  map[string]int64{"broker": 2, "client-library": 1, "harness": 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	ev.Unscripted = ev.Unscripted[3:]
	if got := verdicts(ev)["unscripted"]; got.Verdict != reports.Unknown || got.Count != 1 || got.Charges["harness"] != 1 {
		t.Errorf("%+v", got)
	}
}

// TestUnlisted: what is counted and not listed adds to the faults of a verdict
// that has no legal exceptions, and is only told of one that has.
func TestUnlisted(t *testing.T) {
	for v, tc := range map[ledger.Verdict]struct {
		charges map[string]int64
		words   string
	}{
		ledger.Stuck:      {map[string]int64{"broker": 6}, "6 (broker 6)"},
		ledger.Duplicated: {map[string]int64{"broker": 1}, "1 (broker 1); 5 more were counted and not listed, and may be legal"},
	} {
		ev := clean()
		add(exception(v, 1, broker))(&ev)
		mild(exception(v, 1, library), true)(&ev)
		ev.Unlisted[v] = 5
		got := verdicts(ev)[string(v)]
		if diff := cmp.Diff(tc.charges, got.Charges); diff != "" || !strings.HasSuffix(got.Detail, tc.words) || got.Warnings != 1 {
			t.Errorf("%s: %+v\n%s", v, got, diff)
		}
	}
	// Where the listed ones charge different parties, the others charge nobody.
	ev := clean()
	add(exception(ledger.Stuck, 1, broker))(&ev)
	add(exception(ledger.Stuck, 1, publisher))(&ev)
	ev.Unlisted[ledger.Stuck] = 5
	want := map[string]int64{"broker": 1, "publisher-library": 1, "unknown": 5}
	if diff := cmp.Diff(want, verdicts(ev)["stuck"].Charges); diff != "" {
		t.Error(diff)
	}
	ev.Unlisted[ledger.Duplicated] = 7
	if got := verdicts(ev)["duplicated"]; got.Verdict != reports.Unknown || got.Count != 7 {
		t.Errorf("%+v", got)
	}
}

// TestLossesAddUp: the list and the balance count the same losses, and neither
// hides what only the other has.
func TestLossesAddUp(t *testing.T) {
	for what, tc := range map[string]struct {
		balance, listed, warned, unlisted int64
		want                              map[string]int64
	}{
		"the same":           {3, 3, 0, 0, map[string]int64{"subscriber-library": 3}},
		"more balance":       {5, 3, 0, 0, map[string]int64{"subscriber-library": 3, "broker": 2}},
		"more listed":        {1, 3, 0, 0, map[string]int64{"subscriber-library": 3}},
		"some not listed":    {5, 3, 0, 2, map[string]int64{"subscriber-library": 3, "broker": 2}},
		"more not listed":    {4, 3, 0, 2, map[string]int64{"subscriber-library": 3, "broker": 2}},
		"some warn":          {5, 3, 2, 0, map[string]int64{"subscriber-library": 3}},
		"all warn":           {2, 0, 2, 0, nil},
		"one warns, one not": {2, 0, 1, 0, map[string]int64{"broker": 1}},
	} {
		ev := clean()
		ev.Messages[1].Lost = tc.balance
		for range tc.listed {
			add(exception(ledger.Lost, 1, subscriber))(&ev)
		}
		for range tc.warned {
			mild(exception(ledger.Lost, 1, ""), true)(&ev)
		}
		ev.Unlisted[ledger.Lost] = tc.unlisted
		got := verdicts(ev)["lost"]
		if diff := cmp.Diff(tc.want, got.Charges); diff != "" || got.Warnings != tc.warned {
			t.Errorf("%s: %+v\n%s", what, got, diff)
		}
	}
}

// TestLevels: the words name the QoS that was owed.
func TestLevels(t *testing.T) {
	for want, list := range map[string][]reports.Messages{
		"QoS 1":       {{QoS: 0, Expected: 1}, {QoS: 1}, {QoS: 2}},
		"QoS 2":       {{QoS: 1}, {QoS: 2, Expected: 1}},
		"QoS 1 and 2": {{QoS: 1, Expected: 1}, {QoS: 2, Lost: 1}},
	} {
		if _, _, got := owed(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestSome: a list of names is cut where it is longer than the examples.
func TestSome(t *testing.T) {
	ev := clean()
	for range maxExamples {
		ev.Sentinels = append(ev.Sentinels, Sentinel{Topic: "t"})
	}
	if c := verdicts(ev)["assumptions"]; !strings.Contains(c.Detail, "5 of 6 streams was not acknowledged (t, t, t, t, t)") {
		t.Error(c.Detail)
	}
	ev.Sentinels = append(ev.Sentinels, Sentinel{Topic: "t"})
	if c := verdicts(ev)["assumptions"]; !strings.Contains(c.Detail, "(t, t, t, t, t, …)") {
		t.Error(c.Detail)
	}
}

// TestFirstJump: of many instants that go backwards the first is named.
func TestFirstJump(t *testing.T) {
	ev := clean()
	ev.at(a, 0).Dialed, ev.at(b, 0).Dialed, ev.Actions[0].Answered = 1, 1, 1
	if c := verdicts(ev)["assumptions"]; !strings.Contains(c.Detail, "3 instants go backwards (a connection 1: ") {
		t.Error(c.Detail)
	}
}

// TestFirstError: of many calls that failed the first reason is named.
func TestFirstError(t *testing.T) {
	ev := clean()
	for i, err := range []string{"", "503", "504"} {
		ev.Actions[i].Outcome, ev.Actions[i].Err = "failed", err
	}
	if c := verdicts(ev)["assumptions"]; c.Count != 1 || !strings.HasSuffix(c.Detail, "3 of 4 calls of the closer were answered with an error and changed nothing, the first with: 503") {
		t.Error(c.Detail)
	}
}

// TestOwes: what is delivered is the lower of publish and subscription.
func TestOwes(t *testing.T) {
	for _, tc := range []struct {
		published, subscribed, asked byte
		want                         bool
	}{{1, 1, 1, true}, {2, 1, 1, true}, {1, 2, 1, true}, {0, 1, 1, false}, {1, 0, 1, false}, {2, 1, 2, false}, {1, 2, 2, false}, {0, 0, 0, true}} {
		p := cleanPlan()
		p.Traffic = []scenarios.Traffic{{To: "devices", QoS: tc.published}}
		p.Fleets[0].Subscribe = []scenarios.Subscription{{QoS: tc.subscribed}}
		if got := owes(p, tc.asked); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
		p.Traffic[0].To = "who knows"
		if got := owes(p, tc.asked); got != (tc.published >= tc.asked) {
			t.Errorf("to a fleet that is not known: %+v: %v", tc, got)
		}
	}
}

// TestInvented: what the connections before one say of its session.
func TestInvented(t *testing.T) {
	kept := func(connect, connack timeline.Instant) *timeline.Conn {
		return &timeline.Conn{Connect: connect, Connack: connack}
	}
	cleanly := func(connect, connack timeline.Instant) *timeline.Conn {
		return &timeline.Conn{Connect: connect, Connack: connack, Clean: true}
	}
	for what, tc := range map[string]struct {
		before []*timeline.Conn
		exists bool
	}{
		"none":                              {nil, false},
		"a kept one":                        {[]*timeline.Conn{kept(1, 2)}, true},
		"a clean one":                       {[]*timeline.Conn{cleanly(1, 2)}, false},
		"kept, then clean":                  {[]*timeline.Conn{kept(1, 2), cleanly(3, 4)}, false},
		"clean, then kept":                  {[]*timeline.Conn{cleanly(1, 2), kept(3, 4)}, true},
		"kept and not answered, then clean": {[]*timeline.Conn{kept(1, 0), cleanly(3, 4)}, true},
		"kept and answered after the clean CONNECT":   {[]*timeline.Conn{kept(1, 4), cleanly(3, 5)}, true},
		"kept and answered with the clean CONNECT":    {[]*timeline.Conn{kept(1, 3), cleanly(3, 5)}, false},
		"kept and clean at once":                      {[]*timeline.Conn{kept(3, 4), cleanly(3, 5)}, true},
		"kept, then clean and not answered":           {[]*timeline.Conn{kept(1, 2), cleanly(3, 0)}, true},
		"kept, then clean and answered too late":      {[]*timeline.Conn{kept(1, 2), cleanly(3, 11)}, true},
		"kept, then clean and answered just in time":  {[]*timeline.Conn{kept(1, 2), cleanly(3, 10)}, false},
		"not dialled through, then clean":             {[]*timeline.Conn{kept(0, 0), cleanly(3, 5)}, false},
		"kept, clean, and a kept one after the clean": {[]*timeline.Conn{kept(1, 2), cleanly(3, 4), kept(5, 0)}, true},
	} {
		c := &timeline.Conn{Connect: 10, Connack: 12, SessionPresent: true}
		if got := invented(tc.before, c, true) == ""; got != tc.exists {
			t.Errorf("%s: a session can exist: %v", what, got)
		}
	}
}

// TestSuccessor: the first that was accepted while the old one was open, and of
// two that were accepted at one instant the later attempt.
func TestSuccessor(t *testing.T) {
	at := func(n int, connack, end timeline.Instant) *timeline.Conn {
		return &timeline.Conn{N: n, Connack: connack, End: end}
	}
	list := []*timeline.Conn{at(1, 5, 9), at(2, 5, 0), at(3, 8, 0), at(4, 7, 0), at(5, 7, 0), {N: 6, Connack: 6, ConnackCode: 3}, at(7, 0, 0)}
	for i, want := range []int{2, 4, 0, 5, 3, 0, 0} {
		n := 0
		if by := successor(list, list[i]); by != nil {
			n = by.N
		}
		if n != want {
			t.Errorf("of %d: %d, want %d", list[i].N, n, want)
		}
	}
	if by := successor(list[:1:1], at(9, 9, 0)); by != nil {
		t.Errorf("accepted when the old one had ended: %d", by.N)
	}
}

// TestDrained: a drain that reached its condition was complete, and so was one
// that waits until nothing is owed and gave up when nothing came any more.
func TestDrained(t *testing.T) {
	quiet := 2 * time.Second
	owed, silent := scenarios.Until{Drained: true}, scenarios.Until{Quiet: &quiet}
	for what, tc := range map[string]struct {
		until      scenarios.Until
		reason     string
		quiet      timeline.Instant
		redelivery float64
		want       bool
	}{
		"nothing is owed":                         {owed, "until", 0, 0, true},
		"quiet long enough":                       {owed, "timeout", 2 * sec, 0, true},
		"not quiet long enough":                   {owed, "timeout", 2*sec - 1, 0, false},
		"what the broker waits is within that":    {owed, "timeout", 2 * sec, 0.5, true},
		"no shorter where the broker waits less":  {owed, "timeout", 2*sec - 1, 0.5, false},
		"as long as the broker waits, and longer": {owed, "timeout", 5 * sec, 4, true},
		"only as long as the broker waits":        {owed, "timeout", 5*sec - 1, 4, false},
		"ended by something else":                 {owed, "interrupted", 9 * sec, 0, false},
		"it waits for quiet, which never came":    {silent, "timeout", 9 * sec, 0, false},
	} {
		p := scenarios.PlanPhase{Until: &tc.until}
		if got := Drained(p, timeline.Phase{Reason: tc.reason, Quiet: int64(tc.quiet)}, tc.redelivery); got != tc.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

// TestWanted: the first phase that waits for clients says how many suffice, as a
// share or as a number, and without one it is all.
func TestWanted(t *testing.T) {
	half, quiet := 0.5, time.Second
	count := &scenarios.Until{ConnectedCount: 8}
	for what, tc := range map[string]struct {
		untils []*scenarios.Until
		want   float64
	}{
		"none":               {[]*scenarios.Until{nil, {Quiet: &quiet}}, 1},
		"a share":            {[]*scenarios.Until{nil, {Connected: &half}}, 0.5},
		"a number":           {[]*scenarios.Until{{Quiet: &quiet}, count}, 0.2},
		"a number, a share":  {[]*scenarios.Until{count, {Connected: &half}}, 0.2},
		"a share, a number":  {[]*scenarios.Until{{Connected: &half}, count}, 0.5},
		"another, then none": {[]*scenarios.Until{{Quiet: &quiet}}, 1},
	} {
		p := scenarios.Plan{Clients: 40}
		for _, u := range tc.untils {
			p.Phases = append(p.Phases, scenarios.PlanPhase{Until: u})
		}
		if got := wanted(&p); got != tc.want {
			t.Errorf("%s: %v, want %v", what, got, tc.want)
		}
	}
}

// TestExtentsTakeEffect: each fault without victims was there in its own wave.
func TestExtentsTakeEffect(t *testing.T) {
	for what, tc := range map[string]struct {
		change func(*timeline.Extent)
		unmet  int
	}{
		"it was":        {func(*timeline.Extent) {}, 0},
		"another fault": {func(x *timeline.Extent) { x.Fault = "reject-auth" }, 1},
		"another phase": {func(x *timeline.Extent) { x.Phase = "steady" }, 1},
		"another wave":  {func(x *timeline.Extent) { x.Wave = 2 }, 1},
	} {
		ev := clean()
		w := &ev.Plan.Phases[2].Waves[0]
		w.Faults = append(w.Faults, scenarios.PlanFault{Kind: "slow-auth", Extent: true})
		x := timeline.Extent{Fault: "slow-auth", Phase: "storm", Wave: 1, Issued: 1, OK: true}
		tc.change(&x)
		ev.Extents = []timeline.Extent{x}
		if got := unmetExtents(ev); len(got) != tc.unmet {
			t.Errorf("%s: %q", what, got)
		}
	}
}
