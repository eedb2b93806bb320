package ledger

import (
	"fmt"
	"maps"
	"slices"
)

// copied is one message that a client, or a group, read or handled more than
// once.
type copied struct {
	copies, calls int
	filters       int
	last          *DeliveryAccount
	again         Extra
	over          bool // more deliveries at QoS 2 than matching filters, in one epoch
	unprovoked    bool
	members       map[string]bool
	counted       bool // copies and calls are all that there were
	followed      bool
}

// gather joins what the accounts of one client, or of all members of a group,
// say of copies, by message.
func (c *closing) gather(s *closingStream, name string, accounts []*DeliveryAccount) map[uint64]*copied {
	rows := map[uint64]*copied{}
	var kept Set // of any account: which one the call of a handler was for, nobody can tell
	row := func(d *DeliveryAccount, seq uint64) *copied {
		r := rows[seq]
		if r == nil {
			// A retained copy reaches the handler too.
			r = &copied{filters: 1, members: map[string]bool{}, followed: d.Exchanges, counted: !kept.Contains(seq)}
			rows[seq] = r
		}
		r.last, r.filters = d, max(r.filters, d.Filters)
		return r
	}
	// Which messages need a row: read in two accounts, with extra copies, or
	// handled in two accounts or more than once.
	var seen, over, called Set
	for _, d := range accounts {
		kept = kept.Union(d.Kept)
	}
	for _, d := range accounts {
		over = over.Union(d.Delivered.Intersect(seen))
		over = over.Union(d.Handled.Intersect(called))
		seen, called = seen.Union(d.Delivered), called.Union(d.Handled)
		for _, e := range d.Extra {
			if !d.Delivered.Contains(e.Seq) {
				c.unbalanced(s, "%d was read %d times by %s and is not among the delivered", e.Seq, e.Copies, name)
				continue
			}
			over.Add(e.Seq)
		}
		for _, n := range d.Calls {
			over.Add(n.Seq)
		}
	}
	if over.Len() > int64(c.limit)+c.extras(accounts) {
		c.unbalanced(s, "%d read by %s in two epochs, too many to list", over.Len(), name)
		return nil
	}
	for _, d := range accounts {
		for seq := range d.Delivered.Intersect(over).All() {
			r := row(d, seq)
			r.copies++
			r.members[d.Client] = true
		}
		for seq := range d.Handled.Intersect(over).All() {
			row(d, seq).calls++
		}
		for _, n := range d.Calls {
			row(d, n.Seq).calls += n.N - 1
		}
		for _, e := range d.Extra {
			if !d.Delivered.Contains(e.Seq) {
				continue
			}
			r := row(d, e.Seq)
			r.copies += e.Copies - 1
			r.again.DUP = r.again.DUP || e.DUP
			if e.At >= r.again.At {
				r.again.At, r.again.Conn = e.At, e.Conn
			}
			r.over = r.over || e.Over
			r.unprovoked = r.unprovoked || e.Unprovoked > 0
		}
	}
	return rows
}

func (c *closing) extras(accounts []*DeliveryAccount) (n int64) {
	for _, d := range accounts {
		n += int64(len(d.Extra) + len(d.Calls))
	}
	return n
}

// copies counts and lists what one client, or group, read or handled more than
// once, within its epochs and over them.
func (c *closing) copies(s *closingStream, name string, accounts []*DeliveryAccount) {
	rows := c.gather(s, name, accounts)
	for _, seq := range slices.Sorted(maps.Keys(rows)) {
		r := rows[seq]
		e := s.exception(Duplicated, r.last, seq, "")
		e.At, e.Conn, e.Copies = r.again.At, r.again.Conn, r.copies
		extra := max(r.copies-1, 0)
		tooMany := r.followed && r.counted && r.copies > 0 && r.calls > r.copies
		if len(r.members) > 1 {
			e.Subscriber = name
		}
		switch e.QoS {
		case 0:
			extra = max(r.copies-r.filters, 0)
			if s.Resent.Contains(seq) {
				extra = 0 // a second publish to the broker, however the first one fared
			}
			if extra == 0 && !tooMany {
				continue // a copy for each matching filter is legal (section 3.3.5)
			}
			e.Why = fmt.Sprintf("more copies than matching filters (%d)", r.filters)
			if extra > 0 {
				e.blame(chargeBroker)
				tooMany = false
			}
		case 1:
			e.Cause = c.cause(s, r, seq)
			e.Warn = e.Cause == CauseUnprovoked && r.followed
		case 2:
			e.Cause = c.cause(s, r, seq)
			if c.twice(s, r, &e) {
				tooMany = false
			}
		}
		if tooMany {
			e.Warn, e.Cause, e.Why = false, CauseHandler, fmt.Sprintf("%d handler calls for %d copies", r.calls, r.copies)
			e.blame(chargeSubscriber)
		}
		if e.Why == "" {
			e.Why = e.Cause
		}
		if extra == 0 && !tooMany && !e.Fault {
			continue
		}
		c.account.QoS[e.QoS].Duplicated += int64(max(extra, 0))
		if e.Fault {
			c.account.QoS[e.QoS].Forbidden += int64(max(extra, 1))
		}
		c.add(e)
	}
}

// cause says why a message came again at QoS 1 or 2.
func (c *closing) cause(s *closingStream, r *copied, seq uint64) string {
	resent := s.Resent.Contains(seq)
	switch {
	case len(r.members) > 1:
		return CauseReassigned
	case r.unprovoked && !resent && r.copies > r.filters:
		return CauseUnprovoked
	case r.again.DUP: // on this hop, the broker says
		return CauseRedelivery
	case s.Republished.Contains(seq):
		return CauseRepublish
	case resent:
		return CauseResend
	case r.copies <= r.filters:
		return CauseOverlap
	case r.followed:
		return CauseRedelivery // not answered before, or that connection ended
	}
	return CauseUnprovoked
}

// twice judges more than one delivery at QoS 2: exactly once is promised while
// both sessions live. It reports whether somebody else than the subscriber's
// library is to blame.
func (c *closing) twice(s *closingStream, r *copied, e *Exception) bool {
	switch {
	case len(r.members) <= 1 && !r.over:
		return false // in different epochs, for different filters, or at QoS 1
	case s.Republished.Contains(e.Seq):
		e.Why = "the publisher published it again: after its PUBREL, or under another packet id"
		e.Cause = CauseRepublish
		e.blame(chargePublisher)
	case s.Carried.Contains(e.Seq) && c.Clean[s.Publisher]:
		e.Why = "the publisher sent it again after a clean start"
		e.Cause = CauseResend
		e.blame(chargePublisher)
	case s.Carried.Contains(e.Seq):
		e.Cause = CauseSession // the publisher's ended in between
		return false
	case len(r.members) > 1:
		// Only to the same member (5.0 [MQTT-4.8.2-4]), and at its session's end
		// to no other [MQTT-4.8.2-5].
		e.Why = "delivered to two members of a shared group"
		e.blame(chargeBroker)
	case r.followed && r.counted && r.calls > r.copies:
		return false
	default:
		e.Why = fmt.Sprintf("delivered %d times in one epoch", r.copies)
		e.blame(chargeBroker)
	}
	return true
}
