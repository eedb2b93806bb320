package fleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// stacks are the stacks of all goroutines, for the error of a leak.
func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// steady waits until a client is up on a live connection, with its
// subscriptions, and gives that connection's record.
func steady(t *testing.T, b *bench, f *Fleet) timeline.Conn {
	t.Helper()
	var c timeline.Conn
	await(t, "up again, with all filters granted", func() bool {
		n := f.LiveN(0)
		if n == 0 || f.Connected() != 1 {
			return false
		}
		f.Flush()
		c = b.conn(f.ID(0), n)
		return c.End == 0 && c.Restored != 0 && f.BackOn(0) == n
	})
	return c
}

// endedItself reports whether the client said goodbye and ended the
// connection, or the broker did when it had read that.
func endedItself(c timeline.Conn) bool {
	return c.Disconnect == "out" && (c.EndKind == timeline.EndLocal || c.EndKind == timeline.EndEOF)
}

func TestDisconnectAndBack(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	f := b.fleet(b.config(broker.addr, 1, devices(false), nil))
	await(t, "connected", func() bool { return f.Connected() == 1 })
	if err := f.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	await(t, "a second connection", func() bool { return f.LiveN(0) == 2 })
	c := steady(t, b, f)
	if !c.SessionPresent || c.Intended != 0 || c.Backoff != 0 {
		t.Errorf("second connection: %+v", c)
	}
	first := b.conn(f.ID(0), 1)
	if !endedItself(first) || first.Scripted {
		t.Errorf("first connection: %+v", first)
	}
	if gap := time.Duration(c.Dial - first.End); gap > 500*time.Millisecond {
		t.Errorf("dialled %s after the end: not at once", gap)
	}
	closeTwice(t, f)
	if err := f.Disconnect(0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// slowConn delays the first bytes from the broker: the CONNACK.
type slowConn struct {
	net.Conn
	delay time.Duration
	once  sync.Once
}

func (c *slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.once.Do(func() { time.Sleep(c.delay) })
	return n, err
}

// Hundreds of cycles at random moments: in the handshake, before the SUBACK, while
// the library reconnects after a kick, and two at once.
func TestDisconnectCycles(t *testing.T) {
	const cycles = 900 // of which some find nothing to end
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	var delays atomic.Uint64
	b.wrap = func(_ string, c net.Conn) net.Conn {
		return &slowConn{Conn: c, delay: time.Duration(delays.Add(1)%4) * time.Millisecond}
	}
	spec := devices(false)
	spec.Reconnect.Max = 2 * time.Millisecond
	spec.Back = scenarios.BackSubscribed
	f := b.fleet(b.config(broker.addr, 1, spec, nil))
	steady(t, b, f)
	before := runtime.NumGoroutine()
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range cycles {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond) // a random moment, awaiting nothing
		if rng.IntN(4) == 0 {
			if cl, ok := broker.Clients.Get(f.ID(0)); ok {
				cl.Stop(errors.New("kicked"))
			}
		}
		var wg sync.WaitGroup
		for range 1 + i%2 {
			wg.Go(func() {
				if err := f.Disconnect(0); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	last := steady(t, b, f)
	b.mu.Lock()
	open, said := 0, 0
	for n, c := range b.records[f.ID(0)] {
		if c.End == 0 {
			open++
		}
		if c.Disconnect == "out" {
			said++
			if !endedItself(c) {
				t.Errorf("connection %d: DISCONNECT written, end %s", n, c.EndKind)
			}
		}
	}
	b.mu.Unlock()
	if open != 1 {
		t.Errorf("%d connections are open, want one", open)
	}
	t.Logf("%d connections, %d ended with a DISCONNECT", last.N, said)
	if said < 300 {
		t.Errorf("%d DISCONNECTs in %d cycles", said, cycles)
	}
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before\n%s", n, before, stacks())
	}
	cl, ok := broker.Clients.Get(f.ID(0))
	if !ok || cl.Closed() || len(cl.State.Subscriptions.GetAll()) != 2 {
		t.Error("the broker has another client than a connected one with its two subscriptions")
	}
}

// What there is to end decides what Disconnect does, and it always returns.
func TestDisconnectWhile(t *testing.T) {
	quick := func(t *testing.T, f *Fleet) {
		t.Helper()
		began := time.Now()
		if err := f.Disconnect(0); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > patience/2 {
			t.Errorf("took %s", took)
		}
	}
	dials := func(f *Fleet) int { n, _ := f.clients[0].session.attempts(); return n }

	t.Run("not due", func(t *testing.T) {
		b := newBench(t)
		f, err := New(b.config(unusedAddr(t), 1, devices(false), nil))
		if err != nil {
			t.Fatal(err)
		}
		quick(t, f)
		if n := dials(f); n != 0 {
			t.Errorf("%d attempts before the first one was due", n)
		}
		closeTwice(t, f)
	})
	t.Run("pausing", func(t *testing.T) {
		b := newBench(t)
		f := b.fleet(b.config(unusedAddr(t), 1, devices(false), nil))
		for n := range 20 { // 20 s, if the pauses were not cut
			await(t, "an attempt that failed", func() bool { d, open := f.clients[0].session.attempts(); return d > n && !open })
			quick(t, f)
		}
	})
	t.Run("handshake hangs", func(t *testing.T) {
		b := newBench(t)
		addr, accepted := stubborn(t)
		cfg := b.config(addr, 1, devices(false), nil)
		cfg.ConnectTimeout = 150 * time.Millisecond
		f := b.fleet(cfg)
		await(t, "dialled", func() bool { return accepted.Load() == 1 })
		quick(t, f)
		quick(t, f)
		quick(t, f) // paho must not be told again before it has come to rest
		await(t, "dialled again", func() bool { return accepted.Load() >= 3 })
		quick(t, f)
		await(t, "and again", func() bool { return accepted.Load() >= 5 })
	})
	t.Run("reconnect hangs", func(t *testing.T) {
		b := newBench(t)
		broker := startBroker(t, "127.0.0.1:0")
		mute, accepted := stubborn(t)
		cfg := b.config(broker.addr, 1, devices(false), nil)
		cfg.ConnectTimeout = 150 * time.Millisecond
		cfg.Dial = func(ctx context.Context, addr, id string, n int, tap Tap) (net.Conn, string, string, error) {
			if n > 1 && n < 5 {
				addr = mute
			}
			return b.dial(ctx, addr, id, n, tap)
		}
		f := b.fleet(cfg)
		await(t, "connected", func() bool { return f.Connected() == 1 })
		broker.kick(t, f.ID(0))
		await(t, "the library dials again", func() bool { return accepted.Load() == 1 })
		quick(t, f)
		quick(t, f)
		await(t, "up again", func() bool { return f.LiveN(0) >= 5 })
		quick(t, f)
		await(t, "and after another one", func() bool { return f.LiveN(0) >= 6 && f.Connected() == 1 })
	})
}

// A Disconnect in the moment of Close: both return, nothing is left behind.
func TestDisconnectWhileClosing(t *testing.T) {
	broker := startBroker(t, "127.0.0.1:0")
	for range 20 {
		b := newBench(t)
		f := b.fleet(b.config(broker.addr, 4, devices(true), nil))
		await(t, "connected", func() bool { return f.Connected() == 4 })
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				if err := f.Disconnect(i); err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
			})
		}
		closeTwice(t, f)
		wg.Wait()
	}
}

// Why a library is not told a second time before it has come to rest: paho
// 1.5.1 then stays in its state "disconnecting", and takes no Connect any more.
func TestPahoToldTwiceIsStuck(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	mute, accepted := stubborn(t)
	s := b.settings(broker.addr)
	s.ConnectTimeout = 200 * time.Millisecond
	direct := s.Dial
	var lost atomic.Bool
	s.Dial = func(ctx context.Context) (net.Conn, error) {
		if lost.Load() {
			return new(net.Dialer).DialContext(ctx, "tcp", mute)
		}
		return direct(ctx)
	}
	made, err := Paho{}.New(s)
	if err != nil {
		t.Fatal(err)
	}
	// No Close: its Disconnect, the third, would wait on a nil channel for good.
	defer made.(*pahoClient).leave()
	if err := made.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	lost.Store(true)
	broker.kick(t, s.ClientID)
	await(t, "the library dials again", func() bool { return accepted.Load() == 1 })
	lib := made.(*pahoClient).lib
	for range 2 {
		lib.Disconnect(1) // returns while the attempt is under way
	}
	lost.Store(false)
	// Every Connect from here on is refused; after one call of Disconnect, the
	// first one after the attempt has timed out would be taken.
	until := time.Now().Add(time.Second)
	for time.Now().Before(until) {
		token := lib.Connect()
		<-token.Done()
		if token.Error() == nil {
			t.Fatal("the library takes a Connect again: a second Disconnect need not be kept from it any more")
		}
		time.Sleep(restPoll)
	}
}

// late is a library whose Connect returns when it is let, long after CONNACK.
type late struct {
	Client
	calls *atomic.Int32
	let   <-chan struct{}
}

func (l late) Connect(ctx context.Context) error {
	err := l.Client.Connect(ctx)
	if l.calls.Add(1) > 1 {
		<-l.let
	}
	return err
}

type lateDriver struct {
	Paho
	calls *atomic.Int32
	let   <-chan struct{}
}

func (d lateDriver) New(s Settings) (Client, error) {
	lib, err := d.Paho.New(s)
	return late{lib, d.calls, d.let}, err
}

// A Disconnect right behind another one finds a connection that was accepted and
// a library that has not said so: it must end it, and not return as if it had.
func TestDisconnectOfAnArrival(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	let := make(chan struct{})
	cfg := b.config(broker.addr, 1, devices(false), nil)
	cfg.Driver = lateDriver{calls: new(atomic.Int32), let: let}
	f := b.fleet(cfg)
	await(t, "connected", func() bool { return f.Connected() == 1 && f.up.Load() == 1 })
	if err := f.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	await(t, "accepted again", func() bool { return f.LiveN(0) == 2 })
	done := make(chan error)
	go func() { done <- f.Disconnect(0) }()
	await(t, "it waits", func() bool {
		c := f.clients[0]
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.change != nil && c.arriving()
	})
	close(let)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	await(t, "a third connection", func() bool { return f.LiveN(0) == 3 })
	f.Flush()
	if c := b.conn(f.ID(0), 2); !endedItself(c) {
		t.Errorf("second connection: %+v", c)
	}
}

// Of a library that never says so nobody waits for long.
func TestDisconnectOfAnArrivalIsBounded(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	let := make(chan struct{})
	cfg := b.config(broker.addr, 1, devices(false), nil)
	cfg.Driver = lateDriver{calls: new(atomic.Int32), let: let}
	f := b.fleet(cfg)
	defer close(let)
	await(t, "connected", func() bool { return f.Connected() == 1 && f.up.Load() == 1 })
	if err := f.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	await(t, "accepted again", func() bool { return f.LiveN(0) == 2 })
	if err := f.Disconnect(0); err != nil || f.LiveN(0) != 2 {
		t.Errorf("%v, live on %d", err, f.LiveN(0))
	}
}

// idle is a library that takes a Connect without dialling.
type idle struct{ Client }

func (idle) Connect(context.Context) error { return nil }
func (idle) Disconnect()                   {}
func (idle) Close()                        {}

type idleDriver struct{ Paho }

func (idleDriver) New(Settings) (Client, error) { return idle{}, nil }

// A library's word that it is connected is taken, but not after a Disconnect:
// then only with an attempt of its own behind it.
func TestConnectWithoutADial(t *testing.T) {
	b := newBench(t)
	cfg := b.config(unusedAddr(t), 1, devices(false), nil)
	cfg.Driver = idleDriver{}
	f := b.fleet(cfg)
	await(t, "up", func() bool { return f.up.Load() == 1 })
	if err := f.Disconnect(0); err != nil {
		t.Fatal(err)
	}
	c := f.clients[0]
	await(t, "asked again", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.loop && c.down && !c.entering })
	if f.up.Load() != 1 {
		t.Errorf("%d clients up, want 1", f.up.Load())
	}
}
