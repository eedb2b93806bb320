package ledger

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Close judges every message from the records and the situation at the end.
// The order of the records does not matter.
//
// At QoS 1 and 2 a message is owed to each subscriber that expects it once it
// is acknowledged; at QoS 2 not if the publisher's session was lost between
// PUBREC and PUBCOMP. Owed and not read, it is
//   - lost, if one that was certainly sent later on its stream was read in that
//     epoch (its gap can not fill any more), or if the sentinel was read;
//   - a legal loss, if its epoch ended and it is in the tail, or if it was
//     acknowledged in a lapse of the broker's;
//   - undetermined, if the subscriber is away at the end, the run did not
//     drain, or nothing was read behind it;
//   - scripted, if it would be lost and a frame fault swallowed a packet of it.
//
// At QoS 0 what was attempted and not read is lost, which is counted and never
// failed. Not acknowledged and not read is indeterminate, which is no fault.
func Close(records []Record, s Situation) Account { return closeUpTo(MaxListed, records, s) }

func closeUpTo(limit int, records []Record, situation Situation) Account {
	c := closing{limit: limit, Situation: situation, swallowed: swallowed(situation.Frames), listed: map[Verdict]int{}}
	for q := range c.account.QoS {
		c.account.QoS[q].QoS = q
	}
	streams, strays := c.group(records)
	for _, s := range streams {
		c.stream(s)
	}
	for _, s := range strays {
		c.stray(s)
	}
	for q := range c.balance {
		if words := settled(c.account.QoS[q], c.excused[q]); words != "" {
			c.balance[q] = append(c.balance[q], words)
		}
		c.account.QoS[q].Balance = strings.Join(c.balance[q], "; ")
	}
	return c.account
}

// settled checks that what was owed is accounted for, by counts that were made
// apart from each other.
func settled(m reports.Messages, scripted int64) string {
	if sum := m.Delivered + m.Lost + m.LegalLoss + m.Undetermined + scripted; m.Expected != sum {
		return fmt.Sprintf("%d deliveries owed, but %d delivered + %d lost + %d legal loss + %d undetermined + %d scripted = %d",
			m.Expected, m.Delivered, m.Lost, m.LegalLoss, m.Undetermined, scripted, sum)
	}
	if m.QoS > 0 && m.Recovered > m.Indeterminate {
		return fmt.Sprintf("%d recovered of only %d indeterminate", m.Recovered, m.Indeterminate)
	}
	return ""
}

// closing is one Close on its way.
type closing struct {
	Situation
	limit     int // of rows of one verdict
	swallowed map[uint32][]timeline.Frame
	account   Account
	balance   [3][]string
	excused   [3]int64 // missing, and scripted
	listed    map[Verdict]int
}

// swallowed gives, by stream, the frames whose message can have suffered. A
// cut ends the connection, after which the standard demands a resend.
func swallowed(frames []timeline.Frame) map[uint32][]timeline.Frame {
	out := map[uint32][]timeline.Frame{}
	for _, f := range frames {
		if f.Fault == "swallow" && !f.Passed && f.Seq > 0 {
			out[f.Stream] = append(out[f.Stream], f)
		}
	}
	return out
}

// scripted gives the messages of a stream of which a packet to or from one of
// the clients was swallowed.
func (c *closing) scripted(stream uint32, clients ...string) Set {
	var out Set
	for _, f := range c.swallowed[stream] {
		if slices.Contains(clients, f.ClientID) {
			out.Add(f.Seq)
		}
	}
	return out
}

// closingStream is all that the records say of one stream.
type closingStream struct {
	*StreamAccount
	byClient map[string][]*DeliveryAccount
	groups   map[string][]*DeliveryAccount // their own accounts, and their members'
	open     map[uint64]*Message
	timed    Set // numbers of open
	strays   map[string]bool
	acked    Set // acknowledged and owed by the broker
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
		case r.Stream.QoS > 2:
			c.problem("stream %d has QoS %d, which is none", r.Stream.ID, r.Stream.QoS)
		case byID[r.Stream.ID] != nil:
			c.problem("stream %d has two accounts", r.Stream.ID)
		default:
			byID[r.Stream.ID] = newClosingStream(r.Stream)
		}
		if r.Stray != nil {
			strays = append(strays, r.Stray)
		}
	}
	for _, r := range records {
		if d := r.Delivery; d != nil {
			if s := byID[d.Stream]; s == nil {
				c.problem("%s has a delivery account of stream %d, which has no account", d.Client, d.Stream)
			} else if d.Group != "" {
				s.groups[d.Group] = append(s.groups[d.Group], d)
			} else {
				s.byClient[d.Client] = append(s.byClient[d.Client], d)
			}
		}
	}
	for _, s := range byID {
		for _, accounts := range s.byClient {
			slices.SortStableFunc(accounts, byEpoch)
		}
		for _, accounts := range s.groups {
			slices.SortStableFunc(accounts, func(x, y *DeliveryAccount) int {
				return cmp.Or(cmp.Compare(x.Client, y.Client), byEpoch(x, y))
			})
		}
	}
	for _, stray := range strays {
		if s := byID[stray.Stream]; s != nil {
			s.strays[stray.Client] = true
		}
	}
	slices.SortStableFunc(strays, func(x, y *Stray) int {
		return cmp.Or(cmp.Compare(x.At, y.At), cmp.Compare(x.Client, y.Client), cmp.Compare(x.Stream, y.Stream), cmp.Compare(x.Seq, y.Seq))
	})
	slices.Sort(c.account.Problems)
	return slices.SortedFunc(maps.Values(byID), func(x, y *closingStream) int { return cmp.Compare(x.ID, y.ID) }), strays
}

// byEpoch orders the accounts of one client; of one epoch's the one that is
// still open comes last.
func byEpoch(x, y *DeliveryAccount) int {
	return cmp.Or(cmp.Compare(x.Epoch, y.Epoch), cmp.Compare(uint64(x.Ended)-1, uint64(y.Ended)-1), cmp.Compare(x.From, y.From))
}

func newClosingStream(a *StreamAccount) *closingStream {
	s := &closingStream{
		StreamAccount: a, byClient: map[string][]*DeliveryAccount{}, groups: map[string][]*DeliveryAccount{},
		open: map[uint64]*Message{}, strays: map[string]bool{}, acked: a.Acked.Minus(a.Abandoned),
	}
	for i := range a.Open {
		s.open[a.Open[i].Seq] = &a.Open[i]
		s.timed.Add(a.Open[i].Seq)
	}
	return s
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
	m.Acknowledged += s.acked.Len()
	m.Completed += s.Completed.Len()

	if sum := attempted + s.Missed + s.Refused + s.Queued; s.Scheduled != sum {
		c.unbalanced(s, "%d scheduled, but %d attempted + %d missed + %d refused + %d queued = %d",
			s.Scheduled, attempted, s.Missed, s.Refused, s.Queued, sum)
	}
	if n := s.Acked.Minus(s.Attempted).Len(); n > 0 {
		c.unbalanced(s, "%d acknowledged that were never attempted", n)
	}
	if n := s.Completed.Minus(s.Acked).Len(); n > 0 {
		c.unbalanced(s, "%d completed that were never acknowledged", n)
	}
	var indeterminate Set
	if s.QoS == 0 {
		if n := s.Acked.Len(); n > 0 {
			c.unbalanced(s, "%d acknowledged at QoS 0", n)
		}
	} else {
		indeterminate = s.Attempted.Minus(s.acked)
		m.Indeterminate += indeterminate.Len()
		c.timed(s, indeterminate, "indeterminate")
		c.publisher(s)
	}

	var read Set // by any subscriber
	for _, client := range slices.Sorted(maps.Keys(s.byClient)) {
		read = read.Union(c.subscriber(s, client, s.byClient[client]))
	}
	for _, name := range slices.Sorted(maps.Keys(s.groups)) {
		read = read.Union(c.shared(s, name, s.groups[name]))
	}
	m.Recovered += indeterminate.Intersect(read).Len()
}

// timed checks that the instants of messages in doubt were kept.
func (c *closing) timed(s *closingStream, doubtful Set, what string) {
	if n, kept := doubtful.Len(), doubtful.Intersect(s.timed).Len(); kept < n {
		c.unbalanced(s, "%d %s, but the instants of only %d of them were kept", n, what, kept)
	}
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
