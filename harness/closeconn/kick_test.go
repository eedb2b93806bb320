package closeconn_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const patience = 60 * time.Second

// rig is an embedded broker with its endpoint and a client of that.
type rig struct {
	t      *testing.T
	ctx    context.Context
	clock  *timeline.Clock
	broker *broker.Embedded
	kick   *closeconn.Client
}

func newRig(t *testing.T) *rig {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	r := &rig{t: t, ctx: ctx, clock: timeline.NewClock()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	r.broker, err = broker.StartEmbedded(ctx, broker.Options{Clock: r.clock})
	must(err)
	t.Cleanup(func() { must(r.broker.Close()) })
	s, err := closeconn.Serve(ctx, "127.0.0.1:0", closeconn.Config{Sessions: r.broker, Clock: r.clock})
	must(err)
	r.broker.Mount(s.URL(), s.Close)
	r.kick, err = closeconn.NewClient(closeconn.ClientConfig{Endpoint: s.URL(), Clock: r.clock, SameClock: true})
	must(err)
	t.Cleanup(func() { must(r.kick.Close()) })
	return r
}

// frames counts the packets that a client is sent, by type.
type frames struct {
	net.Conn
	framer mqtt.Framer
	count  *[16]atomic.Int64
}

func (f *frames) Read(p []byte) (int, error) {
	n, err := f.Conn.Read(p)
	if ferr := f.framer.Feed(p[:n], 0, func(pk *mqtt.Packet) { f.count[pk.Type].Add(1) }); ferr != nil {
		return n, ferr
	}
	return n, err
}

// device is a paho client with a kept session and its own topic.
type device struct {
	client paho.Client
	seen   [16]atomic.Int64
	lost   chan error
	up     chan struct{}
}

func (r *rig) device(id string) *device {
	r.t.Helper()
	d := &device{lost: make(chan error, 16), up: make(chan struct{}, 16)}
	addrs := r.broker.Info().Addresses
	o := paho.NewClientOptions().AddBroker(addrs[0]).SetClientID(id).SetProtocolVersion(4).
		SetCleanSession(false).SetResumeSubs(false).SetKeepAlive(30 * time.Second).
		SetOnConnectHandler(func(paho.Client) { d.up <- struct{}{} }).
		SetConnectionLostHandler(func(_ paho.Client, err error) { d.lost <- err }).
		SetCustomOpenConnectionFn(func(u *url.URL, _ paho.ClientOptions) (net.Conn, error) {
			conn, err := net.Dial("tcp", u.Host)
			if err != nil {
				return nil, err
			}
			return &frames{Conn: conn, count: &d.seen}, nil
		})
	d.client = paho.NewClient(o)
	r.done(d.client.Connect())
	wait(r, d.up)
	r.t.Cleanup(func() { d.client.Disconnect(0) })
	return d
}

func (r *rig) done(token paho.Token) {
	r.t.Helper()
	if !token.WaitTimeout(patience) || token.Error() != nil {
		r.t.Fatalf("token: %v", token.Error())
	}
}

func wait[T any](r *rig, c <-chan T) T {
	r.t.Helper()
	select {
	case v := <-c:
		return v
	case <-r.ctx.Done():
		r.t.Fatal("never came")
		panic("unreachable")
	}
}

// A paho client kicked over HTTP loses its connection without a DISCONNECT,
// comes back by itself, and its kept session still has its subscription.
func TestKickedPahoClientComesBack(t *testing.T) {
	r := newRig(t)
	got := make(chan string, 16)
	d := r.device("dev")
	r.done(d.client.Subscribe("cmd", 1, func(_ paho.Client, m paho.Message) { got <- string(m.Payload()) }))
	for wave := range int64(2) {
		before := r.clock.Now()
		closed, err := r.kick.CloseConnection(r.ctx, "dev")
		after := r.clock.Now()
		if err != nil || closed.Found == nil || !*closed.Found || closed.At < before || closed.At > after {
			t.Fatalf("%+v (in [%d, %d]), %v", closed, before, after, err)
		}
		wait(r, d.lost)
		wait(r, d.up)
		if n := d.seen[mqtt.SUBACK].Load(); n != 1 {
			t.Fatalf("subscribed %d times; the broker was to remember", n)
		}
		pub := r.device(fmt.Sprint("pub", wave))
		r.done(pub.client.Publish("cmd", 1, false, fmt.Sprint("wave ", wave)))
		// A copy of the wave before may come first: at QoS 1 the broker sends again
		// what it had no PUBACK of when the connection was closed [MQTT-4.4.0-1].
		for m := ""; m != fmt.Sprint("wave ", wave); {
			m = wait(r, got)
		}
	}
	if n := d.seen[mqtt.DISCONNECT].Load(); n != 0 {
		t.Errorf("the broker sent %d DISCONNECTs to a 3.1.1 client", n)
	}
	if n := d.seen[mqtt.CONNACK].Load(); n != 3 {
		t.Errorf("%d CONNACKs, want 3", n)
	}
}

// When the answer is there the socket is closed: the client reads a bare FIN.
func TestConcurrentKicks(t *testing.T) {
	const clients = 500
	r := newRig(t)
	addrs := r.broker.Info().Addresses
	conns := make([]net.Conn, clients)
	for i := range conns {
		conn, err := net.Dial("tcp", addrs[i%len(addrs)][len("tcp://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, err = conn.Write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: fmt.Sprint("dev", i), Clean: true}))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Read(make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		conns[i] = conn
	}
	var calls sync.WaitGroup
	for i, conn := range conns {
		calls.Go(func() {
			closed, err := r.kick.CloseConnection(r.ctx, fmt.Sprint("dev", i))
			if err != nil || !*closed.Found || closed.At == 0 {
				t.Errorf("%+v, %v", closed, err)
			}
			if n, err := conn.Read(make([]byte, 16)); n != 0 || err == nil || err.Error() != "EOF" {
				t.Errorf("read %d bytes, %v", n, err)
			}
		})
	}
	calls.Wait()
	closed, err := r.kick.CloseConnection(r.ctx, "dev0")
	if err != nil || *closed.Found {
		t.Errorf("an offline client: %+v, %v", closed, err)
	}
}
