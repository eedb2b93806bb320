package broker

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// More true finds in mochi: see trackrecord_test.go for what these tests are.

// TestTrackRecordMochiUnroutedAck: mochi v2.7.9 acknowledges a message that it
// never routes when the connection of its publisher is lost under it.
//
// Server.processPublish stores the PUBACK or PUBREC in the publisher's session,
// writes it, and routes the message only when that write did not fail. The
// stored acknowledgement is sent when the session is resumed: the broker says
// that it has accepted the message [MQTT-4.3.2-2] [MQTT-4.3.3-2], and answers a
// PUBLISH that is sent again with one more PUBREC.
//
// The window is widened, not made: OnPublish is called before the
// acknowledgement, and here it waits until the connection has been reset.
func TestTrackRecordMochiUnroutedAck(t *testing.T) {
	for _, qos := range []byte{1, 2} {
		hook := newPublishHook("taken")
		b, err := StartEmbedded(t.Context(), Options{Addresses: 1, Hooks: []mochi.Hook{hook}})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close() //nolint:errcheck // the test's own broker
		defer hook.open()
		addr := b.Info().Addresses[0]

		sub := dialFinder(t, addr, "sub", true)
		sub.subscribe("t")
		pub := dialFinder(t, addr, "pub", false)
		message := mqtt.Publish{Topic: "t", ID: 1, QoS: qos, Payload: []byte("taken")}
		pub.write(mqtt.AppendPublish(nil, message))
		hook.wait(t)
		reset(t, pub.conn) // the loss
		hook.open()
		eventually(t, "the broker sees the publisher leave", func() bool { return b.Clients() == 1 })

		again := dialFinder(t, addr, "pub", false)
		if !again.sessionPresent {
			t.Fatal("the session was not kept, so nothing was owed")
		}
		if qos == 1 {
			again.read(mqtt.PUBACK) // the message is the broker's now; nothing is left to send again
		} else {
			again.read(mqtt.PUBREC)
			message.Dup = true
			again.write(mqtt.AppendPublish(nil, message))
			again.read(mqtt.PUBREC)
			again.write(mqtt.AppendPubrel(nil, 1))
			again.read(mqtt.PUBCOMP)
		}
		again.publish(2, "after")
		again.read(mqtt.PUBACK)
		got := sub.upTo("after")
		if slices.Contains(got, "taken") {
			t.Fatalf("QoS %d: the message was delivered (%q): the defect is gone; remove it from the table of known defects", qos, got)
		}
		t.Logf("QoS %d: acknowledged: taken, after; delivered: %q", qos, got)
	}
}

// TestTrackRecordMochiLateRouting: mochi v2.7.9 routes a message that it has
// acknowledged after one that the same client sent later [MQTT-4.6.0-6], when the
// client has lost its connection and resumed its session in between.
//
// Server.processPublish acknowledges before it routes, and the goroutine of the
// old connection goes on beside that of the new one.
//
// The window is widened, not made: OnQosComplete is called between the two steps,
// and here it waits until the later message has been routed.
func TestTrackRecordMochiLateRouting(t *testing.T) {
	hook := &completeHook{windowHook: newWindowHook()}
	b, err := StartEmbedded(t.Context(), Options{Addresses: 1, Hooks: []mochi.Hook{hook}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own broker
	defer hook.open()
	addr := b.Info().Addresses[0]

	sub := dialFinder(t, addr, "sub", true)
	sub.subscribe("t")
	pub := dialFinder(t, addr, "pub", false)
	pub.publish(1, "first")
	pub.read(mqtt.PUBACK)
	hook.wait(t)
	pub.conn.Close() //nolint:errcheck // the loss

	again := dialFinder(t, addr, "pub", false)
	again.publish(2, "second")
	again.settle()
	hook.open()
	if got := sub.read(mqtt.PUBLISH); got != "second" {
		t.Fatalf("%q was delivered first: the defect is gone; remove it from the table of known defects", got)
	}
	if got := sub.read(mqtt.PUBLISH); got != "first" {
		t.Fatalf("%q was delivered as the last one", got)
	}
	t.Log("acknowledged: first, then second; delivered: second, first")
}

// completeHook stops mochi when it has acknowledged its first message.
type completeHook struct {
	*windowHook
	held atomic.Bool
}

func (h *completeHook) Provides(b byte) bool { return b == mochi.OnQosComplete }
func (h *completeHook) OnQosComplete(*mochi.Client, packets.Packet) {
	if h.held.CompareAndSwap(false, true) { // the others pass meanwhile
		close(h.inside)
		<-h.release
	}
}

// TestTrackRecordMochiRepeatedAck: mochi v2.7.9 sends acknowledgements again
// when a session is resumed, though nothing was sent that they answer.
//
// It keeps what it acknowledged in the same store as what it sent, by packet
// id, and Client.ResendInflightMessages sends all of it.
func TestTrackRecordMochiRepeatedAck(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	addr := b.Info().Addresses[0]
	pub := dialFinder(t, addr, "pub", false)
	pub.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: 7, QoS: 2, Payload: []byte("x")}))
	pub.read(mqtt.PUBREC)
	pub.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the publisher leave", func() bool { return b.Clients() == 0 })

	again := dialFinder(t, addr, "pub", false)
	if !again.sessionPresent {
		t.Fatal("the session was not kept")
	}
	again.write(mqtt.AppendPingreq(nil)) // the marker
	if first := again.first(); first.kind != mqtt.PUBREC || first.id != 7 {
		t.Fatalf("the first packet after CONNACK is %s %d: the defect is gone; remove it from the table of known defects", first.kind, first.id)
	}
	t.Log("after CONNACK, with nothing sent but PINGREQ: PUBREC 7, which had been read on the connection before")
}

// TestTrackRecordMochiFalseDup: mochi v2.7.9 sets DUP on messages that it sends
// for the first time, those that it stored for an absent session
// [MQTT-3.3.1-3].
func TestTrackRecordMochiFalseDup(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	addr := b.Info().Addresses[0]
	sub := dialFinder(t, addr, "sub", false)
	sub.subscribe("t")
	sub.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the subscriber leave", func() bool { return b.Clients() == 0 })
	pub := dialFinder(t, addr, "pub", true)
	pub.publish(1, "while away")
	pub.settle()

	again := dialFinder(t, addr, "sub", false)
	if p := again.next(mqtt.PUBLISH); !p.dup || p.payload != "while away" {
		t.Fatalf("%q came with DUP %v: the defect is gone; remove it from the track record", p.payload, p.dup)
	}
	t.Log("published while the subscriber was away, sent once: DUP is 1")
}

// TestTrackRecordMochiDupCleared: mochi v2.7.9 sends a message twice on the
// connection that resumes a session, first with DUP = 1 and then with DUP = 0
// [MQTT-3.3.1-1], when it is routed while the session is being resumed.
//
// Server.attachClient puts the new client object into the table and then sends
// what is in its in-flight store, with DUP = 1. A PUBLISH that is routed in
// between is in that store too, and Server.publishToClient queues it for the
// connection as well, with the DUP = 0 of a first copy.
//
// The window is widened, not made: OnPacketEncode is called for the CONNACK, and
// here it waits until publishToClient has stored the message; OnQosPublish is
// called before that queues it, and here it waits until the first copy was read.
func TestTrackRecordMochiDupCleared(t *testing.T) {
	hook := &resumeHook{windowHook: newWindowHook(), connack: newWindowHook()}
	b, err := StartEmbedded(t.Context(), Options{Addresses: 1, Hooks: []mochi.Hook{hook}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own broker
	defer hook.open()
	defer hook.connack.open()
	addr := b.Info().Addresses[0]

	pub := dialFinder(t, addr, "pub", true)
	sub := dialFinder(t, addr, "sub", false)
	sub.subscribe("t")
	sub.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the subscriber leave", func() bool { return b.Clients() == 1 })

	again := openFinder(t, addr)
	again.mute = true // nothing is acknowledged, so nothing is over
	again.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "sub", KeepAlive: 60}))
	hook.connack.wait(t)
	pub.publish(1, "once")
	hook.wait(t) // stored, and not yet queued
	hook.connack.open()
	again.read(mqtt.CONNACK)
	if !again.sessionPresent {
		t.Fatal("the session was not kept")
	}
	first := again.next(mqtt.PUBLISH)
	if first.payload != "once" || !first.dup {
		t.Fatalf("the first copy is %+v", first)
	}
	hook.open()
	pub.settle()
	pub.publish(2, "after") // the marker: a further copy comes before it
	second := again.next(mqtt.PUBLISH)
	if second.payload != "once" || second.dup {
		t.Fatalf("after the copy with DUP = 1 came %+v: the defect is gone; remove it from the table of known defects", second)
	}
	if second.id != first.id {
		t.Fatalf("PUBLISH %d and PUBLISH %d are the same message", first.id, second.id)
	}
	if marker := again.next(mqtt.PUBLISH); marker.payload != "after" {
		t.Fatalf("a third copy: %+v", marker)
	}
	t.Logf("published once, not acknowledged; read after CONNACK: PUBLISH %d with DUP = 1, PUBLISH %d with DUP = 0", first.id, second.id)
}

// resumeHook stops mochi before it sends a CONNACK with session present 1, and
// before it queues a message that it has stored.
type resumeHook struct {
	*windowHook
	connack *windowHook
}

func (h *resumeHook) Provides(b byte) bool {
	return b == mochi.OnPacketEncode || b == mochi.OnQosPublish
}

func (h *resumeHook) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Connack && p.SessionPresent {
		h.connack.stop()
	}
	return p
}

func (h *resumeHook) OnQosPublish(_ *mochi.Client, p packets.Packet, _ int64, _ int) {
	if p.FixedHeader.Type == packets.Publish && !p.FixedHeader.Dup { // no acknowledgement, and not the resume's
		h.stop()
	}
}

// TestTrackRecordMochiKeepAlive: mochi v2.7.9 counts 1.5 times an odd keep alive
// in whole seconds and ends a connection too soon [MQTT-3.1.2-24]: with a keep
// alive of 1 s, at 1 s.
func TestTrackRecordMochiKeepAlive(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	silence, ended := shortestSilence(t, b.Info().Addresses[0], 5)
	if !ended || silence >= 1500*time.Millisecond {
		t.Fatalf("ended after %s of silence: the defect is gone; remove it from the table of known defects", silence)
	}
	t.Logf("keep alive 1 s: ended after %s of silence, 1.5 s are the client's", silence.Round(time.Millisecond))
}

// shortestSilence connects with a keep alive of 1 s, so many times one tenth of
// a second apart, is silent, and gives the shortest silence after which the
// broker ended a connection. It is measured from before the last write, so that
// it is never less than it was.
func shortestSilence(t *testing.T, addr string, connections int) (shortest time.Duration, ended bool) {
	t.Helper()
	silences := make(chan time.Duration, connections)
	for i := range connections {
		go func() {
			time.Sleep(time.Duration(i) * time.Second / 10) // a time of its own, awaiting nothing
			began := time.Now()
			c := dialFinderAs(t, addr, mqtt.ConnectInfo{ClientID: fmt.Sprint("silent-", i), Clean: true, KeepAlive: 1})
			_, err := io.Copy(io.Discard, c.conn)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				silences <- 0
				return
			}
			silences <- time.Since(began)
		}()
	}
	for range connections {
		if d := <-silences; d > 0 && (!ended || d < shortest) {
			shortest, ended = d, true
		}
	}
	return shortest, ended
}

// TestTrackRecordMochiTakeoverRace: mochi v2.7.9 leaves two connections of one
// client id live when both connect at the same time [MQTT-3.1.4-2].
//
// Server.inheritClientSession looks for the existing client in the table, and
// attachClient puts the new one there later. A second CONNECT that is handled in
// between finds the same old client: each of the two takes over from that one,
// and neither from the other.
//
// The window is widened, not made: OnQosDropped is called between the two steps,
// for messages that were moved, and here it waits for the second CONNACK.
func TestTrackRecordMochiTakeoverRace(t *testing.T) {
	hook := newWindowHook()
	b, err := StartEmbedded(t.Context(), Options{Addresses: 1, Hooks: []mochi.Hook{hook}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own broker
	defer hook.open()
	addr := b.Info().Addresses[0]

	pub := dialFinder(t, addr, "pub", true)
	sub := dialFinder(t, addr, "sub", false)
	sub.subscribe("t")
	sub.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the subscriber leave", func() bool { return b.Clients() == 1 })
	pub.publish(1, "first") // in flight for the absent session, so that there is something to move
	pub.settle()

	connected := make(chan *finder, 1)
	go func() { connected <- dialFinder(t, addr, "sub", false) }()
	hook.wait(t)
	second := dialFinder(t, addr, "sub", false)
	hook.open()
	first := <-connected

	// first was accepted after second, and all that its CONNECT does is done:
	// a PINGREQ is answered only by a connection that goes on.
	first.ping()
	second.write(mqtt.AppendPingreq(nil))
	for {
		p := second.first()
		if p.kind == mqtt.PINGRESP {
			break
		}
		if p.kind == 0 || p.kind == mqtt.DISCONNECT {
			t.Fatal("the second connection was ended: the defect is gone; remove it from the table of known defects")
		}
	}
	t.Log("two connections of one client id, both accepted: PINGREQ is answered on both")
}

// TestTrackRecordMochiSharedIDs: mochi v2.7.9 forgets a message that it sent to
// a client, and that was not acknowledged, when the client publishes one under
// the same packet id: it is not sent again when the session is resumed
// [MQTT-4.4.0-1].
//
// A client and a server give packet ids apart from each other (section 2.3.1).
// mochi keeps both in one store by id, and Server.processPublish deletes what it
// finds there.
func TestTrackRecordMochiSharedIDs(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	addr := b.Info().Addresses[0]
	pub := dialFinder(t, addr, "pub", true)
	c := dialFinder(t, addr, "c", false)
	c.mute = true
	c.subscribe("t")
	pub.publish(1, "owed")
	pub.settle()
	sent := c.next(mqtt.PUBLISH)
	c.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "other", ID: sent.id, QoS: 1, Payload: []byte("own")}))
	c.settle()
	c.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the client leave", func() bool { return b.Clients() == 1 })

	again := dialFinder(t, addr, "c", false)
	if !again.sessionPresent {
		t.Fatal("the session was not kept, so nothing was owed")
	}
	pub.publish(2, "after")
	if got := again.upTo("after"); slices.Contains(got, "owed") {
		t.Fatalf("the message was sent again (%q): the defect is gone; remove it from the track record", got)
	}
	t.Logf("PUBLISH %d read and not acknowledged, an own PUBLISH %d acknowledged; after the resume: after", sent.id, sent.id)
}

// TestTrackRecordMochiDisconnect: mochi v2.7.9 sends a DISCONNECT to an MQTT
// 3.1.1 client that is taken over. In 3.1.1 only a client sends one (section
// 2.2.1, table 2.1).
func TestTrackRecordMochiDisconnect(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	addr := b.Info().Addresses[0]
	old := dialFinder(t, addr, "c", false)
	dialFinder(t, addr, "c", false)
	raw, err := io.ReadAll(old.conn)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) == 0 || mqtt.Type(raw[0]>>4) != mqtt.DISCONNECT {
		t.Fatalf("read % x at the end of the old connection: the defect is gone; remove it from the table of known defects", raw)
	}
	t.Logf("read at the end of the old connection: % x", raw)
}

// publishHook stops mochi at a PUBLISH, before it is acknowledged.
type publishHook struct {
	*windowHook
	payload string
}

func newPublishHook(payload string) *publishHook { return &publishHook{newWindowHook(), payload} }

func (h *publishHook) Provides(b byte) bool { return b == mochi.OnPublish }
func (h *publishHook) OnPublish(_ *mochi.Client, p packets.Packet) (packets.Packet, error) {
	if string(p.Payload) == h.payload {
		h.stop()
	}
	return p, nil
}

// reset ends a connection with RST, so that the peer's next write fails.
func reset(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := errors.Join(conn.(*net.TCPConn).SetLinger(0), conn.Close()); err != nil {
		t.Fatal(err)
	}
}

// first gives the next packet of any type; one of no type when the connection
// has ended.
func (c *finder) first() found {
	buf := make([]byte, 4096)
	for len(c.packets) == 0 {
		n, err := c.conn.Read(buf)
		if err != nil {
			return found{}
		}
		err = c.framer.Feed(buf[:n], 0, func(p *mqtt.Packet) { c.packets = append(c.packets, found{kind: p.Type, id: p.ID}) })
		if err != nil {
			c.t.Fatal(err)
		}
	}
	p := c.packets[0]
	c.packets = c.packets[1:]
	return p
}
