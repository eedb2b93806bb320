package ledger

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// handling is how often the application's handler was called.
type handling struct {
	done  Set
	calls map[uint64]int // how often, of what was done more than once
}

// did notes one more call of the handler.
func (g *handling) did(seq uint64) {
	if g.done.Add(seq) {
		return
	}
	if g.calls == nil {
		g.calls = map[uint64]int{}
	}
	g.calls[seq] = max(g.calls[seq], 1) + 1
}

// answers is what the client answered on the wire.
type answers struct {
	done Set
	conn int // highest connection on which something was answered
	here Set // answered on it
}

// on notes an answer on a connection.
func (a *answers) on(seq uint64, conn int) {
	a.done.Add(seq)
	if conn > a.conn {
		a.conn = conn
		a.here.clear()
	}
	if conn == a.conn {
		a.here.Add(seq)
	}
}

// lately reports whether a message was answered on this connection, which so
// lives on: nothing calls for another copy.
func (a *answers) lately(seq uint64, conn int) bool {
	return conn == a.conn && a.here.Contains(seq)
}

// unanswered keeps on which connection a copy was read that wants an answer.
type unanswered struct {
	conn int       // highest one on which something was read
	here Set       // read on it
	old  []Pending // read on earlier ones, the latest first, and not answered by its end
}

// read notes a copy. done is what was answered so far.
func (u *unanswered) read(seq uint64, conn int, done Set) {
	switch {
	case conn == u.conn:
	case conn > u.conn:
		u.old = u.pending(done)
		u.conn = conn
		u.here.clear()
	default: // the old connection of a takeover
		i := slices.IndexFunc(u.old, func(p Pending) bool { return p.Conn == conn })
		if i < 0 {
			i, _ = slices.BinarySearchFunc(u.old, conn, func(p Pending, conn int) int { return cmp.Compare(conn, p.Conn) })
			u.old = slices.Insert(u.old, i, Pending{Conn: conn})
		}
		u.old[i].Seqs.Add(seq)
		return
	}
	u.here.Add(seq)
}

// pending gives what was read and never answered, by the connection on which
// it was read last, the latest first. It shares no memory.
func (u *unanswered) pending(done Set) []Pending {
	var out []Pending
	var later Set
	note := func(conn int, seqs Set) {
		if rest := seqs.Minus(done).Minus(later); !rest.IsZero() {
			out = append(out, Pending{Conn: conn, Seqs: rest})
			later = later.Union(rest)
		}
	}
	note(u.conn, u.here)
	for _, p := range u.old {
		note(p.Conn, p.Seqs)
	}
	return out
}

// Answered says that the first PUBACK or PUBREC of a delivery was written on
// the client's connection number conn.
func (b *Book) Answered(client string, id uint32, seq uint64, conn int, at timeline.Instant) {
	d := b.lockCurrent(client, id, seq, at)
	if d == nil {
		return
	}
	defer d.st.mu.Unlock()
	if d = d.holder(seq, answering); d != nil { // else for a retained copy, or for a stray
		d.answers.on(seq, conn)
	}
}

// Handled says that the application's handler was called with a message.
func (b *Book) Handled(client string, id uint32, seq uint64) {
	d := b.lockCurrent(client, id, seq, 0)
	if d == nil {
		return
	}
	defer d.st.mu.Unlock()
	if h := d.holder(seq, calling); h != nil {
		h.application.did(seq)
		return
	}
	d.application.did(seq) // handled and never read: shows as handled without delivered
}

// SentinelDelivered says that the message that closes a stream was read. A
// group gets one too, by one of its members.
func (b *Book) SentinelDelivered(client string, id uint32, at timeline.Instant) {
	d := b.lockCurrent(client, id, 0, at)
	if d == nil {
		return
	}
	defer d.st.mu.Unlock()
	if d.sentinel == 0 && d.legal != 0 || len(d.shared) == 0 {
		d.sentinel = at
		return
	}
	for _, md := range d.shared {
		if g := md.group.newest(); g.sentinel == 0 {
			g.sentinel = at
			return
		}
	}
}

// lockCurrent gives the client's account of a stream in its current epoch, with
// the stream's lock held. An unknown stream is a stray, once: what was read of it
// is also answered and handled.
func (b *Book) lockCurrent(client string, id uint32, seq uint64, at timeline.Instant) *delivery {
	st := b.streams.get(id)
	if st == nil {
		if seq == 0 || !b.strayed(client, id, seq) {
			b.stray(Stray{Client: client, Stream: id, Seq: seq, Why: WhyUnknownStream, At: at})
		}
		return nil
	}
	st.mu.Lock()
	return b.current(st, client)
}

func answering(d *delivery) *Set { return &d.answers.done }
func calling(d *delivery) *Set   { return &d.application.done }

// holder gives the account of the client that has a message: of several the
// latest in which it was not yet dealt with, else the latest. nil = none.
func (d *delivery) holder(seq uint64, what func(*delivery) *Set) *delivery {
	if d.delivered.Contains(seq) && len(d.shared) == 0 && d.prev == nil {
		return d
	}
	var any *delivery
	for p := d; p != nil; p = p.prev {
		if p.delivered.Contains(seq) {
			if !what(p).Contains(seq) {
				return p
			}
			any = cmp.Or(any, p)
		}
		for _, md := range p.shared {
			if md.delivered.Contains(seq) {
				if !what(md).Contains(seq) {
					return md
				}
				any = cmp.Or(any, md)
			}
		}
	}
	return any
}

// newest gives the last of the accounts of this client or group.
func (d *delivery) newest() *delivery {
	for d.next != nil {
		d = d.next
	}
	return d
}
