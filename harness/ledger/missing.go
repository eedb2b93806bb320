package ledger

import "slices"

// subscriber closes one stream at one client over all epochs and gives what
// the client read.
func (c *closing) subscriber(s *closingStream, client string, accounts []*DeliveryAccount) Set {
	var read, expected Set
	for _, d := range accounts {
		read = read.Union(d.Delivered)
	}
	for i, d := range accounts {
		e := s.Attempted.Within(d.From, d.To).Minus(d.Except)
		if d.From == 0 {
			e = Set{} // nothing was expected
		}
		if n := e.Intersect(expected).Len(); n > 0 {
			c.unbalanced(s, "%d expected by %s in two epochs", n, client)
		}
		expected = expected.Union(e)
		if s.qos(d) == 0 {
			c.atQoS0(s, d, e, read)
		} else {
			c.acknowledged(s, epochOf(accounts, i), d, e.Intersect(s.acked), read)
		}
		c.order(s, d)
		c.wrong(s, d)
	}
	c.copies(s, client, accounts)
	c.exchanges(s, accounts, expected, epochOf(accounts, len(accounts)-1).sentinel)
	return read
}

// epoch sums up the accounts of one epoch: more than one where the granted QoS
// changed within it.
type epoch struct {
	over     bool
	sentinel bool
	last     uint64 // highest number read in it
	conn     int    // the client's last connection in it
}

// epochOf sums up the epoch of the account at place i of a client's accounts.
func epochOf(accounts []*DeliveryAccount, i int) (e epoch) {
	for _, d := range accounts {
		if d.Epoch != accounts[i].Epoch {
			continue
		}
		e.over = d.Ended != 0 // of the last one
		e.sentinel = e.sentinel || d.Sentinel != 0
		e.last = max(e.last, d.Delivered.Max())
		e.conn = max(e.conn, d.Conn)
	}
	return e
}

// atQoS0 closes one account where QoS 0 was owed.
func (c *closing) atQoS0(s *closingStream, d *DeliveryAccount, owed, read Set) {
	m := &c.account.QoS[0]
	missing := owed.Minus(read)
	m.Expected += owed.Len()
	m.Delivered += owed.Intersect(read).Len()
	m.Lost += missing.Len()
	c.missing(s, d, LostQoS0, missing, "at QoS 0")
}

// acknowledged closes one account where QoS 1 or 2 was owed.
func (c *closing) acknowledged(s *closingStream, ep epoch, d *DeliveryAccount, owed, read Set) {
	missing := owed.Minus(read)
	// The tail is what no later one was read behind. A number that was first
	// written after a higher one is not before it, so no gap can be told, and
	// neither of one that was written again after it.
	var gap Set
	if ep.last > 0 {
		gap = missing.Within(0, ep.last-1).Minus(s.Late).Minus(d.Unordered)
	}
	l := losses{s: s, d: d}
	switch tail := missing.Minus(gap); {
	case ep.over:
		l.lost, l.legal = gap, tail
	case c.Away[d.Client]:
		l.open, l.why = missing, "subscriber away at the end"
	case !c.Drained:
		l.open, l.why = missing, "no drain"
	case ep.sentinel:
		l.lost = missing
	default:
		l.lost, l.open, l.why = gap, tail, "sentinel not read"
	}
	l.forgotten = c.forgotten(s, l.lost)
	l.lost = l.lost.Minus(l.forgotten)
	c.owed(l, owed, read)
}

// forgotten gives those of the messages that a restart of the broker may have
// undone, by the instant of their acknowledgement.
func (c *closing) forgotten(s *closingStream, lost Set) (out Set) {
	for seq := range lost.Intersect(s.timed).All() {
		at := s.open[seq].Acked
		if at != 0 && slices.ContainsFunc(c.Lapses, func(l Lapse) bool { return l.Holds(at) }) {
			out.Add(seq)
		}
	}
	return out
}

const whyForgotten = "the broker was restarted without it"

const whyUnreleased = "PUBREC read, PUBREL not written or not answered"

// losses is what became of the messages that were owed and not read.
type losses struct {
	s                 *closingStream
	d                 *DeliveryAccount
	lost, legal, open Set
	forgotten         Set    // a legal loss too: by a restart of the broker
	why               string // of open
}

// owed counts and lists what one account was owed at QoS 1 or 2.
func (c *closing) owed(l losses, owed, read Set) {
	s, d := l.s, l.d
	q := s.qos(d)
	m := &c.account.QoS[q]
	waiting := c.unreleased(s, l.lost)
	l.lost = l.lost.Minus(waiting)
	swallowed := c.scripted(s.ID, append([]string{d.Client, s.Publisher}, d.Members...)...)
	scripted := l.lost.Union(waiting).Intersect(swallowed)
	l.lost, waiting = l.lost.Minus(scripted), waiting.Minus(scripted)

	m.Expected += owed.Len()
	m.Delivered += owed.Intersect(read).Len()
	m.Lost += l.lost.Len()
	m.LegalLoss += l.legal.Len() + l.forgotten.Len()
	m.Undetermined += l.open.Len() + waiting.Len()
	m.Scripted += scripted.Len()
	c.excused[q] += scripted.Len()
	c.missing(s, d, Lost, l.lost, "acknowledged")
	c.missing(s, d, LegalLoss, l.legal, "session ended")
	c.missing(s, d, LegalLoss, l.forgotten, whyForgotten)
	c.missing(s, d, Undetermined, l.open, l.why)
	c.missing(s, d, Undetermined, waiting, whyUnreleased)
	c.missing(s, d, Scripted, scripted, "a frame fault swallowed a packet of it")
}

// unreleased gives those of the messages for whose PUBREL the broker may wait
// before it sends on (figure 4.3, method A): the publisher is away and may yet
// write it, or did not write it on its last connection, as it has to
// [MQTT-4.4.0-1]. That one was written on an earlier connection does not say
// that it arrived.
func (c *closing) unreleased(s *closingStream, lost Set) Set {
	if s.QoS != 2 || !s.Exchanges {
		return Set{}
	}
	waiting := lost.Minus(s.Completed)
	if c.Away[s.Publisher] {
		return waiting
	}
	var written Set
	for seq := range waiting.Intersect(s.Released).Intersect(s.timed).All() {
		if s.open[seq].Conn == s.Conn {
			written.Add(seq)
		}
	}
	return waiting.Minus(written)
}

// missing lists messages that were owed and not read.
func (c *closing) missing(s *closingStream, d *DeliveryAccount, v Verdict, seqs Set, why string) {
	if seqs.IsZero() {
		return
	}
	c.timed(s, seqs, string(v))
	c.list(v, seqs, func(seq uint64) Exception {
		e := s.exception(v, d, seq, why)
		switch {
		case v == Lost && d.Group == "":
			e.blame(chargeBroker)
		case v == Lost:
			e.Warn = true // 3.1.1 does not know shared groups
		case v == Undetermined && why == whyUnreleased:
			e.Cause = CauseUnreleased
		case v == LegalLoss && why == whyForgotten:
			e.Cause = CauseRestart
		case v == LegalLoss:
			e.At = d.Ended
			e.Cause = CauseSession
		case v == Scripted:
			e.Cause = CauseFrame
		}
		return e
	})
}
