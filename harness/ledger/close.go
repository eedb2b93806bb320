package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/reports"
)

// Close judges every message from the records alone. away holds the clients
// (by client id) that were not connected and subscribed at the end; drained
// says that the run waited for everything that could still come and then sent
// the sentinels. The order of the records does not matter.
//
// At QoS 1 a message is owed to each subscriber that expects it once it is
// acknowledged. Owed and not read, it is
//   - lost, if a later one of its stream was read in that epoch (its gap can
//     not fill any more), or if the sentinel was read;
//   - a legal loss, if its epoch ended and it is in the tail;
//   - undetermined, if the subscriber is away at the end, the run did not
//     drain, or nothing was read behind it.
//
// At QoS 0 what was attempted and not read is lost, which is counted and never
// failed. Not acknowledged and not read is indeterminate, which is no fault.
func Close(records []Record, away map[string]bool, drained bool) Account {
	return closeUpTo(MaxListed, records, away, drained)
}

func closeUpTo(limit int, records []Record, away map[string]bool, drained bool) Account {
	c := closing{limit: limit, away: away, drained: drained, listed: map[Verdict]int{}}
	c.account.QoS[1].QoS = 1
	streams, strays := c.group(records)
	for _, s := range streams {
		c.stream(s)
	}
	for _, s := range strays {
		c.stray(s)
	}
	for q := range c.balance {
		if words := settled(c.account.QoS[q]); words != "" {
			c.balance[q] = append(c.balance[q], words)
		}
		c.account.QoS[q].Balance = strings.Join(c.balance[q], "; ")
	}
	return c.account
}

// settled checks that what was owed is accounted for, by counts that were made
// apart from each other.
func settled(m reports.Messages) string {
	if sum := m.Delivered + m.Lost + m.LegalLoss + m.Undetermined; m.Expected != sum {
		return fmt.Sprintf("%d deliveries owed, but %d delivered + %d lost + %d legal loss + %d undetermined = %d",
			m.Expected, m.Delivered, m.Lost, m.LegalLoss, m.Undetermined, sum)
	}
	if m.QoS > 0 && m.Recovered > m.Indeterminate {
		return fmt.Sprintf("%d recovered of only %d indeterminate", m.Recovered, m.Indeterminate)
	}
	return ""
}

// closing is one Close on its way.
type closing struct {
	limit   int // of rows of one verdict
	away    map[string]bool
	drained bool
	account Account
	balance [2][]string
	listed  map[Verdict]int
}

// closingStream is all that the records say of one stream.
type closingStream struct {
	*StreamAccount
	byClient map[string][]*DeliveryAccount
	open     map[uint64]*Message
	timed    Set // numbers of open
}

// qos is the QoS that an account was owed: of the publish, lowered by the
// SUBACK where there was one.
func (s *closingStream) qos(d *DeliveryAccount) byte {
	if d.Filters == 0 {
		return s.QoS
	}
	return min(s.QoS, d.Granted)
}

// group sorts the records by stream and tells what does not belong.
func (c *closing) group(records []Record) ([]*closingStream, []*Stray) {
	byID := map[uint32]*closingStream{}
	var strays []*Stray
	for _, r := range records {
		switch {
		case r.Stream == nil:
		case r.Stream.QoS > 1:
			c.problem("stream %d has QoS %d, which this version can not judge", r.Stream.ID, r.Stream.QoS)
		case byID[r.Stream.ID] != nil:
			c.problem("stream %d has two accounts", r.Stream.ID)
		default:
			s := &closingStream{StreamAccount: r.Stream, byClient: map[string][]*DeliveryAccount{}, open: map[uint64]*Message{}}
			for i := range r.Stream.Open {
				s.open[r.Stream.Open[i].Seq] = &r.Stream.Open[i]
				s.timed.Add(r.Stream.Open[i].Seq)
			}
			byID[r.Stream.ID] = s
		}
		if r.Stray != nil {
			strays = append(strays, r.Stray)
		}
	}
	for _, r := range records {
		if d := r.Delivery; d != nil {
			if s := byID[d.Stream]; s != nil {
				s.byClient[d.Client] = append(s.byClient[d.Client], d)
			} else {
				c.problem("%s has a delivery account of stream %d, which has no account", d.Client, d.Stream)
			}
		}
	}
	for _, s := range byID {
		for _, accounts := range s.byClient {
			slices.SortStableFunc(accounts, func(x, y *DeliveryAccount) int {
				return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(x.From, y.From))
			})
		}
	}
	slices.SortStableFunc(strays, func(x, y *Stray) int {
		return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Client, y.Client), cmp.Compare(x.Stream, y.Stream), cmp.Compare(x.Seq, y.Seq))
	})
	slices.Sort(c.account.Problems)
	return slices.SortedFunc(maps.Values(byID), func(x, y *closingStream) int { return cmp.Compare(x.ID, y.ID) }), strays
}

// stream closes one stream: the publisher's side, then each subscriber's.
func (c *closing) stream(s *closingStream) {
	m := &c.account.QoS[s.QoS]
	attempted := s.Attempted.Len()
	m.Streams++
	m.Scheduled += s.Scheduled
	m.Missed += s.Missed
	m.Refused += s.Refused
	m.Queued += s.Queued
	m.Attempted += attempted
	m.Acknowledged += s.Acked.Len()

	if sum := attempted + s.Missed + s.Refused + s.Queued; s.Scheduled != sum {
		c.unbalanced(s, "%d scheduled, but %d attempted + %d missed + %d refused + %d queued = %d",
			s.Scheduled, attempted, s.Missed, s.Refused, s.Queued, sum)
	}
	if n := s.Acked.Minus(s.Attempted).Len(); n > 0 {
		c.unbalanced(s, "%d acknowledged that were never attempted", n)
	}
	var indeterminate Set
	if s.QoS == 0 {
		if n := s.Acked.Len(); n > 0 {
			c.unbalanced(s, "%d acknowledged at QoS 0", n)
		}
	} else {
		indeterminate = s.Attempted.Minus(s.Acked)
		m.Indeterminate += indeterminate.Len()
		c.timed(s, indeterminate, "indeterminate")
	}

	var read Set // by any subscriber
	for _, client := range slices.Sorted(maps.Keys(s.byClient)) {
		got := c.subscriber(s, client, s.byClient[client])
		read = read.Union(got)
	}
	m.Recovered += indeterminate.Intersect(read).Len()
}

// subscriber closes one stream at one client over all epochs and gives what
// the client read.
func (c *closing) subscriber(s *closingStream, client string, accounts []*DeliveryAccount) Set {
	var read, expected Set
	for _, d := range accounts {
		read = read.Union(d.Delivered)
	}
	for _, d := range accounts {
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
			c.atQoS1(s, d, e.Intersect(s.Acked), read)
		}
		c.order(s, d)
	}
	c.copies(s, client, accounts)
	return read
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

// atQoS1 closes one account where QoS 1 was owed.
func (c *closing) atQoS1(s *closingStream, d *DeliveryAccount, owed, read Set) {
	m := &c.account.QoS[1]
	missing := owed.Minus(read)
	// The tail is what no later one was read behind. A number that was first
	// written after a higher one is not before it, so no gap can be told.
	var gap Set
	if last := d.Delivered.Max(); last > 0 {
		gap = missing.Within(0, last-1).Minus(s.Late)
	}
	tail := missing.Minus(gap)

	var lost, legal, open Set
	why := ""
	switch {
	case d.Ended != 0:
		lost, legal = gap, tail
	case c.away[d.Client]:
		open, why = missing, "subscriber away at the end"
	case !c.drained:
		open, why = missing, "no drain"
	case d.Sentinel != 0:
		lost = missing
	default:
		lost, open, why = gap, tail, "sentinel not read"
	}
	m.Expected += owed.Len()
	m.Delivered += owed.Intersect(read).Len()
	m.Lost += lost.Len()
	m.LegalLoss += legal.Len()
	m.Undetermined += open.Len()
	c.missing(s, d, Lost, lost, "acknowledged")
	c.missing(s, d, LegalLoss, legal, "session ended")
	c.missing(s, d, Undetermined, open, why)
}

// timed checks that the instants of messages in doubt were kept.
func (c *closing) timed(s *closingStream, doubtful Set, what string) {
	if n, kept := doubtful.Len(), doubtful.Intersect(s.timed).Len(); kept < n {
		c.unbalanced(s, "%d %s, but the instants of only %d of them were kept", n, what, kept)
	}
}

// missing lists messages that were owed and not read.
func (c *closing) missing(s *closingStream, d *DeliveryAccount, v Verdict, seqs Set, why string) {
	if seqs.IsZero() {
		return
	}
	c.timed(s, seqs, string(v))
	c.list(v, seqs, func(seq uint64) Exception {
		e := s.exception(v, d, seq, why)
		if v == LegalLoss {
			e.At = d.Ended
		}
		return e
	})
}

func (c *closing) problem(format string, args ...any) {
	c.account.Problems = append(c.account.Problems, fmt.Sprintf(format, args...))
}

// maxWords is how many streams a balance names: beyond, one more says nothing new.
const maxWords = 20

func (c *closing) unbalanced(s *closingStream, format string, args ...any) {
	words := &c.balance[s.QoS]
	switch len(*words) {
	case maxWords:
		*words = append(*words, "and more")
	case maxWords + 1:
	default:
		*words = append(*words, fmt.Sprintf("stream %d (%s): ", s.ID, s.Topic)+fmt.Sprintf(format, args...))
	}
}
