package fleet

import (
	"errors"
	"fmt"
	"math"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

var (
	// errViolation says that the broker broke the protocol. The connection is
	// closed for it [MQTT-4.8.0-1].
	errViolation = errors.New("protocol violation by the broker")
	errNoID      = errors.New("all packet identifiers are in use")
)

// notQueued is the place in the stream of a message that waits for a
// connection.
const notQueued = math.MaxUint64

// strictSession is the session state that section 3.1.2.4 gives to a client:
// the messages that were sent and not completely acknowledged, and the QoS 2
// messages that were received and not completely acknowledged. Messages that
// wait for their first sending are kept with the former. It is not safe for
// concurrent use and does no I/O: it appends packets to a buffer.
type strictSession struct {
	publishes flights // not acknowledged, in the order of their first sending
	releases  flights // PUBREC received, PUBCOMP not, in the order of the PUBRECs
	byID      map[uint16]*flight
	received  map[uint16]struct{} // inbound QoS 2, from PUBLISH to PUBREL
	lastID    uint16
	spare     *flight // used again, so that a publish allocates nothing
}

// flight is one message on its way to the broker.
type flight struct {
	id       uint16
	qos      byte
	retain   bool
	released bool   // in releases; else in publishes
	tried    bool   // its first byte was offered to an earlier connection
	at       uint64 // where it begins in the stream of this connection
	topic    string
	payload  []byte

	prev, next *flight
}

// flights is a list in order.
type flights struct{ first, last *flight }

func (l *flights) add(f *flight) {
	f.prev, f.next = l.last, nil
	if l.last != nil {
		l.last.next = f
	} else {
		l.first = f
	}
	l.last = f
}

func (l *flights) remove(f *flight) {
	if f.prev != nil {
		f.prev.next = f.next
	} else {
		l.first = f.next
	}
	if f.next != nil {
		f.next.prev = f.prev
	} else {
		l.last = f.prev
	}
	f.prev, f.next = nil, nil
}

// newID gives an identifier that is not in use: of no message on its way, and
// of no SUBSCRIBE, which used knows [MQTT-2.3.1-2]. It goes round, so that an
// identifier comes back as late as can be.
func (s *strictSession) newID(used func(uint16) bool) (uint16, error) {
	for range math.MaxUint16 {
		if s.lastID++; s.lastID == 0 { // [MQTT-2.3.1-1]
			s.lastID = 1
		}
		if _, ok := s.byID[s.lastID]; !ok && (used == nil || !used(s.lastID)) {
			return s.lastID, nil
		}
	}
	return 0, errNoID
}

// publish takes a new message.
func (s *strictSession) publish(id uint16, topic string, qos byte, retain bool, payload []byte) *flight {
	f := s.spare
	if f == nil {
		f = new(flight)
	}
	s.spare = f.next
	*f = flight{id: id, qos: qos, retain: retain, at: notQueued, topic: topic, payload: payload}
	if s.byID == nil {
		s.byID = map[uint16]*flight{}
	}
	s.byID[id] = f
	s.publishes.add(f)
	return f
}

// done forgets a message: its identifier may be used again.
func (s *strictSession) done(f *flight) {
	if f.released {
		s.releases.remove(f)
	} else {
		s.publishes.remove(f)
	}
	delete(s.byID, f.id)
	*f = flight{next: s.spare}
	s.spare = f
}

// puback ends a QoS 1 message [MQTT-4.3.2-1]. One that is not known is no
// violation: a broker may answer each copy of a message.
func (s *strictSession) puback(id uint16) error {
	f := s.byID[id]
	switch {
	case f == nil:
		return nil
	case f.qos != 1:
		return fmt.Errorf("%w: PUBACK for a QoS 2 message, identifier %d", errViolation, id)
	}
	s.done(f)
	return nil
}

// pubrec moves a QoS 2 message on: from now on it is its PUBREL that is not
// acknowledged, and the PUBLISH is never sent again. A PUBREC is answered by
// PUBREL in any case, also when it comes twice or too late [MQTT-4.3.3-1].
func (s *strictSession) pubrec(dst []byte, id uint16) ([]byte, error) {
	f := s.byID[id]
	switch {
	case f == nil, f.released:
	case f.qos != 2:
		return dst, fmt.Errorf("%w: PUBREC for a QoS 1 message, identifier %d", errViolation, id)
	default:
		s.publishes.remove(f)
		f.released, f.topic, f.payload = true, "", nil
		s.releases.add(f)
	}
	return mqtt.AppendPubrel(dst, id), nil
}

// pubcomp ends a QoS 2 message. Only one that waits for it: an earlier copy's
// late PUBCOMP must not end another message with the same identifier.
func (s *strictSession) pubcomp(id uint16) error {
	f := s.byID[id]
	switch {
	case f == nil:
	case f.qos != 2:
		return fmt.Errorf("%w: PUBCOMP for a QoS 1 message, identifier %d", errViolation, id)
	case f.released:
		s.done(f)
	}
	return nil
}

// receive remembers the identifier of an inbound QoS 2 message, and reports
// whether it is a new publication and not a copy of one that is not yet
// released [MQTT-4.3.3-2].
func (s *strictSession) receive(id uint16) (fresh bool) {
	if _, ok := s.received[id]; ok {
		return false
	}
	if s.received == nil {
		s.received = map[uint16]struct{}{}
	}
	s.received[id] = struct{}{}
	return true
}

// release forgets the identifier: the next PUBLISH with it is a new
// publication [MQTT-4.3.3-2].
func (s *strictSession) release(id uint16) { delete(s.received, id) }

// cut says that a connection is over, on which offered bytes were given to the
// socket.
func (s *strictSession) cut(offered uint64) {
	for f := s.publishes.first; f != nil; f = f.next {
		f.tried = f.tried || f.at < offered
		f.at = notQueued
	}
}

// resume makes the state fit to a new connection and appends to dst what has to
// be sent first: see Strict for the reasons.
func (s *strictSession) resume(dst []byte, clean, present bool) []byte {
	if clean {
		s.discard()
	}
	if !present {
		clear(s.received)
	}
	for f := s.releases.first; f != nil; f = f.next { // [MQTT-4.6.0-4]
		dst = mqtt.AppendPubrel(dst, f.id)
	}
	for f := s.publishes.first; f != nil; f = f.next { // [MQTT-4.6.0-1]
		dst = f.append(dst, 0)
	}
	return dst
}

// discard ends all exchanges that have begun [MQTT-3.1.2-6]. A message that was
// never offered to a connection belongs to no session yet, and stays.
func (s *strictSession) discard() {
	for f := s.releases.first; f != nil; f = s.releases.first {
		s.done(f)
	}
	for f := s.publishes.first; f != nil; {
		next := f.next
		if f.tried {
			s.done(f)
		}
		f = next
	}
}

// append adds the PUBLISH to dst, before which the stream has base bytes. DUP is
// set from the second attempt on [MQTT-3.3.1-1], and only then [MQTT-4.3.2-1].
func (f *flight) append(dst []byte, base uint64) []byte {
	f.at = base + uint64(len(dst))
	return mqtt.AppendPublish(dst, mqtt.Publish{Topic: f.topic, ID: f.id, QoS: f.qos, Dup: f.tried, Retain: f.retain, Payload: f.payload})
}
