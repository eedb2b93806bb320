package broker

import (
	"errors"
	"net"
	"net/url"
	"strconv"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

func portOf(t *testing.T, addr string) int {
	t.Helper()
	u, err := url.Parse(addr)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestEmbeddedListensOnSeveralAddresses(t *testing.T) {
	b := startTest(t, Options{Addresses: 3})
	info := b.Info()
	if len(info.Addresses) != 3 || !info.SameClock || info.Kind != KindEmbedded || info.Version == "" {
		t.Fatalf("%+v", info)
	}
	_, high := portRange()
	for i, addr := range info.Addresses {
		if port := portOf(t, addr); port >= high || port != portOf(t, info.Addresses[0]) {
			t.Errorf("%s: want one port for all, below the ephemeral range at %d", addr, high)
		}
		connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "c" + strconv.Itoa(i), Clean: true})
	}
	eventually(t, "three clients", func() bool { return b.Clients() == 3 })
	if info.Settings["writes_pending"] != "1024" || info.Abilities.Queued != 8192 {
		t.Errorf("%+v", info)
	}
}

func TestPortInUse(t *testing.T) {
	b := startTest(t, Options{Addresses: 1})
	port := portOf(t, b.Info().Addresses[0])
	_, err := StartEmbedded(testContext(t), Options{Port: port})
	if !errors.Is(err, ErrPortInUse) {
		t.Errorf("got %v", err)
	}
	// A port that is taken on the second address only must not be half used.
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("SKIPPED: 127.0.0.2 can't be bound here: %v", err)
	}
	defer func() { _ = l.Close() }()
	_, err = StartEmbedded(testContext(t), Options{Port: l.Addr().(*net.TCPAddr).Port, Addresses: 2})
	if !errors.Is(err, ErrPortInUse) {
		t.Errorf("second address: got %v", err)
	}
}

// A broker that is closed looks killed: no DISCONNECT, no Will, whatever its
// clients do; and it can be started again on its port.
func TestCloseIsAbruptAndRestartable(t *testing.T) {
	b := startTest(t, Options{})
	addr := b.Info().Addresses[0]
	watcher, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "watcher", Clean: true})
	watcher.subscribe("#", 1)
	for i := range 20 {
		connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "will" + strconv.Itoa(i), Clean: true, WillTopic: "w", WillPayload: []byte("x")})
	}
	dialRaw(t, addr) // connected, never says CONNECT
	for range 2 {
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if got, fin := watcher.rest(); len(got) > 0 || !fin {
		t.Errorf("the watcher got % x, fin %v; want a bare FIN", got, fin)
	}
	if n := b.Clients(); n != 0 {
		t.Errorf("%d clients after Close", n)
	}
	again := startTest(t, Options{Port: portOf(t, addr)})
	if _, present := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "watcher"}); present {
		t.Error("a session survived")
	}
	eventually(t, "one client", func() bool { return again.Clients() == 1 })
}

// The planted fault for the test above: mochi's own listener says DISCONNECT
// (e0 00) to 3.1.1 clients when it closes, which is why the door exists.
func TestMochiOwnCloseIsSeenByTheTest(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := mochi.New(&mochi.Options{Logger: Options{}.withDefaults().Log})
	if err := errors.Join(
		server.AddHook(newGate(), nil),
		server.AddListener(listeners.NewNet("own", l)),
		server.Serve(),
	); err != nil {
		t.Fatal(err)
	}
	c, _ := connectRaw(t, l.Addr().String(), mqtt.ConnectInfo{ClientID: "c", Clean: true})
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	if got, _ := c.rest(); len(got) != 2 || got[0] != 0xe0 {
		t.Errorf("got % x: has mochi stopped to do this? then the door may go", got)
	}
}
