package broker

import (
	"bytes"
	"io"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// TestTrackRecordMochiPublishBeforeConnack: mochi v2.7.9 sends a message on a
// connection that resumes a session before the CONNACK [MQTT-3.2.0-1].
//
// Server.attachClient puts the client, with the subscriptions of its session,
// into the table and only then writes the CONNACK. A message that is routed in
// between goes to the connection's writer, which is another goroutine.
//
// The window is widened, not made: OnPacketEncode is called between the two
// steps, in the writing of the CONNACK, and here it waits until the message has
// been read. What was kept for the session while it was away has no part in it:
// it comes after the CONNACK, with DUP = 1.
func TestTrackRecordMochiPublishBeforeConnack(t *testing.T) {
	hook := &connackHook{newWindowHook()}
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
	pub.publish(1, "kept")
	pub.settle()

	raw := dialRaw(t, addr)
	raw.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "sub", KeepAlive: 60}))
	hook.wait(t)
	pub.publish(2, "early")
	pub.settle()

	// The CONNACK is held: whatever can be read now came before it.
	first := make([]byte, len(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: 2, QoS: 1, Payload: []byte("early")})))
	if n, err := io.ReadFull(raw.conn, first); err != nil {
		t.Fatalf("read % x before the CONNACK (%v): the defect is gone; remove it from the table of known defects", first[:n], err)
	}
	if first[0] != 0x32 || !bytes.HasSuffix(first, []byte("early")) { // a PUBLISH of QoS 1, DUP = 0
		t.Fatalf("read % x before the CONNACK, which is not the message of the window", first)
	}
	hook.open()
	connack := raw.read(4)
	if !bytes.Equal(connack, mqtt.AppendConnack(nil, true, 0)) {
		t.Fatalf("then read % x, not the CONNACK of a resumed session", connack)
	}
	again := &finder{t: t, conn: raw.conn}
	kept := again.next(mqtt.PUBLISH)
	if kept.payload == "early" { // it is in flight too, and mochi-offline-order has a say in which is first
		kept = again.next(mqtt.PUBLISH)
	}
	if kept.payload != "kept" || !kept.dup {
		t.Fatalf("then %q came, with DUP %v", kept.payload, kept.dup)
	}
	t.Logf("read in this order: PUBLISH % x, CONNACK % x, PUBLISH kept with DUP 1", first, connack)
}

// connackHook stops mochi when it writes the CONNACK of a resumed session.
type connackHook struct{ *windowHook }

func (h *connackHook) Provides(b byte) bool { return b == mochi.OnPacketEncode }
func (h *connackHook) OnPacketEncode(_ *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Connack && p.SessionPresent {
		h.once.Do(func() { close(h.inside); <-h.release })
	}
	return p
}
