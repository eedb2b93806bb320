package ledger

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// delivery is the account of one stream at one subscriber in one epoch, or the
// part of an epoch from which a higher QoS was granted. Its stream's lock
// guards it.
type delivery struct {
	st      *stream
	prev    *delivery // the account before it, of the same stream and client
	epoch   int
	began   timeline.Instant
	ended   timeline.Instant
	granted byte
	filters int
	place   int              // in st.expecting, from 1; 0 = nothing more is expected
	since   timeline.Instant // SUBACK read: expected is what is attempted later

	expected, delivered, handled Set
	extra                        map[uint64]Extra
	reordered                    []Reorder
	sentinel                     timeline.Instant
	order                        order
	high                         uint64 // highest expected number that was delivered, for the live totals
}

// qos is the expected QoS: what was published, lowered by the SUBACK where
// there was one.
func (d *delivery) qos() byte {
	if d.filters == 0 {
		return d.st.qos
	}
	return min(d.st.qos, d.granted)
}

// Connected says that a CONNACK was read on the client's connection number
// conn. Without session present an epoch ends: the client's subscriptions are
// gone, and so is what its old session had not delivered.
func (b *Book) Connected(client string, conn int, present bool, at timeline.Instant) {
	if present {
		return
	}
	sub := b.subscriber(client)
	sub.mu.Lock()
	defer sub.mu.Unlock()
	for _, d := range sub.current {
		d.st.mu.Lock()
		if d.ended == 0 {
			d.ended = at
			d.st.unexpect(d)
		}
		d.st.mu.Unlock()
	}
	sub.epoch++
	sub.began = at
	clear(sub.filters)
}

// Subscribed says that the SUBACK of a filter was read with this return code;
// 0x80 and above is a refusal, which grants nothing from here on.
func (b *Book) Subscribed(client, filter string, granted byte, at timeline.Instant) {
	sub := b.subscriber(client)
	b.topics.mu.Lock()
	defer b.topics.mu.Unlock()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.known == nil {
		sub.known = map[string]bool{}
	}
	streams := b.topics.subscribe(filter, sub, sub.known[filter])
	sub.known[filter] = true
	if granted < 0x80 { // [MQTT-3.9.3-2]
		sub.filters[filter] = granted
	} else {
		delete(sub.filters, filter)
	}
	for _, st := range streams {
		sub.expect(st, at)
	}
}

// expect brings the account of a stream into line with the client's filters.
// The caller holds the subscriber's lock.
func (sub *subscriber) expect(st *stream, at timeline.Instant) {
	filters, granted := 0, byte(0)
	for filter, g := range sub.filters {
		if scenarios.Matches(filter, st.topic) {
			filters++
			granted = max(granted, g) // overlapping filters: the maximum counts [MQTT-3.3.5-1]
		}
	}
	if filters == 0 {
		if d := sub.current[st.id]; d != nil {
			st.mu.Lock()
			st.unexpect(d)
			st.mu.Unlock()
		}
		return
	}
	d := sub.account(st)
	st.mu.Lock()
	defer st.mu.Unlock()
	if !d.expected.IsZero() && min(st.qos, granted) > d.qos() {
		// What was attempted under the lower grant stays owed at it.
		st.unexpect(d)
		d.ended = at
		d = sub.open(st, d)
	}
	if d.expected.IsZero() || granted < d.granted {
		d.granted = granted
	}
	d.filters = max(d.filters, filters)
	if d.place == 0 {
		d.since = at
		st.expecting = append(st.expecting, d)
		d.place = len(st.expecting)
	}
}

// unexpect ends the expectation of an account. The caller holds st's lock.
func (st *stream) unexpect(d *delivery) {
	if d.place == 0 {
		return
	}
	last := len(st.expecting) - 1
	moved := st.expecting[last]
	st.expecting[d.place-1], moved.place = moved, d.place
	st.expecting[last] = nil
	st.expecting = st.expecting[:last]
	d.place = 0
}

// account gives the account of a stream in the client's current epoch. The
// caller holds the subscriber's lock.
func (sub *subscriber) account(st *stream) *delivery {
	d := sub.current[st.id]
	if d == nil || d.epoch != max(sub.epoch, 1) {
		d = sub.open(st, d)
	}
	return d
}

// open opens a new account. A session that was there before the run has no
// Epoch call; it counts as epoch 1.
func (sub *subscriber) open(st *stream, prev *delivery) *delivery {
	sub.epoch = max(sub.epoch, 1)
	d := &delivery{st: st, prev: prev, epoch: sub.epoch, began: sub.began}
	sub.current[st.id] = d
	sub.all = append(sub.all, d)
	return d
}

// Asked says that a SUBSCRIBE with this filter is about to be written.
func (b *Book) Asked(client, filter string, qos byte, at timeline.Instant) {}

// Unsubscribed says that an UNSUBSCRIBE of the filter is about to be written.
func (b *Book) Unsubscribed(client, filter string, at timeline.Instant) {}

// Answered says that the first PUBACK or PUBREC of a delivery was written.
func (b *Book) Answered(client string, id uint32, seq uint64, conn int, at timeline.Instant) {}

// Delivered says that a complete PUBLISH with a data header was read.
func (b *Book) Delivered(client string, p mqtt.Delivery, at timeline.Instant) {
	h, topic, qos, dup, conn := p.Header, p.Topic, p.QoS, p.DUP, p.Conn
	st, why := b.judge(h, topic)
	if why != "" {
		b.stray(Stray{Client: client, Topic: string(topic), QoS: qos, Stream: h.Stream, Seq: h.Seq, Why: why, At: at})
		return
	}
	sub := b.subscriber(client)
	sub.mu.Lock()
	defer sub.mu.Unlock()
	// After a takeover copies read on the old connection count, but their order
	// says nothing.
	inOrder := conn >= sub.conn
	sub.conn = max(sub.conn, conn)

	d := sub.account(st)
	st.mu.Lock()
	defer st.mu.Unlock()
	switch m := st.open.find(h.Seq); {
	case !d.delivered.Add(h.Seq):
		b.copied(d, h, dup, at)
	case d.expected.Contains(h.Seq) && m != nil:
		b.arrived(d, m, inOrder, at)
	default:
		b.belated(d, h, m)
	}
}

// judge finds the stream of a message, or why it is a stray.
func (b *Book) judge(h mqtt.Header, topic []byte) (*stream, string) {
	if h.Run != b.run {
		return nil, WhyWrongRun
	}
	st := b.streams.get(h.Stream)
	if st == nil {
		return nil, WhyUnknownStream
	}
	if string(topic) != st.topic {
		return nil, WhyWrongTopic
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if !st.attempted.Contains(h.Seq) {
		return nil, WhyNeverAttempted
	}
	return st, ""
}

// arrived books the first copy of a message that this account expects.
func (b *Book) arrived(d *delivery, m *message, inOrder bool, at timeline.Instant) {
	b.totals.delivered.Add(1)
	b.passed(d, m.seq)
	if inOrder {
		// Where QoS 0 is owed a resend may be the first copy that the
		// subscriber could get at all, so it can not be out of order.
		if after := d.order.overtaken(m); after != 0 && (d.qos() > 0 || len(m.more) == 0) {
			d.reordered = append(d.reordered, Reorder{Seq: m.seq, After: after, At: at})
			m.kept = true
			b.totals.reordered.Add(1)
		}
		d.order.delivered(m)
	}
	m.owed--
	b.settle(d.st, m)
}

// passed keeps the live count of messages that a later one has passed.
func (b *Book) passed(d *delivery, seq uint64) {
	lost := &b.totals.lost[min(d.qos(), 1)]
	switch {
	case seq < d.high && !d.st.late.Contains(seq):
		lost.Add(-1)
	case seq > d.high+1:
		if gap := d.expected.count(d.high+1, seq-1); gap > 0 {
			if !d.st.late.IsZero() {
				gap -= d.expected.Intersect(d.st.late).count(d.high+1, seq-1)
			}
			lost.Add(gap)
		}
	}
	d.high = max(d.high, seq)
}

// copied books a further copy in one epoch.
func (b *Book) copied(d *delivery, h mqtt.Header, dup bool, at timeline.Instant) {
	b.totals.duplicated.Add(1)
	if d.extra == nil {
		d.extra = map[uint64]Extra{}
	}
	e, ok := d.extra[h.Seq]
	if !ok {
		e = Extra{Seq: h.Seq, Copies: 1}
	}
	e.Copies++
	e.DUP = e.DUP || dup
	e.At = at
	d.extra[h.Seq] = e
	b.keep(d.st, h)
}

// belated books the first copy in this epoch of a message that an earlier one
// expected, or none did.
func (b *Book) belated(d *delivery, h mqtt.Header, m *message) {
	seen, owed := false, false
	for p := d.prev; p != nil; p = p.prev {
		seen = seen || p.delivered.Contains(h.Seq)
		owed = owed || p.expected.Contains(h.Seq)
	}
	if seen {
		b.totals.duplicated.Add(1)
		b.keep(d.st, h)
		return
	}
	b.totals.delivered.Add(1)
	if owed && m != nil {
		m.owed--
		b.settle(d.st, m)
	}
}

// keep holds on to the times of a message for its exception.
func (b *Book) keep(st *stream, h mqtt.Header) {
	m := st.open.find(h.Seq)
	if m == nil {
		m = st.open.add(message{
			seq: h.Seq, intended: timeline.Instant(h.Intended), sent: timeline.Instant(h.Sent),
			ackedAfter: st.written, untraceable: true,
		})
		b.totals.inDoubt.Add(1)
	}
	m.kept = true
}

// Corrupt says that a PUBLISH was read without a payload header of ours, or
// with one that its checksum does not fit.
func (b *Book) Corrupt(client string, topic []byte, at timeline.Instant) {
	s := Stray{Client: client, Topic: string(topic), Why: WhyCorrupt, At: at}
	b.topics.mu.Lock()
	for _, st := range b.topics.byTopic[s.Topic] {
		s.QoS = max(s.QoS, st.qos) // a stream of this topic is the likely source
	}
	b.topics.mu.Unlock()
	b.stray(s)
}

// Handled says that the application's handler was called with a message.
func (b *Book) Handled(client string, id uint32, seq uint64) {
	b.booked(client, id, func(d *delivery) {
		for p := d; p != nil; p = p.prev {
			if p.delivered.Contains(seq) {
				p.handled.Add(seq)
				return
			}
		}
		d.handled.Add(seq) // handled and never read: shows as handled without delivered
	})
}

// SentinelDelivered says that the message that closes a stream was read.
func (b *Book) SentinelDelivered(client string, id uint32, at timeline.Instant) {
	b.booked(client, id, func(d *delivery) { d.sentinel = at })
}

// booked runs do on the current account, under its lock.
func (b *Book) booked(client string, id uint32, do func(*delivery)) {
	st := b.streams.get(id)
	if st == nil {
		b.stray(Stray{Client: client, Stream: id, Why: WhyUnknownStream})
		return
	}
	sub := b.subscriber(client)
	sub.mu.Lock()
	defer sub.mu.Unlock()
	d := sub.account(st)
	st.mu.Lock()
	defer st.mu.Unlock()
	do(d)
}
