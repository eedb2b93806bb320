package netfault

import "github.com/rebound-mqtt/rebound/harness/mqtt"

// exchanges knows which message each packet id of a client stands for, over
// all its connections: a PUBREL after a resume has no PUBLISH on its own one.
type exchanges struct {
	sent, got ids // of messages that the client sent, and that it got
}

// ids are the packet ids of one direction with their messages.
type ids struct {
	messages map[uint16]message
	// An exchange that is complete here need not be so for the peer, who did not
	// get the PUBCOMP and sends its PUBREL again: the latest are kept.
	over [32]uint16 // oldest at next; 0 = none, as no packet has that id [MQTT-2.3.1-1]
	next int
}

type message struct {
	header mqtt.Header
	over   bool
}

// follow takes note of a packet, which passed or was kept from passing, and
// gives the message of its exchange; zero if it is none of ours.
func (x *exchanges) follow(out, passed bool, p *mqtt.Packet) mqtt.Header {
	side := &x.got
	if (p.Type == mqtt.PUBLISH || p.Type == mqtt.PUBREL) == out {
		side = &x.sent
	}
	switch p.Type {
	case mqtt.PUBLISH:
		var h mqtt.Header
		if p.HeaderErr == nil {
			h = p.Header
		}
		if p.QoS() > 0 {
			side.begin(p.ID, h)
		}
		return h
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP:
		m := side.messages[p.ID]
		if passed && (p.Type == mqtt.PUBACK || p.Type == mqtt.PUBCOMP) {
			side.end(p.ID, m)
		}
		return m.header
	}
	return mqtt.Header{}
}

func (s *ids) begin(id uint16, h mqtt.Header) {
	if h == (mqtt.Header{}) {
		delete(s.messages, id)
		return
	}
	if s.messages == nil {
		s.messages = make(map[uint16]message)
	}
	s.messages[id] = message{header: h}
}

func (s *ids) end(id uint16, m message) {
	if m.over || m == (message{}) {
		return
	}
	if old := s.over[s.next]; s.messages[old].over {
		delete(s.messages, old) // unless it was begun anew since
	}
	s.over[s.next] = id
	s.next = (s.next + 1) % len(s.over)
	s.messages[id] = message{m.header, true}
}
