package fleet

import (
	"context"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestFleetsPublish(t *testing.T) { fleetsPublish(t, false) }

// fleetsPublish has devices publish to sites, to themselves and before faults,
// over real connections, which may be kicked meanwhile: nothing is unaccounted
// for.
func fleetsPublish(t *testing.T, kicks bool) {
	t.Helper()
	const n = 8
	b := newBench(t)
	broker := startBroker(t, "127.0.0.1:0")
	p := &scenarios.Plan{
		Fleets: []scenarios.PlanFleet{
			{Clients: n, Fleet: devices(false)},
			{Clients: 2, Fleet: scenarios.Fleet{
				Name: "sites", ClientID: "site-{index}", Back: scenarios.BackSubscribed, Resubscribe: "when-absent",
				Subscribe: []scenarios.Subscription{{Topic: "up/+", QoS: 1}, {Topic: "last/+", QoS: 1}},
			}},
		},
		Traffic: []scenarios.Traffic{
			{From: "devices", To: "sites", Topic: "up/{from}", QoS: 1, Each: 50, Burst: 2, Payload: 64},
			{From: "devices", To: "devices", Topic: "rb/{client}/cmd", QoS: 1, Each: 20, Payload: 64},
			{From: "devices", To: "sites", Topic: "last/{from}", QoS: 1, Burst: 3, At: "fault", Retain: true, Payload: 64},
			{From: "control", To: "devices", Topic: "rb/{client}/tick", Each: 20, While: "away", Payload: 64},
		},
	}
	traffic := b.traffic(p, b.book.accounts())
	ccfg := b.controlConfig(broker.addr)
	ccfg.Accounts = traffic.Accounts()
	control := b.control(ccfg)
	fleets := map[string]*Fleet{}
	for _, pf := range p.Fleets {
		cfg := b.config(broker.addr, pf.Clients, pf.Fleet, control)
		cfg.Accounts, cfg.Probe = traffic.Accounts(), ""
		fleets[pf.Name] = b.fleet(cfg)
	}
	f, sites := fleets["devices"], fleets["sites"]
	join(t, traffic, f, sites, control.Fleet)
	await(t, "all up", func() bool { return f.Connected() == n && sites.Connected() == 2 && f.up.Load() == n })
	if err := traffic.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await(t, "messages", func() bool { return b.book.totals().acked > 200 })
	const last = 2*n + 1 // first stream of the third item
	for i := range n {
		before := b.book.attempts(uint32(last + i))
		traffic.Before(f.Name(), i)
		if kicks {
			broker.kick(t, f.ID(i))
		}
		await(t, "the burst is written", func() bool { return b.book.attempts(uint32(last+i)) >= before+3 })
	}
	await(t, "all back", func() bool {
		for i := range n {
			if kicks && f.LiveN(i) < 2 {
				return false
			}
		}
		return f.Away() == 0
	})
	acked := b.book.totals().acked
	await(t, "more messages", func() bool { return b.book.totals().acked > acked+200 })
	traffic.Stop()
	await(t, "all of QoS 1 acknowledged", func() bool {
		for _, l := range traffic.lanes {
			if l.QoS > 0 && b.book.unacked(l.ID) {
				return false
			}
		}
		return true
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := traffic.Sentinels(ctx); err != nil {
		t.Fatal(err)
	}
	// A new session is given the last burst's last message of each device.
	late := &retained{seen: map[string]mqtt.Delivery{}}
	spec := p.Fleets[1].Fleet
	spec.ClientID = "late-{index}"
	cfg := b.config(broker.addr, 1, spec, nil)
	cfg.Accounts = Accounts{Deliveries: late}
	lateFleet := b.fleet(cfg)
	await(t, "the retained messages", func() bool { return late.count() >= n })
	for topic, d := range late.seen {
		if !d.Retain || d.Header.Seq != 3 || topic[:5] != "last/" {
			t.Errorf("%s: %+v", topic, d)
		}
	}
	closeAll(t, lateFleet, f, sites, control, traffic)
	// A library that blocks around a kick has its client miss slots.
	if got := balance(t, b.book); got.refused != 0 || !kicks && got.queued+got.missed != 0 {
		t.Errorf("got %+v", got)
	}
}

// retained keeps the last delivery of each topic.
type retained struct {
	discard
	mu   sync.Mutex
	seen map[string]mqtt.Delivery
}

func (r *retained) Delivered(_ string, d mqtt.Delivery, _ timeline.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	topic := string(d.Topic)
	d.Topic = nil
	r.seen[topic] = d
}

func (r *retained) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// attempts is how many messages of a stream were attempted.
func (b *testBook) attempts(stream uint32) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.attempted[stream])
}

// unacked reports whether a stream has messages without an acknowledgement.
func (b *testBook) unacked(stream uint32) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.acked[stream]) < len(b.attempted[stream])
}
