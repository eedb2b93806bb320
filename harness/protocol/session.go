package protocol

import (
	"cmp"
	"slices"

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

var stepNames = [...]string{
	"none", "published", "acked", "received", "released", "completed",
	"delivered", "answered", "discharged", "ended",
}

// String gives the step's name in lower case.
func (s Step) String() string { return stepNames[s] }

// Message names a message of ours in an exchange.
type Message struct {
	Kind   mqtt.Kind
	Stream uint32
	Seq    uint64
	Sent   timeline.Instant // its latest transmission: before the write of its first byte, or after the read of its last
}

// same reports whether two transmissions are of one message.
func (m Message) same(o Message) bool {
	m.Sent, o.Sent = 0, 0
	return m == o
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
	// Unasked: of Delivered, RETAIN is 1 where no SUBSCRIBE can have asked for a
	// retained message. It is a delivery as any other, with a wrong flag.
	Unasked bool
	// Moved: of Published, the message has another packet id already: to the
	// broker this is a new message.
	Moved bool
	// Displaced: of Published, the message that was under way under this packet
	// id. What answers it from here on, nobody can tell.
	Displaced Message
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

	epoch  uint32           // number of the epoch; a CONNACK with session present 0 begins one
	place  uint64           // packets so far
	newest timeline.Instant // latest instant of giving among the messages written: a later one is new
	clean  int32            // latest connection that began a clean session

	ours   table // exchanges of what the client publishes
	theirs table // exchanges of what it receives
	owed   owed  // acknowledgements that the client may write beyond one for each exchange

	retained bool             // retained messages of a SUBSCRIBE may still be under way
	granted  timeline.Instant // latest SUBACK

	conns []conn // not in order; those that ended stay until their room is wanted
	last  int32  // highest number
	held  held
	ev    event // of the packet that is being followed; here, so that it costs no allocation
}

// Packet follows one packet of connection number conn, written by the client
// (out) or read by it, and calls report for each rule that it breaks. The
// numbers of connections begin with 1 and grow; packets of an older connection
// may come after those of a newer one.
func (s *Session) Packet(conn int, out bool, p *mqtt.Packet, at timeline.Instant, report func(Breach)) Seen {
	s.place++
	c, known := s.open(int32(conn), out, p)
	s.settle(c, out, report)
	ev := &s.ev
	*ev = event{s: s, c: c, out: out, p: p, at: at, known: known, report: report}
	ev.classify()
	if known {
		ev.judge()
	}
	seen := ev.follow()
	*ev = event{}
	return seen
}

// Unsent takes back a packet that was reported as written and whose last byte
// the socket did not take: it may not have been sent. What follows is legal if
// it is so in either case.
func (s *Session) Unsent(conn int, p *mqtt.Packet) {
	n := int32(conn)
	if s.held.is(n, p) {
		s.held = held{}
	}
	c := s.find(n)
	if c == nil {
		return
	}
	switch p.Type {
	case mqtt.DISCONNECT:
		if c.disconnected = false; s.held.conn == n {
			s.held = held{}
		}
	case mqtt.PUBLISH, mqtt.PUBREL:
		if e := s.ours.find(p.ID); e != nil && e.conn == n {
			e.unsend(p)
		}
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		*s.owed.of(p.Type)++ // it may come again
	}
}

// unsend opens both futures of an exchange whose latest packet was taken back.
// Of what was sent before there is nothing to take back.
func (e *exchange) unsend(p *mqtt.Packet) {
	switch {
	case p.Type == mqtt.PUBLISH && e.stage == published && e.pubs == 1:
		e.maybe = true
	case p.Type == mqtt.PUBREL && e.stage == released && e.rels == 1:
		e.stage, e.rels, e.maybe = received, 0, true
	}
}

// End says that a connection is over.
func (s *Session) End(conn int, at timeline.Instant) {
	if c := s.find(int32(conn)); c != nil {
		c.ended = true
	}
}

// Settle reports what waited for a later packet to be certain. It is for a
// caller at the end of a run, or of a connection.
func (s *Session) Settle(report func(Breach)) {
	if s.held.conn != 0 {
		report(s.held.breach)
		s.held = held{}
	}
}

// Open is an exchange that is not complete.
type Open struct {
	Out     bool // of a message that the client publishes
	ID      uint16
	QoS     byte
	Message Message // zero where it is not ours, or not known
	Step    Step    // the latest
	Conn    int     // number of the latest connection that a packet of it was written or read on
	Lapsed  bool    // the broker has forgotten its half: it was last seen before the present epoch
}

// Outstanding lists the exchanges that are not complete: those of the client's
// own messages first, each kind in the order of their first transmission.
func (s *Session) Outstanding() []Open {
	return append(s.outstanding(&s.ours, true), s.outstanding(&s.theirs, false)...)
}

func (s *Session) outstanding(t *table, out bool) []Open {
	var es []*exchange
	for i := range t.slots {
		e := &t.slots[i]
		lapsed := e.epoch < s.epoch
		if e.stage == free || e.stage == over || lapsed && (!out || e.conn <= s.clean) {
			continue
		}
		es = append(es, e)
	}
	slices.SortFunc(es, func(a, b *exchange) int { return cmp.Compare(a.first, b.first) })
	open := make([]Open, len(es))
	for i, e := range es {
		open[i] = Open{
			Out: out, ID: e.id, QoS: e.qos, Message: e.message(), Step: e.stage.step(out),
			Conn: int(e.conn), Lapsed: e.epoch < s.epoch,
		}
	}
	return open
}

// step is the name of a stage that is not the last one.
func (g stage) step(ours bool) Step {
	if ours {
		return [...]Step{published: Published, received: Received, released: Released}[g]
	}
	return [...]Step{published: Delivered, received: Answered, released: Discharged}[g]
}
