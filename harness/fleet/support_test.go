package fleet

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	testRun   = "t1"
	testRunID = 7
	patience  = 10 * time.Second
)

// await waits for a condition.
func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("gave up waiting: %s", what)
		case <-tick.C:
		}
	}
}

// testBroker is a mochi broker on loopback TCP.
type testBroker struct {
	*mochi.Server
	addr string
}

// denying refuses every subscription below "deny/".
type denying struct{ mochi.HookBase }

func (*denying) ID() string { return "denying" }

func (*denying) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}

func (*denying) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

func (*denying) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	return !strings.HasPrefix(topic, "deny/")
}

func startBroker(t *testing.T, addr string) *testBroker {
	t.Helper()
	caps := mochi.NewDefaultServerCapabilities()
	caps.MaximumClientWritesPending = 1024
	s := mochi.New(&mochi.Options{
		Capabilities: caps, SysTopicResendInterval: 3600, InlineClient: true,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	})
	if err := s.AddHook(new(denying), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: addr})
	if err := s.AddListener(stopping{l, s}); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &testBroker{Server: s, addr: l.Address()}
}

// stopping is mochi's listener, closed without mochi's own way to find its
// clients, which can wait for itself for ever (docs/track-record.md,
// mochi-close-deadlock).
type stopping struct {
	*listeners.TCP
	server *mochi.Server
}

func (l stopping) Close(listeners.CloseFn) {
	l.TCP.Close(func(string) {
		for _, cl := range l.server.Clients.GetAll() {
			cl.Stop(errors.New("the test is over"))
		}
	})
}

// kick closes the broker's socket of a client.
func (b *testBroker) kick(t *testing.T, id string) {
	t.Helper()
	cl, ok := b.Clients.Get(id)
	if !ok {
		t.Fatalf("broker does not know %s", id)
	}
	cl.Stop(errors.New("kicked"))
}

// unusedAddr is a loopback address on which nothing listens.
func unusedAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// testTap is a small tap: enough of harness/wire for these tests.
type testTap struct {
	net.Conn
	obs     Tap
	now     func() timeline.Instant
	in, out mqtt.Framer
	once    sync.Once
}

func (c *testTap) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		at := c.now()
		_ = c.in.Feed(b[:n], int64(at), func(p *mqtt.Packet) { c.obs.Packet(false, p, at) })
	}
	c.ended(err)
	return n, err
}

func (c *testTap) Write(b []byte) (int, error) {
	at := c.now()
	_ = c.out.Feed(b, int64(at), func(p *mqtt.Packet) { c.obs.Packet(true, p, at) })
	n, err := c.Conn.Write(b)
	c.ended(err)
	return n, err
}

func (c *testTap) Close() error {
	c.end(timeline.EndLocal, "")
	return c.Conn.Close()
}

func (c *testTap) ended(err error) {
	switch {
	case err == nil:
	case errors.Is(err, io.EOF):
		c.end(timeline.EndEOF, err.Error())
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		c.end(timeline.EndReset, "reset")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.end(timeline.EndTimeout, err.Error())
	default:
		c.end(timeline.EndOther, "other")
	}
}

func (c *testTap) end(kind timeline.EndKind, text string) {
	c.once.Do(func() { c.obs.End(timeline.End{At: c.now(), Kind: kind, Err: text}) })
}

// bench is what a test needs around its fleets.
type bench struct {
	t     testing.TB
	clock *timeline.Clock
	book  *testBook
	wrap  func(id string, c net.Conn) net.Conn // below the tap
	fail  atomic.Bool                          // dials fail

	mu      sync.Mutex
	records map[string]map[int]timeline.Conn
}

func newBench(t testing.TB) *bench {
	return &bench{t: t, clock: timeline.NewClock(), book: newTestBook(), records: map[string]map[int]timeline.Conn{}}
}

func (b *bench) dial(ctx context.Context, addr, id string, n int, tap Tap) (net.Conn, string, string, error) {
	if b.fail.Load() {
		return nil, "", "", &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		return nil, "", "", err
	}
	conn := raw
	if b.wrap != nil {
		conn = b.wrap(id, conn)
	}
	return &testTap{Conn: conn, obs: tap, now: b.clock.Now}, raw.LocalAddr().String(), raw.RemoteAddr().String(), nil
}

func (b *bench) record(c timeline.Conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.records[c.ClientID] == nil {
		b.records[c.ClientID] = map[int]timeline.Conn{}
	}
	b.records[c.ClientID][c.N] = c
}

// conn is the latest record of connection n of a client.
func (b *bench) conn(id string, n int) timeline.Conn {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.records[id][n]
	if !ok {
		b.t.Fatalf("no record of %s, connection %d; there are %d", id, n, len(b.records[id]))
	}
	return c
}

// devices is a fleet as scenarios make it.
func devices(clean bool) scenarios.Fleet {
	return scenarios.Fleet{
		Name: "devices", ClientID: "dev-{run}-{index:04}",
		Session:     scenarios.Session{Clean: clean, KeepAlive: 30 * time.Second},
		Reconnect:   scenarios.Reconnect{Policy: "paho", Max: 50 * time.Millisecond},
		Connect:     scenarios.Connect{Rate: 2000},
		Resubscribe: "when-absent", Back: "first-message",
		Subscribe: []scenarios.Subscription{{Topic: "rb/{client}/cmd", QoS: 1}, {Topic: "rb/{client}/tick", QoS: 0}},
	}
}

func (b *bench) config(addr string, n int, f scenarios.Fleet, prober *Control) Config {
	return Config{
		Run: testRun, RunID: testRunID, Clients: n, Fleet: f, Driver: Paho{},
		Addresses: []string{"tcp://" + addr}, Dial: b.dial, Clock: b.clock, Record: b.record,
		Accounts: b.book.accounts(), Prober: prober, Probe: scenarios.ProbeTopic([]scenarios.Fleet{f}, 0), ConnectTimeout: 5 * time.Second,
	}
}

// fleet starts a fleet; the test's end closes it.
func (b *bench) fleet(cfg Config) *Fleet {
	b.t.Helper()
	f, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.t.Error(err)
		}
	})
	f.Start(b.t.Context())
	return f
}

func (b *bench) controlConfig(addr string) ControlConfig {
	return ControlConfig{
		Run: testRun, RunID: testRunID, Clients: 2, Driver: Paho{}, Addresses: []string{addr},
		Dial: b.dial, Clock: b.clock, Record: b.record, Accounts: b.book.accounts(),
	}
}

// control starts a control fleet of two connections and waits for it.
func (b *bench) control(cfg ControlConfig) *Control {
	b.t.Helper()
	c, err := NewControl(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			b.t.Error(err)
		}
	})
	c.Start(b.t.Context())
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := c.Ready(ctx); err != nil {
		b.t.Fatal(err)
	}
	return c
}
