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
	wave  int
}

var _ fault.Clients = clients{}

func (c clients) LiveN(fleet string, client int) int { return c.run.byName[fleet].LiveN(client) }

func (c clients) Disconnect(_ context.Context, fleet string, client int) error {
	c.Closing(fleet, client)
	return c.done(fleet, client, c.run.byName[fleet].Disconnect(client))
}

func (c clients) Takeover(ctx context.Context, fleet string, client int, hold time.Duration) (timeline.Instant, error) {
	c.Closing(fleet, client)
	at, err := c.run.byName[fleet].Takeover(ctx, client, hold)
	return at, c.done(fleet, client, err)
}

func (c clients) Silence(fleet string, client int) (int, func(), error) {
	return c.run.byName[fleet].Silence(client)
}

func (c clients) Holding(fleet string, client int) {
	f := c.run.byName[fleet]
	c.run.victims.holding(c.phase, c.wave, f.ID(client), place{f, client}, f.LiveN(client))
}

func (c clients) Released(fleet string, client int) {
	f, now := c.run.byName[fleet], c.run.clock.Now()
	c.run.victims.released(c.phase, f.ID(client), now)
	f.Prove(client, now)
}

func (c clients) Closing(fleet string, client int) {
	f := c.run.byName[fleet]
	c.run.victims.closing(c.phase, c.wave, f.ID(client), place{f, client}, f.LiveN(client))
}

// done notes an action that failed.
func (c clients) done(fleet string, client int, err error) error {
	if err != nil {
		c.run.victims.failed(c.phase, c.run.byName[fleet].ID(client))
	}
	return err
}

// isFrame reports whether a kind of fault acts on single packets.
func isFrame(kind string) bool { return kind == "cut" || kind == "truncate" || kind == "swallow" }

// framed notes a packet that a frame fault is about to act on, and records it.
func (r *run) framed(f timeline.Frame) {
	r.victims.framed(f.ClientID, f.N)
	r.ev.add(timeline.Event{Frame: &f})
}
