package protocol

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// relation is what a packet has to do with the exchange that it meets.
type relation byte

const (
	alien   relation = iota // it is in no exchange, or in one that is not known
	fresh                   // PUBLISH: a new exchange
	again                   // PUBLISH: the same message once more
	clash                   // PUBLISH: another message, under an id that is in use
	moved                   // PUBLISH: the same message under another id
	revived                 // PUBLISH, PUBREL: of state that the client had to discard
	answers                 // it is the next step of its exchange, or a PUBREL once more
	extra                   // an acknowledgement of a transmission that has one already
	early                   // PUBREL before any PUBREC
	stale                   // a newer connection has gone on with the exchange since
)

// event is one packet on its way through the rules.
type event struct {
	s     *Session
	c     *conn
	known bool // c is
	out   bool
	p     *mqtt.Packet
	at    timeline.Instant

	ours    bool // the exchange is of a message that the client publishes
	id      identity
	rel     relation
	new     bool      // PUBLISH written: given to the client after all that it has written before
	unasked bool      // PUBLISH read: a breach of retained-on-resume
	e       *exchange // as it was before this packet; nil = none that counts

	rule   *Rule // that is being asked
	report func(Breach)
}

func (ev *event) table() *table {
	if ev.ours {
		return &ev.s.ours
	}
	return &ev.s.theirs
}

// lapsed reports whether the broker has forgotten its half of the exchange.
func (ev *event) lapsed() bool { return ev.e.epoch < ev.c.epoch }

// classify finds the exchange of the packet and what it does to it.
func (ev *event) classify() {
	p := ev.p
	switch p.Type {
	case mqtt.PUBLISH:
		if q := p.QoS(); q == 0 || q == 3 {
			return
		}
		ev.ours = ev.out
		ev.id = identify(p)
		ev.new = ev.out && ev.id.ours() && ev.id.given > ev.s.newest
		ev.meet()
		ev.publish()
	case mqtt.PUBREL:
		ev.ours = ev.out
		ev.meet()
		ev.pubrel()
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		ev.ours = !ev.out
		ev.meet()
		ev.ack()
	}
}

// meet looks the exchange up by packet id.
func (ev *event) meet() {
	e := ev.table().find(ev.p.ID)
	if e == nil {
		if !ev.known {
			ev.rel = stale
		}
		return
	}
	switch {
	case e.conn > ev.c.n || !ev.known:
		ev.rel = stale
		if e.born > ev.c.n && ev.p.Type != mqtt.PUBLISH {
			return // not what this packet is about
		}
	case !ev.ours && e.epoch < ev.c.epoch: // the broker's side begins anew with an epoch
		return
	}
	ev.e = e
}

// publish classifies a PUBLISH with QoS 1 or 2.
func (ev *event) publish() {
	e, dup := ev.e, ev.p.Dup()
	if ev.rel == stale && !(ev.known && ev.ours && e.stage == over && e.identity != ev.id) {
		return // else its id is free, and the client's own connection goes on
	}
	switch {
	case e == nil:
		ev.rel = fresh
	case e.identity == ev.id && ev.discarded(e):
		ev.rel = revived
	case e.identity == ev.id && (dup || !ev.lapsed()):
		ev.rel = again
		// Over for the client, its id is free: the same message may come once
		// more, from a sender upstream or through a second filter.
		if !ev.ours && e.stage == over && !dup {
			ev.rel = fresh
		}
	case e.stage == over || e.maybe || e.parted || ev.lapsed() || ev.discarded(e):
		ev.rel = fresh
	default:
		ev.rel = clash
	}
	if ev.rel == fresh {
		ev.search()
	}
}

// discarded reports whether the client had to discard the exchange: by a clean
// session since [MQTT-3.1.2-6]; at level 5 also because the broker did [5.0
// MQTT-3.2.2-5]. At 3.1.1 a client whose session the broker has lost may go on
// with its own half (3.2.2.2).
func (ev *event) discarded(e *exchange) bool {
	if !ev.ours || e.maybe {
		return false
	}
	return e.conn < ev.c.fence || ev.s.Level >= 5 && e.epoch < ev.c.epoch
}

// search looks for a message, new under its id, under another one. A message
// given to the client after all that it has written is new: there is nothing
// to look for. What the broker repeats under another id is a breach only where
// the first id still waits for our answer and was not repeated before: the
// copy of a second filter has an id of its own, and comes later.
func (ev *event) search() {
	if !ev.id.ours() || ev.new || !ev.ours && !ev.p.Dup() {
		return
	}
	t := ev.table()
	for i := range t.slots {
		e := &t.slots[i]
		if e.stage == free || e.maybe || e.identity != ev.id || e.conn > ev.c.n || e.id == ev.p.ID {
			continue
		}
		switch {
		case ev.discarded(e):
			ev.rel = revived
		case e.epoch < ev.c.epoch:
		case ev.ours, e.stage == published && e.pub < ev.c.n:
			ev.rel = moved
		}
	}
}

func (ev *event) pubrel() {
	e := ev.e
	switch {
	case ev.rel == stale:
	case e == nil: // its exchange may be forgotten: legal
		ev.rel = fresh
	case ev.discarded(e):
		ev.rel = revived
	case e.qos != 2, e.stage == published:
		ev.rel = early
		if e.stage == over { // a QoS 1 message had the id since
			ev.rel = fresh
		}
	default:
		ev.rel = answers
	}
}

func (ev *event) ack() {
	p := ev.p
	fits := ev.e != nil && ev.fits()
	switch {
	case !ev.ours && p.Type != mqtt.PUBCOMP && ev.c.strays.index(p.ID) >= 0:
		ev.rel, ev.e = stale, nil
	case ev.rel == stale && !fits:
		ev.e = nil
	case ev.rel == stale:
	case fits && !ev.lapsed():
		ev.rel = answers
	case *ev.owed().of(p.Type) > 0, ev.repeats():
		ev.rel = extra
	}
}

// repeats reports whether the broker says a PUBREC again on a new connection,
// as it may do once: it can not know whether it arrived.
func (ev *event) repeats() bool {
	e := ev.e
	return e != nil && ev.ours && ev.p.Type == mqtt.PUBREC && e.qos == 2 &&
		(e.stage == received || e.stage == released) && e.rec < ev.c.n && !ev.lapsed()
}

// fits reports whether the exchange waits for this acknowledgement.
func (ev *event) fits() bool {
	e := ev.e
	switch ev.p.Type {
	case mqtt.PUBACK:
		return e.qos == 1 && e.stage == published
	case mqtt.PUBREC:
		// The client may say it again: it can not know whether it arrived.
		return e.qos == 2 && (e.stage == published || !ev.ours && e.stage == received)
	}
	return e.qos == 2 && (e.stage == released || e.stage == received && e.maybe)
}

// owed counts acknowledgements by type.
type owed [mqtt.PUBCOMP - mqtt.PUBACK + 1]int

func (o *owed) of(t mqtt.Type) *int { return &o[t-mqtt.PUBACK] }

// owed counts the acknowledgements that are owed beyond one for each exchange,
// because a packet was sent twice in an epoch: each transmission may get its
// own, and that of an earlier connection may come with that of this one. What
// the client writes may come later still.
func (ev *event) owed() *owed {
	if ev.ours {
		return &ev.c.owed
	}
	return &ev.s.owed
}
