package ledger

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// exception starts the row of one message at one subscriber.
func (s *closingStream) exception(v Verdict, d *DeliveryAccount, seq uint64, why string) Exception {
	e := Exception{
		Verdict: v, Stream: s.ID, Topic: s.Topic, QoS: s.qos(d),
		Publisher: s.Publisher, Subscriber: d.Client, Seq: seq, Epoch: d.Epoch, Why: why,
	}
	if m := s.open[seq]; m != nil {
		e.Intended, e.Sent, e.Acked = m.Intended, m.Sent, m.Acked
	}
	return e
}

// list adds one row a message, as far as the list goes.
func (c *closing) list(v Verdict, seqs Set, row func(uint64) Exception) {
	n := int64(0)
	for seq := range seqs.All() {
		if c.listed[v] == c.limit {
			break
		}
		c.add(row(seq))
		n++
	}
	c.unlisted(v, seqs.Len()-n)
}

func (c *closing) add(e Exception) {
	if c.listed[e.Verdict] == c.limit {
		c.unlisted(e.Verdict, 1)
		return
	}
	c.listed[e.Verdict]++
	c.account.Exceptions = append(c.account.Exceptions, e)
}

func (c *closing) unlisted(v Verdict, n int64) {
	if n == 0 {
		return
	}
	if c.account.Unlisted == nil {
		c.account.Unlisted = map[Verdict]int64{}
	}
	c.account.Unlisted[v] += n
}

// copies counts what one client read more than once, within its epochs and
// over them, and lists it.
func (c *closing) copies(s *closingStream, client string, accounts []*DeliveryAccount) {
	type copied struct {
		extra, filters int
		last           *DeliveryAccount
		again          Extra
	}
	rows := map[uint64]*copied{}
	note := func(d *DeliveryAccount, seq uint64, extra int) *copied {
		r := rows[seq]
		if r == nil {
			r = &copied{filters: 1}
			rows[seq] = r
		}
		r.extra, r.last, r.filters = r.extra+extra, d, max(r.filters, d.Filters)
		return r
	}
	var seen Set
	for _, d := range accounts {
		if n := d.Delivered.Minus(s.Attempted); !n.IsZero() {
			c.account.QoS[s.QoS].Unexpected += n.Len()
			c.list(Unexpected, n, func(seq uint64) Exception {
				return s.exception(Unexpected, d, seq, WhyNeverAttempted)
			})
		}
		over := d.Delivered.Intersect(seen) // read in an earlier epoch too
		seen = seen.Union(d.Delivered)
		if over.Len() > int64(c.limit) {
			c.unbalanced(s, "%d read by %s in two epochs, too many to list", over.Len(), client)
			over = Set{}
		}
		for seq := range over.All() {
			note(d, seq, 1)
		}
		for _, e := range d.Extra {
			if !d.Delivered.Contains(e.Seq) {
				c.unbalanced(s, "%d was read %d times by %s and is not among the delivered", e.Seq, e.Copies, client)
				continue
			}
			r := note(d, e.Seq, e.Copies-1)
			r.again.DUP = r.again.DUP || e.DUP
			r.again.At = max(r.again.At, e.At)
		}
	}
	for _, seq := range slices.Sorted(maps.Keys(rows)) {
		r := rows[seq]
		e := s.exception(Duplicated, r.last, seq, "")
		e.At, e.Copies = r.again.At, r.extra+1
		extra := r.extra
		switch {
		case e.QoS == 0 && e.Copies <= r.filters:
			continue // a copy for each matching filter is legal (section 3.3.5)
		case e.QoS == 0 && s.Resent.Contains(seq):
			continue // a second publish to the broker, however the first one fared
		case e.QoS == 0:
			extra = e.Copies - r.filters
			e.Why = fmt.Sprintf("more copies than matching filters (%d)", r.filters)
		case r.again.DUP:
			e.Why = "redelivery" // on this hop, the broker says
		case s.Resent.Contains(seq):
			e.Why = "publisher-resend"
		case e.Copies <= r.filters:
			e.Why = "overlap"
		default:
			e.Why = "unprovoked"
		}
		c.account.QoS[e.QoS].Duplicated += int64(extra)
		c.add(e)
	}
}

// order lists what was out of order in one account.
func (c *closing) order(s *closingStream, d *DeliveryAccount) {
	q := s.qos(d)
	c.account.QoS[q].Reordered += int64(len(d.Reordered))
	for _, r := range d.Reordered {
		e := s.exception(Reordered, d, r.Seq, fmt.Sprintf("first read after %d, which was certainly sent later", r.After))
		e.At, e.Copies = r.At, 1
		c.add(e)
	}
}

// stray lists a PUBLISH that no attempt explains.
func (c *closing) stray(s *Stray) {
	m := &c.account.QoS[min(s.QoS, 1)]
	if s.Count > 0 {
		m.Unexpected = min(m.Unexpected, math.MaxInt64-s.Count) + s.Count
		c.unlisted(Unexpected, s.Count)
		return
	}
	m.Unexpected++
	c.add(Exception{
		Verdict: Unexpected, Stream: s.Stream, Topic: s.Topic, QoS: s.QoS, Subscriber: s.Client,
		Seq: s.Seq, At: s.At, Copies: 1, Why: s.Why,
	})
}
