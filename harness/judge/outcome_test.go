package judge

import (
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestOutcomes holds each outcome to its definition, one hand-made history a
// row. Instants in ms; a fresh connection at t is live from t+4.
func TestOutcomes(t *testing.T) {
	no, yes := false, true
	for name, c := range map[string]struct {
		make       func(h *history)
		want       []Outcome // by issue
		unscripted int
		outages    int
	}{
		"hit": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 1010)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{Hit}, 0, 1},
		"hit, b not known": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 1010)
			h.kick(0, 1000, 1001, 0)
		}, []Outcome{Hit}, 0, 1},
		"hit that the client notices 20 s after the answer": {func(h *history) {
			h.ended(0, 1, 0, 21_000).LastIn = 999 * ms
			h.last(0, 2, 21_010)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{Hit}, 0, 1},
		"hit although the answer was an error": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 1010)
			h.kick(0, 1000, 1001, 0).OK = false
		}, []Outcome{Hit}, 0, 1},
		"hit whose tap reads 50 µs before b": {func(h *history) {
			h.ended(0, 1, 0, 1005).End -= 50_000
			h.last(0, 2, 1010)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{Hit}, 0, 1},
		"no-op: away at i, the open outage goes on": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{NoOp}, 1, 1},
		"no-op: kicked in the middle of a handshake that then fails": {func(h *history) {
			h.ended(0, 1, 0, 900)
			c := h.ended(0, 2, 998, 1004)
			c.Connack, c.Restored, c.FirstMessage = 0, 0, 0
			h.last(0, 3, 1100)
			h.kick(0, 1000, 1001, 1003)
		}, []Outcome{NoOp}, 1, 1},
		"no-op: never connected": {func(h *history) {
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{NoOp}, 0, 0},
		"missed: ended before the call began": {func(h *history) {
			h.ended(0, 1, 0, 1002)
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1005, 0).Found = &no
		}, []Outcome{Missed}, 1, 1},
		"missed: ended after s and before b": {func(h *history) {
			h.ended(0, 1, 0, 1002)
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{Missed}, 1, 1},
		"missed: not found, and no sign of life after the answer": {func(h *history) {
			h.ended(0, 1, 0, 1050).LastIn = 990 * ms
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{Missed}, 1, 1},
		"missed: not found, and only what was buffered is read after the answer": {func(h *history) {
			c := h.ended(0, 1, 0, 1050)
			c.LastIn, c.Alive = 1040*ms, 1000*ms
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{Missed}, 1, 1},
		"no effect: not found, and a message that was sent later is read": {func(h *history) {
			c := h.ended(0, 1, 0, 1050)
			c.LastIn, c.Alive = 1040*ms, 1030*ms
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{NoEffect}, 1, 1},
		"late hit: the newer connection ended": {func(h *history) {
			h.ended(0, 1, 0, 1002)
			h.ended(0, 2, 1003, 1031)
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1020, 1030)
		}, []Outcome{LateHit}, 1, 2},
		"late hit: away at i, connected when the call took effect": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.ended(0, 2, 1003, 1031)
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1020, 1030).Found = &yes
		}, []Outcome{LateHit}, 1, 2},
		"no late hit on a connection that began after the answer": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.ended(0, 2, 1500, 2000)
			h.last(0, 3, 2040)
			h.kick(0, 1000, 1020, 0)
		}, []Outcome{NoOp}, 2, 2},
		"no effect: lived on to the stop": {func(h *history) {
			h.last(0, 1, 0)
			h.kick(0, 1000, 1001, 1005).Found = &yes
		}, []Outcome{NoEffect}, 0, 0},
		"no effect: not found, and it read on": {func(h *history) {
			h.ended(0, 1, 0, 9000).LastIn = 2000 * ms
			h.last(0, 2, 9100)
			h.kick(0, 1000, 1001, 0).Found = &no
		}, []Outcome{NoEffect}, 1, 1},
		"no effect: ended much later, and it read on for more than 5 s": {func(h *history) {
			h.ended(0, 1, 0, 9000).LastIn = 8999 * ms
			h.last(0, 2, 9100)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{NoEffect}, 1, 1},
		"failed: answered an error, lived on": {func(h *history) {
			h.last(0, 1, 0)
			h.kick(0, 1000, 1001, 0).OK = false
		}, []Outcome{Failed}, 0, 0},
		"failed: answered an error, ended long after for another cause": {func(h *history) {
			h.ended(0, 1, 0, 9000)
			h.last(0, 2, 9100)
			h.kick(0, 1000, 1001, 0).OK = false
		}, []Outcome{Failed}, 1, 1},
		"one action explains one end": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.ended(0, 2, 1010, 1100) // a second end by nothing
			h.last(0, 3, 1110)
			h.kick(0, 1000, 1001, 1005)
		}, []Outcome{Hit}, 1, 2},
		"one end takes one action": {func(h *history) {
			h.ended(0, 1, 0, 1010)
			h.last(0, 2, 1020)
			h.kick(0, 1000, 1001, 1002)
			h.kick(0, 1003, 1004, 0)
		}, []Outcome{Hit, Missed}, 0, 1},
		"no effect, then a hit 20 s later": {func(h *history) {
			h.ended(0, 1, 0, 21_006).LastIn = 20_990 * ms
			h.last(0, 2, 21_010)
			h.kick(0, 1000, 1001, 1005)
			h.kick(0, 21_000, 21_001, 21_005)
		}, []Outcome{NoEffect, Hit}, 0, 1},
		"unscripted without any action": {func(h *history) {
			h.ended(0, 1, 0, 500)
			h.last(0, 2, 510)
		}, nil, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			c.make(h)
			s := h.trace()
			var got []Outcome
			for _, a := range s.Acted {
				got = append(got, a.Outcome)
			}
			if len(got) != len(c.want) {
				t.Fatalf("outcomes %v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("outcomes %v, want %v", got, c.want)
				}
			}
			if len(s.Unscripted) != c.unscripted {
				t.Errorf("%d unscripted ends, want %d", len(s.Unscripted), c.unscripted)
			}
			if len(s.Outages) != c.outages {
				t.Errorf("%d outages, want %d", len(s.Outages), c.outages)
			}
		})
	}
}

func TestUnissuedActionsAreNoVictims(t *testing.T) {
	h := newHistory()
	h.last(0, 1, 0)
	a := h.kick(0, 1000, 0, 0)
	a.Answered, a.OK = 0, false
	s := h.trace()
	if s.Unissued != 1 || len(s.Acted) != 0 {
		t.Errorf("unissued %d, acted %d, want 1 and 0", s.Unissued, len(s.Acted))
	}
}

func TestControlEndsStandApart(t *testing.T) {
	h := newHistory()
	h.ended(0, 1, 0, 500).Fleet = ControlFleet
	s := h.trace()
	if len(s.Control) != 1 || len(s.Unscripted) != 0 || len(s.Outages) != 0 {
		t.Errorf("control %d, unscripted %d, outages %d", len(s.Control), len(s.Unscripted), len(s.Outages))
	}
}

func TestLaterRecordReplacesEarlier(t *testing.T) {
	h := newHistory()
	h.conn(0, 1, 0) // flushed while open
	h.ended(0, 1, 0, 500)
	h.last(0, 2, 510)
	if s := h.trace(); len(s.Unscripted) != 1 || len(s.Clients[0].Conns) != 2 {
		t.Errorf("unscripted %d, connections %d", len(s.Unscripted), len(s.Clients[0].Conns))
	}
}

// TestWatch holds the end of an outage's watch to the definitions.
func TestWatch(t *testing.T) {
	for name, c := range map[string]struct {
		make     func(h *history)
		which    int // outage by start
		start    timeline.Instant
		until    timeline.Instant
		censored string
	}{
		"back at the first message": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 1010)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 1020, ""},
		"an unscripted outage starts at n": {func(h *history) {
			h.ended(0, 1, 0, 500)
			h.last(0, 2, 510)
		}, 0, 500, 520, ""},
		"a late hit's outage starts at s": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.ended(0, 2, 1003, 1031)
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1020, 1030)
		}, 1, 1020, 1050, ""},
		"never back: censored at the horizon": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 61_000, CensoredHorizon},
		"back after the horizon: censored there": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 62_000)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 61_000, CensoredHorizon},
		"stopped before the horizon": {func(h *history) {
			h.stop = 5000 * ms
			h.ended(0, 1, 0, 1006)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 5000, CensoredStopped},
		"the horizon is cut at the next wave": {func(h *history) {
			h.waves = append(h.waves, timeline.Wave{Phase: "storm", Wave: 2, Start: 31_000 * ms, End: 91_000 * ms})
			h.ended(0, 1, 0, 1006)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 31_000, CensoredHorizon},
		"hit again before back: the first closes there": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			c := h.ended(0, 2, 1010, 1031)
			c.FirstMessage = 0
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1001, 1005)
			h.kick(0, 1020, 1021, 1030)
		}, 0, 1000, 1020, CensoredAgain},
		"and the second opens a new one": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			c := h.ended(0, 2, 1010, 1031)
			c.FirstMessage = 0
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1001, 1005)
			h.kick(0, 1020, 1021, 1030)
		}, 1, 1020, 1050, ""},
		"a late hit that was issued before the open outage began": {func(h *history) {
			h.ended(0, 1, 0, 1025)
			h.ended(0, 2, 1026, 1041).FirstMessage = 0
			h.last(0, 3, 1050)
			h.kick(0, 1000, 1020, 1040)
		}, 1, 1025, 1025, CensoredAgain},
		"a no-op does not close an open outage": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			h.last(0, 2, 1100)
			h.kick(0, 1000, 1001, 1005)
			no := false
			h.kick(0, 1050, 1051, 0).Found = &no
		}, 0, 1000, 1110, ""},
		"an unscripted end before back is a retry of the open outage": {func(h *history) {
			h.ended(0, 1, 0, 1006)
			c := h.ended(0, 2, 1010, 1031)
			c.FirstMessage = 0
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1001, 1005)
		}, 0, 1000, 1050, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			c.make(h)
			o := h.trace().Outages[c.which]
			if o.Start != c.start*ms || o.Until != c.until*ms || o.Censored != c.censored {
				t.Errorf("from %v to %v %q, want %v to %v %q", time.Duration(o.Start), time.Duration(o.Until), o.Censored,
					time.Duration(c.start*ms), time.Duration(c.until*ms), c.censored)
			}
		})
	}
}

func TestBackDefinitions(t *testing.T) {
	for back, want := range map[string]timeline.Instant{scenarios.BackConnack: 1014, scenarios.BackSubscribed: 1017, scenarios.BackFirstMessage: 1020} {
		h := newHistory()
		h.ended(0, 1, 0, 1006)
		h.last(0, 2, 1010)
		h.kick(0, 1000, 1001, 1005)
		o := only(t, Trace(Events{Conns: h.conns, Actions: h.actions, Extents: h.extents, Waves: h.waves, Stop: h.stop}, testRules(back)).Outages)
		if o.Until != want*ms {
			t.Errorf("%s: back at %v, want %v ms", back, time.Duration(o.Until), want)
		}
	}
}

func TestRefusedConnackIsNeverBack(t *testing.T) {
	c := timeline.Conn{Connack: 5, ConnackCode: 5, Restored: 6, FirstMessage: 7}
	for _, back := range []string{scenarios.BackConnack, scenarios.BackSubscribed, scenarios.BackFirstMessage} {
		if got := backAt(&c, back); got != 0 {
			t.Errorf("%s: back at %d", back, got)
		}
	}
}
