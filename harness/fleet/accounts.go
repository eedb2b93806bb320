package fleet

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Publications is told what publishers' taps see.
type Publications interface {
	// Attempted: the first byte of a message is about to be offered to the
	// socket. It is called again for each resend.
	Attempted(stream uint32, seq uint64, conn int, intended, at timeline.Instant)
	// Acked: the PUBACK was read.
	Acked(stream uint32, seq uint64, at timeline.Instant)
}

// Deliveries is told what subscribers' taps see. Slices are valid during the
// call only.
type Deliveries interface {
	// Epoch: the broker began a new session (CONNACK with session present 0).
	Epoch(client string, at timeline.Instant)
	// Subscribed: a SUBACK that grants a filter was read. It is called once
	// per filter and epoch, and again only when the return code changed: to
	// another QoS, or to a refusal (0x80).
	Subscribed(client, filter string, granted byte, at timeline.Instant)
	// Delivered: a complete PUBLISH of KindData was read.
	Delivered(client string, h mqtt.Header, topic []byte, qos byte, dup bool, conn int, at timeline.Instant)
	// Corrupt: a PUBLISH without our header, or with a broken one, was read.
	Corrupt(client string, topic []byte, at timeline.Instant)
}

// Handlings is told what the application's message handler was given.
type Handlings interface {
	Handled(client string, stream uint32, seq uint64)
}

// Sentinels is told of the messages that close each stream.
type Sentinels interface {
	// Sentinel is called when one is about to be written, with acked 0, and
	// again when its PUBACK was read.
	Sentinel(stream uint32, sent, acked timeline.Instant)
	SentinelDelivered(client string, stream uint32, at timeline.Instant)
}

// Timetable is told what became of the slots of the open-loop traffic:
// scheduled = missed + refused + queued + distinct attempted.
type Timetable interface {
	// Slots adds to the stream's counts, when the traffic stops.
	Slots(stream uint32, scheduled, missed, refused int64)
	// Queued: so many messages were taken by the library and never seen at the
	// tap. Called once per stream, after the control fleet was closed.
	Queued(stream uint32, n int64)
}

// Accounts are the books that a fleet fills. They are called from the
// libraries' reader and writer goroutines: they must be quick, safe for
// concurrent use, and must not call back. A nil one is not kept.
type Accounts struct {
	Publications Publications
	Deliveries   Deliveries
	Handlings    Handlings
	Sentinels    Sentinels
	Timetable    Timetable
}

// filled puts the discarding books in the empty places.
func (a Accounts) filled() Accounts {
	if a.Publications == nil {
		a.Publications = discard{}
	}
	if a.Deliveries == nil {
		a.Deliveries = discard{}
	}
	if a.Handlings == nil {
		a.Handlings = discard{}
	}
	if a.Sentinels == nil {
		a.Sentinels = discard{}
	}
	if a.Timetable == nil {
		a.Timetable = discard{}
	}
	return a
}

// discard keeps no account of anything.
type discard struct{}

func (discard) Attempted(uint32, uint64, int, timeline.Instant, timeline.Instant) {}
func (discard) Acked(uint32, uint64, timeline.Instant)                            {}
func (discard) Epoch(string, timeline.Instant)                                    {}
func (discard) Subscribed(string, string, byte, timeline.Instant)                 {}
func (discard) Corrupt(string, []byte, timeline.Instant)                          {}
func (discard) Handled(string, uint32, uint64)                                    {}
func (discard) Sentinel(uint32, timeline.Instant, timeline.Instant)               {}
func (discard) SentinelDelivered(string, uint32, timeline.Instant)                {}
func (discard) Slots(uint32, int64, int64, int64)                                 {}
func (discard) Queued(uint32, int64)                                              {}
func (discard) Delivered(string, mqtt.Header, []byte, byte, bool, int, timeline.Instant) {
}
