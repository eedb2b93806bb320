package judge

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestDecompose holds the parts to hand-computed ones, in ms.
func TestDecompose(t *testing.T) {
	for name, c := range map[string]struct {
		make  func(h *history)
		which int
		want  Parts
	}{
		"plain": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.last(0, 2, 1020)
			h.kick(0, 1000, 1001, 1005)
		}, 0, Parts{Lag: 1, Close: 4, Notice: 4, Backoff: 11, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"b not known: only notice": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.last(0, 2, 1020)
			h.kick(0, 1000, 1001, 0)
		}, 0, Parts{Lag: 1, Notice: 8, Backoff: 11, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3}},
		"issued early: no negative lag": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.last(0, 2, 1020)
			h.kick(0, 1000, 999, 1005)
		}, 0, Parts{Close: 5, Notice: 4, Backoff: 11, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"the tap reads before b: close ends at n": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.last(0, 2, 1020)
			h.kick(0, 1000, 1001, 1009).Closed += 50_000
		}, 0, Parts{Lag: 1, Close: 8, Backoff: 11, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"failed dial and a refused CONNACK are retries": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			d := h.ended(0, 2, 1010, 1013)
			d.Dialed, d.Connect, d.Connack, d.Restored, d.FirstMessage, d.EndKind = 0, 0, 0, 0, 0, timeline.EndDial
			r := h.ended(0, 3, 1020, 1026)
			r.ConnackCode, r.Restored, r.FirstMessage = 3, 0, 0
			h.last(0, 4, 1030)
			h.kick(0, 1000, 1001, 1005)
		}, 0, Parts{Lag: 1, Close: 4, Notice: 4, Retry: 3 + 6, Backoff: 1 + 7 + 4, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"an end past CONNACK is a retry": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.ended(0, 2, 1010, 1018).FirstMessage = 0
			h.last(0, 3, 1020)
			h.kick(0, 1000, 1001, 1005)
		}, 0, Parts{Lag: 1, Close: 4, Notice: 4, Retry: 8, Backoff: 1 + 2, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"an attempt whose last record was lost ends at the next dial": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			h.conn(0, 2, 1010).FirstMessage = 0
			h.last(0, 3, 1020)
			h.kick(0, 1000, 1001, 1005)
		}, 0, Parts{Lag: 1, Close: 4, Notice: 4, Retry: 10, Backoff: 1, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"session present: no resubscribe": {func(h *history) {
			h.ended(0, 1, 0, 1009)
			c := h.last(0, 2, 1010)
			c.SessionPresent, c.SessionWanted, c.Restored = true, true, c.Connack
			h.kick(0, 1000, 1001, 1005)
		}, 0, Parts{Lag: 1, Close: 4, Notice: 4, Backoff: 1, Dial: 1, Connack: 3, FirstMessage: 6, ClosedKnown: true}},
		"late hit: from s, no lag": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.ended(0, 2, 1003, 1031)
			h.last(0, 3, 1040)
			h.kick(0, 1000, 1020, 1030)
		}, 1, Parts{Close: 10, Notice: 1, Backoff: 9, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3, ClosedKnown: true}},
		"unscripted: from n": {func(h *history) {
			h.ended(0, 1, 0, 900)
			h.last(0, 2, 910)
		}, 0, Parts{Backoff: 10, Dial: 1, Connack: 3, Resubscribe: 3, FirstMessage: 3}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			c.make(h)
			got := h.trace().Outages[c.which].Parts
			for _, p := range []*int64{&c.want.Lag, &c.want.Close, &c.want.Notice, &c.want.Retry, &c.want.Backoff,
				&c.want.Dial, &c.want.Connack, &c.want.Resubscribe, &c.want.FirstMessage} {
				*p *= int64(ms)
			}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// TestUnfinished: of an outage that nobody saw end, what is not an attempt is
// backoff, up to the end of the watch.
func TestUnfinished(t *testing.T) {
	for name, c := range map[string]struct {
		make func(h *history)
		want Parts
	}{
		"never dials again": {func(*history) {}, Parts{Lag: 1, Close: 4, Notice: 4, Backoff: 59_991, ClosedKnown: true}},
		"refused twice": {func(h *history) {
			for n, at := range []timeline.Instant{1010, 2010} {
				r := h.ended(0, 2+n, at, at+6)
				r.ConnackCode, r.Restored, r.FirstMessage = 3, 0, 0
			}
		}, Parts{Lag: 1, Close: 4, Notice: 4, Retry: 12, Backoff: 59_979, ClosedKnown: true}},
		"connected, and never useful": {func(h *history) {
			c := h.last(0, 2, 1010)
			c.End, c.FirstMessage = 0, 0
		}, Parts{Lag: 1, Close: 4, Notice: 4, Retry: 59_990, Backoff: 1, ClosedKnown: true}},
		"back after the horizon": {func(h *history) {
			h.last(0, 2, 65_000)
		}, Parts{Lag: 1, Close: 4, Notice: 4, Backoff: 59_991, ClosedKnown: true}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory()
			h.ended(0, 1, 0, 1009)
			h.kick(0, 1000, 1001, 1005)
			c.make(h)
			got := Unfinished(only(t, h.trace().Outages))
			for _, p := range []*int64{&c.want.Lag, &c.want.Close, &c.want.Notice, &c.want.Retry, &c.want.Backoff} {
				*p *= int64(ms)
			}
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// TestPartsAddUp draws random histories of one client, with kicks that land
// while it is away, before it is back and as it comes back, answers that come
// after it is back, failed dials, refused CONNACKs and connections that end
// past CONNACK, and holds every outage to: parts that add up to it exactly,
// none negative, and victims that add up.
func TestPartsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := randomHistory(t)
		back := rapid.SampledFrom([]string{scenarios.BackConnack, scenarios.BackSubscribed, scenarios.BackFirstMessage}).Draw(t, "back")
		s := Trace(Events{Conns: h.conns, Actions: h.actions, Extents: h.extents, Waves: h.waves, Stop: h.stop}, testRules(back))
		for _, o := range s.Outages {
			if err := checkOutage(o); err != nil {
				t.Fatal(err)
			}
		}
		sum := summer{rules: testRules(back)}
		victims := 0
		for _, w := range wavesOf(s, h.waves) {
			r := sum.wave(w)
			victims += r.Victims
			if err := checkVictims(r); err != nil {
				t.Fatal(err)
			}
		}
		if victims+s.Unissued != len(h.actions) {
			t.Fatalf("%d victims + %d unissued of %d actions", victims, s.Unissued, len(h.actions))
		}
		if err := checkEnds(h, s); err != nil {
			t.Fatal(err)
		}
	})
}

func checkOutage(o *Outage) error {
	if o.Until < o.Start {
		return fmt.Errorf("outage of negative length: %+v", o)
	}
	parts := o.Parts
	if !o.Back() {
		parts = Unfinished(o)
	}
	if sum := parts.Sum(); sum != int64(o.Until-o.Start) {
		return fmt.Errorf("parts add up to %d, outage is %d: %+v", sum, o.Until-o.Start, o)
	}
	for i, v := range parts.Values() {
		if v < 0 {
			return fmt.Errorf("%s is %d", PartNames()[i], v)
		}
	}
	return nil
}

// checkEnds holds every end of an accepted connection to exactly one
// explanation: an action or "unscripted".
func checkEnds(h *history, s *Storm) error {
	ends, explained := 0, 0
	for i := range h.conns {
		if unscripted(&h.conns[i]) {
			ends++
		}
	}
	seen := map[*timeline.Conn]bool{}
	for _, a := range s.Acted {
		if a.Outcome.Hits() != (a.Conn != nil) || seen[a.Conn] && a.Conn != nil {
			return fmt.Errorf("outcome %s with connection %v, or one end for two actions", a.Outcome, a.Conn)
		}
		if a.Conn != nil {
			seen[a.Conn] = true
			explained++
		}
	}
	if ends != explained+len(s.Unscripted) {
		return fmt.Errorf("%d ends, %d explained, %d unscripted", ends, explained, len(s.Unscripted))
	}
	return nil
}

// randomHistory draws a client that lives through a few connections, in small
// steps so that the instants of kicks, answers and stamps really collide.
func randomHistory(t *rapid.T) *history {
	step := func(name string) timeline.Instant {
		return timeline.Instant(rapid.IntRange(0, 6).Draw(t, name)) * ms / 2
	}
	h := newHistory()
	at := 900 * ms
	n := rapid.IntRange(1, 8).Draw(t, "connections")
	for k := 1; k <= n; k++ {
		h.conns = append(h.conns, randomConn(t, step, k, &at))
		at += step("gap")
	}
	if rapid.Bool().Draw(t, "lives to the stop") {
		c := &h.conns[n-1]
		c.End, c.Scripted = h.stop, true
	}
	kicks := rapid.IntRange(0, 5).Draw(t, "kicks")
	for range kicks {
		h.actions = append(h.actions, randomKick(t, step, h.conns))
	}
	return h
}

// randomKick draws an action aimed at the life of some connection, often so
// that it takes effect just before the connection's end and is its cause.
func randomKick(t *rapid.T, step func(string) timeline.Instant, conns []timeline.Conn) timeline.Action {
	c := rapid.SampledFrom(conns).Draw(t, "aim")
	a := timeline.Action{Fault: "close", Phase: "storm", Wave: 1, Fleet: "devices", OK: rapid.IntRange(0, 5).Draw(t, "ok") > 0}
	effect := c.Dial + timeline.Instant(rapid.Int64Range(-2, 2+int64((c.End-c.Dial)/ms)).Draw(t, "instant"))*ms
	if rapid.IntRange(0, 3).Draw(t, "causes the end") > 0 {
		effect = c.End - step("noticed late")
	}
	a.Issued = effect - step("close")
	a.Intended = a.Issued - step("lag") + ms/2
	a.Answered = effect + step("answer")*timeline.Instant(rapid.IntRange(1, 40).Draw(t, "slow"))
	if rapid.IntRange(0, 3).Draw(t, "b known") > 0 {
		a.Closed = effect
	}
	switch rapid.IntRange(0, 5).Draw(t, "found") {
	case 0:
		a.Found = new(false)
	case 1, 2:
		a.Found = new(true)
	}
	return a
}

// randomConn draws one attempt: how far it got, and whether it ended there.
func randomConn(t *rapid.T, step func(string) timeline.Instant, n int, at *timeline.Instant) timeline.Conn {
	c := timeline.Conn{Fleet: "devices", N: n, Dial: *at, Probes: 1}
	// dial error, dialled, refused, CONNACK, restored, back; mostly past CONNACK
	stage := rapid.SampledFrom([]int{0, 1, 2, 3, 3, 4, 4, 5, 5, 5}).Draw(t, "stage")
	for k, stamp := range []*timeline.Instant{&c.Dialed, &c.Connack, &c.Restored, &c.FirstMessage} {
		if reach := []int{1, 2, 4, 5}[k]; stage < reach {
			break
		}
		*at += step("stamp")
		*stamp = *at
		if k == 0 {
			c.Connect = *at
		}
	}
	if stage == 2 {
		c.ConnackCode = 3
	}
	*at += step("life") * timeline.Instant(rapid.IntRange(1, 30).Draw(t, "long"))
	c.End = *at
	return c
}

func TestPlantedPartIsSeen(t *testing.T) {
	h := newHistory()
	h.ended(0, 1, 0, 1009)
	h.last(0, 2, 1020)
	h.kick(0, 1000, 1001, 1005)
	o := only(t, h.trace().Outages)
	o.Parts.Notice++
	if checkOutage(o) == nil {
		t.Error("a part that is 1 ns too long was not seen")
	}
	o.Parts.Notice--
	o.Parts.Dial, o.Parts.Lag = -o.Parts.Dial, o.Parts.Lag+2*o.Parts.Dial
	if checkOutage(o) == nil {
		t.Error("a negative part was not seen")
	}
}
