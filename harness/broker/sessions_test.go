package broker

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

func TestKickIsAPlainClose(t *testing.T) {
	b := startTest(t, Options{})
	c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	before := b.Clock().Now()
	found, at, err := b.CloseClient(testContext(t), "dev")
	if err != nil || !found {
		t.Fatalf("found %v, err %v", found, err)
	}
	if after := b.Clock().Now(); at < before || at > after {
		t.Errorf("closed at %d, outside [%d, %d]", at, before, after)
	}
	if got, fin := c.rest(); len(got) > 0 || !fin {
		t.Errorf("the client got % x, fin %v; want a bare FIN", got, fin)
	}
}

// The planted fault for TestKickIsAPlainClose: mochi's DisconnectClient.
func TestMochiDisconnectClientIsSeenByTheTest(t *testing.T) {
	b := startTest(t, Options{})
	c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	cl, _ := b.server.Clients.Get("dev")
	_ = b.server.DisconnectClient(cl, packets.ErrAdministrativeAction) // its error is the code
	if got, _ := c.rest(); !bytes.Equal(got, []byte{0xe0, 0}) {
		t.Errorf("got % x: has mochi stopped to do this? then CloseClient may use it", got)
	}
}

func TestKickOfVersion5SaysWhy(t *testing.T) {
	b := startTest(t, Options{})
	c := connectV5(t, b.Info().Addresses[0], "dev")
	if found, _, err := b.CloseClient(testContext(t), "dev"); err != nil || !found {
		t.Fatalf("found %v, err %v", found, err)
	}
	if got, _ := c.rest(); len(got) < 3 || got[0] != 0xe0 || got[2] != 0x98 {
		t.Errorf("got % x, want a DISCONNECT with 0x98", got)
	}
}

// A version 5 client that takes its DISCONNECT closes the connection itself,
// and may be faster than our own close: the kick has ended it all the same, and
// one of two kicks at once has.
func TestKickOfVersion5ThatLeavesAtOnce(t *testing.T) {
	for kicks := 1; kicks <= 2; kicks++ {
		left := &sentHook{left: make(chan struct{})}
		b := startTest(t, Options{Hooks: []mochi.Hook{left}})
		c := connectV5(t, b.Info().Addresses[0], "dev")
		cl, _ := b.server.Clients.Get("dev")
		eventually(t, "the trace has it", func() bool { return story(b, "dev") != "" }) // after the CONNACK
		var found atomic.Int64
		var running sync.WaitGroup
		for range kicks {
			running.Go(func() {
				before := b.Clock().Now()
				ok, at, err := b.CloseClient(testContext(t), "dev")
				if err != nil || ok != (at >= before) {
					t.Errorf("found %v, at %d, err %v", ok, at, err)
				}
				if ok {
					found.Add(1)
				}
			})
		}
		c.read(28) // a DISCONNECT with its reason
		_ = c.conn.Close()
		eventually(t, "mochi's reader sees it", cl.Closed)
		close(left.left)
		running.Wait()
		if n := found.Load(); n != 1 {
			t.Errorf("%d of %d kicks say that they closed it, want 1", n, kicks)
		}
		eventually(t, "it is gone", func() bool { return b.Clients() == 0 && b.door.count() == 0 })
		if got, want := story(b, "dev"), "connect (accepted), close (closed by administrative action)"; got != want {
			t.Errorf("the trace tells %s", got)
		}
	}
}

// sentHook holds back who has sent a DISCONNECT until its client has left.
type sentHook struct {
	mochi.HookBase
	left chan struct{}
}

func (*sentHook) ID() string               { return "sent" }
func (*sentHook) Provides(event byte) bool { return event == mochi.OnConnect }

func (h *sentHook) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	cl.Net.Conn = sentConn{cl.Net.Conn, h.left}
	return nil
}

type sentConn struct {
	net.Conn
	left chan struct{}
}

func (c sentConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if b[0] == 0xe0 {
		<-c.left
	}
	return n, err
}

// What is queued for a version 5 client does not hold back its DISCONNECT:
// mochi would put that into a buffer behind it, which the close throws away.
func TestKickOfVersion5WithAQueue(t *testing.T) {
	held := &heldWriter{sent: make(chan struct{}), goOn: make(chan struct{})}
	release := sync.OnceFunc(func() { close(held.goOn) })
	defer release()
	b := startTest(t, Options{Hooks: []mochi.Hook{held}})
	c := connectV5(t, b.Info().Addresses[0], "dev")
	c.write([]byte{0x82, 7, 0, 1, 0, 0, 1, 'x', 0})
	c.read(6)
	for i := range 3 { // the writer is held behind the first
		if err := b.Send(testContext(t), "x", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-held.sent
		}
	}
	if found, _, err := b.CloseClient(testContext(t), "dev"); err != nil || !found {
		t.Fatalf("found %v, err %v", found, err)
	}
	release()
	first := c.read(2)
	c.read(int(first[1]))
	if got, _ := c.rest(); len(got) < 3 || got[0] != 0xe0 || got[2] != 0x98 {
		t.Errorf("after the first message came % x, want a DISCONNECT with 0x98", got)
	}
}

// heldWriter holds mochi's writer of a client behind the first message.
type heldWriter struct {
	mochi.HookBase
	once       sync.Once
	sent, goOn chan struct{}
}

func (*heldWriter) ID() string               { return "publish" }
func (*heldWriter) Provides(event byte) bool { return event == mochi.OnPacketSent }

func (h *heldWriter) OnPacketSent(_ *mochi.Client, pk packets.Packet, _ []byte) {
	if pk.FixedHeader.Type == packets.Publish {
		h.once.Do(func() { close(h.sent) })
		<-h.goOn
	}
}

func TestKickOfAbsentClients(t *testing.T) {
	b := startTest(t, Options{})
	ctx := testContext(t)
	c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "left"})
	c.write(mqtt.AppendDisconnect(nil))
	c.rest()
	eventually(t, "it is gone", func() bool { return b.Clients() == 0 })
	for _, id := range []string{"left", "never-there", ""} {
		if found, at, err := b.CloseClient(ctx, id); found || at != 0 || err != nil {
			t.Errorf("%q: found %v, at %d, err %v", id, found, at, err)
		}
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := b.CloseClient(ended, "left"); err == nil {
		t.Error("an ended context did nothing")
	}
}

func TestKeptSessionKeepsItsSubscription(t *testing.T) {
	b := startTest(t, Options{})
	addr := b.Info().Addresses[0]
	dev := mqtt.ConnectInfo{ClientID: "dev"}
	c, _ := connectRaw(t, addr, dev)
	c.subscribe("cmd", 1)
	if found, _, err := b.CloseClient(testContext(t), "dev"); err != nil || !found {
		t.Fatal(found, err)
	}
	c.rest()
	pub, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "pub", Clean: true})
	message := mqtt.AppendPublish(nil, mqtt.Publish{Topic: "cmd", QoS: 1, ID: 7, Payload: []byte("hello")})
	pub.write(message)
	pub.read(4) // PUBACK
	c, present := connectRaw(t, addr, dev)
	if !present {
		t.Error("session present is 0")
	}
	if got := c.read(len(message)); !bytes.HasSuffix(got, []byte("hello")) {
		t.Errorf("got %q", got)
	}
}

// A client that does not read leaves mochi's writer stuck inside a write, with
// the client's lock held.
func TestStalledClientDoesNotHoldAKick(t *testing.T) {
	for _, version := range []int{4, 5} {
		t.Run("mqtt"+strconv.Itoa(version), func(t *testing.T) {
			b := startTest(t, Options{WritesPending: 1})
			addr := b.Info().Addresses[0]
			var c rawClient
			if version == 5 {
				c = connectV5(t, addr, "stalled")
				c.write([]byte{0x82, 7, 0, 1, 0, 0, 1, 'x', 0})
				c.read(6)
			} else {
				c, _ = connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "stalled", Clean: true})
				c.subscribe("x", 0)
			}
			pub, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "pub", Clean: true})
			message := mqtt.AppendPublish(nil, mqtt.Publish{Topic: "x", Payload: make([]byte, 256<<10)})
			// Two in a row dropped at a queue of one, with nothing read: the
			// writer is stuck. (One drop may be a slow writer.)
			for last, same := int64(-1), 0; same < 20; {
				pub.write(message)
				pub.write(mqtt.AppendPingreq(nil))
				pub.read(2)
				if d := b.Stats().Dropped; d == last+1 {
					last, same = d, same+1
				} else {
					last, same = d, 0
				}
			}
			if found, _, err := b.CloseClient(testContext(t), "stalled"); err != nil || !found {
				t.Errorf("found %v, err %v", found, err)
			}
			eventually(t, "it is gone", func() bool { return b.Clients() == 1 })
		})
	}
}

// Of several calls that race for one connection, one has closed it.
func TestConcurrentKicksOfOneClient(t *testing.T) {
	b := startTest(t, Options{})
	for round := range 30 {
		id := fmt.Sprint("dev", round)
		c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: id, Clean: true})
		var found atomic.Int64
		var calls sync.WaitGroup
		for range 8 {
			calls.Go(func() {
				if ok, _, err := b.CloseClient(context.Background(), id); err != nil {
					t.Error(err)
				} else if ok {
					found.Add(1)
				}
			})
		}
		calls.Wait()
		if n := found.Load(); n != 1 {
			t.Fatalf("%d calls say that they closed it", n)
		}
		c.rest()
	}
}
