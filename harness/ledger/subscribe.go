package ledger

import (
	"cmp"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Connected says that a CONNACK was read on the client's connection number
// conn. Without session present an epoch ends: the client's subscriptions are
// gone, so is what its old session had not delivered, and what it was
// publishing in it can not be completed.
func (b *Book) Connected(client string, conn int, present bool, at timeline.Instant) {
	sub := b.clients.open(client)
	if present {
		sub.reached(conn)
		return
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	last := int(sub.conn.Load())
	for _, d := range sub.current {
		d.st.mu.Lock()
		d.end(last, at)
		d.st.mu.Unlock()
	}
	for _, g := range sub.groups {
		g.leave(sub, at)
	}
	for _, st := range sub.publishes {
		st.lost()
	}
	sub.reached(conn)
	sub.epoch++
	sub.began, sub.first = at, conn
	clear(sub.filters)
	clear(sub.groups)
}

// reached keeps the highest connection number.
func (sub *subscriber) reached(conn int) {
	for {
		old := sub.conn.Load()
		if int64(conn) <= old || sub.conn.CompareAndSwap(old, int64(conn)) {
			return
		}
	}
}

// Asked says that a SUBSCRIBE with this filter is about to be written: from
// here on the broker may deliver.
func (b *Book) Asked(client, filter string, qos byte, at timeline.Instant) {
	b.regrant(client, filter, at, func(sub *subscriber, g grant) grant {
		g.asked, sub.asked = qos, at
		return g
	})
}

// Subscribed says that the SUBACK of a filter was read with this return code;
// 0x80 and above is a refusal, which grants nothing from here on.
func (b *Book) Subscribed(client, filter string, granted byte, at timeline.Instant) {
	b.regrant(client, filter, at, func(_ *subscriber, g grant) grant {
		g.granted, g.asked = min(granted, refused), refused
		if granted < refused {
			g.legal |= 1 << granted
		}
		return g
	})
}

// Unsubscribed says that an UNSUBSCRIBE of the filter is about to be written.
// What is not acknowledged yet is owed no more, and what still comes is legal:
// nothing says when the broker read it.
func (b *Book) Unsubscribed(client, filter string, at timeline.Instant) {
	b.regrant(client, filter, at, func(sub *subscriber, g grant) grant {
		g.granted, sub.asked = refused, at
		return g
	})
}

// regrant changes what a client holds of one filter.
func (b *Book) regrant(client, filter string, at timeline.Instant, change func(*subscriber, grant) grant) {
	sub := b.clients.open(client)
	b.topics.mu.Lock()
	defer b.topics.mu.Unlock()
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.filters == nil {
		sub.filters, sub.known = map[string]grant{}, map[string]bool{}
	}
	g, held := sub.filters[filter]
	if !held {
		g = grant{granted: refused, asked: refused}
	}
	g = change(sub, g)
	sub.filters[filter] = g

	if inner, ok := shared(filter); ok {
		b.share(sub, filter, inner, g.granted, at)
		return
	}
	streams := b.topics.subscribe(filter, sub, sub.known[filter])
	sub.known[filter] = true
	for _, st := range streams {
		sub.expect(st, at)
	}
}

// holds sums up the filters that match a topic: how many are granted, how many
// of them at QoS 2, the highest QoS of them, and a bit for each QoS at which a
// message that was published at qos may come.
func (sub *subscriber) holds(topic string, qos byte) (h held) {
	for filter, g := range sub.filters {
		if !scenarios.Matches(filter, topic) {
			continue
		}
		if g.granted < refused {
			h.filters++
			h.granted = max(h.granted, g.granted) // overlapping filters: the maximum counts [MQTT-3.3.5-1]
			if min(g.granted, qos) == 2 {
				h.exact++
			}
		}
		h.legal |= legal(g, qos)
	}
	return h
}

type held struct {
	filters, exact int
	granted        byte
	legal          byte
}

// legal gives a bit for each QoS at which a message published at qos may come
// under a grant, also of an earlier SUBACK of the epoch: a resend keeps the QoS
// of the original.
func legal(g grant, qos byte) (bits byte) {
	if g.asked < refused {
		bits = 1 << min(g.asked, qos)
	}
	for q := range byte(3) {
		if g.legal&(1<<q) != 0 {
			bits |= 1 << min(q, qos)
		}
	}
	return bits
}

// expect brings the account of a stream into line with the client's filters.
// The caller holds the subscriber's lock.
func (sub *subscriber) expect(st *stream, at timeline.Instant) {
	h := held{}
	if sub.group != nil {
		h = sub.group.holds()
	} else {
		h = sub.holds(st.topic, st.qos)
	}
	if h.filters == 0 {
		if d := sub.current[st.id]; d != nil && d.epoch == max(sub.epoch, 1) {
			st.mu.Lock()
			d.legal = h.legal
			st.unexpect(d)
			st.forgive(d)
			st.mu.Unlock()
		}
		return
	}
	d := sub.account(st)
	st.mu.Lock()
	q, since := min(st.qos, h.granted), d.since
	lowered := d.place != 0 && q < d.qos()
	if !d.expected.IsZero() && q != d.qos() {
		// What was attempted under the earlier grant stays owed at it.
		st.unexpect(d)
		d.over, d.ended = true, at
		st.mu.Unlock()
		d = sub.open(st, d)
		st.mu.Lock()
	}
	defer st.mu.Unlock()
	d.granted = h.granted
	if d.place == 0 {
		d.since = at
		st.expecting = append(st.expecting, d)
		d.place = len(st.expecting)
	}
	if h.filters > 1 && d.filters <= 1 {
		d.odd().top = d.delivered.Clone() // they came by the one filter
	}
	d.filters, d.exact = max(d.filters, h.filters), max(d.exact, h.exact)
	d.legal = h.legal
	if lowered {
		d.since = since
		st.lower(d, min(at, cmp.Or(sub.asked, at)))
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

// forgive takes back what an account expects and is not acknowledged yet, as
// its client is about to unsubscribe. The caller holds st's lock.
func (st *stream) forgive(d *delivery) {
	if st.qos == 0 {
		return // nothing says when the broker had it, and its loss is only counted
	}
	var settled []uint64
	st.open.each(func(m *message) {
		if m.publish.done != 0 || d.seen(m.seq) {
			return
		}
		for p := d; p != nil && p.epoch == d.epoch; p = p.prev {
			if p.expected.Remove(m.seq) {
				m.owed--
				settled = append(settled, m.seq)
			}
		}
	})
	for _, seq := range settled {
		st.settle(st.open.find(seq))
	}
}

// lower takes to an account what earlier ones of the epoch expect at a higher
// QoS, and was not read nor acknowledged when the client asked for the lower
// one: the broker may have had the request first. The caller holds st's lock.
func (st *stream) lower(to *delivery, asked timeline.Instant) {
	st.open.each(func(m *message) {
		if m.publish.done != 0 && m.acked < asked || to.seen(m.seq) {
			return
		}
		for p := to.prev; p != nil && p.epoch == to.epoch; p = p.prev {
			if p.qos() > to.qos() && p.expected.Remove(m.seq) {
				to.expected.Add(m.seq)
			}
		}
	})
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
// Connected call; it counts as epoch 1. The caller holds the subscriber's lock
// and not the stream's.
func (sub *subscriber) open(st *stream, prev *delivery) *delivery {
	sub.epoch = max(sub.epoch, 1)
	d := newDelivery(st, sub)
	d.prev, d.epoch, d.began, d.first = prev, sub.epoch, sub.began, sub.first
	if prev != nil {
		st.mu.Lock()
		prev.next = d
		st.mu.Unlock()
	}
	if sub.group == nil {
		d.legal = sub.holds(st.topic, st.qos).legal
	}
	if sub.current == nil {
		sub.current = map[uint32]*delivery{}
	}
	sub.current[st.id] = d
	sub.all = append(sub.all, d)
	for filter, g := range sub.groups {
		inner, _ := shared(filter)
		if scenarios.Matches(inner, st.topic) {
			sub.join(d, g)
		}
	}
	return d
}
