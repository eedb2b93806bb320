package ledger

import "slices"

// tx is one transmission by the publisher: its connection and the place in the
// order in which the stream's packets were written, over all connections.
type tx struct {
	place uint64
	conn  int
}

const (
	// maxResends is how many resends of one packet are remembered.
	maxResends = 15
	// maxWitnesses bounds the memory of one delivery account's order check.
	maxWitnesses = 8
)

// track is what became of the PUBLISH, or of the PUBREL, of one message: each
// time it was written, and when it was answered.
type track struct {
	first tx // place 0 = never written
	more  *resend
	done  uint64 // packets of the stream written when the answer was read, 0 = not answered
}

// resend is a further transmission, and those before it. It never changes, so
// that a witness shares it with its message.
type resend struct {
	tx
	n      int // how many there were, with this one
	before *resend
}

// all reports whether ok holds for each transmission.
func (k *track) all(ok func(tx) bool) bool {
	if k.first.place == 0 {
		return true
	}
	if !ok(k.first) {
		return false
	}
	for r := k.more; r != nil; r = r.before {
		if !ok(r.tx) {
			return false
		}
	}
	return true
}

// wrote notes a transmission, and reports false if there are too many to keep.
func (k *track) wrote(t tx) bool {
	switch {
	case k.first.place == 0:
		k.first = t
	case k.more == nil:
		k.more = &resend{tx: t, n: 1}
	case k.more.n == maxResends:
		return false
	default:
		k.more = &resend{tx: t, n: k.more.n + 1, before: k.more}
	}
	return true
}

// reached reports whether the broker certainly had the packet before what was
// transmitted as t: it was written earlier on that connection or answered
// before t was written at all.
func (k *track) reached(t tx) bool {
	if k.done != 0 && k.done < t.place {
		return true
	}
	return !k.all(func(own tx) bool { return own.conn != t.conn || own.place > t.place })
}

// before reports whether the packet certainly was before each transmission of
// the other.
func (k *track) before(other *track) bool { return other.all(k.reached) }

// covers reports whether k makes as good a witness as o and a better one: sent
// on the same connections, later on each.
func (k *track) covers(o *track) bool {
	if !k.first.covers(o.first) {
		return false
	}
	a, b := k.more, o.more
	for a != nil && b != nil && a.tx.covers(b.tx) {
		a, b = a.before, b.before
	}
	return a == nil && b == nil
}

// covers reports whether t was sent on the same connection, not earlier.
func (t tx) covers(o tx) bool { return t.conn == o.conn && t.place >= o.place }

// witness is a delivered message with the transmissions that can have caused
// its delivery.
type witness struct {
	seq     uint64
	publish track
	release track
}

// follows reports whether m was certainly before the witness. At QoS 2 a
// broker may send a message on when it reads the PUBLISH or when it reads the
// PUBREL (figure 4.3, methods A and B), so both must have been before. A
// witness that was delivered before its PUBREL was written has none, and its
// broker is one that sends on the PUBLISH.
func (w *witness) follows(m *message) bool {
	return m.publish.before(&w.publish) && m.release.before(&w.release)
}

// order finds first deliveries that come after one that was certainly sent
// later (3.1.1 [MQTT-4.6.0-6], [MQTT-4.6.0-5]; 5.0 numbers them the other way
// round). Only what was written before a
// delivery can have caused it, so the transmissions known by then decide, and
// of all deliveries it keeps the last one for each set of the publisher's
// connections. When there are more such sets than it keeps, it forgets the
// oldest: it may then overlook a fault, never see one that is none.
type order struct {
	witnesses []witness
	last      uint64 // highest place of any witness
}

// overtaken gives the message that was delivered before m though m was
// certainly sent before it, 0 if there is none.
func (o *order) overtaken(m *message) uint64 {
	if m.publish.first.place > o.last { // the usual case: sent after everything delivered so far
		return 0
	}
	for i := range o.witnesses {
		if o.witnesses[i].follows(m) {
			return o.witnesses[i].seq
		}
	}
	return 0
}

// follow reports whether any witness certainly was sent after m.
func (o *order) follow(m *message) bool {
	return slices.ContainsFunc(o.witnesses, func(w witness) bool { return w.follows(m) })
}

// plain reports whether a packet was written once and answered: its place in
// the order is that of its number.
func (k *track) plain() bool { return k.first.place != 0 && k.more == nil && k.done != 0 }

// unordered gives the messages that the account expects and lacks and that
// nothing it got was certainly sent after. A publisher sends what was on its
// way again when it is back, and a message with a higher number may pass it
// there: that one was read says nothing of when the lower one reached the
// broker. The caller holds the stream's lock.
func (d *delivery) unordered() Set {
	if d.sub.group != nil {
		return Set{} // the order of a group is nobody's
	}
	var out Set
	for seq := range d.expected.Minus(d.delivered).All() {
		m := d.st.open.find(seq)
		if m == nil || m.publish.plain() && (d.st.qos < 2 || m.release.plain()) {
			continue
		}
		if !d.order.follow(m) {
			out.Add(seq)
		}
	}
	return out
}

// delivered makes m a witness against what is delivered after it.
func (o *order) delivered(m *message) {
	if m.untraceable {
		return
	}
	o.last = max(o.last, m.publish.first.place)
	if m.publish.more != nil {
		o.last = max(o.last, m.publish.more.place)
	}
	for i := range o.witnesses {
		w := &o.witnesses[i]
		if m.publish.covers(&w.publish) && m.release.covers(&w.release) {
			w.seq, w.publish, w.release = m.seq, m.publish, m.release
			return
		}
		if w.publish.covers(&m.publish) && w.release.covers(&m.release) {
			return
		}
	}
	if len(o.witnesses) == maxWitnesses {
		o.witnesses = slices.Delete(o.witnesses, 0, 1)
	}
	o.witnesses = append(o.witnesses, witness{m.seq, m.publish, m.release})
}
