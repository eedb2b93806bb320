package judge

import (
	"fmt"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func checkVictims(w reports.Wave) error {
	if w.Victims != w.Back+w.Censored+w.Unaffected+w.Absent {
		return fmt.Errorf("victims %d != back %d + censored %d + unaffected %d + absent %d", w.Victims, w.Back, w.Censored, w.Unaffected, w.Absent)
	}
	if w.Hit+w.LateHit != w.Back+w.Censored {
		return fmt.Errorf("hit %d + late %d != back %d + censored %d", w.Hit, w.LateHit, w.Back, w.Censored)
	}
	if w.Unaffected != w.NoEffect+w.Failed+w.RodeOut || w.Absent != w.NoOp+w.Missed {
		return fmt.Errorf("outcomes do not add up: %+v", w)
	}
	return nil
}

// TestWave sums up one wave with each way that an action can end.
func TestWave(t *testing.T) {
	h := newHistory()
	for c := range 4 { // hits, back 20 ms after the first intended instant
		h.ended(c, 1, 0, 1006)
		h.last(c, 2, 1010)
		h.kick(c, 1000, 1001, 1005)
	}
	h.ended(4, 1, 0, 1006) // hit and never back
	h.kick(4, 1000, 1002, 1005)
	h.last(5, 1, 0) // no effect
	h.kick(5, 1000, 1003, 1005)
	h.kick(6, 1000, 1004, 0) // never connected
	h.ended(7, 1, 0, 1001)   // missed
	h.last(7, 2, 1100)
	h.kick(7, 1000, 1009, 0)
	h.last(8, 1, 0) // failed
	failed := h.kick(8, 1000, 1004, 0)
	failed.OK, failed.Tries, failed.Busy = false, 6, 6
	h.actions[0].Tries = 1
	h.actions[1].Tries, h.actions[1].Busy = 4, 2

	s := h.trace()
	w := only(t, wavesOf(s, h.waves))
	sum := summer{rules: testRules(scenarios.BackFirstMessage), connects: connectsOf(s.Clients)}
	r := sum.wave(w)
	if err := checkVictims(r); err != nil {
		t.Error(err)
	}
	got := fmt.Sprint(r.Victims, r.Back, r.Censored, r.Unaffected, r.Absent, "|", r.Hit, r.LateHit, r.NoOp, r.Missed, r.NoEffect, r.Failed, r.RodeOut)
	if want := "9 4 1 2 2|5 0 1 1 1 1 0"; got != want {
		t.Errorf("counts %s, want %s", got, want)
	}
	if r.Regime != "first" || r.Start != 1 || r.Horizon != 60 || r.Spread != 0.008 || r.IssueLag != 0.009 {
		t.Errorf("regime %s, start %v, horizon %v, spread %v, lag %v", r.Regime, r.Start, r.Horizon, r.Spread, r.IssueLag)
	}
	if r.Outage.P99 != nil || r.Outage.P50 == nil || *r.Outage.P50 != 0.020 || r.Outage.Censored != 1 {
		t.Errorf("with one of five censored p99 is not reached: %+v", r.Outage)
	}
	if r.Attempts != 1 || r.SlowBackoff != 0 || r.Answer.N != 8 {
		t.Errorf("attempts %v, slow %d, answers %d", r.Attempts, r.SlowBackoff, r.Answer.N)
	}
	// The six calls that do not say how many tries they took are not of an API.
	if r.API == nil || *r.API != (reports.Calls{Calls: 3, Tries: 11, Throttled: 8, Failed: 1}) {
		t.Errorf("API %+v", r.API)
	}
	if r.Herd.Connects != 5 || r.Herd.Amplification != 0.8 {
		// At the tap there are four that came back and the missed one; only the
		// four belong to the five hits.
		t.Errorf("herd %+v", r.Herd)
	}
	if want := 0.2*60 + 0.8*0.020; r.RMTA == nil || *r.RMTA < want-1e-9 || *r.RMTA > want+1e-9 {
		t.Errorf("RMTA %v, want %v", r.RMTA, want)
	}
	for _, name := range PartNames() {
		if n := r.Waterfall[name].N; n != 4 {
			t.Errorf("waterfall %s over %d outages, want the 4 that are back", name, n)
		}
	}
}

// TestRegime holds the wave's regime to the previous losses of its clients.
func TestRegime(t *testing.T) {
	for name, c := range map[string]struct {
		previous []timeline.Instant // of each client's earlier loss, 0 = none
		want     string
	}{
		"no loss before":     {[]timeline.Instant{0, 0}, "first"},
		"lost 3 s before":    {[]timeline.Instant{7000, 7000}, "continual"},
		"lost 6.1 s before":  {[]timeline.Instant{3900, 0}, "first"},
		"some of them":       {[]timeline.Instant{7000, 0}, "mixed"},
		"exactly 6 s before": {[]timeline.Instant{4006, 4006}, "continual"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			for client, at := range c.previous {
				n := 1
				if at != 0 {
					h.ended(client, 1, 0, at)
					n = 2
				}
				h.ended(client, n, at+10, 10_006)
				h.last(client, n+1, 10_010)
				h.kick(client, 10_000, 10_001, 10_005)
			}
			sum := summer{rules: testRules(scenarios.BackFirstMessage)}
			if got := sum.wave(only(t, wavesOf(h.trace(), h.waves))).Regime; got != c.want {
				t.Errorf("regime %s, want %s", got, c.want)
			}
			sum.rules.Policy["devices"] = "fixed"
			if got := sum.wave(only(t, wavesOf(h.trace(), h.waves))).Regime; got != "n/a" {
				t.Errorf("regime of another policy %s, want n/a", got)
			}
		})
	}
}

// TestPahoRegime holds the growth of the sleep to the rule.
func TestPahoRegime(t *testing.T) {
	p := newPahoRegime(3 * time.Second)
	for i, c := range []struct {
		at        timeline.Instant
		continual bool
		sleep     timeline.Instant
	}{
		{1000, false, 0}, {2000, true, 1000}, {9000, true, 2000}, {16_900, true, 3000}, {25_900, true, 3000}, {34_901, false, 0},
	} {
		if got := p.loss(c.at * ms); got != c.continual || p.sleep != c.sleep*ms {
			t.Errorf("loss %d: continual %v, sleep %v; want %v, %v", i, got, time.Duration(p.sleep), c.continual, time.Duration(c.sleep*ms))
		}
	}
}

func TestSlowBackoff(t *testing.T) {
	h := newHistory()
	h.ended(0, 1, 0, 1006)
	h.last(0, 2, 2006) // 1 s without an attempt
	h.kick(0, 1000, 1001, 1005)
	h.ended(1, 1, 0, 1006)
	h.last(1, 2, 2005)
	h.kick(1, 1000, 1001, 1005)
	sum := summer{rules: testRules(scenarios.BackFirstMessage)}
	w := only(t, wavesOf(h.trace(), h.waves))
	if got := sum.wave(w).SlowBackoff; got != 1 {
		t.Errorf("%d slept, want 1", got)
	}
	sum.rules.Max["devices"] = 100 * time.Millisecond
	if got := sum.wave(w).SlowBackoff; got != 2 {
		t.Errorf("with a maximum of 100 ms %d slept, want 2", got)
	}
}

// TestHorizon: the stop cuts the horizon only where it cut a client's watch.
func TestHorizon(t *testing.T) {
	h := newHistory()
	h.stop = 5000 * ms
	h.ended(0, 1, 0, 1006)
	h.last(0, 2, 1010)
	h.kick(0, 1000, 1001, 1005)
	sum := summer{rules: testRules(scenarios.BackFirstMessage)}
	if got := sum.wave(only(t, wavesOf(h.trace(), h.waves))).Horizon; got != 60 {
		t.Errorf("all back: horizon %v s, want 60", got)
	}
	h.ended(1, 1, 0, 1006)
	h.kick(1, 1000, 1001, 1005)
	if got := sum.wave(only(t, wavesOf(h.trace(), h.waves))).Horizon; got != 4 {
		t.Errorf("one stopped: horizon %v s, want 4", got)
	}
}

// TestOverlappingWaves: the next wave of its phase does not cut the horizon of
// one that overlaps it; that of another phase does.
func TestOverlappingWaves(t *testing.T) {
	wave := func(phase string, n int, start, end timeline.Instant, overlap bool) timeline.Wave {
		return timeline.Wave{Phase: phase, Wave: n, Start: start, End: end, Overlap: overlap}
	}
	ends := horizons([]timeline.Wave{
		wave("a", 1, 0, 100, true), wave("a", 2, 10, 110, false), wave("b", 1, 90, 200, false), wave("b", 2, 95, 200, false),
	}, 0)
	for key, want := range map[waveKey]timeline.Instant{{"a", 1}: 90, {"a", 2}: 90, {"b", 1}: 95, {"b", 2}: 200} {
		if ends[key] != want {
			t.Errorf("%v ends at %d, want %d", key, ends[key], want)
		}
	}
}

// TestWaveStartsWithItsFirstIntended moves a wave whose fault comes after its
// start, and its horizon with it.
func TestWaveStartsWithItsFirstIntended(t *testing.T) {
	h := newHistory()
	h.kick(0, 3000, 3001, 3002)
	h.kick(0, 2500, 2501, 2502)
	early := []timeline.Extent{{Phase: "storm", Wave: 1, Intended: 1200 * ms, Issued: 1200 * ms, Ends: true}}
	w := only(t, fromFirstIntended(h.waves, h.actions, early))
	if w.Start != 2500*ms || w.End != 62_500*ms {
		t.Errorf("from %v to %v", time.Duration(w.Start), time.Duration(w.End))
	}
	if h.waves[0].Start != 1000*ms {
		t.Error("the input was changed")
	}
	if w := only(t, fromFirstIntended(h.waves, nil, early)); w.Start != 1200*ms || w.End != 61_200*ms {
		t.Errorf("without victims from %v to %v", time.Duration(w.Start), time.Duration(w.End))
	}
	early[0].Ends = false
	if w := only(t, fromFirstIntended(h.waves, nil, early)); w.Start != 1000*ms {
		t.Errorf("with a fault that ends nothing from %v", time.Duration(w.Start))
	}
}

// TestCurvesShareTheirPoints: the curves of many waves are thinned together,
// each still from its first step to its last, and that of all waves is not.
func TestCurvesShareTheirPoints(t *testing.T) {
	for waves, want := range map[int]int{0: 200, 1: 200, 25: 200, 50: 100, 100: 50, 10_000: 20} {
		if got := curvePoints(waves); got != want {
			t.Errorf("%d waves: %d points each, want %d", waves, got, want)
		}
	}
	w := &waveFacts{wave: timeline.Wave{Phase: "storm", Wave: 1}, end: 61_000 * ms, full: 61_000 * ms}
	for i := range timeline.Instant(1000) {
		w.outages = append(w.outages, &Outage{Until: (i + 1) * ms})
	}
	sum := summer{rules: testRules("connack"), points: 50}
	for points, curve := range map[int][]reports.CurvePoint{50: sum.wave(w).Curve, maxCurve: sum.total([]*waveFacts{w}).Curve} {
		if n := len(curve); n != points || curve[0].Seconds != 0.001 || curve[n-1].Back != 1 || curve[n-1].Seconds != 1 {
			t.Errorf("%d points, want %d: from %+v to %+v", n, points, curve[0], curve[n-1])
		}
	}
}

// TestHerdOfAFleet: the herd of one fleet is its own CONNECTs, not those of the
// fleets beside it, so that policies can be held against each other.
func TestHerdOfAFleet(t *testing.T) {
	clients := []*Client{
		{Fleet: "step", Conns: []*timeline.Conn{{Fleet: "step", Connect: 1000 * ms}, {Fleet: "step"}}},
		{Fleet: "step", Conns: []*timeline.Conn{{Fleet: "step", Connect: 1001 * ms}}},
		{Fleet: "spread", Conns: []*timeline.Conn{{Fleet: "spread", Connect: 1005 * ms}, {Fleet: "spread", Connect: 1500 * ms}}},
	}
	sum := summer{rules: testRules("connack"), connects: connectsOf(clients)}
	w := &waveFacts{wave: timeline.Wave{Wave: 1}, end: 9000 * ms, full: 9000 * ms}
	for fleet, want := range map[string]string{"": "4 3", "step": "2 2", "spread": "2 1", "none": "0 0"} {
		h := sum.wave(w.of(fleet)).Herd
		if got := fmt.Sprint(h.Connects, h.Peak); got != want {
			t.Errorf("fleet %q: CONNECTs and peak %s, want %s", fleet, got, want)
		}
	}
}
