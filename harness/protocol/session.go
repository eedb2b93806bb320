package protocol

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Step is what a packet does in the exchange of a message.
type Step byte

// The steps. The first five are of a message that the client publishes, the
// others of one that it receives.
const (
	None       Step = iota // the packet is in no exchange of a message, or in one that is not known
	Published              // PUBLISH written
	Acked                  // PUBACK read
	Received               // PUBREC read
	Released               // PUBREL written
	Completed              // PUBCOMP read
	Delivered              // PUBLISH read
	Answered               // PUBACK or PUBREC written for a PUBLISH that was read
	Discharged             // PUBREL read
	Ended                  // PUBCOMP written
)

// Message names a message of ours in an exchange.
type Message struct {
	Kind   mqtt.Kind
	Stream uint32
	Seq    uint64
	Sent   timeline.Instant // its latest transmission: before the write of its first byte, or after the read of its last
}

// Seen is what one packet meant.
type Seen struct {
	Step    Step
	Message Message // zero where it is not known
	// Again: of Published, a further transmission of the message in this
	// session; of Delivered at QoS 2, a further copy of a delivery that is not
	// yet discharged (same packet id, same epoch, no PUBREL read): legal, and
	// no second delivery.
	Again bool
}

// Breach is one rule broken by one packet.
type Breach struct {
	Rule     string // name of a row of Rules
	Charge   timeline.Charge
	Warn     bool
	PacketID uint16
	Stream   uint32 // 0 = no message of ours
	Seq      uint64
	Detail   string
}

// Session follows one session: one client id at one broker, over all its
// connections and epochs. The zero value is ready, for MQTT 3.1.1. It is not
// safe for concurrent use. Memory is bounded by what is in flight.
type Session struct {
	// Level is the protocol level: 4 or 0 for MQTT 3.1.1, 5 for MQTT 5.0.
	Level byte

	out map[uint16]Message
}

// Packet follows one packet of connection number conn, written by the client
// (out) or read by it, and calls report for each rule that it breaks.
func (s *Session) Packet(conn int, out bool, p *mqtt.Packet, at timeline.Instant, report func(Breach)) Seen {
	h := &p.Header
	switch {
	case p.Type == mqtt.PUBLISH && p.HeaderErr == nil && out:
		m := Message{h.Kind, h.Stream, h.Seq, at}
		if p.QoS() > 0 {
			if s.out == nil {
				s.out = map[uint16]Message{}
			}
			s.out[p.ID] = m
		}
		return Seen{Step: Published, Message: m}
	case p.Type == mqtt.PUBLISH && p.HeaderErr == nil:
		return Seen{Step: Delivered, Message: Message{h.Kind, h.Stream, h.Seq, at}}
	case p.Type == mqtt.PUBACK && !out:
		m, ok := s.out[p.ID]
		if !ok {
			return Seen{}
		}
		delete(s.out, p.ID)
		return Seen{Step: Acked, Message: m}
	}
	return Seen{}
}

// Unsent takes back a packet that was reported as written and whose last byte
// the socket did not take: it may not have been sent.
func (s *Session) Unsent(conn int, p *mqtt.Packet) {}

// End says that a connection is over.
func (s *Session) End(conn int, at timeline.Instant) {}
