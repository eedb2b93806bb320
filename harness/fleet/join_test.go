package fleet

import (
	"context"
	"net"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// The rooms fit together: the real tap below, the real book beside.
var (
	_ wire.Observer = Tap(nil)
	_ Sessions      = (*ledger.Book)(nil)
	_ Publications  = (*ledger.Book)(nil)
	_ Deliveries    = (*ledger.Book)(nil)
	_ Handlings     = (*ledger.Book)(nil)
	_ Sentinels     = (*ledger.Book)(nil)
	_ Timetable     = (*ledger.Book)(nil)
)

func TestWithTheRealTapAndBook(t *testing.T) {
	const n = 20
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	dial := func(ctx context.Context, addr, _ string, n int, tap Tap) (net.Conn, string, string, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(addr, "tcp://"))
		if err != nil {
			return nil, "", "", err
		}
		return wire.Tap(c, b.clock.Now, tap), c.LocalAddr().String(), c.RemoteAddr().String(), nil
	}
	p := plan(n, cmds(50, 1), scenarios.Traffic{From: "control", To: "devices", Topic: "rb/{client}/tick", Each: 50, Payload: 64})
	book := ledger.NewBook(testRunID)
	accounts := Accounts{Sessions: book, Publications: book, Deliveries: book, Handlings: book, Sentinels: book, Timetable: book}
	traffic := b.traffic(p, accounts)
	ccfg := b.controlConfig(broker.addr)
	ccfg.Dial, ccfg.Accounts = dial, traffic.Accounts()
	for _, s := range traffic.cfg.Streams {
		book.AddStream(s.ID, s.Publisher, s.Topic, s.QoS)
	}
	control := b.control(ccfg)
	fcfg := b.config(broker.addr, n, devices(false), control)
	fcfg.Dial, fcfg.Accounts = dial, traffic.Accounts()
	f := b.fleet(fcfg)
	join(t, traffic, control.Fleet, f)
	await(t, "all connected", func() bool { return f.Connected() == n })
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "messages", func() bool { return book.Totals().Delivered > 300 })
	for i := range n {
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
	traffic.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := traffic.Sentinels(ctx); err != nil {
		t.Fatal(err)
	}
	closeTwice(t, f)
	closeAll(t, control, traffic)
	if c := b.conn(f.ID(0), 1); c.EndKind != timeline.EndEOF && c.EndKind != timeline.EndReset || len(c.Last) == 0 {
		t.Errorf("kicked connection: %+v", c)
	}
	streams := 0
	for r := range book.Accounts() {
		if s := r.Stream; s != nil {
			streams++
			if a := int64(s.Attempted.Len()); s.Scheduled != s.Missed+s.Refused+s.Queued+a || a == 0 {
				t.Errorf("stream %d: %d scheduled, %d missed, %d refused, %d queued, %d attempted", s.ID, s.Scheduled, s.Missed, s.Refused, s.Queued, a)
			}
			if s.SentinelAcked == 0 {
				t.Errorf("stream %d: sentinel not acknowledged", s.ID)
			}
		}
		if s := r.Stray; s != nil {
			t.Errorf("stray: %+v", s)
		}
	}
	if streams != 2*n {
		t.Errorf("%d streams in the book, want %d", streams, 2*n)
	}
}
