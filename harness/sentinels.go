package harness

import (
	"context"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// sentinels books the sentinels and knows whose are still on the way, so that
// the drain ends when there is nothing left to wait for.
type sentinels struct {
	book    *ledger.Book
	streams []fleet.Stream

	mu   sync.Mutex
	read map[uint32]int // deliveries by stream
}

var _ fleet.Sentinels = (*sentinels)(nil)

func newSentinels(book *ledger.Book) *sentinels {
	return &sentinels{book: book, read: map[uint32]int{}}
}

func (s *sentinels) Sentinel(stream uint32, sent, acked timeline.Instant) {
	s.book.Sentinel(stream, sent, acked)
}

func (s *sentinels) SentinelDelivered(client string, stream uint32, at timeline.Instant) {
	s.book.SentinelDelivered(client, stream, at)
	s.mu.Lock()
	s.read[stream]++
	s.mu.Unlock()
}

// owed reports whether some live client has not read a sentinel yet. live
// counts the live ones among the clients that a stream goes to.
func (s *sentinels) owed(live func(fleet.Stream) int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.streams {
		if s.read[st.ID] < live(st) {
			return true
		}
	}
	return false
}

// sentinel closes every stream: one message after everything else, and a wait
// until each live subscriber has read its own, or the bound has passed. Who
// was not reached is judged from the accounts.
func (r *run) sentinel(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sentinelWait)
	defer cancel()
	if err := r.traffic.Sentinels(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for r.sentinels.owed(r.receivers) {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
	return nil
}

// receivers counts the live clients that a stream goes to; one for a shared
// subscription, whoever of its members reads it.
func (r *run) receivers(st fleet.Stream) int {
	to := r.plan.Traffic[st.Item].To
	f := r.byName[to]
	switch {
	case st.To >= 0:
		return min(1, f.LiveN(st.To))
	case r.sharedOnly(to, st.Topic):
		return min(1, f.Connected())
	}
	return f.Connected()
}

// sharedOnly reports whether a fleet takes a topic by shared subscriptions only.
func (r *run) sharedOnly(name, topic string) bool {
	for _, s := range r.plan.Fleet(name).Subscribe {
		if !scenarios.Shared(s.Topic) && scenarios.Matches(s.Topic, topic) {
			return false
		}
	}
	return true
}
