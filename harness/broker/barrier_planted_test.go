package broker

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// wrongGates changes what is put up, or does more.
type wrongGates struct {
	gated
	change func(g *target.Gate)
}

func (w wrongGates) SetGate(ctx context.Context, g target.Gate) (target.GateTally, error) {
	w.change(&g)
	return w.gated.SetGate(ctx, g)
}

// The conformance cases catch gates that are wrong.
func TestPlantedGates(t *testing.T) {
	for _, plant := range []struct {
		what, in string
		change   func(b *Embedded) func(g *target.Gate)
	}{
		{"a gate that does not reject", "reject-auth", onEach(func(g *target.Gate) { g.RejectAuth.Share = 0 })},
		{"another code", "reject-auth", onEach(func(g *target.Gate) { g.RejectAuth.Code = 4 })},
		{"a share that another seed decides", "reject-auth, a share", onEach(func(g *target.Gate) { g.Seed = uint64(time.Now().UnixNano()) })},
		{"a limit that lets all in", "connect-limit, refuse", onEach(func(g *target.Gate) { g.ConnectLimit.Burst = 1000 })},
		{"a bucket that fills too fast", "connect-limit, refill", onEach(func(g *target.Gate) { g.ConnectLimit.Rate = 1e6 })},
		{"a refusal instead of silence", "connect-limit, close", onEach(func(g *target.Gate) { g.ConnectLimit.Then = target.ThenRefuse })},
		{"workers without a bound", "slow-auth", onEach(func(g *target.Gate) { g.SlowAuth.Workers = 0 })},
		{"no delay", "slow-auth", onEach(func(g *target.Gate) { g.SlowAuth.Delay = 0 })},
		{"a SUBSCRIBE that is not held", "subscribe-slow", onEach(func(g *target.Gate) {
			if g.SubscribeSlow.Delay < time.Hour {
				g.SubscribeSlow.Delay = 0
			}
		})},
		{"a quota that lets all through", "publish-quota, delay", onEach(func(g *target.Gate) { g.PublishQuota.Burst = 1000 })},
		{"a gate for everyone", "reject-auth", onEach(func(g *target.Gate) { g.Clients = "" })},
		{"a heal that does not heal", "two at once", func(*Embedded) func(g *target.Gate) {
			return func(g *target.Gate) {
				if g.Open() {
					g.Name = "x"
				}
			}
		}},
		{"a heal that leaves one hanging", "connect-limit, hang", func(b *Embedded) func(g *target.Gate) {
			return func(g *target.Gate) {
				if !g.Open() { // one of them waits at a gate of its own
					one := *g
					one.Name, one.Clients = "0", "dev-1"
					limit := *g.ConnectLimit
					one.ConnectLimit = &limit
					left, err := newBarrier(one, b.gate.barriers.closing)
					if err != nil {
						t.Fatal(err)
					}
					left.bucket.AllowN(time.Now(), limit.Burst)
					list := append([]*barrier{left}, b.gate.barriers.list()...)
					b.gate.barriers.up.Store(&list)
				}
			}
		}},
	} {
		t.Run(plant.what, func(t *testing.T) {
			run := gateCases()[plant.in]
			var found problems
			for try := 0; try < 5 && len(found) == 0; try++ { // a busy machine is slow all by itself
				b := startTest(t, Options{})
				found = witnessed(t, b, func(t *testing.T, watched gated) problems {
					return run(t, wrongGates{watched, plant.change(b)})
				})
			}
			if len(found) == 0 {
				t.Errorf("%s finds nothing wrong", plant.in)
			}
			t.Log(strings.Join(found, "\n"))
		})
	}
}

func onEach(change func(g *target.Gate)) func(*Embedded) func(*target.Gate) {
	return func(*Embedded) func(g *target.Gate) {
		return func(g *target.Gate) {
			if !g.Open() {
				change(g)
			}
		}
	}
}

// A child that is started again has the gates of the one before it, also one
// that was put up meanwhile, and not one that was taken away.
func TestGatesOutliveARestart(t *testing.T) {
	b := startTestChild(t, Options{})
	set := func(g target.Gate) {
		t.Helper()
		if _, err := b.SetGate(t.Context(), g); err != nil {
			t.Fatal(err)
		}
	}
	reject := func(name, clients string) target.Gate {
		return target.Gate{Name: name, Clients: clients, RejectAuth: &target.RejectAuth{Share: 1, Code: target.RefusedAuthorization}}
	}
	set(reject("kept", "a"))
	set(reject("away", "b"))
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	set(reject("meanwhile", "c"))
	set(target.Gate{Name: "away"})
	if err := b.Start(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]byte{"a": 5, "b": 0, "c": 5, "d": 0} {
		c := dialRaw(t, b.Info().Addresses[0])
		c.write(mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: id, Clean: true, KeepAlive: 30}))
		if code := c.read(4)[3]; code != want {
			t.Errorf("%s is answered %d, want %d", id, code, want)
		}
	}
}
