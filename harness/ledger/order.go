package ledger

import "slices"

// tx is one transmission of a message by its publisher: the publisher's
// connection and the place in the order in which the stream's messages were
// written, over all connections.
type tx struct {
	place uint64
	conn  int
}

const (
	// maxResends is how many resends of one message are remembered.
	maxResends = 15
	// maxWitnesses bounds the memory of one delivery account's order check.
	maxWitnesses = 8
)

// transmissions calls yield for each one, first to last, until it says false.
func (m *message) transmissions(yield func(tx) bool) bool {
	if !yield(m.first) {
		return false
	}
	for _, t := range m.more {
		if !yield(t) {
			return false
		}
	}
	return true
}

// resent notes a further transmission.
func (m *message) resent(t tx) {
	if len(m.more) == maxResends {
		m.untraceable = true
		return
	}
	m.more = append(m.more, t)
}

// reached reports whether the broker certainly had m before what was
// transmitted as t: m was written earlier on that connection or acknowledged
// before t was written at all.
func (m *message) reached(t tx) bool {
	if m.ackedAfter != 0 && m.ackedAfter < t.place {
		return true
	}
	return !m.transmissions(func(own tx) bool { return own.conn != t.conn || own.place > t.place })
}

// witness is a delivered message with the transmissions that can have caused
// its delivery.
type witness struct {
	seq   uint64
	first tx
	more  []tx // shared with the message: never changed in place
}

// follows reports whether m was certainly before the witness: before each of
// its transmissions.
func (w *witness) follows(m *message) bool {
	if !m.reached(w.first) {
		return false
	}
	for _, t := range w.more {
		if !m.reached(t) {
			return false
		}
	}
	return true
}

// covers reports whether w is as good a witness as o and a better one: sent on
// the same connections, later on each.
func (w *witness) covers(o *witness) bool {
	if w.first.conn != o.first.conn || w.first.place < o.first.place || len(w.more) != len(o.more) {
		return false
	}
	for i := range w.more {
		if w.more[i].conn != o.more[i].conn || w.more[i].place < o.more[i].place {
			return false
		}
	}
	return true
}

// order finds first deliveries that come after one that was certainly sent
// later ([MQTT-4.6.0-6], [MQTT-4.6.0-5]). Only what was written before a
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
	if m.first.place > o.last { // the usual case: sent after everything delivered so far
		return 0
	}
	for i := range o.witnesses {
		if o.witnesses[i].follows(m) {
			return o.witnesses[i].seq
		}
	}
	return 0
}

// delivered makes m a witness against what is delivered after it.
func (o *order) delivered(m *message) {
	if m.untraceable {
		return
	}
	w := witness{seq: m.seq, first: m.first, more: slices.Clip(m.more)}
	m.transmissions(func(t tx) bool { o.last = max(o.last, t.place); return true })
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
