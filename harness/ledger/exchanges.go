package ledger

import (
	"cmp"
	"slices"
)

// publisher lists the exchanges that stand still at the publisher: it is
// connected, its session goes on since, the sentinel behind them came home,
// and yet they are not complete.
func (c *closing) publisher(s *closingStream) {
	if !s.Exchanges || !c.Drained || c.Away[s.Publisher] || s.SentinelAcked == 0 {
		return
	}
	whole := s.Acked
	if s.QoS == 2 {
		whole = s.Completed
	}
	var still Set
	for seq := range s.Attempted.Minus(whole).Intersect(s.timed).All() {
		if !s.open[seq].Reset {
			still.Add(seq)
		}
	}
	excused := still.Intersect(c.scripted(s.ID, s.Publisher))
	m := &c.account.QoS[s.QoS]
	m.Stuck += still.Len() - excused.Len()
	m.Scripted += excused.Len()
	for _, v := range []Verdict{Stuck, Scripted} {
		seqs := still.Minus(excused)
		if v == Scripted {
			seqs = excused
		}
		c.list(v, seqs, func(seq uint64) Exception {
			e := Exception{Verdict: v, Stream: s.ID, Topic: s.Topic, QoS: s.QoS, Publisher: s.Publisher, Seq: seq, Conn: s.Conn}
			s.times(&e)
			packet := "PUBLISH"
			if s.acked.Contains(seq) {
				packet = "PUBREL"
			}
			switch {
			case v == Scripted:
				e.Why, e.Cause = "a frame fault swallowed a packet of it", CauseFrame
			case s.open[seq].Conn == s.Conn:
				e.Why = packet + " written on the last connection, and never answered"
				e.blame(chargeBroker)
			default:
				e.Why = packet + " not written on the last connection"
				e.blame(chargePublisher)
			}
			return e
		})
	}
}

// exchanges judges what one client, or one member of a group, did with what it
// read: all its accounts of the stream, by epoch. closed says that the sentinel
// was read.
func (c *closing) exchanges(s *closingStream, accounts []*DeliveryAccount, expected Set, closed bool) {
	var answered, handled Set
	for _, d := range accounts {
		if !d.Exchanges {
			return // a file of a version that did not follow them
		}
		answered, handled = answered.Union(d.Answered), handled.Union(d.Handled)
	}
	for _, d := range accounts {
		c.account.QoS[s.qos(d)].Handled += d.Handled.Intersect(d.Delivered).Len()
	}
	if !c.Drained {
		return // an answer, or the handler, may yet come
	}
	var done Set
	for _, d := range accounts {
		silent := d.Answered.Minus(handled).Minus(done)
		done = done.Union(silent)
		c.account.QoS[s.qos(d)].LostInClient += silent.Len()
		c.list(LostInClient, silent, func(seq uint64) Exception {
			e := s.exception(LostInClient, d, seq, "answered, and the handler was never called")
			e.blame(chargeSubscriber)
			return e
		})
	}
	c.unread(s, accounts)
	if closed {
		c.pending(s, accounts, expected, answered, handled)
	}
}

// unread lists what the handler was called with and the wire never showed.
func (c *closing) unread(s *closingStream, accounts []*DeliveryAccount) {
	var read Set
	for _, d := range accounts {
		if s.strays[d.Client] || d.Group != "" {
			return // they reach the handler too, and a member has two accounts
		}
		read = read.Union(d.Delivered).Union(d.Kept)
	}
	for _, d := range accounts {
		extra := d.Handled.Minus(read)
		c.account.QoS[s.qos(d)].Unexpected += extra.Len()
		c.list(Unexpected, extra, func(seq uint64) Exception {
			e := s.exception(Unexpected, d, seq, "the handler was called, and no copy was read")
			e.Cause = CauseHandler
			e.blame(chargeSubscriber)
			return e
		})
	}
}

// pending judges what was read in the last epoch and never answered.
func (c *closing) pending(s *closingStream, accounts []*DeliveryAccount, expected, answered, handled Set) {
	last := accounts[len(accounts)-1]
	ep := epochOf(accounts, len(accounts)-1)
	if ep.over || c.Away[last.Client] {
		return
	}
	type part struct {
		*DeliveryAccount
		Pending
	}
	var parts []part
	for _, d := range accounts {
		for _, p := range d.Pending {
			if d.Epoch == last.Epoch {
				parts = append(parts, part{d, p})
			}
		}
	}
	slices.SortStableFunc(parts, func(x, y part) int { return cmp.Compare(y.Pending.Conn, x.Pending.Conn) })
	seen := answered
	for _, p := range parts {
		seqs := p.Seqs.Minus(seen)
		seen = seen.Union(p.Seqs)
		if p.Pending.Conn < ep.conn {
			// Unacknowledged PUBLISH must be sent again [MQTT-4.4.0-1].
			c.unanswered(s, p.DeliveryAccount, NotRedelivered, seqs.Intersect(expected).Minus(handled), p.Pending.Conn)
		} else {
			c.unanswered(s, p.DeliveryAccount, Stuck, seqs, p.Pending.Conn)
		}
	}
}

// unanswered counts and lists what was read last on a connection, and never
// answered.
func (c *closing) unanswered(s *closingStream, d *DeliveryAccount, v Verdict, seqs Set, conn int) {
	m := &c.account.QoS[s.qos(d)]
	excused := seqs.Intersect(c.scripted(s.ID, d.Client))
	m.Scripted += excused.Len()
	c.list(Scripted, excused, func(seq uint64) Exception {
		e := s.exception(Scripted, d, seq, "a frame fault swallowed a packet of it")
		e.Conn, e.Copies, e.Cause = conn, 1, CauseFrame
		return e
	})
	seqs = seqs.Minus(excused)
	count, why, charge := &m.Stuck, "read on the last connection, and never answered", chargeSubscriber
	if v == NotRedelivered {
		count, why, charge = &m.NotRedelivered, "read, not answered, and not sent again on a later connection", chargeBroker
	}
	*count += seqs.Len()
	c.list(v, seqs, func(seq uint64) Exception {
		e := s.exception(v, d, seq, why)
		e.Conn, e.Copies = conn, 1
		if v == NotRedelivered && d.Group != "" {
			e.Warn = true // 3.1.1 does not know shared groups
		} else {
			e.blame(charge)
		}
		return e
	})
}
