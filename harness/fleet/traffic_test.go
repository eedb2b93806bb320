package fleet

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Each slot of the timetable ends up in exactly one place.
func balance(t *testing.T, b *testBook) totals {
	t.Helper()
	got := b.totals()
	if got.scheduled != got.missed+got.refused+got.queued+got.attempted {
		t.Errorf("the balance does not add up: %+v", got)
	}
	return got
}

func TestTrafficAndSentinels(t *testing.T) {
	const n = 10
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	p := plan(n, cmds(50, 1), scenarios.Traffic{From: "control", To: "devices", Topic: "rb/{client}/tick", Each: 100, Payload: 64})
	traffic, control := b.publishing(b.controlConfig(broker.addr), p)
	f := b.fleet(b.config(broker.addr, n, devices(false), control))
	await(t, "all connected", func() bool { return f.Connected() == n })
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := traffic.Start(t.Context()); !errors.Is(err, ErrConfig) {
		t.Errorf("second start: %v", err)
	}
	await(t, "1,000 messages", func() bool { return b.book.totals().delivered >= 1000 })
	traffic.Stop()
	traffic.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := traffic.Sentinels(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "all sentinels read", func() bool {
		b.book.mu.Lock()
		defer b.book.mu.Unlock()
		return len(b.book.reached) == 2*n
	})
	got := b.book.totals()
	if got.delivered != got.attempted || got.acked*3 < got.attempted-30 || got.missed+got.refused != 0 {
		t.Errorf("on a healthy broker: %+v", got)
	}
	if f.LastMessage() == 0 {
		t.Error("no last message")
	}
	for i := range n {
		stream := uint32(i + 1)
		b.book.mu.Lock()
		if b.book.reached[stream] != f.ID(i) || !b.book.home[stream] || len(b.book.attempted[stream]) == 0 {
			t.Errorf("stream %d: sentinel reached %q, acknowledged %v", stream, b.book.reached[stream], b.book.home[stream])
		}
		for seq := uint64(1); seq <= uint64(len(b.book.attempted[stream])); seq++ {
			if b.book.attempted[stream][seq] == 0 {
				t.Errorf("stream %d: number %d is missing", stream, seq)
			}
		}
		b.book.mu.Unlock()
	}
	closeTwice(t, f)
	closeTwice(t, control.Fleet)
	closeAll(t, traffic, traffic)
	if got := balance(t, b.book); got.queued != 0 {
		t.Errorf("queued: %+v", got)
	}
	b.book.mu.Lock()
	defer b.book.mu.Unlock()
	if b.book.handled == 0 {
		t.Error("no handler call was told")
	}
}

// stuckConn stops taking writes until it is closed; it knows no deadline.
type stuckConn struct {
	net.Conn
	stuck  <-chan struct{} // closed = writes hang
	closed chan struct{}
	once   sync.Once
}

func (c *stuckConn) Write(b []byte) (int, error) {
	select {
	case <-c.stuck:
		<-c.closed
		return 0, net.ErrClosed
	default:
		return c.Conn.Write(b)
	}
}

func (c *stuckConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func TestMissedSlotsAreCounted(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	stuck := make(chan struct{})
	b.wrap = func(_ string, c net.Conn) net.Conn {
		return &stuckConn{Conn: c, stuck: stuck, closed: make(chan struct{})}
	}
	cfg := b.controlConfig(broker.addr)
	cfg.WriteTimeout = 1200 * time.Millisecond // Publish blocks for longer than a slot may be late
	tcfg := b.trafficConfig(plan(4, cmds(50, 1), scenarios.Traffic{From: "control", To: "devices", Topic: "rb/{client}/tick", Each: 50, Payload: 64}), b.book.accounts())
	for i := range tcfg.Streams {
		tcfg.Streams[i].Index = tcfg.Streams[i].Item // a connection for each QoS
	}
	traffic, err := NewTraffic(tcfg)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Accounts = traffic.Accounts()
	control := b.control(cfg)
	join(t, traffic, control.Fleet)
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "some messages", func() bool { return b.book.totals().acked > 20 })
	close(stuck)
	blocked := b.clock.Now()
	// The traffic must be stopped only when slots were really late.
	await(t, "blocked connections", func() bool {
		return b.clock.Now()-blocked > timeline.Instant(2500*time.Millisecond)
	})
	traffic.Stop()
	closeAll(t, control, traffic)
	got := balance(t, b.book)
	if got.missed == 0 {
		t.Errorf("no slot was missed: %+v", got)
	}
	if got.refused == 0 {
		t.Errorf("no QoS 0 message was refused by a writer that never took it: %+v", got)
	}
	if got.queued == 0 {
		t.Errorf("no QoS 1 message waits in the library: %+v", got)
	}
}

// A broker that goes away in mid-traffic: QoS 1 messages wait in the library
// and come after the reconnect, each counted once.
func TestTrafficAcrossALostControlConnection(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	traffic, control := b.publishing(b.controlConfig(broker.addr), plan(4, cmds(100, 1)))
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "some messages", func() bool { return b.book.totals().acked > 50 })
	for i := range control.Len() {
		broker.kick(t, control.ID(i))
	}
	await(t, "control is back", func() bool { return control.BackOn(0) == 2 && control.BackOn(1) == 2 })
	before := b.book.totals().acked
	await(t, "more messages", func() bool { return b.book.totals().acked > before+50 })
	traffic.Stop()
	await(t, "all acknowledged", func() bool { s := b.book.totals(); return s.acked == s.attempted })
	closeAll(t, control, traffic)
	if got := balance(t, b.book); got.queued != 0 || got.missed != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestGivenUpTrafficCountsAsMissed(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	traffic, control := b.publishing(b.controlConfig(broker.addr), plan(4, cmds(1000, 0)))
	ctx, cancel := context.WithCancel(t.Context())
	if err := traffic.Start(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "some messages", func() bool { return b.book.totals().attempted > 50 })
	cancel()
	closeAll(t, control, traffic)
	balance(t, b.book)
	if err := traffic.Sentinels(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("sentinels of a closed fleet: %v", err)
	}
}

// What is due and unsent when the traffic is given up is booked all the same.
func TestGivenUpSlotsAreBooked(t *testing.T) {
	b := newBench(t)
	for range 10 {
		traffic := b.traffic(plan(3, cmds(2, 1)), b.book.accounts())
		join(t, traffic, newControl(t, b.controlConfig("127.0.0.1:1")).Fleet)
		given, up := context.WithCancel(t.Context())
		up()
		before := b.book.totals()
		// 10 s at 6/s; the last second's may be tried, and are refused.
		traffic.timetable(given, b.clock.Now()-timeline.Instant(10*time.Second))
		traffic.Stop()
		after := b.book.totals()
		scheduled := after.scheduled - before.scheduled
		if scheduled < 60 || after.missed+after.refused != after.scheduled || after.missed-before.missed < 50 {
			t.Errorf("before %+v, after %+v", before, after)
		}
	}
}

func TestSentinelsGiveUp(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	stuck := make(chan struct{})
	b.wrap = func(_ string, c net.Conn) net.Conn {
		return &stuckConn{Conn: c, stuck: stuck, closed: make(chan struct{})}
	}
	cfg := b.controlConfig(broker.addr)
	cfg.WriteTimeout = 50 * time.Millisecond
	traffic, _ := b.publishing(cfg, plan(3, cmds(1, 1)))
	close(stuck)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := traffic.Sentinels(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The slots of an item are spread over time and streams, by rate.
func TestTimetable(t *testing.T) {
	b := newBench(t)
	burst := cmds(2, 1)
	burst.Burst = 4
	for _, tt := range []struct {
		item  scenarios.Traffic
		apart time.Duration
	}{
		{cmds(2, 1), time.Second / 6}, // 3 clients
		{burst, 4 * time.Second / 6},
	} {
		it := b.traffic(plan(3, tt.item), b.book.accounts()).items[0]
		for k := range 7 {
			it.k = int64(k)
			want := 1000 + timeline.Instant(k)*timeline.Instant(tt.apart)
			if d := it.due(1000) - want; d < -10 || d > 10 {
				t.Errorf("burst %d: slot %d is due %d ns after its time", tt.item.Burst, k, d)
			}
		}
		for i, l := range it.lanes {
			if l.ID != uint32(i+1) {
				t.Errorf("place %d: stream %d", i, l.ID)
			}
		}
	}
}
