package judge

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// TestFaultSpans: what was issued, what a frame fault swallowed, what lasted
// without victims, each mark, and what was planned and did nothing, on the line.
// A lasting fault lasts, and one without victims is there once.
func TestFaultSpans(t *testing.T) {
	f := newFolder()
	f.plan.Phases[2].Waves[0].Faults = append(f.plan.Phases[2].Waves[0].Faults,
		f.plan.Phases[2].Waves[0].Faults[0], f.plan.Phases[2].Waves[0].Faults[0])
	faults := f.plan.Phases[2].Waves[0].Faults
	faults[1].Kind, faults[2].Kind = "swallow", "takeover"
	refuse := faults[0]
	refuse.Kind, refuse.Extent, refuse.Count = "refuse", true, clients
	f.plan.Phases[2].Waves[0].Faults = append(faults, refuse)
	frame := func(at timeline.Instant, fault string) timeline.Frame {
		return timeline.Frame{Fault: fault, Phase: "storm", Wave: 1, Fleet: "devices", At: at * ms}
	}
	f.frames = []timeline.Frame{frame(1100, "swallow"), frame(1300, "swallow"), frame(1003, "close")}
	f.extents = []timeline.Extent{ // the second record of one is the one that counts
		{ID: 1, Fault: "exec", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1210 * ms, OK: true},
		{ID: 1, Fault: "exec", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1210 * ms, Healed: 1800 * ms, OK: true},
		{ID: 2, Fault: "netem", Phase: "storm", Wave: 1, Issued: 1200 * ms, Taken: 1210 * ms, Skipped: "no netem"},
		{ID: 3, Fault: "mark", Phase: "storm", Issued: 1900 * ms, Taken: 1900 * ms, OK: true},
		{ID: 4, Fault: "mark", Phase: "storm", Issued: 1950 * ms, Taken: 1950 * ms, OK: true},
		{ID: 5, Fault: "refuse", Phase: "storm", Wave: 1, Issued: 1960 * ms, Taken: 1960 * ms, Healed: 1970 * ms, OK: true},
	}
	held := f.kick(1, 1007, 1007, 1008)
	held.Fault, held.Lasting, held.Until = "blackhole", true, 1700*ms
	got := f.judge(t).Charts.Faults
	want := []reports.FaultSpan{
		{Kind: "close", Phase: "storm", Wave: 1, Fleet: "devices", Start: 1, End: 1.006, Actions: clients}, // a frame of a fault with actions is no further one
		{Kind: "takeover", Phase: "storm", Wave: 1, Fleet: "devices", Start: 1, End: 1},
		{Kind: "blackhole", Phase: "storm", Wave: 1, Fleet: "devices", Start: 1.007, End: 1.7, Actions: 1},
		{Kind: "swallow", Phase: "storm", Wave: 1, Fleet: "devices", Start: 1.1, End: 1.3, Actions: 2},
		{Kind: "exec", Phase: "storm", Wave: 1, Start: 1.2, End: 1.8, Actions: 1},
		{Kind: "mark", Phase: "storm", Start: 1.9, End: 1.9, Actions: 1},
		{Kind: "mark", Phase: "storm", Start: 1.95, End: 1.95, Actions: 1},
		{Kind: "refuse", Phase: "storm", Wave: 1, Start: 1.96, End: 1.97, Actions: 1},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// TestJoinedSpans: however many waves there are, no action and no stretch is
// left out, and no span joins two faults.
func TestJoinedSpans(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := spans{}
		actions, last := map[string]int{}, timeline.Instant(0)
		kinds := []string{"close", "cut", "takeover"}[:rapid.IntRange(1, 3).Draw(t, "kinds")]
		for _, kind := range kinds {
			for wave := range rapid.IntRange(1, 60).Draw(t, "waves") {
				at := timeline.Instant(wave) * 1000 * ms
				n := rapid.IntRange(0, 9).Draw(t, "actions")
				all.add(spanKey{kind, "storm", "devices", wave + 1, 0}, at, at+5*ms, n)
				actions[kind] += n
				last = max(last, at+5*ms)
			}
		}
		limit := rapid.IntRange(len(kinds), 40).Draw(t, "limit")
		got := all.report(limit)
		if len(got) > limit {
			t.Fatalf("%d spans, want at most %d", len(got), limit)
		}
		end := 0.0
		for i, f := range got {
			actions[f.Kind] -= f.Actions
			end = max(end, f.End)
			if i > 0 && f.Start < got[i-1].Start {
				t.Fatalf("%+v after %+v", f, got[i-1])
			}
		}
		for kind, n := range actions {
			if n != 0 {
				t.Fatalf("%d actions of %s are not drawn", n, kind)
			}
		}
		if end != seconds(last) {
			t.Fatalf("the spans end at %v, want %v", end, seconds(last))
		}
	})
}

// TestJoinedSpansAreFew: no more waves are joined than must be.
func TestJoinedSpansAreFew(t *testing.T) {
	all := spans{}
	for wave := range 5 {
		at := timeline.Instant(wave) * 1000 * ms
		all.add(spanKey{"close", "storm", "devices", wave + 1, 0}, at, at+5*ms, 1+wave)
	}
	span := func(wave int, start, end float64, actions int) reports.FaultSpan {
		return reports.FaultSpan{Kind: "close", Phase: "storm", Wave: wave, Fleet: "devices", Start: start, End: end, Actions: actions}
	}
	want := []reports.FaultSpan{span(1, 0, 1.005, 3), span(3, 2, 3.005, 7), span(5, 4, 4.005, 5)}
	if d := cmp.Diff(want, all.report(3)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := all.report(5); len(got) != 5 {
		t.Errorf("%d spans of 5, where 5 may stand", len(got))
	}
}

// TestHealthPoints: a stall of one sample among thousands is drawn; a rate is
// taken from rows that are long enough for one, and nothing is made up.
func TestHealthPoints(t *testing.T) {
	const second = 1000 * ms
	var rows []measure.HealthRow
	for i := range timeline.Instant(5000) {
		rows = append(rows, measure.HealthRow{Start: i * second, End: (i + 1) * second, CPU: 500_000, Heap: 1})
	}
	h := measure.NewHist(measure.Nanoseconds)
	h.Record(int64(3 * second))
	rows[4321].Canary, rows[4321].CanaryP99, rows[4321].Runnable = h.Encode(), new(int64(3*second)), new(int64(99))
	calm := measure.NewHist(measure.Nanoseconds)
	calm.Record(int64(ms))
	for _, i := range []int{4318, 4319, 4320, 4322, 4323, 4324} { // it stands out, whichever of them share its point
		rows[i].Canary, rows[i].CanaryP99, rows[i].Runnable = calm.Encode(), new(int64(ms)), new(int64(1))
	}
	rows[7].BrokerCPU = new(int64(1_500_000))
	rows = append(rows, measure.HealthRow{Start: 5000 * second, End: 5000*second + 5*ms, CPU: 10_000, BrokerCPU: new(int64(10_000)), Heap: 2})
	got := healthPoints(rows, 600)
	if len(got) > 600 || got[0].Start != 0 || got[len(got)-1].End != 5000.005 {
		t.Fatalf("%d points from %v to %v", len(got), got[0].Start, got[len(got)-1].End)
	}
	stalls, brokers := 0, 0
	for i, p := range got {
		if i > 0 && p.Start != got[i-1].End {
			t.Errorf("a hole before %v", p.Start)
		}
		if p.CPU == nil || *p.CPU != 0.5 {
			t.Errorf("%v: cores %v, want 0.5", p.Start, show64(p.CPU))
		}
		if p.BrokerCPU != nil && *p.BrokerCPU == 1.5 && p.Start <= 7 {
			brokers++
		}
		if p.CanaryMax != nil && *p.CanaryMax > 2.99 && *p.CanaryP99 == 3 && *p.Runnable == 99 && p.Start <= 4321 && 4321 < p.End {
			stalls++
		}
		if p.EchoP99 != nil {
			t.Error("an echo out of nothing")
		}
	}
	if stalls != 1 || brokers != 1 {
		t.Errorf("%d stalls and %d readings of the broker, want 1 and 1", stalls, brokers)
	}
	short := healthPoints(rows[5000:], 600)
	if len(short) != 1 || short[0].CPU != nil || short[0].BrokerCPU != nil || short[0].Heap != 2 {
		t.Errorf("a row of 5 ms: %+v", short)
	}
	over := measure.HealthRow{End: second, Canary: h.Encode(), CanaryOverflow: 1}
	if p := healthPoints([]measure.HealthRow{over}, 600); p[0].CanaryMax != nil {
		t.Error("the greatest lateness is beyond the range, and drawn")
	}
}

// TestLossWindow: where a message was sent in its subscriber's outages, which
// run from 1000 to 3000 ms with a CONNACK at 1500 that ended at 1600 and one at
// 2500, and from 60 s on, never back.
func TestLossWindow(t *testing.T) {
	conn := func(connack, end timeline.Instant) *timeline.Conn {
		return &timeline.Conn{Connack: connack * ms, End: end * ms}
	}
	outages := []*Outage{
		{Start: 1000 * ms, Returned: 3000 * ms, Until: 2000 * ms, Censored: CensoredHorizon, Attempts: []*timeline.Conn{conn(1500, 1600), conn(2500, 60_000)}},
		{Start: 60_000 * ms, Until: 61_000 * ms, Censored: CensoredHorizon},
	}
	type window = reports.LossWindow
	for at, want := range map[timeline.Instant]window{
		0:      {Outside: 1}, // not known
		1:      {Before: 1},
		999:    {Before: 1},
		1000:   {Away: 1},
		1499:   {Away: 1},
		1500:   {Resume: 1},
		1600:   {Away: 1},
		2400:   {Away: 1}, // past the horizon and still away
		2999:   {Resume: 1},
		3001:   {After: 1},
		4000:   {After: 1},
		4001:   {Outside: 1},
		58_999: {Outside: 1},
		59_000: {Before: 1},
		65_000: {Away: 1},
		70_000: {Away: 1},
	} {
		var got window
		addWindow(&got, outages, at*ms, 70_000*ms)
		if got != want {
			t.Errorf("sent at %d ms: %+v, want %+v", at, got, want)
		}
	}
	var between window
	pair := []*Outage{{Start: 1000 * ms, Until: 1100 * ms, Returned: 1100 * ms}, {Start: 1500 * ms, Until: 1600 * ms, Returned: 1600 * ms}}
	addWindow(&between, pair, 1200*ms, 0)
	addWindow(&between, pair, 1400*ms, 0)
	addWindow(&between, nil, 1400*ms, 0)
	if between != (window{After: 1, Before: 1, Outside: 1}) {
		t.Errorf("between two outages the nearer one counts: %+v", between)
	}
}

// TestSessionTruth counts what each return said against what it had to say.
func TestSessionTruth(t *testing.T) {
	conn := func(clean, wanted, present bool) *timeline.Conn {
		return &timeline.Conn{Connack: 1, Clean: clean, SessionWanted: wanted, SessionPresent: present}
	}
	resubscribed := conn(false, true, true)
	resubscribed.Subs = []timeline.Sub{{Filter: "a", Restored: true}, {Filter: "b", Sent: 5}}
	refused := conn(false, true, false)
	refused.ConnackCode = 3
	conns := []*timeline.Conn{
		refused, conn(false, true, false), // the first one accepted tells nothing
		conn(false, true, true), conn(false, true, false), refused, resubscribed,
		conn(false, false, false), conn(true, false, false), conn(true, true, true),
	}
	for keeps, want := range map[bool]reports.SessionTruth{
		true:  {Returns: 6, PresentWanted: 3, PresentMissing: 1, AbsentWanted: 2, AbsentMissing: 1, Resubscribed: 1},
		false: {Returns: 6, AbsentWanted: 2, AbsentMissing: 1, Resubscribed: 1},
	} {
		var got reports.SessionTruth
		addSessions(&got, conns, keeps)
		if got != want {
			t.Errorf("keeps %v: %+v, want %+v", keeps, got, want)
		}
	}
	whole := newFolder().judge(t).Charts.Sessions
	if want := []reports.SessionTruth{{Fleet: "devices", Returns: clients, PresentWanted: clients, Resubscribed: clients}}; !cmp.Equal(whole, want) {
		t.Errorf("of the folder: %+v, want %+v", whole, want)
	}
}

// TestAttempts: dials while the outage was watched; many are one row.
func TestAttempts(t *testing.T) {
	dials := func(n int) (list []*timeline.Conn) {
		for i := range n {
			list = append(list, &timeline.Conn{Dial: timeline.Instant(i) * ms})
		}
		return list
	}
	got := attempts([]*waveFacts{
		{outages: []*Outage{{Attempts: dials(1)}, {Attempts: dials(25)}, {Attempts: dials(20)}}},
		{outages: []*Outage{{Attempts: dials(1)}, {Attempts: dials(8), Until: 2 * ms, Censored: CensoredHorizon}, {Censored: CensoredStopped}}},
	})
	want := []reports.AttemptCount{{Dials: 0, Censored: 1}, {Dials: 1, Back: 2}, {Dials: 3, Censored: 1}, {Dials: 20, Back: 2}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
