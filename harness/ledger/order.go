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
	more  []tx
	done  uint64 // packets of the stream written when the answer was read, 0 = not answered
}

// all reports whether ok holds for each transmission.
func (k *track) all(ok func(tx) bool) bool {
	if k.first.place == 0 {
		return true
	}
	if !ok(k.first) {
		return false
	}
	for _, t := range k.more {
		if !ok(t) {
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
	case len(k.more) == maxResends:
		return false
	default:
		k.more = append(k.more, t)
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
	if k.first.conn != o.first.conn || k.first.place < o.first.place || len(k.more) != len(o.more) {
		return false
	}
	for i := range k.more {
		if k.more[i].conn != o.more[i].conn || k.more[i].place < o.more[i].place {
			return false
		}
	}
	return true
}

// witness is a delivered message with the transmissions that can have caused
// its delivery.
type witness struct {
	seq     uint64
	publish track // more is shared with the message: never changed in place
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

// covers reports whether w is a witness at least as good as o.
func (w *witness) covers(o *witness) bool {
	return w.publish.covers(&o.publish) && w.release.covers(&o.release)
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
func (k *track) plain() bool { return k.first.place != 0 && len(k.more) == 0 && k.done != 0 }

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
	for _, t := range m.publish.more {
		o.last = max(o.last, t.place)
	}
	w := witness{seq: m.seq, publish: m.publish, release: m.release}
	w.publish.more, w.release.more = slices.Clip(w.publish.more), slices.Clip(w.release.more)
	for i := range o.witnesses {
		if w.covers(&o.witnesses[i]) {
			o.witnesses[i] = w
			return
		}
		if o.witnesses[i].covers(&w) {
			return
		}
	}
	if len(o.witnesses) == maxWitnesses {
		o.witnesses = slices.Delete(o.witnesses, 0, 1)
	}
	o.witnesses = append(o.witnesses, w)
}
