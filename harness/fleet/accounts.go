package fleet

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Sessions is told of each connection that the broker accepted.
type Sessions interface {
	// Connected: a CONNACK with return code 0 was read on connection number
	// conn. Without session present a new epoch of the session begins.
	Connected(client string, conn int, present bool, at timeline.Instant)
}

// Publications is told what publishers' taps see.
type Publications interface {
	// Attempted: the first byte of a message is about to be offered to the
	// socket. It is called again for each resend.
	Attempted(stream uint32, seq uint64, conn int, intended, at timeline.Instant)
	// Moved: the message that was just attempted again has another packet id than
	// before: the publisher sends it as a new one.
	Moved(stream uint32, seq uint64)
	// Displaced: another message was written under the packet id of this one,
	// which was not complete: its outcome can not be told any more.
	Displaced(stream uint32, seq uint64)
	// Acked: the PUBACK was read or, at QoS 2, the PUBREC.
	Acked(stream uint32, seq uint64, at timeline.Instant)
	// Released: at QoS 2, the first byte of the PUBREL is about to be offered to
	// the socket. It is called again for each resend.
	Released(stream uint32, seq uint64, conn int, at timeline.Instant)
	// Completed: at QoS 2, the PUBCOMP was read.
	Completed(stream uint32, seq uint64, at timeline.Instant)
}

// Deliveries is told what subscribers' taps see. Slices are valid during the
// call only.
type Deliveries interface {
	// Asked: a SUBSCRIBE with this filter is about to be written.
	Asked(client, filter string, qos byte, at timeline.Instant)
	// Subscribed: a SUBACK that grants a filter was read. It is called once
	// per filter and epoch, and again only when the return code changed: to
	// another QoS, or to a refusal (0x80).
	Subscribed(client, filter string, granted byte, at timeline.Instant)
	// Unsubscribed: an UNSUBSCRIBE of the filter is about to be written.
	Unsubscribed(client, filter string, at timeline.Instant)
	// Delivered: a complete PUBLISH of KindData was read.
	Delivered(client string, d mqtt.Delivery, at timeline.Instant)
	// Answered: the first PUBACK or PUBREC of a delivery was written on
	// connection number conn.
	Answered(client string, stream uint32, seq uint64, conn int, at timeline.Instant)
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
	Sessions     Sessions
	Publications Publications
	Deliveries   Deliveries
	Handlings    Handlings
	Sentinels    Sentinels
	Timetable    Timetable
}

// filled puts the discarding books in the empty places.
func (a Accounts) filled() Accounts {
	if a.Sessions == nil {
		a.Sessions = discard{}
	}
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
func (discard) Moved(uint32, uint64)                                              {}
func (discard) Displaced(uint32, uint64)                                          {}
func (discard) Acked(uint32, uint64, timeline.Instant)                            {}
func (discard) Released(uint32, uint64, int, timeline.Instant)                    {}
func (discard) Completed(uint32, uint64, timeline.Instant)                        {}
func (discard) Connected(string, int, bool, timeline.Instant)                     {}
func (discard) Asked(string, string, byte, timeline.Instant)                      {}
func (discard) Unsubscribed(string, string, timeline.Instant)                     {}
func (discard) Answered(string, uint32, uint64, int, timeline.Instant)            {}
func (discard) Subscribed(string, string, byte, timeline.Instant)                 {}
func (discard) Corrupt(string, []byte, timeline.Instant)                          {}
func (discard) Handled(string, uint32, uint64)                                    {}
func (discard) Sentinel(uint32, timeline.Instant, timeline.Instant)               {}
func (discard) SentinelDelivered(string, uint32, timeline.Instant)                {}
func (discard) Slots(uint32, int64, int64, int64)                                 {}
func (discard) Queued(uint32, int64)                                              {}
func (discard) Delivered(string, mqtt.Delivery, timeline.Instant)                 {}
