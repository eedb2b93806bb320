package judge

import (
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const ms = timeline.Instant(time.Millisecond)

// history builds connections and actions of device clients by hand. All
// instants are in ms.
type history struct {
	conns   []timeline.Conn
	actions []timeline.Action
	extents []timeline.Extent
	waves   []timeline.Wave
	stop    timeline.Instant
}

func newHistory() *history {
	return &history{
		waves: []timeline.Wave{{Phase: "storm", Wave: 1, Start: 1000 * ms, End: 61_000 * ms}},
		stop:  70_000 * ms,
	}
}

// conn adds an accepted connection that is dialled at t and useful 10 ms
// later: dialled +1, CONNECT +2, CONNACK +4, restored +7, first message +10.
func (h *history) conn(client, n int, t timeline.Instant) *timeline.Conn {
	h.conns = append(h.conns, timeline.Conn{
		Fleet: "devices", Client: client, ClientID: clientID(client), N: n,
		Dial: t * ms, Dialed: (t + 1) * ms, Connect: (t + 2) * ms, Connack: (t + 4) * ms,
		Subs:     []timeline.Sub{{Filter: "rb/x/cmd", QoS: 1, Sent: (t + 5) * ms, Acked: (t + 7) * ms, Granted: 1}},
		Restored: (t + 7) * ms, Probes: 1, FirstMessage: (t + 10) * ms,
		KeepAlive: 30, SessionPresent: n > 1, SessionWanted: n > 1,
	})
	return &h.conns[len(h.conns)-1]
}

// ended is conn with an end at e by EOF.
func (h *history) ended(client, n int, t, e timeline.Instant) *timeline.Conn {
	c := h.conn(client, n, t)
	c.End, c.EndKind = e*ms, timeline.EndEOF
	return c
}

// last is conn that the harness ends after the stop.
func (h *history) last(client, n int, t timeline.Instant) *timeline.Conn {
	c := h.conn(client, n, t)
	c.End, c.EndKind, c.Scripted = h.stop+1*ms, timeline.EndLocal, true
	return c
}

// kick adds a close in wave 1 with i, s, b, and an answer 1 ms after b (or s);
// b = 0 is not known.
func (h *history) kick(client int, i, s, b timeline.Instant) *timeline.Action {
	h.actions = append(h.actions, timeline.Action{
		Fault: "close", Phase: "storm", Wave: 1, Fleet: "devices", Client: client, ClientID: clientID(client),
		Intended: i * ms, Issued: s * ms, Closed: b * ms, Answered: (max(s, b) + 1) * ms, OK: true,
	})
	return &h.actions[len(h.actions)-1]
}

func clientID(n int) string { return "dev-" + string(rune('a'+n)) }

func (h *history) trace() *Storm {
	return Trace(Events{Conns: h.conns, Actions: h.actions, Extents: h.extents, Waves: h.waves, Stop: h.stop}, testRules("first-message"))
}

func testRules(back string) Rules {
	return Rules{
		Back:   map[string]string{"devices": back},
		Policy: map[string]string{"devices": "paho"},
		Max:    map[string]time.Duration{"devices": 30 * time.Second},

		Subscribes: map[string]bool{"devices": true},
	}
}

// only gives the single element of a list.
func only[T any](t *testing.T, list []T) T {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d elements, want 1: %+v", len(list), list)
	}
	return list[0]
}
