package ledger

import "github.com/rebound-mqtt/rebound/harness/timeline"

// Slots adds to the counts of a stream's timetable: slots that came due, those
// of them that passed unsent, and those that the library refused.
func (b *Book) Slots(id uint32, scheduled, missed, refused int64) {
	if st := b.lock(id, 0, 0); st != nil {
		defer st.mu.Unlock()
		st.scheduled += scheduled
		st.missed += missed
		st.refused += refused
	}
}

// Queued sets how many messages the library had taken at the end without their
// first byte ever reaching the tap.
func (b *Book) Queued(id uint32, n int64) {
	if st := b.lock(id, 0, 0); st != nil {
		defer st.mu.Unlock()
		st.queued = n
	}
}

// Attempted says that the first byte of a message is about to be offered to
// the publisher's socket on its connection number conn. A resend is another
// call with the same number.
func (b *Book) Attempted(id uint32, seq uint64, conn int, intended, at timeline.Instant) {
	if seq == 0 {
		b.stray(Stray{Stream: id, Why: WhyUnknownStream, At: at})
		return
	}
	st := b.lock(id, seq, at)
	if st == nil {
		return
	}
	defer st.mu.Unlock()
	t := st.wrote(conn)
	high := st.attempted.Max()
	if !st.attempted.Add(seq) {
		st.again(seq, t)
		return
	}
	if seq < high {
		st.late.Add(seq)
	}
	var owed int32
	for _, d := range st.expecting {
		// The SUBACK was read before the first byte was written. The instants
		// decide, not the order of these two calls.
		if at > d.since {
			d.expected.Add(seq)
			owed++
		}
	}
	if owed > 0 || st.qos > 0 {
		m := st.open.add(seq)
		m.intended, m.sent, m.owed, m.conn = intended, at, owed, conn
		m.publish.first = t
		st.live.InDoubt++
	}
}

// wrote gives the next packet its place in the order of the stream's packets.
func (st *stream) wrote(conn int) tx {
	st.written++
	st.conn = max(st.conn, conn)
	return tx{place: st.written, conn: conn}
}

// again books a further transmission of a message.
func (st *stream) again(seq uint64, t tx) {
	st.resent.Add(seq)
	// The sender must not send PUBLISH after PUBREL (3.1.1 [MQTT-4.3.3-1], 5.0
	// [MQTT-4.3.3-6]). At QoS 1 it is a new publish of the same message.
	if st.released.Contains(seq) || st.qos == 1 && st.acked.Contains(seq) {
		st.republished.Add(seq)
	}
	m := st.open.find(seq)
	if m == nil {
		return
	}
	switch {
	case m.displaced:
		st.republished.Add(seq)
	case m.reset:
		st.carried.Add(seq)
	}
	m.reset, m.displaced = false, false
	if m.publish.done == 0 || m.abandoned { // else it is the PUBREL's
		m.conn = t.conn
	}
	m.untraceable = !m.publish.wrote(t) || m.untraceable
}

// Moved says that a message which was attempted again has another packet id
// than before. The broker can not know it for the same: it is a new publish.
func (b *Book) Moved(id uint32, seq uint64) {
	if st := b.lock(id, seq, 0); st != nil {
		defer st.mu.Unlock()
		st.republished.Add(seq)
	}
}

// Displaced says that the publisher gave the packet id of a message to another
// one before it was complete. What is read under that id answers one of them,
// nobody can tell which: the outcome of the first is not known any more.
func (b *Book) Displaced(id uint32, seq uint64) {
	st := b.lock(id, seq, 0)
	if st == nil {
		return
	}
	defer st.mu.Unlock()
	if m := st.open.find(seq); m != nil && !st.complete(m) {
		m.displaced = true
		m.abandoned = st.qos == 2 && st.acked.Contains(seq)
	}
}

// Acked says that the PUBACK of a message was read or, at QoS 2, its PUBREC.
func (b *Book) Acked(id uint32, seq uint64, at timeline.Instant) {
	st := b.lock(id, seq, at)
	if st == nil {
		return
	}
	defer st.mu.Unlock()
	first := st.acked.Add(seq)
	m := st.open.find(seq)
	if m == nil {
		return
	}
	if st.qos == 2 && (first || m.abandoned) {
		m.conn = 0 // from here on it is the PUBREL's
	}
	m.abandoned = st.qos == 2 && m.reset && !st.complete(m) // read late, of the session that was lost
	if !first {
		return
	}
	m.acked, m.publish.done = at, st.written
	st.settle(m)
}

// Released says that the PUBREL of a message is about to be written.
func (b *Book) Released(id uint32, seq uint64, conn int, at timeline.Instant) {
	st := b.lock(id, seq, at)
	if st == nil {
		return
	}
	defer st.mu.Unlock()
	t := st.wrote(conn)
	st.released.Add(seq)
	if m := st.open.find(seq); m != nil {
		m.conn = conn
		m.untraceable = !m.release.wrote(t) || m.untraceable
	}
}

// Completed says that the PUBCOMP of a message was read.
func (b *Book) Completed(id uint32, seq uint64, at timeline.Instant) {
	st := b.lock(id, seq, at)
	if st == nil {
		return
	}
	defer st.mu.Unlock()
	if !st.completed.Add(seq) {
		return
	}
	if m := st.open.find(seq); m != nil {
		m.abandoned, m.release.done = false, st.written
		st.settle(m)
	}
}

// lost says that the publisher's session is gone: what was under way in it can
// not be completed by it any more.
func (st *stream) lost() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.open.each(func(m *message) {
		if st.complete(m) {
			return
		}
		m.reset = true
		m.abandoned = st.qos == 2 && st.acked.Contains(m.seq)
	})
}

// complete reports whether nothing of a message is under way at its publisher.
func (st *stream) complete(m *message) bool {
	switch st.qos {
	case 0:
		return true
	case 1:
		return m.publish.done != 0 || st.acked.Contains(m.seq)
	}
	return m.release.done != 0 || st.completed.Contains(m.seq)
}

// Sentinel says when the message that closes the stream was sent and, if it
// was, acknowledged.
func (b *Book) Sentinel(id uint32, sent, acked timeline.Instant) {
	if st := b.lock(id, 0, sent); st != nil {
		defer st.mu.Unlock()
		st.sentinelSent, st.sentinelAcked = sent, acked
	}
}

// lock gives a stream with its lock held. An unknown stream is a mistake of
// the harness, and is kept where it shows.
func (b *Book) lock(id uint32, seq uint64, at timeline.Instant) *stream {
	st := b.streams.get(id)
	if st == nil {
		b.stray(Stray{Stream: id, Seq: seq, Why: WhyUnknownStream, At: at})
		return nil
	}
	st.mu.Lock()
	return st
}

// settle drops the times of a message that is in doubt no longer. The caller
// holds the stream's lock.
func (st *stream) settle(m *message) {
	if m.owed > 0 || m.kept || !st.complete(m) {
		return
	}
	st.open.drop(m)
	st.live.InDoubt--
}
