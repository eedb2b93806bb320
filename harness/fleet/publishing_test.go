package fleet

import (
	"io"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// trafficConfig lays out a plan's traffic over two control connections.
func (b *bench) trafficConfig(plan *scenarios.Plan, a Accounts) TrafficConfig {
	b.t.Helper()
	streams, err := Streams(plan, testRun, 2)
	if err != nil {
		b.t.Fatal(err)
	}
	return TrafficConfig{Clock: b.clock, Items: plan.Traffic, Streams: streams, Accounts: a}
}

func (b *bench) traffic(plan *scenarios.Plan, a Accounts) *Traffic {
	b.t.Helper()
	traffic, err := NewTraffic(b.trafficConfig(plan, a))
	if err != nil {
		b.t.Fatal(err)
	}
	return traffic
}

// publishing starts a control fleet with the traffic of a plan that needs no
// other fleet.
func (b *bench) publishing(cfg ControlConfig, plan *scenarios.Plan) (*Traffic, *Control) {
	b.t.Helper()
	traffic := b.traffic(plan, b.book.accounts())
	cfg.Accounts = traffic.Accounts()
	control := b.control(cfg)
	join(b.t, traffic, control.Fleet)
	return traffic, control
}

// join names the fleets; the test's end stops the traffic.
func join(t testing.TB, traffic *Traffic, fleets ...*Fleet) {
	t.Helper()
	if err := traffic.Join(fleets...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traffic.Stop)
}

// newControl makes a control fleet that is not started.
func newControl(t *testing.T, cfg ControlConfig) *Control {
	t.Helper()
	c, err := NewControl(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(t, c) })
	return c
}

func closeAll(t testing.TB, all ...io.Closer) {
	t.Helper()
	for _, c := range all {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
