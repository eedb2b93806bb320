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

// strictSession is the session state that section 3.1.2.4 gives to a client:
// the messages that were sent and not completely acknowledged, and the QoS 2
// messages that were received and not completely acknowledged. Messages that
// wait for their first sending are kept with the former. It is not safe for
// concurrent use and does no I/O: it appends packets to a buffer.
//
// A packet is made just before it is written. So an acknowledgement that is
// read before that, as of a broker that repeats those of the lost connection,
// keeps a message from being sent once more.
type strictSession struct {
	publishes flights // not acknowledged, in the order of their first sending
	releases  flights // PUBREC received, PUBCOMP not, in the order of the PUBRECs
	byID      map[uint16]*flight
	received  map[uint16]struct{} // inbound QoS 2, from PUBLISH to PUBREL
	lastID    uint16
	waiting   int     // bytes of QoS 0 payloads in publishes
	spare     *flight // used again, so that a publish allocates nothing
}

// flight is one message on its way to the broker; one of QoS 0 only until it is
// written.
type flight struct {
	id       uint16
	qos      byte
	retain   bool
	released bool // in releases; else in publishes
	tried    bool // it was given to a socket
	topic    string
	payload  []byte

	prev, next *flight
}

// flights is a list in order. due is the first that this connection has not
// seen yet; nil = it has seen all.
type flights struct{ first, last, due *flight }

func (l *flights) add(f *flight) {
	f.prev, f.next = l.last, nil
	if l.last != nil {
		l.last.next = f
	} else {
		l.first = f
	}
	l.last = f
	if l.due == nil {
		l.due = f
	}
}

func (l *flights) remove(f *flight) {
	if l.due == f {
		l.due = f.next
	}
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
// of no SUBSCRIBE on the connection, if there is one [MQTT-2.3.1-2]. It goes
// round, so that an identifier comes back as late as can be.
func (s *strictSession) newID(on *strictLink) (uint16, error) {
	for range math.MaxUint16 {
		if s.lastID++; s.lastID == 0 { // [MQTT-2.3.1-1]
			s.lastID = 1
		}
		if _, used := s.byID[s.lastID]; !used && (on == nil || on.subscribes[s.lastID] == nil) {
			return s.lastID, nil
		}
	}
	return 0, errNoID
}

// publish takes a new message; id 0 = QoS 0.
func (s *strictSession) publish(id uint16, topic string, qos byte, retain bool, payload []byte) {
	f := s.spare
	if f == nil {
		f = new(flight)
	}
	s.spare = f.next
	*f = flight{id: id, qos: qos, retain: retain, topic: topic, payload: payload}
	s.publishes.add(f)
	if qos == 0 {
		s.waiting += len(payload)
		return
	}
	if s.byID == nil {
		s.byID = map[uint16]*flight{}
	}
	s.byID[id] = f
}

// done forgets a message: its identifier may be used again.
func (s *strictSession) done(f *flight) {
	if f.released {
		s.releases.remove(f)
	} else {
		s.publishes.remove(f)
	}
	if f.qos == 0 {
		s.waiting -= len(f.payload)
	} else {
		delete(s.byID, f.id)
	}
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
// PUBREL in any case [MQTT-4.3.3-1]: when it comes twice or too late, by one more
// on dst.
func (s *strictSession) pubrec(dst []byte, id uint16) ([]byte, error) {
	f := s.byID[id]
	switch {
	case f == nil, f.released:
		return mqtt.AppendPubrel(dst, id), nil
	case f.qos != 2:
		return dst, fmt.Errorf("%w: PUBREC for a QoS 1 message, identifier %d", errViolation, id)
	}
	s.publishes.remove(f)
	f.released, f.topic, f.payload = true, "", nil
	s.releases.add(f)
	return dst, nil
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

// resume makes the state fit to a new connection: all that is not acknowledged
// is due again. See Strict for the reasons.
func (s *strictSession) resume(clean, present bool) {
	for f := s.publishes.first; f != nil; {
		next := f.next
		// Nothing of an earlier session goes on [MQTT-3.1.2-6]; what was never
		// given to a socket belongs to none yet. QoS 0 dies with its connection.
		if clean && f.tried || f.qos == 0 {
			s.done(f)
		}
		f = next
	}
	for clean && s.releases.first != nil {
		s.done(s.releases.first)
	}
	if !present {
		clear(s.received)
	}
	s.publishes.due, s.releases.due = s.publishes.first, s.releases.first
}

// due reports whether next has something to append.
func (s *strictSession) due() bool { return s.releases.due != nil || s.publishes.due != nil }

// next appends what is due, until dst has limit bytes or more: PUBRELs in the
// order of their PUBRECs [MQTT-4.6.0-4], the answers to what was read, then PUBLISHes in the order of their first sending
// [MQTT-4.6.0-1]. DUP is set from the second attempt on [MQTT-3.3.1-1], and only
// then [MQTT-4.3.2-1].
func (s *strictSession) next(dst, answers []byte, limit int) (out, left []byte) {
	for f := s.releases.due; f != nil && len(dst) < limit; f = s.releases.due {
		dst = mqtt.AppendPubrel(dst, f.id)
		s.releases.due = f.next
	}
	if s.releases.due == nil {
		dst, answers = append(dst, answers...), answers[:0]
	}
	for f := s.publishes.due; f != nil && len(dst) < limit; f = s.publishes.due {
		dst = mqtt.AppendPublish(dst, mqtt.Publish{Topic: f.topic, ID: f.id, QoS: f.qos, Dup: f.tried, Retain: f.retain, Payload: f.payload})
		f.tried = true
		s.publishes.due = f.next
		if f.qos == 0 {
			s.done(f)
		}
	}
	return dst, answers
}
