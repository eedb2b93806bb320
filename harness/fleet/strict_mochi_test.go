package fleet

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

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
