package harness

import (
	"context"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// clients is what the faults of one phase may have clients do. Each action is
// noted before it takes effect, like the closes.
type clients struct {
	run   *run
	phase string
}

var _ fault.Clients = clients{}

func (c clients) LiveN(fleet string, client int) int { return c.run.byName[fleet].LiveN(client) }

func (c clients) Disconnect(_ context.Context, fleet string, client int) error {
	c.closing(fleet, client)
	return c.run.byName[fleet].Disconnect(client)
}

func (c clients) Takeover(ctx context.Context, fleet string, client int, hold time.Duration) (timeline.Instant, error) {
	c.closing(fleet, client)
	return c.run.byName[fleet].Takeover(ctx, client, hold)
}

func (c clients) Ending(fleet string, client int) { c.closing(fleet, client) }

func (c clients) Holding(fleet string, client int) {
	f := c.run.byName[fleet]
	c.run.victims.holding(c.phase, f.ID(client), place{f, client}, f.LiveN(client))
}

func (c clients) Released(fleet string, client int) {
	f, now := c.run.byName[fleet], c.run.clock.Now()
	c.run.victims.released(c.phase, f.ID(client), now)
	f.Prove(client, now)
}

func (c clients) closing(fleet string, client int) {
	f := c.run.byName[fleet]
	c.run.victims.closing(c.phase, f.ID(client), place{f, client}, f.LiveN(client))
}

// isFrame reports whether a kind of fault acts on single packets.
func isFrame(kind string) bool { return kind == "cut" || kind == "truncate" || kind == "swallow" }

// framed notes a packet that a frame fault is about to act on, and records it.
func (r *run) framed(f timeline.Frame) {
	r.victims.framed(f.ClientID, f.N)
	r.ev.add(timeline.Event{Frame: &f})
}
