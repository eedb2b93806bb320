package protocol

import (
	"slices"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// conn is what is known of one connection.
type conn struct {
	n     int32
	epoch uint32
	fence int32            // what connections before this one left behind was discarded by a clean session
	began timeline.Instant // CONNECT
	since timeline.Instant // CONNACK

	connected    bool // CONNECT was written
	clean        bool
	read         bool // a packet was read
	accepted     bool // a CONNACK was read, whatever it says
	disconnected bool // DISCONNECT was written
	subscribed   bool // SUBSCRIBE was written
	ended        bool

	owed   owed // acknowledgements that may be read beyond one for each exchange
	asked  requests
	strays strays

	// The highest places of what was sent so far, by which a later one is found
	// to be out of order: by direction of the message, resent PUBLISH and
	// PUBREL; of the acknowledgements that the client writes.
	resent, released [2]uint64
	puback, pubrec   uint64
}

// asked is a SUBSCRIBE or UNSUBSCRIBE that has no answer yet.
type asked struct {
	id      uint16
	filters []mqtt.Filter // nil of an UNSUBSCRIBE
	unsub   bool
}

// requests are those of one connection.
type requests []asked

func (rs requests) index(id uint16, unsub bool) int {
	return slices.IndexFunc(rs, func(a asked) bool { return a.id == id && a.unsub == unsub })
}

// uses reports whether a request has this id.
func (rs requests) uses(id uint16) bool { return rs.index(id, false) >= 0 || rs.index(id, true) >= 0 }

// take removes the request with this id and reports whether there was one.
func (rs *requests) take(id uint16, unsub bool) bool {
	i := rs.index(id, unsub)
	if i >= 0 {
		*rs = slices.Delete(*rs, i, i+1)
	}
	return i >= 0
}

// strays are the PUBLISHes, by packet id, that a connection read of exchanges
// with which a newer one has gone on, and that were not answered here. Two
// connections live at once while one takes over the other, and which CONNACK is
// read first does not say which was sent first: the client's own connection may
// be the older one by it. What it writes answers what it read, not what the
// other one did.
type strays []stray

type stray struct {
	id      uint16
	message Message
}

func (ss strays) index(id uint16) int {
	return slices.IndexFunc(ss, func(s stray) bool { return s.id == id })
}

// put keeps one PUBLISH for each id, the latest.
func (ss *strays) put(id uint16, m Message) {
	ss.take(id)
	*ss = append(*ss, stray{id, m})
}

// take removes the PUBLISH with this id and reports whether there was one.
func (ss *strays) take(id uint16) (m Message, ok bool) {
	i := ss.index(id)
	if i < 0 {
		return Message{}, false
	}
	m = (*ss)[i].message
	*ss = slices.Delete(*ss, i, i+1)
	return m, true
}

func (s *Session) find(n int32) *conn {
	for i := range s.conns {
		if s.conns[i].n == n {
			return &s.conns[i]
		}
	}
	return nil
}

// open gives the record of connection n, a new one if p can be its first
// packet. Of a connection that is forgotten by now nothing is known: its
// packets are neither judged nor do they change anything.
func (s *Session) open(n int32, out bool, p *mqtt.Packet) (c *conn, known bool) {
	if c := s.find(n); c != nil {
		return c, true
	}
	if n <= s.last && (!out || p.Type != mqtt.CONNECT) {
		return &conn{n: n}, false
	}
	s.last = max(s.last, n)
	c = s.room()
	*c = conn{n: n, epoch: s.epoch, fence: s.clean + 1, asked: c.asked[:0], strays: c.strays[:0]}
	return c, true
}

// shared reports whether the session has another connection that is accepted
// and not known to be over.
func (s *Session) shared(c *conn) bool {
	for i := range s.conns {
		if o := &s.conns[i]; o.n != c.n && o.accepted && !o.ended {
			return true
		}
	}
	return false
}

// room is a free record: that of a connection that ended, but not the latest
// one, whose reader and writer may still report what they saw.
func (s *Session) room() *conn {
	var old, latest *conn
	for i := range s.conns {
		switch c := &s.conns[i]; {
		case !c.ended:
		case latest == nil || c.n > latest.n:
			old, latest = latest, c
		default:
			old = c
		}
	}
	if old == nil {
		s.conns = append(s.conns, conn{})
		old = &s.conns[len(s.conns)-1]
	}
	return old
}

// held is a breach of a packet that may be taken back yet.
type held struct {
	conn   int32 // 0 = none
	typ    mqtt.Type
	id     uint16
	breach Breach
}

func (h *held) is(conn int32, p *mqtt.Packet) bool {
	return h.conn == conn && h.typ == p.Type && h.id == p.ID
}

// settle reports the breach that is held once it can not be taken back any
// more: with the next packet that is written on its connection, or with one of
// a newer connection.
func (s *Session) settle(c *conn, out bool, report func(Breach)) {
	if h := &s.held; h.conn != 0 && (c.n > h.conn || c.n == h.conn && out) {
		s.Settle(report)
	}
}
