package fleet

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// storm connects clients, kicks each of them, and waits until all are back.
func storm(t *testing.T, n int, clean bool) (*bench, *Fleet) {
	t.Helper()
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	control := b.control(b.controlConfig(broker.addr))
	spec := devices(clean)
	if clean {
		// A clean client that is back before mochi is done with its old connection
		// goes deaf (docs/track-record.md#mochi-clean-takeover).
		spec.Reconnect = scenarios.Reconnect{Policy: "fixed", Delay: 300 * time.Millisecond}
	}
	f := b.fleet(b.config(broker.addr, n, spec, control))
	await(t, "all connected", func() bool { return f.Connected() == n })
	if f.Away() != 0 || control.Lost() || control.LiveCount() != 2 {
		t.Errorf("after connect: %d away, control lost %v, %d live", f.Away(), control.Lost(), control.LiveCount())
	}
	for i := range n {
		if f.LiveN(i) != 1 || f.BackOn(i) != 1 {
			t.Fatalf("client %d: live on %d, back on %d, want 1 and 1", i, f.LiveN(i), f.BackOn(i))
		}
		broker.kick(t, f.ID(i))
	}
	await(t, "all back", func() bool {
		for i := range n {
			if f.BackOn(i) != 2 {
				return false
			}
		}
		return true
	})
	if f.Connected() != n || f.Away() != 0 {
		t.Errorf("after the storm: %d connected, %d away; want %d and 0", f.Connected(), f.Away(), n)
	}
	f.Flush()
	return b, f
}

func TestStormKeptSession(t *testing.T) {
	const n = 200
	b, f := storm(t, n, false)
	for i := range n {
		first, second := b.conn(f.ID(i), 1), b.conn(f.ID(i), 2)
		if first.Intended == 0 || first.Dial < first.Intended || second.Intended != 0 {
			t.Errorf("client %d: intended %d, dial %d, then intended %d", i, first.Intended, first.Dial, second.Intended)
		}
		if first.SessionPresent || first.SessionWanted || first.Restored == 0 || first.FirstMessage != 0 || first.EndKind != timeline.EndEOF || first.Scripted {
			t.Errorf("client %d, first: %+v", i, first)
		}
		for _, s := range first.Subs {
			if s.Sent == 0 || s.Acked < s.Sent || s.Granted != s.QoS || s.Restored {
				t.Errorf("client %d, first: %+v", i, s)
			}
		}
		if !second.SessionPresent || !second.SessionWanted || second.Restored != second.Connack || second.Clean {
			t.Errorf("client %d, second: %+v", i, second)
		}
		if second.Probes < 1 || second.FirstMessage <= second.Restored {
			t.Errorf("client %d: %d probes, restored %d, first message %d", i, second.Probes, second.Restored, second.FirstMessage)
		}
		for k, s := range second.Subs {
			if s.Sent != 0 || !s.Restored || s.Granted != s.QoS || s.Filter != first.Subs[k].Filter {
				t.Errorf("client %d, session present and yet: %+v", i, s)
			}
		}
		if e := b.book.epoch(f.ID(i)); e != 1 {
			t.Errorf("client %d: %d epochs, want 1", i, e)
		}
	}
	if b.conn(f.ID(n-1), 1).Intended-b.conn(f.ID(0), 1).Intended != timeline.Instant(float64(n-1)/2000*float64(time.Second)) {
		t.Error("first dials were not scheduled by rate")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if c := b.conn(f.ID(0), 2); !c.Scripted || c.End == 0 || c.Disconnect != "out" {
		t.Errorf("after Close: %+v", c)
	}
	if c := b.conn(f.ID(0), 1); c.Scripted {
		t.Error("an end before Close is not scripted")
	}
}

func TestStormCleanSession(t *testing.T) {
	b, f := storm(t, 20, true)
	for i := range 20 {
		c := b.conn(f.ID(i), 2)
		if c.SessionPresent || c.SessionWanted || !c.Clean || c.Restored <= c.Connack || c.FirstMessage <= c.Restored {
			t.Errorf("client %d: %+v", i, c)
		}
		for _, s := range c.Subs {
			if s.Sent == 0 || s.Acked == 0 || s.Restored {
				t.Errorf("client %d: not resubscribed: %+v", i, s)
			}
		}
		if e, s := b.book.epoch(f.ID(i)), b.book.subs(f.ID(i), "rb/"+f.ID(i)+"/cmd"); e != 2 || s != 2 {
			t.Errorf("client %d: %d epochs, %d times subscribed; want 2 and 2", i, e, s)
		}
	}
}

func TestResubscribePolicies(t *testing.T) {
	for _, tt := range []struct {
		policy   string
		clean    bool
		asks     bool
		restored bool
	}{
		{"when-absent", false, false, true},
		{"when-absent", true, true, true},
		{"always", false, true, true},
		{"never", false, false, true},
		{"never", true, false, false},
	} {
		t.Run(tt.policy, func(t *testing.T) {
			b := newBench(t)
			broker := startBroker(t, "127.0.0.1:0")
			spec := devices(tt.clean)
			spec.Resubscribe, spec.Back = tt.policy, "connack"
			f := b.fleet(b.config(broker.addr, 1, spec, nil))
			await(t, "connected", func() bool { return f.Connected() == 1 })
			broker.kick(t, f.ID(0))
			await(t, "back", func() bool { return f.BackOn(0) == 2 && (f.Connected() == 1) == tt.restored })
			if tt.asks {
				await(t, "SUBACK", func() bool {
					f.Flush()
					s := b.conn(f.ID(0), 2).Subs
					return len(s) == 2 && s[0].Acked != 0 && s[1].Acked != 0
				})
			}
			f.Flush()
			c := b.conn(f.ID(0), 2)
			for _, s := range c.Subs {
				if (s.Sent != 0) != tt.asks {
					t.Errorf("SUBSCRIBE sent: %v, want %v: %+v", s.Sent != 0, tt.asks, s)
				}
			}
			if (c.Restored != 0) != tt.restored {
				t.Errorf("restored %d, want %v", c.Restored, tt.restored)
			}
		})
	}
}

func TestRefusedSubscriptionIsNotRestored(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	spec := devices(false)
	spec.Subscribe = append(spec.Subscribe, scenarios.Subscription{Topic: "deny/{client}", QoS: 1})
	f := b.fleet(b.config(broker.addr, 1, spec, nil))
	await(t, "refused twice", func() bool {
		f.Flush()
		return f.LiveN(0) == 1 && len(b.conn(f.ID(0), 1).Subs) == 3 && b.conn(f.ID(0), 1).PacketsOut >= 3
	})
	await(t, "SUBACK of the second try", func() bool { f.Flush(); return b.conn(f.ID(0), 1).Subs[2].Acked != 0 })
	c := b.conn(f.ID(0), 1)
	if c.Restored != 0 || f.Connected() != 0 || f.BackOn(0) != 0 {
		t.Errorf("restored %d, connected %d, back on %d; want none", c.Restored, f.Connected(), f.BackOn(0))
	}
	if s := c.Subs[2]; s.Granted != 0x80 || s.Acked == 0 {
		t.Errorf("refused filter: %+v", s)
	}
	if s := c.Subs[0]; s.Granted != 1 {
		t.Errorf("granted filter: %+v", s)
	}
	if n := b.book.subs(f.ID(0), c.Subs[0].Filter); n != 1 {
		t.Errorf("told %d times of one grant", n)
	}
}

func TestFirstConnectIsRetriedUntilTheBrokerStarts(t *testing.T) {
	b := newBench(t)
	addr := unusedAddr(t)
	f := b.fleet(b.config(addr, 3, devices(false), nil))
	tried := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.records[f.ID(0)]) > 0 && len(b.records[f.ID(1)]) > 0 && len(b.records[f.ID(2)]) > 0
	}
	await(t, "a failed attempt of each", tried)
	if f.Connected() != 0 || f.Away() != 0 {
		t.Errorf("%d connected, %d away, want none", f.Connected(), f.Away())
	}
	startBroker(t, addr)
	await(t, "all connected", func() bool { return f.Connected() == 3 })
	f.Flush()
	failed := b.conn(f.ID(0), 1)
	if failed.EndKind != timeline.EndDial || failed.EndErr != "connection refused" || failed.End == 0 || failed.Dialed != 0 {
		t.Errorf("failed dial: %+v", failed)
	}
	last := b.conn(f.ID(0), f.LiveN(0))
	if last.N < 2 || last.Intended != failed.Intended || last.Intended == 0 || last.Restored == 0 {
		t.Errorf("connected at last: %+v", last)
	}
}

// stubborn is a listener that accepts and never answers.
func stubborn(t *testing.T) (addr string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			accepted.Add(1)
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		wg.Wait()
		for _, c := range conns {
			_ = c.Close()
		}
	})
	return l.Addr().String(), accepted
}

// Whatever a client is doing, Close returns and, as TestMain holds, leaves no
// goroutine behind.
func TestCloseWhile(t *testing.T) {
	t.Run("first dial always fails", func(t *testing.T) {
		b := newBench(t)
		b.fail.Store(true)
		f := b.fleet(b.config(unusedAddr(t), 2, devices(false), nil))
		await(t, "an attempt", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return len(b.records) == 2 })
		if f.Connected() != 0 || f.LiveN(0) != 0 || f.BackOn(1) != 0 {
			t.Error("nobody can be connected")
		}
		closeTwice(t, f)
	})
	t.Run("handshake hangs", func(t *testing.T) {
		b := newBench(t)
		addr, accepted := stubborn(t)
		f := b.fleet(b.config(addr, 2, devices(false), nil))
		await(t, "both dialled", func() bool { return accepted.Load() == 2 })
		closeTwice(t, f)
		if c := b.conn(f.ID(0), 1); !c.Scripted || c.Connack != 0 || c.EndKind != timeline.EndLocal {
			t.Errorf("record: %+v", c)
		}
	})
	t.Run("dial hangs", func(t *testing.T) {
		b := newBench(t)
		dialling := make(chan struct{}, 1)
		cfg := b.config(unusedAddr(t), 1, devices(false), nil)
		cfg.Dial = func(ctx context.Context, _, _ string, _ int, _ Tap) (net.Conn, string, string, error) {
			dialling <- struct{}{}
			<-ctx.Done()
			return nil, "", "", ctx.Err()
		}
		f := b.fleet(cfg)
		<-dialling
		closeTwice(t, f)
	})
	for _, mode := range []string{"reconnect dial fails", "reconnect dial hangs", "reconnect handshake hangs"} {
		t.Run(mode, func(t *testing.T) { closeWhileReconnecting(t, mode) })
	}
}

func closeWhileReconnecting(t *testing.T, mode string) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	mute, accepted := stubborn(t)
	// With a long backoff: what Close can cut, it must cut.
	spec := devices(false)
	spec.Reconnect.Max = time.Hour
	if mode == "reconnect dial fails" {
		spec.Reconnect.Max = 50 * time.Millisecond // a sleep that has begun can't be cut
	}
	cfg := b.config(broker.addr, 1, spec, nil)
	var lost atomic.Bool
	dialling := make(chan struct{}, 1)
	cfg.Dial = func(ctx context.Context, addr, id string, n int, tap Tap) (net.Conn, string, string, error) {
		switch {
		case !lost.Load():
		case mode == "reconnect dial fails":
			b.fail.Store(true)
		case mode == "reconnect dial hangs":
			dialling <- struct{}{}
			<-ctx.Done()
			return nil, "", "", ctx.Err()
		default:
			addr = mute
		}
		return b.dial(ctx, addr, id, n, tap)
	}
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 1 })
	lost.Store(true)
	broker.kick(t, f.ID(0))
	await(t, "away", func() bool { return f.Away() == 1 && f.LiveN(0) == 0 && f.BackOn(0) == 0 })
	switch mode {
	case "reconnect dial hangs":
		<-dialling
	case "reconnect handshake hangs":
		await(t, "dialled again", func() bool { return accepted.Load() == 1 })
	default:
		await(t, "two failed attempts", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return len(b.records[f.ID(0)]) >= 3
		})
	}
	closeTwice(t, f)
}

func closeTwice(t *testing.T, f *Fleet) {
	t.Helper()
	for range 2 {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	b := newBench(t)
	good := b.config("127.0.0.1:1", 1, devices(false), nil)
	for name, tt := range map[string]struct {
		spoil func(*Config)
		want  error
	}{
		"no driver":      {func(c *Config) { c.Driver = nil }, ErrConfig},
		"no dial":        {func(c *Config) { c.Dial = nil }, ErrConfig},
		"no clock":       {func(c *Config) { c.Clock = nil }, ErrConfig},
		"no address":     {func(c *Config) { c.Addresses = nil }, ErrConfig},
		"bad address":    {func(c *Config) { c.Addresses = []string{"tcp://%zz"} }, ErrConfig},
		"negative":       {func(c *Config) { c.Clients = -1 }, ErrConfig},
		"unknown policy": {func(c *Config) { c.Fleet.Reconnect.Policy = "hope" }, ErrPolicy},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good
			tt.spoil(&cfg)
			if _, err := New(cfg); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}
