package fleet

import (
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// tally stands between the publishers' taps and the accounts. It counts,
// per stream, the distinct messages that the tap saw, so that those which the
// library took and never wrote can be told; and which sentinels came home.
type tally struct {
	publications Publications
	sentinels    Sentinels
	streams      []count // by stream id - 1

	home atomic.Int64 // sentinels acknowledged
}

// count is what the tap saw of one stream.
type count struct {
	mu        sync.Mutex
	qos       byte
	attempted int64 // distinct messages
	top       uint64
	// gaps holds the numbers below top that were not seen yet. It stays empty
	// but for messages that wait in the library's store while newer ones
	// overtake them after a reconnect. QoS 0 is never resent and needs none.
	gaps     map[uint64]struct{}
	sentinel bool // acknowledged
	// sealed: the books of the stream are closed. A library that was closed in the
	// middle of a write may still come to its next one, which fails: what it
	// took and had not written by then stays booked as queued.
	sealed bool
}

func newTally(streams []Stream, a Accounts) *tally {
	t := &tally{
		publications: a.Publications, sentinels: a.Sentinels,
		streams: make([]count, len(streams)),
	}
	for i := range streams {
		t.streams[i].qos = streams[i].QoS
	}
	return t
}

func (t *tally) stream(id uint32) *count {
	if id == 0 || int(id) > len(t.streams) {
		return nil
	}
	return &t.streams[id-1]
}

// Attempted implements Publications.
func (t *tally) Attempted(stream uint32, seq uint64, conn int, intended, at timeline.Instant) {
	if c := t.stream(stream); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock() // not before it is booked: seal must see both or neither
		if c.sealed {
			return
		}
		c.see(seq)
	}
	t.publications.Attempted(stream, seq, conn, intended, at)
}

// Moved implements Publications.
func (t *tally) Moved(stream uint32, seq uint64) { t.publications.Moved(stream, seq) }

// Displaced implements Publications.
func (t *tally) Displaced(stream uint32, seq uint64) { t.publications.Displaced(stream, seq) }

// Acked implements Publications.
func (t *tally) Acked(stream uint32, seq uint64, at timeline.Instant) {
	t.publications.Acked(stream, seq, at)
}

// Released implements Publications.
func (t *tally) Released(stream uint32, seq uint64, conn int, at timeline.Instant) {
	t.publications.Released(stream, seq, conn, at)
}

// Completed implements Publications.
func (t *tally) Completed(stream uint32, seq uint64, at timeline.Instant) {
	t.publications.Completed(stream, seq, at)
}

// see counts a message once, however often it is resent. c.mu is held.
func (c *count) see(seq uint64) {
	switch _, late := c.gaps[seq]; {
	case c.qos == 0:
		c.attempted++
	case late:
		delete(c.gaps, seq)
		c.attempted++
	case seq > c.top:
		for gap := c.top + 1; gap < seq; gap++ {
			if c.gaps == nil {
				c.gaps = map[uint64]struct{}{}
			}
			c.gaps[gap] = struct{}{}
		}
		c.top = seq
		c.attempted++
	}
}

// seal closes the books of the stream and gives the number of its messages.
func (c *count) seal() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sealed = true
	return c.attempted
}

// Sentinel implements Sentinels.
func (t *tally) Sentinel(stream uint32, sent, acked timeline.Instant) {
	if c := t.stream(stream); c != nil && acked != 0 {
		c.mu.Lock()
		first := !c.sentinel
		c.sentinel = true
		c.mu.Unlock()
		if first {
			t.home.Add(1)
		}
	}
	t.sentinels.Sentinel(stream, sent, acked)
}

// SentinelDelivered implements Sentinels.
func (t *tally) SentinelDelivered(client string, stream uint32, at timeline.Instant) {
	t.sentinels.SentinelDelivered(client, stream, at)
}
