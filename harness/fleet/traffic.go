package fleet

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	// slotMissed is how late a slot may be sent. Later it is counted as missed.
	slotMissed = timeline.Instant(time.Second)
	// wakeEvery is the shortest sleep of a publisher: above a thousand messages
	// per second it sends all due slots of a wake-up together.
	wakeEvery = time.Millisecond
	// sentinelBatch is how many sentinels a connection sends per wakeEvery.
	sentinelBatch = 4
	never         = timeline.Instant(math.MaxInt64)
)

// publisher sends the streams of one control connection by the timetable.
type publisher struct {
	control *Control
	client  *client
	lanes   []*lane
	items   []*item
}

// lane is a stream with its position and its counts. Only the publisher's
// goroutine touches it until the traffic has stopped.
type lane struct {
	Stream
	seq                        uint64
	scheduled, missed, refused int64
}

// item is a publisher's share of one traffic item. The item's slots go round
// its streams: slot k belongs to stream k mod streams, and is due at
// start + k / rate, so that the streams are spread and not sent in bursts.
type item struct {
	payload int
	rate    float64 // slots per second, all streams
	streams int     // all streams, also those of other connections
	lanes   []*lane
	places  []int // of the lanes among the item's streams

	round int64
	next  int // index of lanes
	due   timeline.Instant
}

func newPublisher(c *Control, cl *client, traffic []scenarios.Traffic, streams []Stream, conn int) (*publisher, error) {
	p := &publisher{control: c, client: cl}
	items := make([]item, len(traffic))
	for i := range streams {
		s := &streams[i]
		if s.ID != uint32(i+1) || s.Item < 0 || s.Item >= len(items) {
			return nil, fmt.Errorf("%w: stream %d at %d, item %d", ErrConfig, s.ID, i, s.Item)
		}
		it := &items[s.Item]
		if s.conn == conn {
			l := &lane{Stream: *s}
			p.lanes = append(p.lanes, l)
			it.lanes, it.places = append(it.lanes, l), append(it.places, it.streams)
		}
		it.streams++
		it.rate += s.Rate
	}
	for i := range items {
		if it := &items[i]; len(it.lanes) > 0 && it.rate > 0 {
			it.payload = traffic[i].Payload
			p.items = append(p.items, it)
		}
	}
	return p, nil
}

// run sends slots as they come due until the traffic is stopped, then books
// what became of them.
func (p *publisher) run(ctx context.Context, start timeline.Instant) {
	defer p.bookSlots()
	for _, it := range p.items {
		it.due = it.at(start)
	}
	now := p.control.cfg.Clock.Now
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			next := p.sendDue(start, now(), true)
			if next == never {
				return
			}
			timer.Reset(max(time.Duration(next-now()), wakeEvery))
		case <-p.control.stop:
			p.sendDue(start, p.control.stopAt, true)
			return
		case <-ctx.Done():
			p.sendDue(start, now(), false) // given up: they count as missed
			return
		case <-p.control.ctx.Done():
			p.sendDue(start, now(), false)
			return
		}
	}
}

// sendDue handles every slot that is due at limit, in the order of their due
// times, and gives the due time of the next one.
func (p *publisher) sendDue(start, limit timeline.Instant, send bool) timeline.Instant {
	clock := p.control.cfg.Clock
	now := clock.Now()
	for {
		it := p.earliest()
		if it == nil {
			return never
		}
		if it.due > limit {
			return it.due
		}
		l := it.lanes[it.next]
		l.scheduled++
		if !send || now-it.due > slotMissed {
			l.missed++
		} else {
			p.slot(it, l)
			now = clock.Now() // the library may have blocked
		}
		it.advance(start)
	}
}

func (p *publisher) earliest() *item {
	var first *item
	for _, it := range p.items {
		if first == nil || it.due < first.due {
			first = it
		}
	}
	return first
}

// slot sends one message. A refused one gives its number back: the library
// certainly does not have it.
func (p *publisher) slot(it *item, l *lane) {
	l.seq++
	h := mqtt.Header{Kind: mqtt.KindData, Stream: l.ID, Seq: l.seq, Intended: int64(it.due)}
	if err := p.control.publish(p.client, l.Topic, l.QoS, it.payload, h); err != nil {
		l.seq--
		l.refused++
	}
}

func (it *item) advance(start timeline.Instant) {
	if it.next++; it.next == len(it.lanes) {
		it.next = 0
		it.round++
	}
	it.due = it.at(start)
}

func (it *item) at(start timeline.Instant) timeline.Instant {
	slot := it.round*int64(it.streams) + int64(it.places[it.next])
	return start + timeline.Instant(float64(slot)/it.rate*float64(time.Second))
}

func (p *publisher) bookSlots() {
	for _, l := range p.lanes {
		p.control.timetable.Slots(l.ID, l.scheduled, l.missed, l.refused)
	}
}

func (p *publisher) bookQueued() {
	for _, l := range p.lanes {
		queued := l.scheduled - l.missed - l.refused - p.control.tally.stream(l.ID).seen()
		p.control.timetable.Queued(l.ID, queued)
	}
}

// Sentinels sends one more message on each stream, at QoS 1, after all others,
// and returns when every one was acknowledged or ctx has ended. The traffic
// must have been stopped.
func (c *Control) Sentinels(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	for _, p := range c.publishers {
		group.Go(func() error { return p.sentinels(gctx) })
	}
	err := group.Wait()
	for err == nil && c.tally.home.Load() < int64(len(c.tally.streams)) {
		select {
		case <-c.tally.arrived:
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-c.ctx.Done():
			err = ErrClosed
		}
	}
	if err != nil {
		return fmt.Errorf("sentinels: %d of %d acknowledged: %w", c.tally.home.Load(), len(c.tally.streams), err)
	}
	return nil
}

// sentinels sends those of one connection.
func (p *publisher) sentinels(ctx context.Context) error {
	pace := time.NewTicker(wakeEvery)
	defer pace.Stop()
	budget := sentinelBatch
	for i := 0; i < len(p.lanes); {
		if budget == 0 {
			select {
			case <-pace.C:
				budget = sentinelBatch
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-p.control.ctx.Done():
				return ErrClosed
			}
		}
		budget--
		l := p.lanes[i]
		h := mqtt.Header{Kind: mqtt.KindSentinel, Stream: l.ID, Seq: l.seq + 1, Intended: int64(p.control.cfg.Clock.Now())}
		if p.control.publish(p.client, l.Topic, 1, mqtt.HeaderSize, h) == nil {
			i++
			continue
		}
		budget = 0 // not connected: try again at the pace
	}
	return nil
}
