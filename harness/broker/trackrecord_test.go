package broker

import (
	"context"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// The tests of this file show true finds of docs/track-record.md again. Each
// passes while the defect is there; when a new version of the broker mends it,
// the test fails, and the entry in the table of known defects goes.

// TestTrackRecordMochiResumeRace: mochi v2.7.9 loses an acknowledged QoS 1
// message that arrives while a kept session is being resumed.
//
// Server.attachClient copies the in-flight messages of the old client object
// to the new one, and only then puts the new object into the client table. A
// PUBLISH processed in between is stored in the old object, which is thrown
// away, and is acknowledged to its publisher [MQTT-4.3.2-2]: the resumed
// session, told session present = 1, never gets it [MQTT-3.1.2-5].
//
// The window is widened, not made: OnQosDropped is called between the two
// steps, for messages that were moved, and here it waits for the PUBACK.
func TestTrackRecordMochiResumeRace(t *testing.T) {
	hook := &resumeHook{inside: make(chan struct{}), release: make(chan struct{})}
	b, err := StartEmbedded(t.Context(), Options{Addresses: 1, Hooks: []mochi.Hook{hook}})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own broker
	addr := b.Info().Addresses[0]

	pub := dialFinder(t, addr, "pub", true)
	sub := dialFinder(t, addr, "sub", false)
	sub.write(mqtt.AppendSubscribe(nil, 1, mqtt.Filter{Topic: "t", QoS: 1}))
	sub.read(mqtt.SUBACK)
	sub.conn.Close() //nolint:errcheck // the loss
	eventually(t, "the broker sees the subscriber leave", func() bool { return b.Clients() == 1 })

	pub.publish(1, "first") // in flight for the absent session, so that there is something to move
	pub.settle()

	// The resume stops in the window; a second message is published there.
	resumed := make(chan *finder)
	go func() { resumed <- dialFinder(t, addr, "sub", false) }()
	<-hook.inside
	pub.publish(2, "second")
	pub.settle()
	close(hook.release)

	again := <-resumed
	if !again.sessionPresent {
		t.Fatal("the session was not kept, so nothing was owed")
	}
	pub.publish(3, "third") // the marker: whatever was owed before comes before it
	pub.read(mqtt.PUBACK)
	var got []string
	for len(got) == 0 || got[len(got)-1] != "third" {
		got = append(got, again.read(mqtt.PUBLISH))
	}
	for _, payload := range got {
		if payload == "second" {
			t.Fatalf("the message of the window was delivered (%q): the defect is gone; remove it from the table of known defects", got)
		}
	}
	t.Logf("acknowledged: first, second, third; delivered to the resumed session: %q", got)
}

type resumeHook struct {
	mochi.HookBase
	once            sync.Once
	inside, release chan struct{}
}

func (h *resumeHook) ID() string           { return "resume-race" }
func (h *resumeHook) Provides(b byte) bool { return b == mochi.OnQosDropped }
func (h *resumeHook) OnQosDropped(*mochi.Client, packets.Packet) {
	h.once.Do(func() { close(h.inside); <-h.release })
}

// finder speaks MQTT 3.1.1 by hand, so that no library's behaviour is in
// the way of the broker's.
type finder struct {
	t              *testing.T
	conn           net.Conn
	framer         mqtt.Framer
	packets        []found
	sessionPresent bool
}

type found struct {
	kind    mqtt.Type
	payload string
}

func dialFinder(t *testing.T, addr, id string, clean bool) *finder {
	u, err := url.Parse(addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		t.Error(err)
		return nil
	}
	t.Cleanup(func() { conn.Close() }) //nolint:errcheck // the end of the test
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Error(err)
	}
	c := &finder{t: t, conn: conn}
	c.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: id, Clean: clean, KeepAlive: 60}))
	c.read(mqtt.CONNACK)
	return c
}

func (c *finder) write(b []byte) {
	if _, err := c.conn.Write(b); err != nil {
		c.t.Error(err)
	}
}

func (c *finder) publish(id uint16, payload string) {
	c.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: id, QoS: 1, Payload: []byte(payload)}))
}

// settle waits until the broker has done all that it does with what was
// published: it acknowledges a PUBLISH before it routes it, and answers a
// PINGREQ only after it has routed what came before.
func (c *finder) settle() {
	c.read(mqtt.PUBACK)
	c.write(mqtt.AppendPingreq(nil))
	c.read(mqtt.PINGRESP)
}

// read waits for the next packet of one type and gives a PUBLISH's payload,
// acknowledging it.
func (c *finder) read(want mqtt.Type) string {
	buf := make([]byte, 4096)
	for {
		for len(c.packets) > 0 {
			p := c.packets[0]
			c.packets = c.packets[1:]
			if p.kind == want {
				return p.payload
			}
		}
		n, err := c.conn.Read(buf)
		if err != nil {
			c.t.Errorf("waiting for %s: %v", want, err)
			return ""
		}
		raw := buf[:n]
		err = c.framer.Feed(raw, 0, func(p *mqtt.Packet) {
			got := found{kind: p.Type}
			switch p.Type {
			case mqtt.CONNACK:
				c.sessionPresent, _, _ = p.Connack()
			case mqtt.PUBLISH:
				// Small packets arrive whole: the payload is the packet's tail.
				end := indexAfter(raw, p)
				got.payload = string(raw[end-p.Payload : end])
				c.write(mqtt.AppendPuback(nil, p.ID))
			}
			c.packets = append(c.packets, got)
		})
		if err != nil {
			c.t.Error(err)
			return ""
		}
	}
}

// indexAfter is where a packet ends in the chunk that it lies in: its topic
// points into the chunk.
func indexAfter(chunk []byte, p *mqtt.Packet) int {
	for i := range chunk {
		if &chunk[i] == &p.Topic[0] {
			return i + len(p.Topic) + 2 + p.Payload
		}
	}
	panic("the packet did not lie whole in its chunk")
}
