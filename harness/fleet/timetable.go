package fleet

import (
	"context"
	"math"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// wakeEvery is the shortest sleep of the timetable: above a thousand slots
	// per second it queues all that are due at a wake-up together.
	wakeEvery = time.Millisecond
	never     = timeline.Instant(math.MaxInt64)
)

// item is one traffic item on the timetable. Its slots go round its streams:
// slot k belongs to stream k mod streams, and is due at start + k / rate, so
// that the streams are spread over time.
type item struct {
	lanes []*lane
	rate  float64 // slots per second, all streams
	k     int64   // next slot
}

func (it *item) due(start timeline.Instant) timeline.Instant {
	return start + timeline.Instant(float64(it.k)/it.rate*float64(time.Second))
}

// timetable queues slots as they come due until the traffic is stopped. It
// never waits for a library, so that the due times of all streams are kept.
func (t *Traffic) timetable(ctx context.Context, start timeline.Instant) {
	now := t.cfg.Clock.Now
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			next := t.queueDue(start, now())
			if next == never {
				return
			}
			timer.Reset(max(time.Duration(next-now()), wakeEvery))
		case <-t.stop:
			t.queueDue(start, t.stopAt)
			return
		case <-ctx.Done():
			t.givenUp.Store(true)
			t.queueDue(start, now()) // to be counted
			return
		}
	}
}

// queueDue queues every slot that is due at limit, in the order of their due
// times, and gives the due time of the next one.
func (t *Traffic) queueDue(start, limit timeline.Instant) timeline.Instant {
	for {
		it, due := t.earliest(start)
		if it == nil || due > limit {
			return due
		}
		l := it.lanes[it.k%int64(len(it.lanes))]
		it.k++
		if !l.withheld() {
			l.publisher.push(slot{lane: l, due: due})
		}
	}
}

func (t *Traffic) earliest(start timeline.Instant) (first *item, due timeline.Instant) {
	due = never
	for _, it := range t.items {
		if d := it.due(start); d < due {
			first, due = it, d
		}
	}
	return first, due
}
