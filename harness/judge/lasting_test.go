package judge

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// hold adds a lasting action on a client in wave 1, from s to until (0 = never
// lifted).
func (h *history) hold(client int, s, until timeline.Instant) *timeline.Action {
	a := h.kick(client, s, s, 0)
	a.Fault, a.Lasting, a.Until = "blackhole", true, until*ms
	return a
}

func TestLastingOutcomes(t *testing.T) {
	for name, tc := range map[string]struct {
		build   func(h *history)
		outcome Outcome
		outages int
		loose   int
	}{
		"its end came under the fault": {func(h *history) {
			h.ended(0, 1, 0, 4000)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"the library gave up by itself": {func(h *history) {
			h.ended(0, 1, 0, 4000).EndKind = timeline.EndLocal
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"it lived through": {func(h *history) {
			h.last(0, 1, 0).Alive = 8500 * ms
			h.hold(0, 2000, 8000)
		}, RodeOut, 0, 0},
		"what was held back ended it when it was let go": {func(h *history) {
			c := h.ended(0, 1, 0, 8010)
			c.LastIn, c.Alive = 8005*ms, 1900*ms
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"it lived through, and ended later for another cause": {func(h *history) {
			c := h.ended(0, 1, 0, 8500)
			c.LastIn, c.Alive = 8400*ms, 8300*ms
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, RodeOut, 1, 1},
		"without traffic, it read something long after": {func(h *history) {
			c := h.ended(0, 1, 0, 20_000)
			c.LastIn, c.Alive = 19_000*ms, 1900*ms
			h.last(0, 2, 21_000)
			h.hold(0, 2000, 8000)
		}, RodeOut, 1, 1},
		"it named its connection, and a later one ended under it": {func(h *history) {
			h.ended(0, 1, 0, 4000)
			h.ended(0, 2, 4100, 6000)
			h.last(0, 3, 9000)
			h.hold(0, 2000, 8000).N = 1
		}, Hit, 2, 1},
		"it was away already": {func(h *history) {
			h.ended(0, 1, 0, 1500)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, NoOp, 1, 1},
		"a close that the broker answered is surer": {func(h *history) {
			h.ended(0, 1, 0, 4000)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
			h.kick(0, 3990, 3990, 3995)
		}, Missed, 1, 0},
		"a close ended it before it was lifted at all": {func(h *history) {
			h.ended(0, 1, 0, 4000)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 0)
			h.kick(0, 3990, 3990, 3995)
		}, Missed, 1, 0},
		"a close ended it as it was lifted": {func(h *history) {
			h.ended(0, 1, 0, 8000)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
			h.kick(0, 7990, 7990, 7995)
		}, Missed, 1, 0},
		"a close ended it after it was lifted": {func(h *history) {
			h.ended(0, 1, 0, 8500).Alive = 8400 * ms
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
			h.kick(0, 8490, 8490, 8495)
		}, RodeOut, 1, 0},
		"it ended as the fault began": {func(h *history) {
			h.ended(0, 1, 0, 2000)
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000).Intended = 1999 * ms
		}, Hit, 1, 0},
		"its last sign of life came as it was let go": {func(h *history) {
			h.ended(0, 1, 0, 8010).Alive = 8000 * ms
			h.last(0, 2, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"it read what was held back until the last moment": {func(h *history) {
			h.ended(0, 1, 0, 20_000).LastIn = 8000*ms + lifeSign
			h.last(0, 2, 21_000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"each connection made under it is its doing": {func(h *history) {
			h.ended(0, 1, 0, 3000)
			h.ended(0, 2, 4000, 5000)
			h.last(0, 3, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 2, 0},
		"it and a close took turns": {func(h *history) {
			h.ended(0, 1, 0, 3000)
			h.ended(0, 2, 3500, 3600).FirstMessage = 0
			h.ended(0, 3, 3700, 5000).FirstMessage = 0
			h.last(0, 4, 9000)
			h.hold(0, 2000, 8000)
			h.kick(0, 3590, 3590, 3595)
		}, Hit, 3, 0},
		"a retry under it belongs to the outage": {func(h *history) {
			h.ended(0, 1, 0, 3000)
			c := h.ended(0, 2, 4000, 5000)
			c.Restored, c.FirstMessage = 0, 0
			h.last(0, 3, 9000)
			h.hold(0, 2000, 8000)
		}, Hit, 1, 0},
		"a connection made under it ended": {func(h *history) {
			h.ended(0, 1, 0, 1500)
			h.ended(0, 2, 4000, 5000)
			h.last(0, 3, 9000)
			h.hold(0, 2000, 8000)
		}, LateHit, 2, 1},
		"it never took effect": {func(h *history) {
			h.last(0, 1, 0)
			h.hold(0, 2000, 0).OK = false
		}, Failed, 0, 0},
		"it was never lifted": {func(h *history) {
			h.ended(0, 1, 0, 40_000)
			h.hold(0, 2000, 0)
		}, Hit, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			tc.build(h)
			s := h.trace()
			for _, a := range s.Acted {
				if a.Action.Lasting && a.Outcome != tc.outcome {
					t.Errorf("the outcome is %s, want %s", a.Outcome, tc.outcome)
				}
			}
			if len(s.Outages) != tc.outages || len(s.Unscripted) != tc.loose {
				t.Errorf("%d outages, %d unexplained ends; want %d and %d", len(s.Outages), len(s.Unscripted), tc.outages, tc.loose)
			}
			for _, w := range wavesOf(s, h.waves) {
				sum := summer{rules: testRules(scenarios.BackFirstMessage), connects: connectsOf(s.Clients)}
				if err := checkVictims(sum.wave(w)); err != nil {
					t.Error(err)
				}
			}
			for _, o := range s.Outages {
				if sum := o.Parts.Sum(); o.Back() && sum != int64(o.Returned-o.Start) {
					t.Errorf("the parts add up to %d ns of %d", sum, o.Returned-o.Start)
				}
			}
		})
	}
}

// TestLastingNotice: the time until a client notices that it is held is notice.
func TestLastingNotice(t *testing.T) {
	h := newHistory()
	h.ended(0, 1, 0, 5000)
	h.last(0, 2, 9000)
	h.hold(0, 2000, 8000)
	o := only(t, h.trace().Outages)
	if o.Cause != "blackhole" || o.Parts.Notice != int64(3000*ms) || o.Parts.ClosedKnown {
		t.Errorf("%+v", o)
	}
}

func TestExtents(t *testing.T) {
	extent := func(f func(*timeline.Extent)) timeline.Extent {
		e := timeline.Extent{ID: 1, Fault: "exec", Phase: "storm", Wave: 1, Intended: 2000 * ms, Issued: 2000 * ms, OK: true, Ends: true, Outside: true}
		f(&e)
		return e
	}
	for name, tc := range map[string]struct {
		extents []timeline.Extent
		end     timeline.Instant
		cause   string
	}{
		"none":                               {nil, 3000, Unscripted},
		"an end after it":                    {[]timeline.Extent{extent(func(*timeline.Extent) {})}, 3000, "exec"},
		"not from outside":                   {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Outside = false })}, 3000, "exec"},
		"an end before it":                   {[]timeline.Extent{extent(func(*timeline.Extent) {})}, 1900, Unscripted},
		"not from outside, one of its fleet": {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Outside, e.Fleet = false, "devices" })}, 3000, "exec"},
		"one of another fleet":               {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Fleet = "others" })}, 3000, Unscripted},
		"one that ends nothing":              {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Ends = false })}, 3000, Unscripted},
		"a skipped one":                      {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Skipped = "no nft" })}, 3000, Unscripted},
		"an end after its wave":              {[]timeline.Extent{extent(func(*timeline.Extent) {})}, 62_000, Unscripted},
		"an outside event":                   {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Fault, e.Wave = "mark", 0 })}, 3000, "mark"},
		"an end with it":                     {[]timeline.Extent{extent(func(*timeline.Extent) {})}, 2000, "exec"},
		"an outside event, to the last":      {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Fault, e.Wave = "mark", 0 })}, 65_000, "mark"},
		"an outside event, too old":          {[]timeline.Extent{extent(func(e *timeline.Extent) { e.Fault, e.Wave = "mark", 0 })}, 66_000, Unscripted},
		"the later of two": {[]timeline.Extent{
			extent(func(e *timeline.Extent) { e.ID, e.Fault, e.Issued = 2, "nft-drop", 2500*ms }), extent(func(*timeline.Extent) {}),
		}, 3000, "nft-drop"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.extents = tc.extents
			h.ended(0, 1, 0, tc.end)
			h.last(0, 2, tc.end+100)
			h.ended(0, 1, 0, tc.end).Fleet = "control" // whoever acts on the broker acts on it, too
			ev := Events{Conns: h.conns, Extents: h.extents, Waves: h.waves, Stop: h.stop,
				Phases: []timeline.Phase{{Name: "storm", Start: 1000 * ms, End: 65_000 * ms}}}
			s := Trace(ev, testRules("first-message"))
			o := only(t, s.Outages)
			if o.Cause != tc.cause || (tc.cause == Unscripted) != (len(s.Unscripted) == 1) || (len(s.Control) == 1) != (tc.cause == Unscripted || strings.HasPrefix(name, "not from outside")) {
				t.Errorf("caused by %s, %d unexplained ends, %d of control; want %s", o.Cause, len(s.Unscripted), len(s.Control), tc.cause)
			}
			if o.Start != tc.end*ms {
				t.Errorf("it starts at %d", o.Start)
			}
		})
	}
}

// TestChargedEnds: an end on the way back is charged to the extent, too, and is
// no outage of its own.
func TestChargedEnds(t *testing.T) {
	h := newHistory()
	h.extents = []timeline.Extent{{ID: 7, Fault: "exec", Phase: "storm", Wave: 1, Issued: 2000 * ms, OK: true, Ends: true}}
	h.ended(0, 1, 0, 3000)
	h.ended(0, 2, 3100, 3105).FirstMessage = 0
	h.last(0, 3, 3200)
	if s := h.trace(); len(s.Outages) != 1 || len(s.Unscripted) != 0 || s.Charged[7] != 2 {
		t.Errorf("%d outages, %d unexplained ends, %v charged", len(s.Outages), len(s.Unscripted), s.Charged)
	}
}

// TestLastingEndsWithIt: an action explains no end of a connection that
// began when it was lifted, or after.
func TestLastingEndsWithIt(t *testing.T) {
	for _, dial := range []timeline.Instant{7996, 8500} { // accepted 4 ms later
		h := newHistory()
		h.ended(0, 1, dial, 9000)
		h.last(0, 2, 9100)
		h.hold(0, 2000, 8000)
		if s := h.trace(); len(s.Unscripted) != 1 || s.Acted[0].Outcome != NoOp {
			t.Errorf("dialled at %d ms: %d unexplained ends, %s", dial, len(s.Unscripted), s.Acted[0].Outcome)
		}
	}
}

// TestLastingAddsUp draws random histories of one client under lasting faults and
// extents that overlap each other and closes, and holds every outage and every
// wave to what TestPartsAddUp holds those of closes alone to.
func TestLastingAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := randomHistory(t)
		h.waves = append(h.waves, timeline.Wave{Phase: "storm", Wave: 2, Start: 1010 * ms, End: 61_010 * ms, Overlap: rapid.Bool().Draw(t, "overlap")})
		h.waves[0].Overlap = h.waves[1].Overlap
		for i := range rapid.IntRange(1, 3).Draw(t, "holds") {
			a := randomKick(t, func(name string) timeline.Instant {
				return timeline.Instant(rapid.IntRange(0, 6).Draw(t, name)) * ms / 2
			}, h.conns)
			a.Fault, a.Lasting, a.Number, a.Closed, a.Found = "blackhole", true, i+1, 0, nil
			a.Wave = rapid.IntRange(1, 2).Draw(t, "wave")
			if rapid.IntRange(0, 4).Draw(t, "lifted") > 0 {
				a.Until = a.Issued + timeline.Instant(rapid.IntRange(0, 60).Draw(t, "held"))*ms
			}
			h.actions = append(h.actions, a)
		}
		for i := range rapid.IntRange(0, 2).Draw(t, "extents") {
			h.extents = append(h.extents, timeline.Extent{
				ID: i + 1, Fault: "exec", Phase: "storm", Wave: rapid.IntRange(1, 2).Draw(t, "wave"), OK: true, Ends: true,
				Issued: timeline.Instant(rapid.IntRange(900, 1100).Draw(t, "issued")) * ms,
			})
		}
		s := h.trace()
		for _, o := range s.Outages {
			if err := checkOutage(o); err != nil {
				t.Fatal(err)
			}
		}
		sum, inWaves := summer{rules: testRules(scenarios.BackFirstMessage)}, 0
		for _, w := range wavesOf(s, h.waves) {
			r := sum.wave(w)
			inWaves += r.Back + r.Censored
			if err := checkVictims(r); err != nil {
				t.Fatal(err)
			}
		}
		for _, o := range s.Outages {
			if o.Cause == Unscripted {
				inWaves++
			}
		}
		if inWaves != len(s.Outages) {
			t.Fatalf("%d outages in the waves or unscripted, of %d", inWaves, len(s.Outages))
		}
	})
}
