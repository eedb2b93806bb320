package ledger

import "github.com/rebound-mqtt/rebound/harness/timeline"

// Slots adds to the counts of a stream's timetable: slots that came due, those
// of them that passed unsent, and those that the library refused.
func (b *Book) Slots(id uint32, scheduled, missed, refused int64) {
	b.with(id, 0, 0, func(st *stream) {
		st.scheduled += scheduled
		st.missed += missed
		st.refused += refused
	})
}

// Queued sets how many messages the library had taken at the end without their
// first byte ever reaching the tap.
func (b *Book) Queued(id uint32, n int64) {
	b.with(id, 0, 0, func(st *stream) { st.queued = n })
}

// Attempted says that the first byte of a message is about to be offered to
// the publisher's socket on its connection number conn. A resend is another
// call with the same number.
func (b *Book) Attempted(id uint32, seq uint64, conn int, intended, at timeline.Instant) {
	st := b.streams.get(id)
	if st == nil || seq == 0 {
		b.stray(Stray{Stream: id, Seq: seq, Why: WhyUnknownStream, At: at})
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.written++
	t := tx{place: st.written, conn: conn}
	high := st.attempted.Max()
	if !st.attempted.Add(seq) {
		st.resent.Add(seq)
		if m := st.open.find(seq); m != nil {
			m.resent(t)
		}
		return
	}
	b.totals.attempted.Add(1)
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
		st.open.add(message{seq: seq, intended: intended, sent: at, first: t, owed: owed})
		b.totals.inDoubt.Add(1)
	}
}

// Acked says that the PUBACK of a message was read.
func (b *Book) Acked(id uint32, seq uint64, at timeline.Instant) {
	b.with(id, seq, at, func(st *stream) {
		if !st.acked.Add(seq) {
			return
		}
		b.totals.acked.Add(1)
		if m := st.open.find(seq); m != nil {
			m.acked, m.ackedAfter = at, st.written
			b.settle(st, m)
		}
	})
}

// Released says that the PUBREL of a message is about to be written.
func (b *Book) Released(id uint32, seq uint64, conn int, at timeline.Instant) {}

// Completed says that the PUBCOMP of a message was read.
func (b *Book) Completed(id uint32, seq uint64, at timeline.Instant) {}

// Sentinel says when the message that closes the stream was sent and, if it
// was, acknowledged.
func (b *Book) Sentinel(id uint32, sent, acked timeline.Instant) {
	b.with(id, 0, sent, func(st *stream) { st.sentinelSent, st.sentinelAcked = sent, acked })
}

// with runs do under the lock of a stream. An unknown stream is a mistake of
// the harness, and is kept where it shows.
func (b *Book) with(id uint32, seq uint64, at timeline.Instant, do func(*stream)) {
	st := b.streams.get(id)
	if st == nil {
		b.stray(Stray{Stream: id, Seq: seq, Why: WhyUnknownStream, At: at})
		return
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	do(st)
}

// settle drops the times of a message that is in doubt no longer. The caller
// holds the stream's lock.
func (b *Book) settle(st *stream, m *message) {
	if m.owed > 0 || m.kept || st.qos > 0 && m.ackedAfter == 0 {
		return
	}
	st.open.drop(m)
	b.totals.inDoubt.Add(-1)
}
