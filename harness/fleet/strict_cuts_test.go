package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// modelBroker keeps one session by the letter. It is cut off after a number of
// steps on each connection; a step is a packet read, or one written.
type modelBroker struct {
	mu       sync.Mutex
	cuts     []int // steps of each connection; beyond the list there is no end
	present  bool  // what it says after the first connection
	known    bool
	out      []*modelMessage // to the client, in order
	received map[uint16]bool // inbound QoS 2
	got      map[string]int  // payload -> deliveries
	gotOrder []string        // first copies of each
	wg       sync.WaitGroup
}

type modelMessage struct {
	id             uint16
	qos            byte
	payload        string
	sent, released bool
}

// errCut ends a connection of the model.
var errCut = errors.New("cut")

type modelConn struct {
	broker *modelBroker
	conn   net.Conn
	steps  int // left; negative = no end
}

func (b *modelBroker) dial(conn net.Conn) {
	b.mu.Lock()
	steps := -1
	if len(b.cuts) > 0 {
		steps, b.cuts = b.cuts[0], b.cuts[1:]
	}
	b.mu.Unlock()
	b.wg.Go(func() {
		defer func() { _ = conn.Close() }()
		(&modelConn{b, conn, steps}).serve()
	})
}

func (c *modelConn) step() bool {
	c.steps--
	return c.steps != -1
}

func (c *modelConn) send(b []byte) error {
	if !c.step() {
		return errCut
	}
	_, err := c.conn.Write(b)
	return err
}

func (c *modelConn) serve() {
	var f mqtt.Framer
	var left []byte
	buf := make([]byte, 1<<16)
	for {
		n, err := c.conn.Read(buf)
		if err != nil {
			return
		}
		left = append(left, buf[:n]...)
		for size := packetSize(left); size > 0; size = packetSize(left) {
			whole := left[:size]
			left = left[size:]
			if !c.step() {
				return
			}
			var bad error
			if f.Feed(whole, 0, func(p *mqtt.Packet) { bad = c.handle(p, string(whole[size-p.Payload:])) }) != nil || bad != nil {
				return
			}
		}
	}
}

func (c *modelConn) handle(p *mqtt.Packet, payload string) error {
	b := c.broker
	b.mu.Lock()
	defer b.mu.Unlock() // one connection at a time changes the session
	switch p.Type {
	case mqtt.CONNECT:
		if err := c.send(mqtt.AppendConnack(nil, b.known && b.present, 0)); err != nil {
			return err
		}
		if !b.present {
			clear(b.received)
		}
		b.known = true
		return c.deliver()
	case mqtt.PUBLISH:
		if p.QoS() < 2 || !b.received[p.ID] {
			if b.got[payload]++; b.got[payload] == 1 {
				b.gotOrder = append(b.gotOrder, payload)
			}
		}
		if p.QoS() == 1 {
			return c.send(mqtt.AppendPuback(nil, p.ID))
		}
		b.received[p.ID] = true
		return c.send(mqtt.AppendPubrec(nil, p.ID))
	case mqtt.PUBREL:
		delete(b.received, p.ID)
		return c.send(mqtt.AppendPubcomp(nil, p.ID))
	}
	i := slices.IndexFunc(b.out, func(m *modelMessage) bool { return m.id == p.ID })
	switch {
	case p.Type == mqtt.PUBREC:
		if i >= 0 {
			b.out[i].released = true
		}
		return c.send(mqtt.AppendPubrel(nil, p.ID))
	case i >= 0:
		b.out = slices.Delete(b.out, i, i+1)
	}
	return nil
}

// deliver sends what is not acknowledged, and what waits.
func (c *modelConn) deliver() error {
	for _, m := range c.broker.out {
		packet := mqtt.AppendPubrel(nil, m.id)
		if !m.released {
			packet = mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: m.id, QoS: m.qos, Dup: m.sent, Payload: []byte(m.payload)})
		}
		m.sent = true
		if err := c.send(packet); err != nil {
			return err
		}
	}
	return nil
}

// Whatever the packet at which connections are cut, in whatever direction: the
// client's wire is clean, its handler gets each QoS 2 message exactly once and
// each other at least once, and everything that it took is completed.
func TestStrictSurvivesAnyCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		qos := rapid.SliceOfN(rapid.ByteRange(1, 2), 0, 6)
		ours, theirs := qos.Draw(t, "published"), qos.Draw(t, "delivered")
		b := &modelBroker{
			cuts: rapid.SliceOfN(rapid.IntRange(0, 20), 0, 6).Draw(t, "cuts"), present: true,
			received: map[uint16]bool{}, got: map[string]int{},
		}
		for i, q := range theirs {
			b.out = append(b.out, &modelMessage{id: uint16(i + 1), qos: q, payload: fmt.Sprintf("in%d", i)})
		}
		j := newJudge()
		var mu sync.Mutex
		handled := map[string]int{}
		var order []string
		c, err := Strict{}.New(Settings{
			ClientID: "c", Reconnect: scenarios.Reconnect{Policy: "immediate"},
			Dial: func(context.Context) (net.Conn, error) {
				client, broker := net.Pipe()
				b.dial(broker)
				return j.begin(client), nil
			},
			OnMessage: func(_ string, payload []byte) {
				mu.Lock()
				defer mu.Unlock()
				if handled[string(payload)]++; handled[string(payload)] == 1 {
					order = append(order, string(payload))
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer b.wg.Wait()
		defer c.Close()
		for c.Connect(context.Background()) != nil { // a first connect is not repeated by itself
		}
		for i, q := range ours {
			if err := c.Publish("t", q, false, fmt.Appendf(nil, "out%d", i)); err != nil {
				t.Fatal(err)
			}
		}
		complete := func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			s := c.(*strictClient)
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(b.out) == 0 && len(s.session.byID) == 0 && len(b.received) == 0 && len(s.session.received) == 0
		}
		for deadline := time.Now().Add(patience); !complete(); time.Sleep(50 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatal("not everything was completed")
			}
		}
		j.report(t)
		mu.Lock()
		defer mu.Unlock()
		exactly(t, "handled", theirs, "in", handled, order)
		b.mu.Lock()
		defer b.mu.Unlock()
		exactly(t, "received by the broker", ours, "out", b.got, b.gotOrder)
	})
}

// exactly checks who got how many of the messages, and in which order first.
func exactly(t *rapid.T, what string, qos []byte, name string, got map[string]int, order []string) {
	t.Helper()
	var want []string
	for i, q := range qos {
		p := fmt.Sprint(name, i)
		want = append(want, p)
		if n := got[p]; n < 1 || q == 2 && n > 1 {
			t.Errorf("%s of QoS %d was %s %d times", p, q, what, n)
		}
	}
	if !slices.Equal(order, want) {
		t.Errorf("%s in the order %q", what, order)
	}
}

// A broker closes when it reads the DISCONNECT: that is no loss, after which the
// client would dial again, whoever of its goroutines sees it first.
func TestStrictDoesNotComeBackFromItsDisconnect(t *testing.T) {
	for range 300 {
		s := newScript(t)
		set := s.settings()
		var dials atomic.Int32
		set.Dial = func(ctx context.Context) (net.Conn, error) {
			dials.Add(1)
			return s.dial(ctx)
		}
		c, conn := s.start(set)
		left := make(chan struct{})
		go func() { defer close(left); c.Disconnect() }()
		conn.expect("DISCONNECT")
		conn.cut()
		<-left
		if n := dials.Load(); n != 1 {
			t.Fatalf("%d dials", n)
		}
	}
}
