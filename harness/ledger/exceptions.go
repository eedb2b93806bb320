package ledger

import (
	"fmt"
	"math"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Short names of the charges that the ledger makes.
const (
	chargeBroker     = timeline.ChargeBroker
	chargePublisher  = timeline.ChargePublisher
	chargeSubscriber = timeline.ChargeSubscriber
)

// blame makes an exception a fault.
func (e *Exception) blame(whom timeline.Charge) { e.Fault, e.Charge = true, whom }

// exception starts the row of one message at one subscriber.
func (s *closingStream) exception(v Verdict, d *DeliveryAccount, seq uint64, why string) Exception {
	e := Exception{
		Verdict: v, Stream: s.ID, Topic: s.Topic, QoS: s.qos(d),
		Publisher: s.Publisher, Subscriber: d.Client, Seq: seq, Epoch: d.Epoch, Why: why,
	}
	s.times(&e)
	return e
}

// times fills in the instants of the message, where they were kept.
func (s *closingStream) times(e *Exception) {
	if m := s.open[e.Seq]; m != nil {
		e.Intended, e.Sent, e.Acked = m.Intended, m.Sent, m.Acked
	}
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

// order lists what was out of order in one account. The broker must send on in
// the order in which it received (3.1.1 [MQTT-4.6.0-6], 5.0 [MQTT-4.6.0-5]).
func (c *closing) order(s *closingStream, d *DeliveryAccount) {
	excused := c.scripted(s.ID, d.Client, s.Publisher)
	for _, r := range d.Reordered {
		e := s.exception(Reordered, d, r.Seq, fmt.Sprintf("first read after %d, which was certainly sent later", r.After))
		e.At, e.Copies = r.At, 1
		if excused.Contains(r.Seq) {
			e.Cause = CauseFrame
		} else {
			e.blame(chargeBroker)
			c.account.QoS[e.QoS].Reordered++
		}
		c.add(e)
	}
	for _, r := range d.Final {
		e := s.exception(Reordered, d, r.Seq, fmt.Sprintf("last copy read after that of %d, which was sent later", r.After))
		e.At, e.Copies, e.Warn = r.At, 2, true
		c.add(e)
	}
}

// wrong lists what came where, or as, it must not.
func (c *closing) wrong(s *closingStream, d *DeliveryAccount) {
	m := &c.account.QoS[s.qos(d)]
	m.Misrouted += d.Misrouted.Len()
	c.list(Misrouted, d.Misrouted, func(seq uint64) Exception {
		e := s.exception(Misrouted, d, seq, "no filter of the client matches")
		e.blame(chargeBroker)
		return e
	})
	// That a copy at the highest QoS is still missing can be told at the end only.
	wrong := d.WrongQoS
	if d.Ended == 0 && d.Sentinel != 0 && c.Drained && !c.Away[d.Client] {
		wrong = wrong.Union(d.Below)
	}
	m.WrongQoS += wrong.Len()
	c.list(WrongQoS, wrong, func(seq uint64) Exception {
		why := "a copy at a QoS that no matching filter explains"
		if !d.WrongQoS.Contains(seq) {
			why = fmt.Sprintf("no copy at QoS %d, the highest of several filters", s.qos(d))
		}
		e := s.exception(WrongQoS, d, seq, why)
		e.blame(chargeBroker)
		return e
	})
	if n := d.Delivered.Minus(s.Attempted); !n.IsZero() {
		c.account.QoS[s.QoS].Unexpected += n.Len()
		c.list(Unexpected, n, func(seq uint64) Exception {
			e := s.exception(Unexpected, d, seq, WhyNeverAttempted)
			e.blame(chargeBroker)
			return e
		})
	}
}

// stray lists a PUBLISH that no attempt explains.
func (c *closing) stray(s *Stray) {
	m := &c.account.QoS[min(s.QoS, 2)]
	if s.Count > 0 {
		m.Unexpected = min(m.Unexpected, math.MaxInt64-s.Count) + s.Count
		c.unlisted(Unexpected, s.Count)
		return
	}
	m.Unexpected++
	e := Exception{
		Verdict: Unexpected, Stream: s.Stream, Topic: s.Topic, QoS: s.QoS, Subscriber: s.Client,
		Seq: s.Seq, At: s.At, Copies: 1, Why: s.Why,
	}
	e.blame(chargeBroker)
	if s.Client == "" { // the publisher's side, which is ours, named an unknown stream
		e.Charge = timeline.ChargeHarness
	}
	c.add(e)
}
