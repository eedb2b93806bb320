package fleet

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// isRival tells which connection a dial is for.
func isRival(tap Tap) bool { return tap.(*conn).rec.Rival }

// holdBack is a dial under which the library does not come back before let is
// closed; a rival is not kept from anything.
func (b *bench) holdBack(let <-chan struct{}) DialFunc {
	return func(ctx context.Context, addr, id string, n int, tap Tap) (net.Conn, string, string, error) {
		if n > 1 && !isRival(tap) {
			select {
			case <-let:
			case <-ctx.Done():
				return nil, "", "", ctx.Err()
			}
		}
		return b.dial(ctx, addr, id, n, tap)
	}
}

func TestTakeover(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	let := make(chan struct{})
	cfg := b.config(broker.addr, 1, devices(false), nil)
	cfg.Dial = b.holdBack(let)
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 1 })

	before := b.clock.Now()
	at, err := f.Takeover(t.Context(), 0, time.Hour)
	if err != nil || at <= before {
		t.Fatalf("at %d, %v", at, err)
	}
	await(t, "the broker ends the client's own connection", func() bool { return f.LiveN(0) == 0 && f.Away() == 1 })
	f.Flush()
	rival := b.conn(f.ID(0), 2)
	if !rival.Rival || rival.Connack != at || !rival.SessionPresent || !rival.SessionWanted || rival.Clean || rival.Will ||
		rival.KeepAlive != 30 || rival.End != 0 || rival.Restored != 0 || rival.Intended != 0 {
		t.Errorf("rival: %+v", rival)
	}
	if first := b.conn(f.ID(0), 1); first.EndKind == timeline.EndLocal || first.End == 0 || first.Rival || first.Scripted {
		t.Errorf("the connection taken over: %+v", first)
	}

	// What the session is sent now, the rival reads and does not answer.
	topic := "rb/" + f.ID(0) + "/cmd"
	payload := make([]byte, 64)
	mqtt.PutPayload(payload, mqtt.Header{Kind: mqtt.KindData, Run: testRunID, Stream: 3, Seq: 1})
	if err := broker.Publish(topic, payload, false, 1); err != nil {
		t.Fatal(err)
	}
	await(t, "the rival reads it", func() bool { return b.book.timesRead(3, 1) == 1 })
	if n := b.book.handlings(); n != 0 {
		t.Errorf("%d handler calls: nobody handles what a rival reads", n)
	}

	close(let)
	await(t, "back", func() bool { return f.LiveN(0) >= 3 && f.Connected() == 1 && f.Away() == 0 })
	back := f.LiveN(0)
	await(t, "the broker ends the rival", func() bool { return b.conn(f.ID(0), 2).End != 0 })
	await(t, "what was not answered comes again", func() bool { return b.book.timesRead(3, 1) == 2 && b.book.handlings() == 1 })
	rival = b.conn(f.ID(0), 2)
	if rival.EndKind == timeline.EndLocal || rival.Disconnect == "out" || rival.PacketsOut != 1 || rival.LastPub == 0 {
		t.Errorf("rival: %+v", rival)
	}
	f.Flush()
	if c := b.conn(f.ID(0), back); c.Rival || !c.SessionPresent || !c.SessionWanted || c.Restored == 0 {
		t.Errorf("back: %+v", c)
	}
	if e := b.book.epoch(f.ID(0)); e != 1 {
		t.Errorf("%d epochs: the session was kept all along", e)
	}
}

func TestTakeoverIsHeldAndLetGo(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	let := make(chan struct{})
	defer close(let)
	cfg := b.config(broker.addr, 1, devices(false), nil)
	cfg.Dial = b.holdBack(let)
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 1 })
	const hold = 100 * time.Millisecond
	at, err := f.Takeover(t.Context(), 0, hold)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "let go", func() bool { f.Flush(); return b.conn(f.ID(0), 2).End != 0 })
	c := b.conn(f.ID(0), 2)
	if held := time.Duration(c.End - at); c.EndKind != timeline.EndLocal || c.Disconnect != "" || held < hold || c.Scripted {
		t.Errorf("held for %s: %+v", held, c)
	}
	if _, err := f.Takeover(t.Context(), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	closeTwice(t, f) // ends what is still held
	if n := len(b.records[f.ID(0)]); b.conn(f.ID(0), n).End == 0 || !b.lastRival(f.ID(0)).Scripted {
		t.Errorf("after Close: %+v", b.records[f.ID(0)])
	}
	if _, err := f.Takeover(t.Context(), 0, hold); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// lastRival is the record of the latest rival.
func (b *bench) lastRival(id string) timeline.Conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	var last timeline.Conn
	for _, c := range b.records[id] {
		if c.Rival && c.N > last.N {
			last = c
		}
	}
	return last
}

// A clean session does not outlive a takeover, and what the rival opens does
// not outlive the client's return.
func TestTakeoverOfACleanSession(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	// The client comes back after the rival's CONNACK: two CONNECTs at once may
	// leave mochi 2.7.9 with two live connections under one client id.
	let := make(chan struct{})
	cfg := b.config(broker.addr, 1, devices(true), nil)
	cfg.Dial = b.holdBack(let)
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 1 })
	if _, err := f.Takeover(t.Context(), 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	close(let)
	await(t, "back, and subscribed again", func() bool { return f.LiveN(0) >= 3 && f.Connected() == 1 && b.lastRival(f.ID(0)).End != 0 })
	if c := b.lastRival(f.ID(0)); c.SessionWanted || c.SessionPresent || c.Clean {
		t.Errorf("rival: %+v", c)
	}
	if e := b.book.epoch(f.ID(0)); e != 3 {
		t.Errorf("%d epochs, want 3: the client's, the rival's, the client's", e)
	}
}

func TestTakeoverThatFails(t *testing.T) {
	start := func(t *testing.T, addr string) (*bench, *Fleet) {
		b := newBench(t)
		cfg := b.config(addr, 1, devices(false), nil)
		cfg.ConnectTimeout = 300 * time.Millisecond
		f, err := New(cfg) // the client itself does not dial
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closeTwice(t, f) })
		return b, f
	}
	t.Run("no broker", func(t *testing.T) {
		b, f := start(t, unusedAddr(t))
		if _, err := f.Takeover(t.Context(), 0, time.Hour); err == nil {
			t.Error("no error")
		}
		if c := b.conn(f.ID(0), 1); c.EndKind != timeline.EndDial || !c.Rival {
			t.Errorf("record: %+v", c)
		}
	})
	t.Run("no CONNACK", func(t *testing.T) {
		addr, _ := stubborn(t)
		b, f := start(t, addr)
		if _, err := f.Takeover(t.Context(), 0, time.Hour); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if c := b.conn(f.ID(0), 1); c.EndKind != timeline.EndLocal || c.Connack != 0 {
			t.Errorf("record: %+v", c)
		}
	})
	for name, answer := range map[string][]byte{"refused": mqtt.AppendConnack(nil, false, 2), "ended": nil} {
		t.Run(name, func(t *testing.T) {
			b, f := start(t, answering(t, answer))
			_, err := f.Takeover(t.Context(), 0, time.Hour)
			if err == nil || errors.Is(err, ErrRefused) != (name == "refused") {
				t.Errorf("got %v", err)
			}
			await(t, "ended", func() bool { f.Flush(); return b.conn(f.ID(0), 1).End != 0 })
			if e := b.book.epoch(f.ID(0)); e != 0 || f.LiveN(0) != 0 {
				t.Errorf("%d epochs, live on %d", e, f.LiveN(0))
			}
		})
	}
}

// answering is a listener that reads a CONNECT from each connection, writes
// the answer and ends it.
func answering(t *testing.T, answer []byte) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			buf := make([]byte, 256)
			_, _ = c.Read(buf)
			_, _ = c.Write(answer)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// The rival's packets change nothing of what the client itself is doing.
func TestARivalLeavesTheClientsStateAlone(t *testing.T) {
	b, f, s := lone(t, false)
	own := open(t, s, 100, false, false)
	own.subscribe(110, 0, 1)
	r := &wireOf{t: t, c: s.rival(200)}
	if !r.c.rec.Rival || r.c.rec.N != 2 || f.LiveN(0) != 1 || f.BackOn(0) != 1 {
		t.Fatalf("rival %+v, live on %d", r.c.rec, f.LiveN(0))
	}
	r.feed(true, 201, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	r.feed(false, 202, mqtt.AppendConnack(nil, true, 0))
	if f.LiveN(0) != 1 || f.BackOn(0) != 1 || f.Connected() != 1 || f.Away() != 0 {
		t.Errorf("live on %d, back on %d, %d connected, %d away", f.LiveN(0), f.BackOn(0), f.Connected(), f.Away())
	}
	if !r.c.rec.SessionWanted || r.c.rec.Connack != 202 || b.book.epoch(s.id) != 1 {
		t.Errorf("rival: %+v, %d epochs", r.c.rec, b.book.epoch(s.id))
	}
	r.feed(false, 203, publish(s.probe, 1, 9, mqtt.Header{Kind: mqtt.KindProbe, Seq: 1 << 40}))
	if r.c.rec.FirstMessage != 0 || r.c.rec.LastPub != 203 {
		t.Errorf("a probe that the rival read: %+v", r.c.rec)
	}
	own.end(300) // the broker ends it: taken over
	again := open(t, s, 400, false, true)
	if f.LiveN(0) != 3 || again.c.rec.N != 3 || again.c.rec.Restored == 0 {
		t.Errorf("back on a third connection: live on %d, %+v", f.LiveN(0), again.c.rec)
	}
	f.Flush()
	if c := b.conn(s.id, 2); c.End != 0 || !c.Rival {
		t.Errorf("the open rival at a flush: %+v", c)
	}
	r.end(500)
	if f.LiveN(0) != 3 || b.conn(s.id, 2).End != 500 || len(s.rivals) != 0 {
		t.Errorf("after the rival: live on %d, %+v", f.LiveN(0), b.conn(s.id, 2))
	}
	// A rival that finds no session begins an epoch: nothing is granted any more.
	r = &wireOf{t: t, c: s.rival(600)}
	r.feed(true, 601, mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: s.id}))
	r.feed(false, 602, mqtt.AppendConnack(nil, false, 0))
	if b.book.epoch(s.id) != 2 || s.complete {
		t.Errorf("%d epochs, complete %v", b.book.epoch(s.id), s.complete)
	}
}
