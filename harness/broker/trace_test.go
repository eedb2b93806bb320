package broker

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/google/go-cmp/cmp"
	"github.com/gorilla/websocket"
	mochi "github.com/mochi-mqtt/server/v2"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// story is a client's trace as text.
func story(b *Embedded, id string) string {
	var out []string
	for _, e := range b.Trace(id, time.Time{}, time.Now().Add(time.Hour)) {
		out = append(out, e.Kind+" ("+e.Reason+")")
	}
	return strings.Join(out, ", ")
}

// Each way in which a connection ends has its kind and reason, with real
// sockets.
func TestTraceTellsHowConnectionsEnd(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(*testing.T, *Embedded, rawClient)
		want string
	}{
		"DISCONNECT": {
			func(_ *testing.T, _ *Embedded, c rawClient) { c.write(mqtt.AppendDisconnect(nil)) },
			"connect (accepted), disconnect (disconnected by client)",
		},
		"FIN": {
			func(_ *testing.T, _ *Embedded, c rawClient) { _ = c.conn.Close() },
			"connect (accepted), close (closed by client)",
		},
		"kick": {
			func(t *testing.T, b *Embedded, _ rawClient) {
				if found, _, err := b.CloseClient(testContext(t), "dev"); !found || err != nil {
					t.Error(found, err)
				}
			},
			"connect (accepted), close (closed by administrative action)",
		},
		"takeover": {
			func(t *testing.T, b *Embedded, _ rawClient) {
				connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
			},
			"connect (accepted), close (clientId conflict), connect (accepted)",
		},
		"second CONNECT": {
			func(_ *testing.T, _ *Embedded, c rawClient) {
				c.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev"}))
			},
			"connect (accepted), close (invalid param)",
		},
		"no PINGREQ": { // of a keep alive of 1 s
			func(*testing.T, *Embedded, rawClient) {},
			"connect (accepted), close (no heart)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startTest(t, Options{})
			c, _ := connectRaw(t, b.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev", Clean: true, KeepAlive: 1})
			tc.end(t, b, c)
			eventually(t, tc.want, func() bool { return strings.HasPrefix(story(b, "dev"), tc.want) })
			if got := story(b, "dev"); got != tc.want && name != "takeover" { // which times out in its turn
				t.Error(got)
			}
		})
	}
}

// An end looks the same over each transport.
func TestTraceOverEachTransport(t *testing.T) {
	b, byScheme, pool := startEverywhere(t, "")
	secure := &tls.Config{RootCAs: pool}
	hello := func(id string) []byte { return mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: id, Clean: true}) }
	// cut connects and closes the socket under the transport.
	cut := map[string]func(host string) error{
		"tcp": func(host string) error {
			conn, err := net.Dial("tcp", host)
			if err != nil {
				return err
			}
			return errors.Join(writeAndRead(conn, hello("cut-tcp")), conn.Close())
		},
		"tls": func(host string) error {
			conn, err := tls.Dial("tcp", host, secure)
			if err != nil {
				return err
			}
			return errors.Join(writeAndRead(conn, hello("cut-tls")), conn.NetConn().Close())
		},
	}
	for _, scheme := range []string{"ws", "wss"} {
		cut[scheme] = func(host string) error {
			d := websocket.Dialer{Subprotocols: []string{subprotocol}, TLSClientConfig: secure}
			ws, _, err := d.DialContext(testContext(t), scheme+"://"+host+webSocketPath, nil)
			if err != nil {
				return err
			}
			err = ws.WriteMessage(websocket.BinaryMessage, hello("cut-"+scheme))
			_, _, readErr := ws.ReadMessage()
			return errors.Join(err, readErr, ws.Close())
		}
	}
	for scheme, addr := range byScheme {
		c := paho.NewClient(paho.NewClientOptions().AddBroker(addr).SetClientID("left-" + scheme).SetProtocolVersion(4).SetTLSConfig(secure))
		if token := c.Connect(); !token.WaitTimeout(patience) || token.Error() != nil {
			t.Fatal(scheme, token.Error())
		}
		c.Disconnect(250)
		u, err := url.Parse(addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := cut[scheme](u.Host); err != nil {
			t.Fatal(scheme, err)
		}
		for id, want := range map[string]string{
			"left-" + scheme: "connect (accepted), disconnect (disconnected by client)",
			"cut-" + scheme:  "connect (accepted), close (closed by client)",
		} {
			eventually(t, id+" has left", func() bool { return strings.Contains(story(b, id), ", ") })
			if got := story(b, id); got != want {
				t.Errorf("%s: %s, want %s", id, got, want)
			}
		}
	}
}

// writeAndRead sends a CONNECT and reads the CONNACK.
func writeAndRead(conn net.Conn, hello []byte) error {
	_, err := conn.Write(hello)
	_, readErr := io.ReadFull(conn, make([]byte, 4))
	return errors.Join(err, readErr)
}

func TestTraceOfARefusedClient(t *testing.T) {
	b := startTest(t, Options{})
	if err := b.Block("dev"); err != nil {
		t.Fatal(err)
	}
	if _, err := connectPaho(b, "dev"); err == nil {
		t.Fatal("it was let in")
	}
	if got := story(b, "dev"); got != "close (not authorized)" {
		t.Error(got)
	}
}

// A connect and its end have the same connection, others another; the span is
// inclusive; and times lie around what happened.
func TestTraceOfAPahoClient(t *testing.T) {
	b := startTest(t, Options{})
	before := time.Now()
	for range 2 {
		c, err := connectPaho(b, "dev")
		if err != nil {
			t.Fatal(err)
		}
		c.Disconnect(0)
		eventually(t, "it is gone", func() bool { return b.Clients() == 0 })
	}
	all := b.Trace("dev", before, time.Now())
	if len(all) != 4 || all[0].Connection != all[1].Connection || all[2].Connection != all[3].Connection ||
		all[0].Connection == all[2].Connection || len(all[0].Connection) != 32 {
		t.Fatalf("%+v", all)
	}
	if !slices.IsSortedFunc(all, func(a, b target.DeviceEvent) int { return a.At.Compare(b.At) }) {
		t.Errorf("out of order: %+v", all)
	}
	if got := b.Trace("dev", all[1].At, all[2].At); len(got) < 2 || got[0].At.Before(all[1].At) {
		t.Errorf("of the span of the middle two: %+v", got)
	}
	if got := b.Trace("dev", all[3].At.Add(1), time.Now().Add(time.Hour)); len(got) != 0 {
		t.Errorf("after the last: %+v", got)
	}
	if got := b.Trace("nobody", before, time.Now()); len(got) != 0 {
		t.Errorf("of nobody: %+v", got)
	}
}

// Takeovers in a storm: of one client's connections each is told once, its end
// after it and at most once.
func TestTraceOfConcurrentTakeovers(t *testing.T) {
	const each = 25
	b := startTest(t, Options{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range each {
				c := dialRaw(t, b.Info().Addresses[0])
				c.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "dev", Clean: true}))
				_, _ = c.conn.Read(make([]byte, 4)) // a CONNACK, or it is taken over already
			}
		})
	}
	clients.Wait()
	// mochi may leave more than one connected: what it counts, the trace must tell.
	count := func() (open int) {
		connects, ends := map[string]int{}, map[string]int{}
		for _, e := range b.Trace("dev", time.Time{}, time.Now().Add(time.Hour)) {
			if e.Kind == target.DeviceConnect {
				connects[e.Connection]++
			} else {
				ends[e.Connection]++
			}
			if ends[e.Connection] > connects[e.Connection] || connects[e.Connection] > 1 {
				t.Fatalf("connection %s: %d connects, %d ends", e.Connection, connects[e.Connection], ends[e.Connection])
			}
		}
		return len(connects) - len(ends)
	}
	eventually(t, "the trace and the broker agree", func() bool { n := b.Clients(); return n > 0 && count() == n })
}

// The trace against a model: the youngest events of each client, and of all.
func TestTraceIsBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := newTrace()
		tr.max, tr.maxEach = rapid.IntRange(1, 12).Draw(t, "max"), rapid.IntRange(1, 6).Draw(t, "each")
		clock := time.Unix(0, 0)
		tr.now = func() time.Time { clock = clock.Add(time.Second); return clock }
		type event struct {
			id string
			n  int
		}
		var model []event
		for n := range rapid.IntRange(0, 60).Draw(t, "events") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id")
			tr.refused(&mochi.Client{ID: id}, reasonBlocked)
			own := func(e event) bool { return e.id == id }
			switch count := len(slices.DeleteFunc(slices.Clone(model), func(e event) bool { return e.id != id })); {
			case count >= tr.maxEach:
				i := slices.IndexFunc(model, own)
				model = slices.Delete(model, i, i+1)
			case len(model) >= tr.max:
				model = model[1:]
			}
			model = append(model, event{id, n + 1})
		}
		for _, id := range []string{"a", "b", "c", "d"} {
			var want, got []int
			for _, e := range model {
				if e.id == id {
					want = append(want, e.n)
				}
			}
			for _, e := range tr.events(id, time.Time{}, clock) {
				got = append(got, int(e.At.Unix()))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("client %s: %s", id, diff)
			}
			if _, known := tr.devices[id]; known != (len(want) > 0) {
				t.Fatalf("client %s: known %v with %d events", id, known, len(want))
			}
		}
		if len(tr.slots) > tr.max {
			t.Fatalf("%d slots, the limit is %d", len(tr.slots), tr.max)
		}
	})
}

// Long ids push out the oldest events, and a trace keeps nothing of a client
// but its id.
func TestTraceIsBoundedInBytes(t *testing.T) {
	tr := newTrace()
	tr.maxIDs = 10
	packet := "wxyz and a long Will"
	for _, id := range []string{"aaaa", "b", packet[:4], "b", "c", "dddddddddddd", "e"} {
		tr.refused(&mochi.Client{ID: id}, reasonBlocked)
		sum := 0
		for id, d := range tr.devices {
			sum += len(id)
			if id == packet[:4] && unsafe.StringData(d.id) == unsafe.StringData(packet) {
				t.Error("the whole packet is kept")
			}
		}
		if sum != tr.ids || sum > tr.maxIDs && len(tr.devices) > 1 {
			t.Errorf("after %s: %d bytes of ids, counted as %d", id, sum, tr.ids)
		}
		if len(tr.events(id, time.Time{}, time.Now())) == 0 {
			t.Errorf("the event of %s itself is lost", id)
		}
	}
	if len(tr.devices) != 1 || tr.ids != 1 {
		t.Errorf("%d devices with %d bytes", len(tr.devices), tr.ids)
	}
}

// The cost of one event in a kick storm of 10,000 clients.
func BenchmarkTrace(b *testing.B) {
	const clients = 10_000
	server := mochi.New(nil)
	all := make([]*mochi.Client, clients)
	for i := range all {
		all[i] = server.NewClient(nil, "", "devices-0123456789-"+strconv.Itoa(i), false)
	}
	tr := newTrace()
	cause := &kick{}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if cl := all[i/2%clients]; i%2 == 0 {
			tr.connected(cl)
		} else {
			tr.ended(cl, cause)
		}
	}
	if len(tr.slots) == 0 {
		b.Fatal("nothing was traced")
	}
}
