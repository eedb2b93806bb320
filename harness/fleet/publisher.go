package fleet

import (
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// publisher hands the messages of one client to its library, one after the
// other: the numbers of a stream are given in the order of the calls. At most
// one goroutine is in drain at a time, see queued.
type publisher struct {
	traffic *Traffic
	client  *client
	lanes   []*lane

	mu     sync.Mutex
	queue  []slot
	spare  []slot // the other buffer
	queued bool   // in the pool, or being drained
}

// lane is a stream on its way.
type lane struct {
	Stream
	publisher *publisher
	receiver  *Fleet // of a stream that is sent only while its receiver is away, else nil
	payload   int
	burst     int
	retain    bool
	patience  timeline.Instant // how late a message may be handed over; later it is missed

	// Only the goroutine that drains the publisher touches these until the
	// traffic has stopped.
	seq                        uint64
	scheduled, missed, refused int64

	sentinel atomic.Int32 // one of the states below
}

// withheld reports whether the stream waits for its receiver to go away. It
// looks at the client of now: a slot is due now, or was a moment ago.
func (l *lane) withheld() bool { return l.receiver != nil && l.receiver.LiveN(l.To) != 0 }

// The states of a lane's sentinel.
const (
	sentinelDue int32 = iota
	sentinelQueued
	sentinelTaken // by the library
)

// slot is a burst of messages of one stream, or its sentinel.
type slot struct {
	lane     *lane
	due      timeline.Instant
	sentinel bool
	done     *countdown // told when the slot was handled; nil = nobody waits
}

// countdown closes done when left slots were handled.
type countdown struct {
	left atomic.Int64
	done chan struct{}
}

func (c *countdown) tick() {
	if c != nil && c.left.Add(-1) == 0 {
		close(c.done)
	}
}

// push queues a slot and never blocks.
func (p *publisher) push(s slot) {
	p.mu.Lock()
	p.queue = append(p.queue, s)
	first := !p.queued
	p.queued = true
	p.mu.Unlock()
	if first {
		p.traffic.pool.add(p)
	}
}

// drain handles what is queued, and reports whether more has come meanwhile.
func (p *publisher) drain() (more bool) {
	p.mu.Lock()
	work := p.queue
	p.queue, p.spare = p.spare[:0], nil
	p.mu.Unlock()
	for i := range work {
		p.handle(&work[i])
	}
	clear(work)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spare = work
	p.queued = len(p.queue) > 0
	return p.queued
}

func (p *publisher) handle(s *slot) {
	defer s.done.tick()
	if s.sentinel {
		p.sentinel(s)
		return
	}
	for range s.lane.burst {
		p.message(s)
	}
}

// message sends one message, unless it is too late. A refused one gives its
// number back: the library certainly does not have it, and no later one was
// given.
func (p *publisher) message(s *slot) {
	l := s.lane
	l.scheduled++
	if p.traffic.givenUp.Load() || p.traffic.cfg.Clock.Now()-s.due > l.patience {
		l.missed++
		return
	}
	l.seq++
	h := mqtt.Header{Kind: mqtt.KindData, Stream: l.ID, Seq: l.seq, Intended: int64(s.due)}
	if p.client.publish(l.Topic, l.QoS, l.retain, l.payload, h) != nil {
		l.seq--
		l.refused++
	}
}

// sentinel sends the message that closes a stream: at the stream's QoS, since
// order is promised within one QoS only [MQTT-4.6.0-6], but at QoS 1 where the
// stream's is 0, so that it is acknowledged. A refused one falls due again.
func (p *publisher) sentinel(s *slot) {
	l := s.lane
	h := mqtt.Header{Kind: mqtt.KindSentinel, Stream: l.ID, Seq: l.seq + 1, Intended: int64(s.due)}
	if p.client.publish(l.Topic, max(1, l.QoS), false, mqtt.HeaderSize, h) != nil {
		l.sentinel.Store(sentinelDue)
		return
	}
	l.sentinel.Store(sentinelTaken)
}

// publish hands a message to the client's library, which may block for the
// write time-out. Before the first connect is done it would not be kept.
func (c *client) publish(topic string, qos byte, retain bool, size int, h mqtt.Header) error {
	if !c.up.Load() {
		return ErrRefused
	}
	lib, cfg := c.get(), &c.fleet.cfg
	payload := make([]byte, max(size, mqtt.HeaderSize)) // the library keeps it
	h.Run, h.Sent = cfg.RunID, int64(cfg.Clock.Now())
	mqtt.PutPayload(payload, h)
	return lib.Publish(topic, qos, retain, payload)
}
