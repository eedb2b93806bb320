package protocol

import (
	"hash/crc32"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// identity tells one message given to the sender from another. A resend has
// the same; the same payload given again by the application has not, since it
// carries another instant of giving.
type identity struct {
	kind   mqtt.Kind // 0 = not ours
	qos    byte
	stream uint32
	seq    uint64 // of a message that is not ours: the bytes of its payload
	given  timeline.Instant
	topic  uint32 // checksum of the topic, and of the run
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func identify(p *mqtt.Packet) identity {
	topic := crc32.Checksum(p.Topic, castagnoli)
	if p.HeaderErr != nil {
		return identity{qos: p.QoS(), seq: uint64(p.Payload), topic: topic}
	}
	h := &p.Header
	return identity{
		kind: h.Kind, qos: p.QoS(), stream: h.Stream, seq: h.Seq, given: timeline.Instant(h.Sent),
		topic: topic ^ uint32(h.Run) ^ uint32(h.Run>>32),
	}
}

func (m *identity) ours() bool { return m.kind != 0 }

// stage is how far an exchange has come, whoever sends the message.
type stage byte

const (
	free      stage = iota
	published       // PUBLISH
	received        // PUBREC
	released        // PUBREL
	over            // PUBACK or PUBCOMP
)

// exchange is one message under one packet id. It stays a while when it is
// over, since its sender may not know that yet.
type exchange struct {
	identity
	since timeline.Instant // first transmission of the PUBLISH
	sent  timeline.Instant // latest one
	first uint64           // place of the first transmission among the session's packets
	due   uint64           // place of the PUBLISH whose acknowledgement is due; 0 = none
	turn  uint64           // place of the PUBREC, if there was one only; 0 = none
	born  int32            // connection of the first transmission
	conn  int32            // latest connection that it was seen on
	pub   int32            // latest connection with a PUBLISH of it
	rel   int32            // latest connection with a PUBREL of it
	rec   int32            // latest connection with a PUBREC that answers no PUBLISH of its own
	epoch uint32           // epoch of conn
	id    uint16
	stage stage
	pubs  byte // transmissions of the PUBLISH, as far as 2
	rels  byte // transmissions of the PUBREL, as far as 2
	slot  byte // when it is over: its place in the ring
	maybe bool // its latest packet was taken back: it was sent, or it was not
	loose bool // its place in the order of sending is not known
	// A connection that is not the latest has answered it. What the latest one
	// still reads of it may have been sent before, and its id is free.
	parted bool
}

// message names the exchange's message for the outside.
func (e *exchange) message() Message {
	if !e.ours() {
		return Message{}
	}
	return Message{e.kind, e.stream, e.seq, e.sent}
}

// answer is the acknowledgement that the latest packet of the sender gets.
func (e *exchange) answer() mqtt.Type {
	switch {
	case e.stage == released:
		return mqtt.PUBCOMP
	case e.qos == 1:
		return mqtt.PUBACK
	}
	return mqtt.PUBREC
}

// keep is the number of exchanges that are over and still known in each
// direction. What is older is not proved to be a breach any more.
const keep = 8

// room is the number of slots of the smallest table.
const room = 16

// table holds the exchanges of one direction by packet id: open addressing
// with linear probing, so that the steady state allocates nothing. A pointer
// into it is valid until the next add, remove or finish.
type table struct {
	slots []exchange // a power of two of them, or none
	n     int
	ended [keep]uint16 // ids of the exchanges that ended last, a ring
	turn  byte         // where the next one goes
}

// index is the slot of an id, or -1.
func (t *table) index(id uint16) int {
	if t.n == 0 {
		return -1
	}
	mask := len(t.slots) - 1
	for i := int(id) & mask; t.slots[i].stage != free; i = (i + 1) & mask {
		if t.slots[i].id == id {
			return i
		}
	}
	return -1
}

func (t *table) find(id uint16) *exchange {
	if i := t.index(id); i >= 0 {
		return &t.slots[i]
	}
	return nil
}

// put stores e, in place of what has its id.
func (t *table) put(e exchange) *exchange {
	if old := t.find(e.id); old != nil {
		*old = e
		return old
	}
	if (t.n+1)*4 > len(t.slots)*3 {
		t.resize(max(room, 2*len(t.slots)))
	}
	t.n++
	mask := len(t.slots) - 1
	i := int(e.id) & mask
	for t.slots[i].stage != free {
		i = (i + 1) & mask
	}
	t.slots[i] = e
	return &t.slots[i]
}

// remove deletes an id and closes the gap, so that no probe stops short.
func (t *table) remove(id uint16) {
	gap := t.index(id)
	if gap < 0 {
		return
	}
	mask := len(t.slots) - 1
	for i := (gap + 1) & mask; t.slots[i].stage != free; i = (i + 1) & mask {
		home := int(t.slots[i].id) & mask
		if (i-home)&mask >= (i-gap)&mask {
			t.slots[gap], gap = t.slots[i], i
		}
	}
	t.slots[gap] = exchange{}
	t.n--
}

// finish ends an exchange and forgets the one that ended keep exchanges ago.
func (t *table) finish(e *exchange) {
	id, oldest := e.id, t.ended[t.turn]
	e.stage, e.turn, e.slot = over, 0, t.turn
	t.ended[t.turn] = id
	if o := t.find(oldest); oldest != id && o != nil && o.stage == over && o.slot == t.turn {
		t.remove(oldest)
	}
	t.turn = (t.turn + 1) % keep
}

// epoch begins a new epoch with connection conn: what was sent on conn already,
// or on a newer one, is of the new epoch; what is older than the one before is
// forgotten.
func (t *table) epoch(epoch uint32, conn int32) {
	for i := range t.slots {
		e := &t.slots[i]
		if e.stage != free && e.conn >= conn {
			e.epoch = epoch
		}
		if e.epoch+1 < epoch {
			e.stage = free
		}
	}
	t.resize(len(t.slots))
}

// fit gives back the room that a burst took.
func (t *table) fit() {
	size := len(t.slots)
	for size > room && t.n*8 < size*3/2 {
		size /= 2
	}
	if t.n == 0 {
		size = 0
	}
	if size < len(t.slots) {
		t.resize(size)
	}
}

// resize moves the exchanges to a table with so many slots.
func (t *table) resize(size int) {
	old := t.slots
	t.slots, t.n = nil, 0
	if size == 0 {
		return
	}
	t.slots = make([]exchange, size)
	for i := range old {
		if old[i].stage == free {
			continue
		}
		t.n++
		j := int(old[i].id) & (size - 1)
		for t.slots[j].stage != free {
			j = (j + 1) & (size - 1)
		}
		t.slots[j] = old[i]
	}
}
