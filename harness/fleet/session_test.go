package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// wireOf plays packets into a connection's observer.
type wireOf struct {
	t       testing.TB
	c       *conn
	in, out mqtt.Framer
}

func (w *wireOf) feed(out bool, at timeline.Instant, bytes []byte) {
	w.t.Helper()
	f := &w.in
	if out {
		f = &w.out
	}
	if err := f.Feed(bytes, int64(at), func(p *mqtt.Packet) { w.c.Packet(out, p, at) }); err != nil {
		w.t.Fatal(err)
	}
}

// unsent plays a packet that was reported and not written.
func (w *wireOf) unsent(bytes []byte) {
	var f mqtt.Framer
	if err := f.Feed(bytes, 1, w.c.Unsent); err != nil {
		w.t.Fatal(err)
	}
}

// lone makes the session of a client that nothing drives, with a prober that
// is not running.
func lone(t testing.TB, clean bool) (*bench, *Fleet, *session) {
	t.Helper()
	b := &bench{clock: timeline.NewClock(), book: newTestBook(), records: map[string]map[int]timeline.Conn{}}
	if tt, ok := t.(*testing.T); ok {
		b.t = tt
	}
	control, err := NewControl(ControlConfig{Driver: Paho{}, Addresses: []string{"x:1"}, Dial: b.dial, Clock: b.clock, Clients: 1})
	if err != nil {
		t.Fatal(err)
	}
	f, err := New(b.config("x:1", 1, devices(clean), control))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(f.Close(), control.Close()); err != nil {
			t.Error(err)
		}
	})
	return b, f, f.clients[0].session
}

// open begins a connection and plays CONNECT and an accepting CONNACK.
func open(t testing.TB, s *session, at timeline.Instant, clean, present bool) *wireOf {
	t.Helper()
	w := &wireOf{t: t, c: s.begin(at)}
	w.c.dialed(at+1, nil, "l", "r")
	w.feed(true, at+2, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id, Clean: clean, KeepAlive: 30}))
	w.feed(false, at+3, mqtt.AppendConnack(nil, present, 0))
	return w
}

func (w *wireOf) subscribe(at timeline.Instant, codes ...byte) {
	w.t.Helper()
	s := w.c.s
	// The library sends filters in any order: here the other way round.
	w.feed(true, at, mqtt.AppendSubscribe(nil, 9,
		mqtt.Filter{Topic: s.wanted[1].Topic, QoS: s.wanted[1].QoS}, mqtt.Filter{Topic: s.wanted[0].Topic, QoS: s.wanted[0].QoS}))
	w.feed(false, at+1, mqtt.AppendSuback(nil, 9, codes...))
}

func publish(topic string, qos byte, id uint16, h mqtt.Header) []byte {
	if h.Run == 0 {
		h.Run = testRunID
	}
	payload := make([]byte, 64)
	mqtt.PutPayload(payload, h)
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: topic, QoS: qos, ID: id, Payload: payload})
}

func (w *wireOf) probe(at timeline.Instant, seq uint64) {
	w.t.Helper()
	w.feed(false, at, publish(w.c.s.probe, 1, 3, mqtt.Header{Kind: mqtt.KindProbe, Seq: seq}))
}

func (w *wireOf) end(at timeline.Instant) { w.c.End(timeline.End{At: at, Kind: timeline.EndEOF}) }

func TestOnlyProbesNumberedAfterTheLossCount(t *testing.T) {
	_, f, s := lone(t, false)
	first := open(t, s, 100, false, false)
	if _, ok := s.issue(1); ok {
		t.Error("probe issued before the subscriptions are restored")
	}
	first.subscribe(110, 0, 1)
	if f.BackOn(0) != 1 || f.Connected() != 1 {
		t.Fatalf("back on %d, %d connected; want 1 and 1: nothing was lost yet", f.BackOn(0), f.Connected())
	}
	if _, ok := s.issue(1); ok {
		t.Error("a client that is back is not probed")
	}
	first.end(200)
	if f.Away() != 1 || f.Connected() != 0 || f.LiveN(0) != 0 || f.BackOn(0) != 0 {
		t.Fatalf("after the loss: %d away, %d connected, live %d, back %d", f.Away(), f.Connected(), f.LiveN(0), f.BackOn(0))
	}

	second := open(t, s, 300, false, true)
	if f.Connected() != 1 || f.BackOn(0) != 0 {
		t.Fatalf("restored: %d connected, back on %d; want 1 and 0: the probe is missing", f.Connected(), f.BackOn(0))
	}
	old, ok := s.issue(2)
	if !ok || old != 1 {
		t.Fatalf("first probe: %d, %v", old, ok)
	}
	second.end(400)
	if _, ok := s.issue(2); ok {
		t.Error("probe issued for a connection that is gone")
	}

	third := open(t, s, 500, false, true)
	third.probe(510, old) // waited in the broker
	if f.BackOn(0) != 0 {
		t.Error("a probe from before the loss made the client back")
	}
	fresh, _ := s.issue(3)
	third.feed(false, 511, publish(s.probe, 1, 4, mqtt.Header{Kind: mqtt.KindProbe, Seq: fresh, Run: 99}))
	third.feed(false, 512, publish("rb/other/cmd", 1, 4, mqtt.Header{Kind: mqtt.KindProbe, Seq: fresh}))
	if f.BackOn(0) != 0 {
		t.Error("a probe of another run or client made the client back")
	}
	third.probe(520, fresh)
	third.probe(530, fresh)
	if f.BackOn(0) != 3 || f.Away() != 0 {
		t.Errorf("back on %d, %d away; want 3 and 0", f.BackOn(0), f.Away())
	}
	if third.c.rec.FirstMessage != 520 || third.c.rec.Probes != 1 || second.c.rec.FirstMessage != 0 {
		t.Errorf("first message %d, %d probes", third.c.rec.FirstMessage, third.c.rec.Probes)
	}
}

// A client that stays away is probed again and again, until it is gone.
func TestProbesAreRepeated(t *testing.T) {
	_, f, s := lone(t, false)
	open(t, s, 100, false, false).end(110)
	w := open(t, s, 200, false, false)
	w.subscribe(210, 0, 1) // hands the client over to the prober
	control := f.cfg.Prober
	control.spawn(control.probers[0].run)
	probes := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return w.c.rec.Probes
	}
	// The control fleet is not connected: each probe is refused, and counted.
	await(t, "a second probe", func() bool { return probes() >= 2 })
	w.end(300)
	if _, ok := s.issue(2); ok {
		t.Error("the connection is gone and still probed")
	}
}

func TestSessionState(t *testing.T) {
	b, f, s := lone(t, false)
	// Lost before the SUBACK: the kept session is not known to be complete.
	w := open(t, s, 100, false, false)
	w.feed(true, 110, mqtt.AppendSubscribe(nil, 9, mqtt.Filter{Topic: s.wanted[0].Topic, QoS: 1}))
	w.end(120)
	w = open(t, s, 200, false, true)
	if w.c.rec.Restored != 0 || !w.c.rec.SessionWanted {
		t.Errorf("session present, nothing ever granted: restored %d, wanted %v", w.c.rec.Restored, w.c.rec.SessionWanted)
	}
	if n, ok := s.claim(); n != 2 || !ok {
		t.Errorf("claim: %d, %v; a SUBSCRIBE is needed", n, ok)
	}
	if _, ok := s.claim(); ok {
		t.Error("claimed twice")
	}
	w.subscribe(210, 0x80, 1)
	if w.c.rec.Restored != 0 || f.Connected() != 0 {
		t.Error("restored with a refused filter")
	}
	w.subscribe(220, 0, 0) // downgraded from 1: granted all the same
	if w.c.rec.Restored != 221 {
		t.Errorf("restored %d, want 221", w.c.rec.Restored)
	}
	if got := w.c.rec.Subs; len(got) != 2 || got[0].Filter != s.wanted[0].Topic || got[0].Granted != 0 || got[0].QoS != 1 || got[1].Granted != 0 {
		t.Errorf("subs: %+v", got)
	}
	// The QoS of the first filter was granted as 1, then as 0: told twice.
	if n := b.book.subs(s.id, s.wanted[0].Topic); n != 2 {
		t.Errorf("told %d times of the first filter, want 2", n)
	}
	if n := b.book.subs(s.id, s.wanted[1].Topic); n != 1 {
		t.Errorf("told %d times of the second filter, want 1", n)
	}
	w.end(230)

	// Forgotten by the broker: a new epoch, nothing granted.
	w = open(t, s, 300, false, false)
	if !w.c.rec.SessionWanted || w.c.rec.SessionPresent || w.c.rec.Restored != 0 || b.book.epoch(s.id) != 2 {
		t.Errorf("forgotten session: %+v, %d epochs", w.c.rec, b.book.epoch(s.id))
	}
	w.end(310)

	// Session present where this run has none: not wanted, a new epoch.
	for _, clean := range []bool{false, true} {
		b, _, s := lone(t, clean)
		for n := range 2 {
			w := open(t, s, timeline.Instant(100*(n+1)), clean, true)
			want := n == 1 && !clean
			if w.c.rec.SessionWanted != want || (w.c.rec.Restored != 0) != want {
				t.Errorf("clean %v, connection %d, foreign session present: %+v", clean, n+1, w.c.rec)
			}
			if n == 0 {
				w.subscribe(110, 0, 1)
			}
			w.end(timeline.Instant(100*(n+1) + 50))
		}
		if e, want := b.book.epoch(s.id), map[bool]int{false: 1, true: 2}[clean]; e != want {
			t.Errorf("clean %v: %d epochs, want %d", clean, e, want)
		}
	}

	// Refused CONNECT.
	w = &wireOf{t: t, c: s.begin(400)}
	w.feed(true, 401, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	w.feed(false, 402, mqtt.AppendConnack(nil, false, 3))
	if f.LiveN(0) != 0 || w.c.rec.ConnackCode != 3 || b.book.epoch(s.id) != 2 {
		t.Errorf("refused: live on %d, code %d", f.LiveN(0), w.c.rec.ConnackCode)
	}
}

func TestLateCallsOfAnOldConnection(t *testing.T) {
	b, f, s := lone(t, false)
	old := open(t, s, 100, false, false)
	old.subscribe(110, 0, 1)
	now := open(t, s, 200, false, true) // before the old one's End
	if f.Connected() != 1 || f.LiveN(0) != 2 || f.Away() != 1 {
		t.Fatalf("%d connected, live on %d, %d away", f.Connected(), f.LiveN(0), f.Away())
	}
	old.feed(false, 210, publish(s.wanted[0].Topic, 1, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8}))
	old.subscribe(220, 0x80, 0x80)
	old.end(230)
	old.feed(false, 240, publish(s.wanted[0].Topic, 1, 6, mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 9}))
	if f.Connected() != 1 || f.LiveN(0) != 2 {
		t.Errorf("the old connection's end changed the new one: %d connected, live on %d", f.Connected(), f.LiveN(0))
	}
	if d := b.book.totals().delivered; d != 2 {
		t.Errorf("%d delivered, want 2: late ones count", d)
	}
	now.end(300)
	if b.conn(s.id, 1).End != 230 || b.conn(s.id, 2).End != 300 || b.conn(s.id, 1).LastIn != 221 {
		t.Errorf("records: %+v, %+v", b.conn(s.id, 1), b.conn(s.id, 2))
	}
}

func TestPublisherState(t *testing.T) {
	b, _, s := lone(t, false)
	data := mqtt.Header{Kind: mqtt.KindData, Stream: 4, Seq: 8, Intended: 90}
	w := open(t, s, 100, false, false)
	w.feed(true, 110, publish("x", 1, 21, data))
	w.feed(true, 111, publish("x", 0, 0, mqtt.Header{Kind: mqtt.KindData, Stream: 5, Seq: 1}))
	w.end(120)
	w = open(t, s, 200, false, true)
	w.feed(true, 210, publish("x", 1, 21, data)) // the library's resend
	w.feed(false, 220, mqtt.AppendPuback(nil, 21))
	w.feed(false, 221, mqtt.AppendPuback(nil, 21)) // once is enough
	w.feed(false, 222, mqtt.AppendPuback(nil, 77)) // of nothing
	if n := b.book.attempted[4][8]; n != 2 {
		t.Errorf("%d transmissions told, want 2", n)
	}
	if got := b.book.totals(); got.attempted != 2 || got.acked != 1 || b.book.acked[4][8] != 1 {
		t.Errorf("got %+v", got)
	}
	w.feed(true, 230, publish("x", 1, 22, mqtt.Header{Kind: mqtt.KindSentinel, Stream: 4, Seq: 9}))
	if !b.book.sent[4] || b.book.home[4] {
		t.Error("sentinel: want sent and not acknowledged")
	}
	w.feed(false, 240, mqtt.AppendPuback(nil, 22))
	if !b.book.home[4] || b.book.totals().acked != 1 {
		t.Error("sentinel: want acknowledged, and not as data")
	}
	w.feed(true, 250, publish("x", 1, 23, mqtt.Header{Kind: mqtt.KindProbe, Seq: 1}))
	w.feed(false, 251, mqtt.AppendPuback(nil, 23))
	if got := b.book.totals(); got.attempted != 2 || got.acked != 1 {
		t.Errorf("a probe is no data: %+v", got)
	}
}

func TestRecordCounts(t *testing.T) {
	b, f, s := lone(t, false)
	w := open(t, s, 100, false, false)
	w.feed(true, 150, mqtt.AppendPingreq(nil))
	w.feed(false, 160, mqtt.AppendPingresp(nil))
	w.feed(true, 400, mqtt.AppendPingreq(nil))
	w.unsent(mqtt.AppendPingreq(nil))
	w.feed(false, 410, []byte("\x30\x03\x00\x01x")) // PUBLISH without our header
	w.feed(false, 411, mqtt.AppendDisconnect(nil))
	f.Flush()
	if c := b.conn(s.id, 1); c.End != 0 || c.EndKind != timeline.EndOpen {
		t.Errorf("still open: %+v", c)
	}
	w.c.End(timeline.End{At: 1000, Kind: timeline.EndReset, Err: "reset", PartialIn: 3, PartialOut: 4, Last: []timeline.Packet{{At: 1}}})
	w.end(2000) // only the first counts
	c := b.conn(s.id, 1)
	want := timeline.Conn{
		Fleet: "devices", ClientID: s.id, N: 1, Dial: 100, Dialed: 101, Local: "l", Remote: "r",
		Connect: 102, KeepAlive: 30, Connack: 103, LastIn: 411, LastPub: 410, LastOut: 400, MaxOutGap: 600,
		PacketsIn: 4, PacketsOut: 2, PingReqs: 1, PingResps: 1, Disconnect: "in",
		End: 1000, EndKind: timeline.EndReset, EndErr: "reset", PartialIn: 3, PartialOut: 4,
	}
	if len(c.Last) != 1 {
		t.Errorf("last packets: %v", c.Last)
	}
	c.Last, c.Subs = nil, nil
	if got, want := render(c), render(want); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if b.book.corrupt != 1 {
		t.Errorf("%d corrupt, want 1", b.book.corrupt)
	}
	if f.LastMessage() != 0 {
		t.Errorf("last message %d: its precision is 1 ms", f.LastMessage())
	}
	w.feed(false, timeline.Instant(time.Second), publish("x", 0, 0, mqtt.Header{Kind: mqtt.KindData}))
	if f.LastMessage() != timeline.Instant(time.Second) {
		t.Errorf("last message %d, want 1 s", f.LastMessage())
	}
}

func TestBackFallsBack(t *testing.T) {
	_, f, _ := lone(t, false)
	base := f.cfg
	for _, tt := range []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"as written", func(*Config) {}, scenarios.BackFirstMessage},
		{"unset", func(c *Config) { c.Fleet.Back = "" }, scenarios.BackFirstMessage},
		{"no prober", func(c *Config) { c.Prober = nil }, scenarios.BackSubscribed},
		{"no topic to probe", func(c *Config) { c.Probe = "" }, scenarios.BackSubscribed},
		{"no subscription", func(c *Config) { c.Fleet.Subscribe = nil }, scenarios.BackConnack},
		{"connack", func(c *Config) { c.Fleet.Back = scenarios.BackConnack }, scenarios.BackConnack},
	} {
		cfg := base
		tt.change(&cfg)
		got, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if got.Back() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got.Back(), tt.want)
		}
		if err := got.Close(); err != nil {
			t.Error(err)
		}
	}
}
