package harness

import (
	"net"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestBystandersCount: what is timed is the first delivery of a message of this
// run, from no victim to no victim.
func TestBystandersCount(t *testing.T) {
	plan := &scenarios.Plan{Phases: []scenarios.PlanPhase{{Waves: []scenarios.PlanWave{{
		Faults: []scenarios.PlanFault{{Fleet: "devices", Victims: []scenarios.Victim{{Client: 0}}}},
	}}}}}
	b := newBystanders(plan, ledger.NewBook(7), 7)
	b.take([]fleet.Stream{{ID: 1, From: fleet.ControlFleet}, {ID: 2, From: "devices", Index: 0}, {ID: 3, From: "devices", Index: 1}, {ID: 4, From: "others", Index: 0}})
	b.add("devices", 0, "victim")
	b.add("devices", 1, "bystander")
	b.add("others", 0, "other")
	if len(b.clients) != 2 {
		t.Fatalf("%d bystanders, want 2", len(b.clients))
	}
	for name, c := range map[string]struct {
		client string
		bend   func(d *mqtt.Delivery)
		want   int64
	}{
		"from control":                 {"bystander", func(*mqtt.Delivery) {}, 1},
		"to another fleet":             {"other", func(*mqtt.Delivery) {}, 1},
		"to a victim":                  {"victim", func(*mqtt.Delivery) {}, 0},
		"from a victim":                {"bystander", func(d *mqtt.Delivery) { d.Header.Stream = 2 }, 0},
		"from a bystander":             {"bystander", func(d *mqtt.Delivery) { d.Header.Stream = 3 }, 1},
		"victim's index, other fleet":  {"bystander", func(d *mqtt.Delivery) { d.Header.Stream = 4 }, 1},
		"retained":                     {"bystander", func(d *mqtt.Delivery) { d.Retain = true }, 0},
		"a copy with DUP":              {"bystander", func(d *mqtt.Delivery) { d.DUP = true }, 0},
		"a copy of a QoS 2 delivery":   {"bystander", func(d *mqtt.Delivery) { d.Again = true }, 0},
		"of another run":               {"bystander", func(d *mqtt.Delivery) { d.Header.Run = 8 }, 0},
		"of a stream that is not ours": {"bystander", func(d *mqtt.Delivery) { d.Header.Stream = 5 }, 0},
		"of no stream":                 {"bystander", func(d *mqtt.Delivery) { d.Header.Stream = 0 }, 0},
	} {
		d := mqtt.Delivery{Header: mqtt.Header{Run: 7, Stream: 1, Seq: 1, Intended: 1_000_000}}
		c.bend(&d)
		b.Delivered(c.client, d, 4_000_000)
		h := b.latency.Swap()
		if at, _ := h.Quantile(1); h.N() != c.want || c.want == 1 && at/10_000 != 300 {
			t.Errorf("%s: %d values, the greatest %d ns, want %d of 3 ms", name, h.N(), at, c.want)
		}
	}
	if b := newBystanders(&scenarios.Plan{}, ledger.NewBook(7), 7); b.latency != nil {
		t.Error("without a fault there are no bystanders")
	}
}

// TestBystandersAllocateNothing: it is asked for each message that is read.
func TestBystandersAllocateNothing(t *testing.T) {
	plan := &scenarios.Plan{Phases: []scenarios.PlanPhase{{Waves: []scenarios.PlanWave{{}}}}}
	b := newBystanders(plan, deafBook{}, 7)
	b.take([]fleet.Stream{{ID: 1, From: fleet.ControlFleet}})
	b.add("devices", 0, "bystander")
	d := mqtt.Delivery{Header: mqtt.Header{Run: 7, Stream: 1, Intended: 1}}
	if n := testing.AllocsPerRun(1000, func() { b.Delivered("bystander", d, 5_000_000) }); n != 0 {
		t.Errorf("%v allocations a delivery", n)
	}
	if n := b.latency.Swap().N(); n == 0 {
		t.Error("nothing was timed")
	}
}

// deafBook keeps no account.
type deafBook struct{ fleet.Deliveries }

func (deafBook) Delivered(string, mqtt.Delivery, timeline.Instant) {}

// TestCollateral: a quarter of the fleet is closed; the messages of the others
// are timed, and a wire that is 20 ms slower shows in them.
func TestCollateral(t *testing.T) {
	quarter := scenario(t, quick, "share: 100%", "share: 25%", "equals: 40", "equals: 10")
	for name, wrap := range map[string]func(string, net.Conn) net.Conn{
		"as it is": nil,
		"slow":     func(_ string, c net.Conn) net.Conn { return slowConn{c} },
	} {
		r, _ := play(t, quarter, PlanOptions{}, Options{WrapConn: wrap})
		c := r.Charts.Collateral
		switch {
		case c == nil:
			t.Fatalf("%s: not measured", name)
		case c.Clients != 30 || c.Fault.N == 0 || c.Quiet.N == 0:
			t.Errorf("%s: %+v, want 30 bystanders with messages in the storm and out of it", name, c)
		case wrap != nil && *c.Quiet.P50 < slower.Seconds():
			t.Errorf("%s: the median in the quiet is %v s, want at least %v", name, *c.Quiet.P50, slower)
		}
		t.Logf("%s: fault %v, quiet %v (median s, n=%d, %d)", name, *c.Fault.P50, *c.Quiet.P50, c.Fault.N, c.Quiet.N)
	}
	if r, _ := play(t, scenario(t, quick), PlanOptions{}, Options{}); r.Charts.Collateral != nil {
		t.Errorf("all are victims, and yet: %+v", r.Charts.Collateral)
	}
}

const slower = 20 * time.Millisecond

// slowConn holds back what it read.
type slowConn struct{ net.Conn }

func (c slowConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(slower)
	return n, err
}
