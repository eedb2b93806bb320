package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// inbox keeps the payloads that a handler got.
type inbox struct {
	mu  sync.Mutex
	got []string
}

func (i *inbox) add(_ string, p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.got = append(i.got, string(p))
}

func (i *inbox) list() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Clone(i.got)
}

// idle reports whether nothing is in flight.
func (c *strictClient) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.session.byID) == 0 && len(c.session.received) == 0
}

// strictAt makes a strict client of a real broker, its wire judged.
func strictAt(t *testing.T, b *bench, addr, id string, in *inbox) (*strictClient, *judge) {
	t.Helper()
	j := newJudge()
	set := b.settings(addr)
	set.ClientID, set.Clean, set.KeepAlive = id, false, 30*time.Second
	set.OnMessage = in.add
	plain := set.Dial
	set.Dial = j.dial(plain)
	made, err := Strict{}.New(set)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close(); j.report(t) })
	if err := made.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	return made.(*strictClient), j
}

func TestStrictOnMochi(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	var in, none inbox
	sub, j := strictAt(t, b, broker.addr, "sub", &in)
	err := sub.Subscribe(t.Context(), []scenarios.Subscription{{Topic: "a/#", QoS: 2}, {Topic: "deny/a"}})
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "deny/a") || strings.Contains(err.Error(), "a/#") {
		t.Errorf("refused filter: %v", err)
	}
	pub, _ := strictAt(t, b, broker.addr, "pub", &none)
	n := 0
	send := func(qos byte) {
		t.Helper()
		n++
		await(t, "publish", func() bool { return pub.Publish("a/b", qos, false, fmt.Appendf(nil, "%d", n)) == nil })
	}
	for round := range 5 {
		for i := range 30 {
			send(byte(1 + i%2))
			switch {
			case i == 10:
				broker.kick(t, "pub")
			case i == 20 && round < 4:
				broker.kick(t, "sub")
			}
		}
		await(t, "both to come to rest", func() bool { return pub.idle() && sub.idle() && live(pub) && live(sub) })
	}
	send(0)
	await(t, "the last message", func() bool { return slices.Contains(in.list(), fmt.Sprint(n)) })
	// What mochi loses over a kick is not the client's doing: what it read, it
	// handed over.
	got := map[string]int{}
	for _, p := range in.list() {
		got[p]++
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	lost, swallowed := 0, 0
	for i := range n {
		switch p := fmt.Sprint(i + 1); {
		case !j.seen[p]:
			lost++
		case got[p] == 0 && j.swallowed[p]:
			swallowed++
		case got[p] == 0:
			t.Errorf("message %s was read and not handed over", p)
		}
	}
	if lost+swallowed > 0 {
		t.Logf("of %d messages mochi did not send %d, and sent %d under an identifier in use", n, lost, swallowed)
	}
}

func live(c *strictClient) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.link != nil
}

// A fleet of strict clients, over the real tap: kicked, and back. A read
// deadline that passed for a PINGREQ is not taken for the end of a connection.
func TestStrictFleet(t *testing.T) {
	const n = 10
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	dial := func(ctx context.Context, addr, _ string, _ int, tap Tap) (net.Conn, string, string, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(addr, "tcp://"))
		if err != nil {
			return nil, "", "", err
		}
		return wire.Tap(c, b.clock.Now, tap), c.LocalAddr().String(), c.RemoteAddr().String(), nil
	}
	traffic := b.traffic(plan(n, cmds(50, 1)), b.book.accounts())
	ccfg := b.controlConfig(broker.addr)
	ccfg.Dial, ccfg.Driver, ccfg.Accounts = dial, Strict{}, traffic.Accounts()
	control := b.control(ccfg)
	fcfg := b.config(broker.addr, n, devices(false), control)
	fcfg.Dial, fcfg.Driver, fcfg.Accounts = dial, Strict{}, traffic.Accounts()
	fcfg.Fleet.Session.KeepAlive = time.Second
	f := b.fleet(fcfg)
	join(t, traffic, control.Fleet, f)
	await(t, "all connected", func() bool { return f.Connected() == n })
	pings := func() bool {
		f.Flush()
		for i := range n {
			if c := b.conn(f.ID(i), 1); c.PingReqs == 0 || c.PingResps < c.PingReqs {
				return false
			}
		}
		return true
	}
	await(t, "a PINGREQ of each", pings)
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
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
	f.Flush()
	for i := range n {
		c := b.conn(f.ID(i), 1)
		if c.EndKind != timeline.EndEOF && c.EndKind != timeline.EndReset {
			t.Errorf("%s ended with %s (%s)", c.ClientID, c.EndKind, c.EndErr)
		}
		if gap := time.Duration(c.MaxOutGap); gap > time.Second {
			t.Errorf("%s wrote nothing for %s, keep alive 1 s", c.ClientID, gap)
		}
		if again := b.conn(f.ID(i), 2); !again.SessionPresent || len(again.Subs) > 0 && !again.Subs[0].Restored {
			t.Errorf("%s: the session was not resumed: %+v", c.ClientID, again)
		}
	}
}
