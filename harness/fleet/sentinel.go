package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// sentinelBatch is how many sentinels are queued per wakeEvery.
	sentinelBatch = 16
	// sentinelSettle is how long a publisher that came back must have been there
	// before its sentinels are sent: behind what its library resends.
	sentinelSettle = timeline.Instant(100 * time.Millisecond)
)

// Sentinels sends one more message on each stream, at its QoS or at QoS 1, after all others,
// and returns when every one was acknowledged or ctx has ended; those of a
// publisher that is away wait for it. The traffic must have been stopped, and
// the run be quiet: whoever is connected then has nothing more to send.
func (t *Traffic) Sentinels(ctx context.Context) error {
	waiting := make([]*lane, 0, len(t.lanes))
	since := make(map[*publisher]visit, len(t.publishers))
	for _, l := range t.lanes {
		waiting = append(waiting, l)
		if l.publisher == nil {
			return fmt.Errorf("%w: the traffic knows no fleets", ErrConfig)
		}
	}
	for _, p := range t.publishers {
		since[p] = visit{n: p.liveN()}
	}
	pace := time.NewTicker(wakeEvery)
	defer pace.Stop()
	for {
		home, all := t.tally.home.Load(), int64(len(t.lanes))
		if home == all {
			return nil
		}
		var err error
		select {
		case <-pace.C:
			waiting = t.queueSentinels(waiting, since)
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-t.closed:
			err = ErrClosed
		}
		if err != nil {
			return fmt.Errorf("sentinels: %d of %d acknowledged: %w", t.tally.home.Load(), all, err)
		}
	}
}

// visit is since when a publisher was seen on a connection.
type visit struct {
	n    int64
	from timeline.Instant
}

func (p *publisher) liveN() int64 { return p.client.session.liveN.Load() }

// queueSentinels queues a batch of those that are due, and gives those that
// were not taken yet.
func (t *Traffic) queueSentinels(waiting []*lane, since map[*publisher]visit) []*lane {
	now := t.cfg.Clock.Now()
	budget := sentinelBatch
	rest := waiting[:0]
	for _, l := range waiting {
		if l.sentinel.Load() == sentinelTaken {
			continue
		}
		rest = append(rest, l)
		p := l.publisher
		n := p.liveN()
		switch v := since[p]; {
		case n != v.n:
			since[p] = visit{n, now}
		case n == 0 || v.from != 0 && now-v.from < sentinelSettle || budget == 0:
		case l.sentinel.CompareAndSwap(sentinelDue, sentinelQueued):
			budget--
			p.push(slot{lane: l, due: now, sentinel: true})
		}
	}
	return rest
}
