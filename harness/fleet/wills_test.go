package fleet

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// willed is a plan of fleets a (no Will), b and c with the Wills given.
func willed(b, c *scenarios.Will) *scenarios.Plan {
	p := between(2, 3)
	p.Fleets[1].Will = b
	p.Fleets = append(p.Fleets, scenarios.PlanFleet{Clients: 2, Fleet: scenarios.Fleet{Name: "c", ClientID: "c-{index}", Will: c}})
	return p
}

func TestWillOfAClient(t *testing.T) {
	p := willed(&scenarios.Will{Topic: "w/{client}", QoS: 1, Retain: true}, nil)
	if Wills(p, 0, testRun, testRunID) != nil {
		t.Error("a Will of a fleet without one")
	}
	w := Wills(p, 1, testRun, testRunID)(2)
	h, err := mqtt.ParsePayload(w.Payload)
	if err != nil || h != (mqtt.Header{Kind: mqtt.KindWill, Run: testRunID, Stream: 2, Seq: 3}) || len(w.Payload) != mqtt.HeaderSize {
		t.Errorf("payload %+v, %v", h, err)
	}
	if w.Topic != "w/b-2" || w.QoS != 1 || !w.Retain {
		t.Errorf("got %+v", w)
	}
	if !bytes.Equal(w.Payload, Wills(p, 1, testRun, testRunID)(2).Payload) {
		t.Error("the payload changes")
	}
}

// The fleet hands each client's Will to the library.
func TestWillReachesTheDriver(t *testing.T) {
	b, d := newBench(t), &fakeDriver{}
	f, err := New(Config{
		Clients: 3, Fleet: scenarios.Fleet{Name: "b", ClientID: "b-{index}"}, Driver: d, Addresses: []string{"x"},
		Dial: func(context.Context, string, string, int, Tap) (net.Conn, string, string, error) {
			return noConn{}, "", "", nil
		},
		Clock: b.clock, Will: Wills(willed(&scenarios.Will{Topic: "w/{client}"}, nil), 1, testRun, testRunID),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, f)
	f.Start(t.Context())
	await(t, "all up", func() bool { return f.up.Load() == 3 })
	for _, s := range d.settings {
		if s.Will == nil || s.Will.Topic != "w/"+s.ClientID {
			t.Errorf("%s: Will %+v", s.ClientID, s.Will)
		}
	}
}

func TestWillFilters(t *testing.T) {
	for _, tt := range []struct {
		b, c string
		want []string
	}{
		{"rb/{client}/will", "", []string{"rb/+/will"}},
		{"rb/x-{client}-y/will", "", []string{"rb/+/will"}},
		{"wills", "", []string{"wills"}},
		{"rb/{client}/will", "rb/{client}/will", []string{"rb/+/will"}},
		{"rb/{client}/will", "rb/c-0/will", []string{"rb/+/will"}},
		{"x/{client}", "{client}/y", []string{"+/+"}},
		{"x/{client}", "y/{client}", []string{"x/+", "y/+"}},
		{"x/{client}", "x/{client}/z", []string{"x/+", "x/+/z"}},
	} {
		p := willed(&scenarios.Will{Topic: tt.b}, nil)
		if tt.c != "" {
			p = willed(&scenarios.Will{Topic: tt.b}, &scenarios.Will{Topic: tt.c})
		}
		if got := willFilters(p, testRun); !slices.Equal(got, tt.want) {
			t.Errorf("%s, %s: got %q, want %q", tt.b, tt.c, got, tt.want)
		}
	}
	p := willed(&scenarios.Will{Topic: "w/{client}"}, nil)
	p.Fleets[1].ClientID = "site/{index}"
	if got := willFilters(p, testRun); !slices.Equal(got, []string{"w/+/+"}) {
		t.Errorf("an id of two levels: %q", got)
	}
}

// Whatever the topics, each Will matches one filter, and one only.
func TestWillFiltersMatchOnce(t *testing.T) {
	level := rapid.SampledFrom([]string{"a", "b", "{client}", "x-{client}", "b-1", "c-0"})
	topic := rapid.Custom(func(t *rapid.T) *scenarios.Will {
		return &scenarios.Will{Topic: strings.Join(rapid.SliceOfN(level, 1, 3).Draw(t, "levels"), "/")}
	})
	rapid.Check(t, func(t *rapid.T) {
		p := willed(topic.Draw(t, "b"), topic.Draw(t, "c"))
		p.Fleets[0].Will = topic.Draw(t, "a")
		filters := willFilters(p, testRun)
		for i, f := range p.Fleets {
			for client := range f.Clients {
				n := 0
				for _, filter := range filters {
					if scenarios.Matches(filter, Wills(p, i, testRun, testRunID)(client).Topic) {
						n++
					}
				}
				if n != 1 {
					t.Fatalf("%s: %d of %q match", f.Will.Topic, n, filters)
				}
			}
		}
	})
}

// notes keeps the Wills that a watcher reports.
type notes struct {
	mu    sync.Mutex
	wills []timeline.Will
}

func (n *notes) add(w timeline.Will) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wills = append(n.wills, w)
}

func (n *notes) of(id string) (of []timeline.Will) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, w := range n.wills {
		if w.ClientID == id {
			of = append(of, w)
		}
	}
	return of
}

func (b *bench) watcher(addr string, p *scenarios.Plan) (*Watcher, *notes) {
	b.t.Helper()
	n := &notes{}
	w, err := NewWatcher(WatcherConfig{
		Plan: p, Run: testRun, RunID: testRunID, Driver: Paho{}, Addresses: []string{addr},
		Dial: b.dial, Clock: b.clock, Record: b.record, Will: n.add,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { closeAll(b.t, w) })
	w.Start(b.t.Context())
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	if err := w.Ready(ctx); err != nil {
		b.t.Fatal(err)
	}
	return w, n
}

// Each way in which a Will can differ is told, and nothing else is.
func TestWatcherTellsWhatDiffers(t *testing.T) {
	p := willed(&scenarios.Will{Topic: "w/{client}", QoS: 1}, &scenarios.Will{Topic: "k/{client}", QoS: 2, Retain: true})
	good := func(fleet, client int, topic string, qos byte) mqtt.Packet {
		return mqtt.Packet{
			Type: mqtt.PUBLISH, Flags: qos << 1, Topic: []byte(topic), Payload: mqtt.HeaderSize,
			Header: willHeader(fleet, client, testRunID),
		}
	}
	for _, tt := range []struct {
		name   string
		conn   int // the first accepted is 2
		change func(*mqtt.Packet)
		want   string
	}{
		{"as asked", 2, func(*mqtt.Packet) {}, ""},
		{"resent", 2, func(p *mqtt.Packet) { p.Flags |= 8 }, ""},
		{"topic", 2, func(p *mqtt.Packet) { p.Topic = []byte("k/c-0") }, "topic, want k/c-1"},
		{"QoS", 2, func(p *mqtt.Packet) { p.Flags = 0 }, "QoS 0, want 1"},
		{"above the granted", 2, func(p *mqtt.Packet) { p.Flags = 2 << 1 }, "QoS 2, want 1"},
		{"RETAIN on the first subscription", 2, func(p *mqtt.Packet) { p.Flags |= 1 }, "RETAIN 1, want 0"},
		{"kept and sent for a new subscription", 3, func(p *mqtt.Packet) { p.Flags |= 1 }, ""},
		{"padded", 2, func(p *mqtt.Packet) { p.Payload++ }, "the payload is not that of the CONNECT"},
		{"stamped", 2, func(p *mqtt.Packet) { p.Header.Sent = 1 }, "the payload is not that of the CONNECT"},
		{"two things", 2, func(p *mqtt.Packet) { p.Flags = 1 }, "QoS 0, want 1; RETAIN 1, want 0"},
		{"of no client", 2, func(p *mqtt.Packet) { p.Header.Seq = 9 }, "the payload names no client of this run that has a Will"},
		{"of number 0", 2, func(p *mqtt.Packet) { p.Header.Seq = 0 }, "the payload names no client of this run that has a Will"},
		{"of no fleet", 2, func(p *mqtt.Packet) { p.Header.Stream = 0 }, "the payload names no client of this run that has a Will"},
		{"of a fleet without", 2, func(p *mqtt.Packet) { p.Header.Stream = 1 }, "the payload names no client of this run that has a Will"},
	} {
		n := &notes{}
		w := &watch{cfg: WatcherConfig{Plan: p, Run: testRun, RunID: testRunID, Will: n.add}, granted: map[string]byte{}, kept: map[string]int{}}
		for conn := 2; conn <= tt.conn; conn++ {
			w.Connected("", conn, false, 1)
		}
		w.Subscribed("", "w/+", 2, 1)
		w.Subscribed("", "k/+", 1, 1)
		packet := good(2, 1, "k/c-1", 1) // the broker granted 1 of 2
		tt.change(&packet)
		w.read(&packet, 5)
		if len(n.wills) != 1 || n.wills[0].Wrong != tt.want || n.wills[0].At != 5 || n.wills[0].DUP != packet.Dup() || n.wills[0].Retain != packet.Retain() {
			t.Errorf("%s: got %+v, want %q", tt.name, n.wills, tt.want)
		}
		if named := n.wills[0].ClientID == "c-1"; named == strings.HasPrefix(tt.want, "the payload names") {
			t.Errorf("%s: named %q", tt.name, n.wills[0].ClientID)
		}
	}

	n := &notes{}
	w := &watch{cfg: WatcherConfig{Plan: p, Run: testRun, RunID: testRunID, Will: n.add}, granted: map[string]byte{}, kept: map[string]int{}}
	w.Connected("", 1, false, 1)
	w.Connected("", 2, false, 1)
	foreign, kept, never := good(1, 0, "w/b-0", 1), good(2, 0, "k/c-0", 2), good(1, 0, "w/b-0", 1)
	foreign.Header.Run++
	kept.Flags, never.Flags = kept.Flags|1, never.Flags|1
	w.read(&foreign, 1)
	w.Corrupt("", []byte("elsewhere"), 1)
	if len(n.wills) != 0 {
		t.Errorf("of another run: %+v", n.wills)
	}
	w.Corrupt("", []byte("w/b-1"), 1)
	w.read(&kept, 2)
	w.read(&kept, 3) // once for each subscription
	w.read(&never, 4)
	want := []timeline.Will{
		{ClientID: "b-1", Topic: "w/b-1", At: 1, Wrong: "the payload is not that of the CONNECT"},
		{ClientID: "c-0", Topic: "k/c-0", QoS: 2, Retain: true, At: 2},
		{ClientID: "c-0", Topic: "k/c-0", QoS: 2, Retain: true, At: 3, Wrong: "RETAIN 1, want 0"},
		{ClientID: "b-0", Topic: "w/b-0", QoS: 1, Retain: true, At: 4, Wrong: "RETAIN 1, want 0"},
	}
	if !slices.Equal(n.wills, want) {
		t.Errorf("got  %+v\nwant %+v", n.wills, want)
	}
}

// dying is a client that connects with its Will; what it returns ends it.
func (b *bench) dying(addr string, w *Will, id string) (abort, leave func()) {
	b.t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = c.Close() })
	connect := mqtt.AppendConnect(nil, mqtt.ConnectInfo{
		ClientID: id, Clean: true, WillTopic: w.Topic, WillPayload: w.Payload, WillQoS: w.QoS, WillRetain: w.Retain,
	})
	if _, err := c.Write(connect); err != nil {
		b.t.Fatal(err)
	}
	connack := make([]byte, 4)
	if _, err := c.Read(connack); err != nil || connack[3] != 0 {
		b.t.Fatalf("CONNACK % x, %v", connack, err)
	}
	return func() { _ = c.Close() }, func() { _, _ = c.Write([]byte{0xe0, 0}) }
}

// On a broker: an abnormal end has a Will, an orderly one has none, and the
// watcher is there again after its own loss.
func TestWatcherOnABroker(t *testing.T) {
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	p := willed(&scenarios.Will{Topic: "w/{client}", QoS: 1}, &scenarios.Will{Topic: "k/x-{client}", QoS: 2, Retain: true})
	w, n := b.watcher(broker.addr, p)
	bs, cs := Wills(p, 1, testRun, testRunID), Wills(p, 2, testRun, testRunID)

	abort, _ := b.dying(broker.addr, bs(0), "b-0")
	_, leave := b.dying(broker.addr, bs(1), "b-1")
	leave()
	abort()
	await(t, "the Will of b-0", func() bool { return len(n.of("b-0")) == 1 })
	abort, _ = b.dying(broker.addr, cs(1), "c-1")
	abort()
	await(t, "the Will of c-1", func() bool { return len(n.of("c-1")) == 1 })

	// The broker must have done with the old connection: else it may drop the
	// new one's subscriptions (docs/track-record.md, mochi-clean-takeover).
	b.fail.Store(true)
	broker.kick(t, w.ID(0))
	await(t, "the broker forgot the watcher", func() bool { _, known := broker.Clients.Get(w.ID(0)); return !known })
	b.fail.Store(false)
	await(t, "the watcher is back", func() bool { return w.BackOn(0) > 1 })
	await(t, "the retained copy", func() bool { return len(n.of("c-1")) == 2 })
	abort, _ = b.dying(broker.addr, bs(2), "b-2")
	abort()
	await(t, "the Will of b-2", func() bool { return len(n.of("b-2")) == 1 })

	n.mu.Lock()
	defer n.mu.Unlock()
	for i, x := range n.wills {
		if x.Wrong != "" || x.ClientID == "b-1" || x.Retain != (i == 2) {
			t.Errorf("Will %d: %+v", i, x)
		}
	}
	c := b.conn(w.ID(0), 1)
	if c.Fleet != ControlFleet || c.Client != DefaultControl || c.Restored == 0 || c.End == 0 || w.ID(0) != "rb-control-t1-4" {
		t.Errorf("record %+v", c)
	}
}

// Without a Will in the plan there is nothing to watch.
func TestWatcherOfNothing(t *testing.T) {
	b := newBench(t)
	w, _ := b.watcher("127.0.0.1:1", willed(nil, nil))
	if w.Len() != 0 {
		t.Errorf("%d clients", w.Len())
	}
	p := willed(&scenarios.Will{Topic: "deny/{client}"}, nil)
	broker := startBroker(t, "127.0.0.1:0")
	r, err := NewWatcher(WatcherConfig{
		Plan: p, Run: testRun, RunID: testRunID, Driver: Paho{}, Addresses: []string{broker.addr},
		Dial: b.dial, Clock: b.clock, Will: func(timeline.Will) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeAll(t, r)
	r.Start(t.Context())
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.Ready(ctx); err == nil {
		t.Error("ready without a granted subscription")
	}
}
