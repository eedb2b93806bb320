package fleet

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// scripted is a broker of which a test writes each packet down.
type scripted struct {
	t *testing.T
	l net.Listener
}

func newScripted(t *testing.T) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &scripted{t, l}
}

// peer is the broker's side of one connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   mqtt.Framer
	got  []mqtt.Packet // read and not expected yet; without topics and bodies
}

// accept takes the next connection and answers its CONNECT.
func (s *scripted) accept(present bool) *peer {
	s.t.Helper()
	if err := s.l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	c, err := s.l.Accept()
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	p := &peer{t: s.t, conn: c}
	p.expect(mqtt.CONNECT)
	p.send(mqtt.AppendConnack(nil, present, 0))
	return p
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// expect reads the next packet, which must be of this type.
func (p *peer) expect(want mqtt.Type) mqtt.Packet {
	p.t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		p.t.Fatal(err)
	}
	buf := make([]byte, 1024)
	for len(p.got) == 0 {
		n, err := p.conn.Read(buf)
		if err != nil {
			p.t.Fatalf("waiting for %v: %v", want, err)
		}
		keep := func(q *mqtt.Packet) {
			c := *q
			c.Topic, c.Body = nil, nil
			p.got = append(p.got, c)
		}
		if err := p.in.Feed(buf[:n], 1, keep); err != nil {
			p.t.Fatal(err)
		}
	}
	q := p.got[0]
	p.got = p.got[1:]
	if q.Type != want {
		p.t.Fatalf("%v came, want %v", q.Type, want)
	}
	return q
}

// subscribed answers the client's SUBSCRIBE of its two filters.
func (p *peer) subscribed() {
	p.t.Helper()
	p.send(mqtt.AppendSuback(nil, p.expect(mqtt.SUBSCRIBE).ID, 1, 1))
}

// cut ends the connection under the client.
func (p *peer) cut() { _ = p.conn.Close() }

// exchanges leaves the lines of the story that are about messages.
func exchanges(story []string) []string {
	return slices.DeleteFunc(story, func(line string) bool {
		return strings.HasPrefix(line, "asked ") || strings.HasPrefix(line, "subscribed ")
	})
}

// A QoS 2 message that the client publishes, cut after its PUBLISH and after
// its PUBREL.
func TestQoS2OutOverCuts(t *testing.T) {
	b := newBench(t)
	broker := newScripted(t)
	f := b.fleet(b.config(broker.l.Addr().String(), 1, devices(false), nil))
	p := broker.accept(false)
	p.subscribed()
	await(t, "connected", func() bool { return f.Connected() == 1 })

	payload := make([]byte, 64)
	mqtt.PutPayload(payload, mqtt.Header{Kind: mqtt.KindData, Run: testRunID, Stream: 4, Seq: 1})
	if err := f.clients[0].get().Publish("x", 2, false, payload); err != nil {
		t.Fatal(err)
	}
	id := p.expect(mqtt.PUBLISH).ID
	p.cut()

	p = broker.accept(true)
	if again := p.expect(mqtt.PUBLISH); again.ID != id || !again.Dup() {
		t.Errorf("sent again: id %d, DUP %v; want %d, true", again.ID, again.Dup(), id)
	}
	p.send(mqtt.AppendPubrec(nil, id))
	p.expect(mqtt.PUBREL)
	p.cut()

	p = broker.accept(true)
	// A sender has to go on with PUBREL [MQTT-4.3.3-1], [MQTT-4.4.0-1]. paho
	// 1.5.1 keeps no PUBREL in its store, and begins again with PUBLISH: what
	// the accounts are told is what was on the wire.
	resent := p.expect(mqtt.PUBLISH)
	p.send(mqtt.AppendPubrec(nil, resent.ID))
	p.expect(mqtt.PUBREL)
	p.send(mqtt.AppendPubcomp(nil, resent.ID))

	want := []string{
		"connected on 1, present false", "attempted 4/1 on 1",
		"connected on 2, present true", "attempted 4/1 on 2", "acked 4/1", "released 4/1 on 2",
		"connected on 3, present true", "attempted 4/1 on 3", "acked 4/1", "released 4/1 on 3", "completed 4/1",
	}
	var got []string
	await(t, "the end of the exchange", func() bool {
		got = append(got, exchanges(b.book.told())...)
		return slices.Contains(got, "completed 4/1")
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A QoS 2 message that the client receives, whose PUBREC a cut takes away.
func TestQoS2InOverACut(t *testing.T) {
	b := newBench(t)
	broker := newScripted(t)
	f := b.fleet(b.config(broker.l.Addr().String(), 1, devices(false), nil))
	p := broker.accept(false)
	p.subscribed()
	await(t, "connected", func() bool { return f.Connected() == 1 })
	message := publish("x", 2, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 1})
	p.send(message)
	p.expect(mqtt.PUBREC)
	p.cut()

	p = broker.accept(true)
	message[0] |= 8 // DUP
	p.send(message)
	p.expect(mqtt.PUBREC)
	p.send(mqtt.AppendPubrel(nil, 5))
	p.expect(mqtt.PUBCOMP)
	p.send(publish("x", 2, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 2})) // the id is free again
	p.expect(mqtt.PUBREC)

	var got []string
	await(t, "the second message", func() bool {
		got = append(got, exchanges(b.book.told())...)
		return slices.Contains(got, "answered 6/2 on 2")
	})
	// paho 1.5.1 hands each copy to the application, the second one of a QoS 2
	// delivery too: the accounts are told so.
	want := []string{
		"connected on 1, present false",
		"delivered 6/1 on 1", "handled 6/1", "answered 6/1 on 1",
		"connected on 2, present true",
		"delivered 6/1 on 2 again", "handled 6/1", "answered 6/1 on 2",
		"delivered 6/2 on 2", "handled 6/2", "answered 6/2 on 2",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// What a broker sees of Disconnect: a DISCONNECT, the end, and a new CONNECT of
// the kept session.
func TestDisconnectOnTheWire(t *testing.T) {
	b := newBench(t)
	broker := newScripted(t)
	f := b.fleet(b.config(broker.l.Addr().String(), 1, devices(false), nil))
	p := broker.accept(false)
	p.subscribed()
	await(t, "connected", func() bool { return f.Connected() == 1 })
	if err := f.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	p.expect(mqtt.DISCONNECT)
	broker.accept(true)
	await(t, "back", func() bool { return f.LiveN(0) == 2 && f.Connected() == 1 && f.Away() == 0 })
	first := b.conn(f.ID(0), 1)
	if first.EndKind != timeline.EndLocal || first.Disconnect != "out" || first.Scripted {
		t.Errorf("first connection: %+v", first)
	}
	f.Flush()
	if c := b.conn(f.ID(0), 2); !c.SessionPresent || c.Restored != c.Connack || c.Rival {
		t.Errorf("second connection: %+v", c)
	}
}

// While a rival holds the session, both connections carry packets of it.
func TestTakeoverOverlap(t *testing.T) {
	b := newBench(t)
	broker := newScripted(t)
	f := b.fleet(b.config(broker.l.Addr().String(), 1, devices(false), nil))
	own := broker.accept(false)
	own.subscribed()
	await(t, "connected", func() bool { return f.Connected() == 1 })

	done := make(chan error, 1)
	go func() {
		_, err := f.Takeover(t.Context(), 0, time.Hour)
		done <- err
	}()
	rival := broker.accept(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	// Read on the old connection after the new one's CONNACK: it counts.
	own.send(publish("x", 1, 5, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 1}))
	own.expect(mqtt.PUBACK)
	rival.send(publish("x", 1, 6, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 2}))
	await(t, "read by both", func() bool { return b.book.timesRead(6, 1) == 1 && b.book.timesRead(6, 2) == 1 })
	if f.LiveN(0) != 1 {
		t.Errorf("live on %d, want 1: the broker has not ended it yet", f.LiveN(0))
	}
	own.cut()
	back := broker.accept(true)
	await(t, "back", func() bool { return f.LiveN(0) == 3 })
	rival.cut()
	back.send(publish("x", 1, 6, mqtt.Header{Kind: mqtt.KindData, Stream: 6, Seq: 2}))
	back.expect(mqtt.PUBACK)
	await(t, "handled", func() bool { return b.book.handlings() == 2 })
	await(t, "the rival's end", func() bool { return b.lastRival(f.ID(0)).End != 0 })
	want := []string{
		"connected on 1, present false", "connected on 2, present true",
		"delivered 6/1 on 1", "delivered 6/2 on 2", "connected on 3, present true", "delivered 6/2 on 3",
	}
	got := slices.DeleteFunc(exchanges(b.book.told()), func(line string) bool {
		return strings.HasPrefix(line, "handled ") || strings.HasPrefix(line, "answered ")
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if c := b.lastRival(f.ID(0)); c.PacketsOut != 1 || c.N != 2 {
		t.Errorf("rival: %+v; it answers nothing", c)
	}
}
