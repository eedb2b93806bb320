package check

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"pgregory.net/rapid"
)

// TestRandomBends: whatever happened in a run, a check says how many, whom they
// charge and for example which; it says the same again; and it changes nothing.
func TestRandomBends(t *testing.T) {
	bends := map[string]func(*Evidence){}
	for _, p := range plants() {
		bends["planted: "+p.what] = p.bend
	}
	for _, l := range legals() {
		bends["legal: "+l.what] = l.bend
	}
	names := slices.Sorted(maps.Keys(bends))
	rapid.Check(t, func(t *rapid.T) {
		picked := rapid.SliceOfN(rapid.SampledFrom(names), 0, 6).Draw(t, "bends")
		bent := func() Evidence {
			ev := clean()
			for _, name := range picked {
				apply(&ev, bends[name])
			}
			return ev
		}
		ev := bent()
		scatter(t, &ev)
		got := Run(ev)
		if diff := cmp.Diff(got, Run(ev)); diff != "" {
			t.Fatalf("a second look says otherwise:\n%s", diff)
		}
		for _, c := range got {
			wellFormed(t, c)
		}
	})
}

// apply bends evidence that other bends may have shortened already.
func apply(ev *Evidence, bend func(*Evidence)) {
	defer func() { _ = recover() }()
	bend(ev)
}

// scatter adds random records.
func scatter(t *rapid.T, ev *Evidence) {
	instant := rapid.Int64Range(0, int64(120*sec))
	at := func(name string) timeline.Instant { return timeline.Instant(instant.Draw(t, name)) }
	who := rapid.SampledFrom([]string{"a", "b", "c", "z"})
	for range rapid.IntRange(0, 3).Draw(t, "findings") {
		ev.Findings = append(ev.Findings, timeline.Finding{
			Rule: rapid.SampledFrom(Table()).Draw(t, "rule").Name, ClientID: who.Draw(t, "who"), N: rapid.IntRange(0, 4).Draw(t, "n"), At: at("found"),
			Charge: rapid.SampledFrom([]timeline.Charge{broker, library, ""}).Draw(t, "charge"), Warn: rapid.Bool().Draw(t, "warn"),
			Count: rapid.Int64Range(0, 5).Draw(t, "count"), PacketID: rapid.Uint16Range(6, 8).Draw(t, "id"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "exceptions") {
		ev.Exceptions = append(ev.Exceptions, ledger.Exception{
			Verdict: ledger.Verdict(rapid.SampledFrom(Table()).Draw(t, "verdict").Name), Fault: rapid.Bool().Draw(t, "fault"),
			Warn: rapid.Bool().Draw(t, "warned"), Subscriber: who.Draw(t, "subscriber"), Acked: at("acked"), At: at("read"), QoS: rapid.ByteMax(2).Draw(t, "qos"),
		})
	}
	for range rapid.IntRange(0, 3).Draw(t, "ends") {
		ev.Unscripted = append(ev.Unscripted, End{
			ClientID: who.Draw(t, "client"), N: rapid.IntRange(0, 4).Draw(t, "conn"), At: at("end"),
			Kind:    rapid.SampledFrom([]timeline.EndKind{timeline.EndEOF, timeline.EndLocal}).Draw(t, "kind"),
			Starved: rapid.Bool().Draw(t, "starved"),
		})
	}
	if rapid.Bool().Draw(t, "unfit") {
		from := at("unfit from")
		ev.Unfit = append(ev.Unfit, Span{from, from + sec})
	}
}

func wellFormed(t *rapid.T, c Result) {
	charged := int64(0)
	for _, n := range c.Charges {
		charged += n
	}
	switch {
	case c.Named && (c.Verdict != reports.Invalid || int64(len(c.Faults)) < c.Count-c.Charges["harness"]):
		t.Errorf("%s is %s: %d of %d findings are named, and it says all", c.Name, c.Verdict, len(c.Faults), c.Count)
	case c.Detail == "":
		t.Errorf("%s is %s and does not say why", c.Name, c.Verdict)
	case c.Verdict == reports.Invalid && (c.Count < 1 || charged != c.Count || len(c.Examples) == 0):
		t.Errorf("%s: count %d, charges %v, examples %q", c.Name, c.Count, c.Charges, c.Examples)
	case c.Verdict == reports.Valid && (c.Count != 0 || charged != 0), c.Verdict == reports.NotApplicable && c.Count != 0:
		t.Errorf("%s is %s: %+v", c.Name, c.Verdict, c)
	case len(c.Examples) > maxExamples || len(c.Warned) > maxExamples || (c.Warnings > 0) != (len(c.Warned) > 0):
		t.Errorf("%s: %d examples, %d warnings with %d examples", c.Name, len(c.Examples), c.Warnings, len(c.Warned))
	}
}

// TestEachEndOnce: every end is judged by unscripted or by collateral, and by
// one of them only.
func TestEachEndOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := clean()
		scatter(t, &ev)
		got := verdicts(ev)
		if n := got["unscripted"].Count + got["collateral"].Count; n != int64(len(ev.Unscripted)) {
			t.Errorf("%d ends, %d judged: %+v, %+v", len(ev.Unscripted), n, got["unscripted"], got["collateral"])
		}
	})
}

// TestPlantsAdd: two faults at once turn both of their checks.
func TestPlantsAdd(t *testing.T) {
	for i, p := range plants() {
		if p.verdict != reports.Invalid {
			continue
		}
		// One plant of each check as the second.
		seen := map[string]bool{p.check: true}
		for _, q := range plants()[i:] {
			if q.verdict != reports.Invalid || seen[q.check] {
				continue
			}
			seen[q.check] = true
			ev := clean()
			p.bend(&ev)
			apply(&ev, q.bend)
			got := verdicts(ev)
			for _, x := range []plant{p, q} {
				if got[x.check].Verdict != reports.Invalid {
					t.Errorf("%s with %s: %s is %s (%s)", p.what, q.what, x.check, got[x.check].Verdict, got[x.check].Detail)
				}
			}
		}
	}
}
