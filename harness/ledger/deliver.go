package ledger

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// delivery is the account of one stream at one subscriber in one epoch, or the
// part of an epoch from which another QoS was granted. Its stream's lock
// guards it. Its layout is as that of a stream.
type delivery struct {
	st         *stream
	sub        *subscriber
	prev, next *delivery   // the accounts before and after it, of the same stream and client
	shared     []*delivery // of the same stream, client and epoch: what came through its groups
	group      *delivery   // set in those: the group's own account

	over     bool // nothing more is booked on it, but what an old connection still reads
	closed   bool // over, and its epoch too
	overtook bool // an old connection was still read while this account was open
	granted  byte
	legal    byte // a bit for each QoS that a matching filter explains
	filters  int
	since    timeline.Instant // SUBACK read: expected is what is attempted later
	high     uint64           // highest expected number that was delivered
	recopied uint64           // the last further copy, if no first one was read since

	expected, delivered Set
	answers             answers
	application         handling // handler calls
	order               order
	room                [1]witness // where order.witnesses begins: it moves out when it grows
	unanswered          unanswered

	strange  *strange // nil for most
	exact    int      // of filters: at QoS 2
	place    int      // in st.expecting, from 1; 0 = nothing more is expected
	epoch    int
	first    int // number of the epoch's first connection
	began    timeline.Instant
	ended    timeline.Instant
	last     int // once the epoch is over: the client's last connection in it
	behind   Set // once the epoch is over: unordered
	sentinel timeline.Instant
}

// newDelivery makes an account without messages.
func newDelivery(st *stream, sub *subscriber) *delivery {
	d := &delivery{st: st, sub: sub}
	d.order.witnesses = d.room[:0]
	return d
}

// strange is what most accounts have nothing of.
type strange struct {
	misrouted, wrongQoS Set
	top, below          Set // with several filters: read at the expected QoS, below it
	retained            int
	kept                Set // the messages of those
	again               Set // at QoS 2: read again before the delivery was released
	extra               map[uint64]Extra
	reordered, final    []Reorder
}

// odd gives the strange part, made on first use.
func (d *delivery) odd() *strange {
	if d.strange == nil {
		d.strange = &strange{}
	}
	return d.strange
}

// qos is the expected QoS: what was published, lowered by the SUBACK where
// there was one.
func (d *delivery) qos() byte {
	if d.filters == 0 {
		return d.st.qos
	}
	return min(d.st.qos, d.granted)
}

// end closes the account with its epoch; last is the client's last connection
// in it.
func (d *delivery) end(last int, at timeline.Instant) {
	if d.over {
		return
	}
	d.finished(last, at)
	d.st.unexpect(d)
	for p := d.prev; p != nil && p.epoch == d.epoch && !p.closed; p = p.prev {
		p.shut() // over since the granted QoS changed
	}
	for _, md := range d.shared {
		md.finished(last, at)
	}
}

// finished marks the account as over with its epoch.
func (d *delivery) finished(last int, at timeline.Instant) {
	d.over, d.ended, d.last = true, at, last
	d.shut()
}

// shut keeps what the epoch's end decides. What only the account's further
// course needs goes: of a fleet without kept sessions there are many of them.
func (d *delivery) shut() {
	d.closed, d.behind = true, d.unordered()
	d.order, d.room, d.unanswered, d.answers.here = order{}, [1]witness{}, unanswered{}, Set{}
}

// seen reports whether any account of this client or group has the message.
func (d *delivery) seen(seq uint64) bool { return d.delivered.Contains(seq) || d.elsewhere(seq) }

// elsewhere reports whether another account of this client or group has it.
func (d *delivery) elsewhere(seq uint64) bool {
	for p := d.prev; p != nil; p = p.prev {
		if p.delivered.Contains(seq) {
			return true
		}
	}
	for p := d.next; p != nil; p = p.next {
		if p.delivered.Contains(seq) {
			return true
		}
	}
	return false
}

// owner gives the account of this client or group that expects the message.
func (d *delivery) owner(seq uint64) *delivery {
	for p := d; p != nil; p = p.prev {
		if p.expected.Contains(seq) {
			return p
		}
	}
	for p := d.next; p != nil; p = p.next {
		if p.expected.Contains(seq) {
			return p
		}
	}
	return nil
}

// inEpoch says that a message was delivered in this epoch: a further copy of that
// delivery is no second one.
func (d *delivery) inEpoch(seq uint64) bool {
	for p := d; p != nil && p.epoch == d.epoch; p = p.prev {
		if p.delivered.Contains(seq) {
			return true
		}
	}
	return false
}

// Delivered says that a complete PUBLISH with a data header was read.
func (b *Book) Delivered(client string, p mqtt.Delivery, at timeline.Instant) {
	d, why := b.lockDelivery(client, &p)
	if d == nil {
		h := &p.Header
		b.stray(Stray{Client: client, Topic: string(p.Topic), QoS: p.QoS, Stream: h.Stream, Seq: h.Seq, Why: why, At: at})
		return
	}
	d.read(&p, at)
	d.st.mu.Unlock()
}

// lockDelivery gives the account that a PUBLISH belongs to, with the stream's
// lock held, or why it is a stray.
func (b *Book) lockDelivery(client string, p *mqtt.Delivery) (d *delivery, why string) {
	if p.Header.Run != b.run {
		return nil, WhyWrongRun
	}
	st := b.streams.get(p.Header.Stream)
	if st == nil {
		return nil, WhyUnknownStream
	}
	st.mu.Lock()
	switch {
	case string(p.Topic) != st.topic:
		why = WhyWrongTopic
	case !st.attempted.Contains(p.Header.Seq):
		why = WhyNeverAttempted
	}
	if why != "" {
		st.mu.Unlock()
		return nil, why
	}
	d = b.current(st, client)
	// After a takeover an old connection may still be read: what comes there
	// belongs to the epoch before.
	for d.prev != nil && p.Conn < d.first {
		d = d.prev
	}
	if len(d.shared) > 0 {
		d = d.pick(p.Header.Seq)
	}
	return d, ""
}

// current gives the client's account of a stream in its current epoch. The
// caller holds the stream's lock, and still does afterwards.
func (b *Book) current(st *stream, client string) *delivery {
	if d := st.hot; d != nil && !d.over && d.sub.client == client {
		return d
	}
	st.mu.Unlock()
	sub := b.clients.open(client)
	sub.mu.Lock()
	d := sub.account(st)
	sub.mu.Unlock()
	st.mu.Lock()
	st.hot = d
	return d
}

// read books a PUBLISH. The caller holds the stream's lock.
func (d *delivery) read(p *mqtt.Delivery, at timeline.Instant) {
	h := &p.Header
	switch {
	case d.legal == 0:
		if d.odd().misrouted.Add(h.Seq) {
			d.st.live.Misrouted++
		}
		d.st.keep(h)
	case d.legal&(1<<p.QoS) == 0:
		if d.odd().wrongQoS.Add(h.Seq) {
			d.st.live.WrongQoS++
		}
		d.st.keep(h)
	}
	if p.Retain { // sent for a SUBSCRIBE, not for the publish (3.3.1.3)
		d.odd().retained++
		d.odd().kept.Add(h.Seq)
		return
	}
	// After a takeover copies read on the old connection count, but their order
	// says nothing.
	inOrder := int64(p.Conn) >= d.sub.conn.Load()
	if inOrder {
		d.sub.reached(p.Conn)
	}
	again := p.Again && d.inEpoch(h.Seq)
	if d.filters > 1 && !again {
		defer d.level(h.Seq, p.QoS)
	}
	switch {
	case again: // of a delivery that was not yet released: no second one
		d.odd().again.Add(h.Seq)
	case !d.delivered.Add(h.Seq):
		d.copied(p, inOrder, at)
	case d.group != nil:
		d.taken(h.Seq)
	case d.next == nil && d.expected.Contains(h.Seq) && !(d.overtook && d.elsewhere(h.Seq)):
		d.arrived(h, inOrder, at)
	default:
		d.belated(h)
	}
	if d.next != nil {
		d.newest().overtook = true
	}
	if p.QoS > 0 {
		d.unanswered.read(h.Seq, p.Conn, d.answers.done)
	}
}

// level keeps at which QoS a message came where several filters match: one copy
// at least must come at the highest.
func (d *delivery) level(seq uint64, qos byte) {
	if qos < d.qos() {
		d.odd().below.Add(seq)
	} else {
		d.odd().top.Add(seq)
	}
}

// arrived books the first copy of a message that this account expects.
func (d *delivery) arrived(h *mqtt.Header, inOrder bool, at timeline.Instant) {
	d.st.live.Delivered++
	if d.recopied != 0 {
		d.finish(at)
	}
	d.passed(h.Seq)
	m := d.st.open.find(h.Seq)
	if m == nil {
		return
	}
	if inOrder {
		// Where QoS 0 is owed a resend may be the first copy that the
		// subscriber could get at all, so it can not be out of order.
		if after := d.order.overtaken(m); after != 0 && (d.qos() > 0 || m.publish.more == nil) {
			d.odd().reordered = append(d.odd().reordered, Reorder{Seq: m.seq, After: after, At: at})
			m.kept = true
			d.st.live.Reordered++
		}
		d.order.delivered(m)
	}
	m.owed--
	d.st.settle(m)
}

// passed keeps the live count of messages that a later one has passed.
func (d *delivery) passed(seq uint64) {
	lost := &d.st.live.Lost[d.qos()]
	switch {
	case seq < d.high && !d.st.late.Contains(seq):
		*lost--
	case seq > d.high+1:
		if gap := d.expected.count(d.high+1, seq-1); gap > 0 {
			if !d.st.late.IsZero() {
				gap -= d.expected.Intersect(d.st.late).count(d.high+1, seq-1)
			}
			*lost += gap
		}
	}
	d.high = max(d.high, seq)
}

// copied books a further copy in one epoch, at QoS 2 a further delivery.
func (d *delivery) copied(p *mqtt.Delivery, inOrder bool, at timeline.Instant) {
	h := &p.Header
	d.st.live.Duplicated++
	odd := d.odd()
	if odd.extra == nil {
		odd.extra = map[uint64]Extra{}
	}
	e, ok := odd.extra[h.Seq]
	if !ok {
		e = Extra{Seq: h.Seq, Copies: 1}
		if d.qos() == 2 && (d.filters <= 1 || odd.top.Contains(h.Seq)) {
			e.Exact = 1
		}
	}
	e.Copies++
	if p.QoS == 2 {
		e.Exact++
		e.Over = e.Over || e.Exact > max(1, d.exact)
	}
	if p.QoS > 0 && d.answers.lately(h.Seq, p.Conn) {
		e.Unprovoked++
	}
	e.DUP = e.DUP || p.DUP
	e.At, e.Conn = at, p.Conn
	odd.extra[h.Seq] = e
	d.st.keep(h)
	if d.group != nil {
		d.group.delivered.Add(h.Seq)
		return
	}
	if inOrder && d.qos() == 1 && !d.st.late.Contains(h.Seq) && !d.st.resent.Contains(h.Seq) {
		d.recopied = h.Seq
	}
}

// maxFinal is how many final copies out of order one account keeps.
const maxFinal = 100

// finish sees whether a run of further copies ended with the highest that was
// delivered before it. If not, the final copies are out of order. It looks at
// the end of the run only: it may overlook one, never see one that is none.
func (d *delivery) finish(at timeline.Instant) {
	if d.recopied < d.high && len(d.odd().final) < maxFinal {
		d.odd().final = append(d.odd().final, Reorder{Seq: d.recopied, After: d.high, At: at})
	}
	d.recopied = 0
}

// belated books the first copy in this account of a message that another one
// of the client expected, or none did.
func (d *delivery) belated(h *mqtt.Header) {
	seen, owner := d.elsewhere(h.Seq), d.owner(h.Seq)
	if seen {
		d.st.live.Duplicated++
		d.st.keep(h)
		return
	}
	d.st.live.Delivered++
	if m := d.st.open.find(h.Seq); owner != nil && m != nil {
		m.owed--
		d.st.settle(m)
	}
}

// keep holds on to the times of a message for its exception.
func (st *stream) keep(h *mqtt.Header) {
	m := st.open.find(h.Seq)
	if m == nil {
		m = st.open.add(h.Seq)
		m.intended, m.sent = timeline.Instant(h.Intended), timeline.Instant(h.Sent)
		m.publish.done, m.release.done, m.untraceable = st.written, st.written, true
		st.live.InDoubt++
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
