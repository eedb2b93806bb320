package judge

import (
	"reflect"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

const sec = 1000 * ms

// TestJudgeLapses: what a restart may undo, by what it was and what the target
// says it keeps.
func TestJudgeLapses(t *testing.T) {
	kill := timeline.Extent{Process: timeline.Killed, Issued: 100 * sec, Taken: 101 * sec, Healing: 102 * sec, Healed: 103 * sec, OK: true}
	with := func(change func(*timeline.Extent)) timeline.Extent {
		e := kill
		change(&e)
		return e
	}
	kept := with(func(e *timeline.Extent) { e.Kept = true })
	all := []ledger.Lapse{{To: 102 * sec}}
	for what, tc := range map[string]struct {
		extent      timeline.Extent
		persistence string
		window      float64
		want        []ledger.Lapse
	}{
		"started empty":               {kill, "lazy", 30, all},
		"the target keeps nothing":    {kept, "none", 0, all},
		"killed, kept lazily":         {kept, "lazy", 30, []ledger.Lapse{{From: 70 * sec, To: 102 * sec}}},
		"killed, a longer window":     {kept, "lazy", 1800, all},
		"killed, it outlives that":    {kept, "lazy", 0, nil},
		"killed, kept at once":        {kept, "sync", 30, nil},
		"stopped in good order":       {with(func(e *timeline.Extent) { e.Kept, e.Process = true, timeline.Stopped }), "lazy", 30, nil},
		"stopped and started empty":   {with(func(e *timeline.Extent) { e.Process = timeline.Stopped }), "lazy", 30, all},
		"never started again":         {with(func(e *timeline.Extent) { e.Healing, e.Healed = 0, 0 }), "lazy", 30, []ledger.Lapse{{To: 500 * sec}}},
		"a freeze":                    {with(func(e *timeline.Extent) { e.Process = timeline.Frozen }), "none", 0, nil},
		"nothing was done to process": {with(func(e *timeline.Extent) { e.Process = "" }), "none", 0, nil},
	} {
		j := &judgement{e: &evidence{extents: []timeline.Extent{tc.extent}}, storm: &Storm{Stop: 500 * sec}}
		j.e.env.Target.Abilities = reports.Abilities{Persistence: tc.persistence, FlushWindow: tc.window}
		if got := j.lapses(); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %v, want %v", what, got, tc.want)
		}
	}
}

// TestControlIsStruckToo: a fault on the broker's process explains the ends of
// control connections that the broker knew, and no later ones.
func TestControlIsStruckToo(t *testing.T) {
	kill := timeline.Extent{ID: 1, Process: timeline.Killed, Issued: 10 * sec, Taken: 10*sec + 5*ms, Healing: 12 * sec, Healed: 13 * sec, OK: true}
	freeze := kill
	freeze.Process = timeline.Frozen
	failed := kill
	failed.OK, failed.Healing, failed.Healed = false, 0, 0
	conn := func(connect, end timeline.Instant) timeline.Conn {
		return timeline.Conn{Fleet: ControlFleet, ClientID: "ctl", N: 1, Connect: connect, Connack: connect + ms, LastIn: connect + ms, End: end, EndKind: timeline.EndEOF}
	}
	for what, tc := range map[string]struct {
		extent timeline.Extent
		conn   timeline.Conn
		ends   int // that nothing explains
	}{
		"killed under it":                    {kill, conn(sec, 10*sec+2*ms), 0},
		"noticed later":                      {kill, conn(sec, 14*sec), 0},
		"ended with it":                      {kill, conn(sec, 10*sec), 0},
		"connected as it was taken":          {kill, conn(10*sec+5*ms, 14*sec), 0},
		"it read to the last":                {kill, func() timeline.Conn { c := conn(sec, 20*sec); c.LastIn = 15*sec + 5*ms; return c }(), 0},
		"it read on":                         {kill, func() timeline.Conn { c := conn(sec, 20*sec); c.LastIn = 15*sec + 5*ms + 1; return c }(), 1},
		"ended before":                       {kill, conn(sec, 10*sec-1), 1},
		"a connection of the next broker":    {kill, conn(12*sec, 14*sec), 1},
		"a kill that failed":                 {failed, conn(sec, 10*sec+2*ms), 1},
		"given up while the broker froze":    {freeze, conn(sec, 11*sec), 0},
		"ended long after the freeze":        {freeze, func() timeline.Conn { c := conn(sec, 60*sec); c.Alive = 50 * sec; return c }(), 1},
		"another fault, which is none of it": {timeline.Extent{ID: 1, Issued: 10 * sec, OK: true}, conn(sec, 10*sec+2*ms), 1},
	} {
		s := Trace(Events{Conns: []timeline.Conn{tc.conn}, Extents: []timeline.Extent{tc.extent}, Stop: 100 * sec}, Rules{})
		if len(s.Control) != tc.ends || len(s.Controls) != 1 {
			t.Errorf("%s: %d ends, want %d", what, len(s.Control), tc.ends)
		}
	}
}

// TestProberAway: the time from subscriptions restored to back in which the
// prober of just this client was not live.
func TestProberAway(t *testing.T) {
	h := newHistory()
	h.ended(0, 1, 0, 2000)
	h.ended(1, 1, 0, 2000)
	for client := range 2 {
		c := h.last(client, 2, 3000)
		c.Restored, c.FirstMessage = 3100*ms, 3900*ms
		h.kick(client, 2000, 2000, 2001)
	}
	prober := func(client, n int, connack, end timeline.Instant) {
		h.conns = append(h.conns, timeline.Conn{Fleet: ControlFleet, Client: client, ClientID: "ctl", N: n, Connect: connack * ms, Connack: connack * ms, End: end * ms})
	}
	prober(0, 1, 1, 2000)
	prober(0, 2, 3300, 3500)
	prober(0, 3, 3600, 0)
	prober(1, 1, 1, 0)
	h.conns = append(h.conns, timeline.Conn{Fleet: ControlFleet, Client: 2, Connack: 1, Subs: []timeline.Sub{{}}}) // a watcher of Wills
	for _, o := range h.trace().Outages {
		if want := []timeline.Instant{300 * ms, 0}[o.Client]; o.ProberAway != want || timeline.Instant(o.Parts.FirstMessage) != 800*ms {
			t.Errorf("client %d: %d of %d ns, want %d", o.Client, o.ProberAway, o.Parts.FirstMessage, want)
		}
	}
}
