package judge

import (
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// The conditions of known defects. Each names the clause of the finding's
// evidence that refutes it; where the evidence says nothing, nothing is excused.

// routeSlack is how long after our reading of its PUBACK a message may still
// have been on its way through the broker: mochi acknowledges before it routes,
// and a goroutine that lost its core in between routes late.
const routeSlack = timeline.Instant(20 * time.Millisecond)

// resumeSlack is how long after the CONNACK what is sent again for a session may
// come. The standard sets no bound; this one is ours: in busy runs the last of
// hundreds of packets came after 0.4 s.
const resumeSlack = timeline.Instant(time.Second)

// whileResuming: the broker can have routed the message while it resumed the
// subscriber's session. It routed the message between our writing it and
// shortly after our reading its acknowledgement, and resumed the session
// between our writing CONNECT and our reading CONNACK: where these two do not
// overlap, it did one after the other and the resume has no part in the loss.
func (j *judgement) whileResuming(f check.Fault) bool {
	x := f.Exception
	if x == nil || x.Sent == 0 || x.Acked == 0 {
		return false
	}
	return slices.ContainsFunc(j.allOf(x.Subscriber), func(c *timeline.Conn) bool {
		return c.SessionPresent && c.Connect != 0 && c.Connect <= x.Acked+routeSlack && x.Sent <= c.Connack
	})
}

// storedBeforeResume: the message was read on a connection that resumed a kept
// session, and was sent before that resume was over: the broker had it among
// the messages that it keeps for the session. What was sent after our reading
// the CONNACK it handed on as it came.
func (j *judgement) storedBeforeResume(f check.Fault) bool {
	x := f.Exception
	if x == nil || x.Sent == 0 || x.At == 0 {
		return false
	}
	return slices.ContainsFunc(j.allOf(x.Subscriber), func(c *timeline.Conn) bool {
		read := c.SessionPresent && c.Connack != 0 && c.Connack <= x.At && (c.End == 0 || x.At <= c.End)
		return read && x.Sent <= c.Connack+routeSlack
	})
}

// ackedByResume: the message was written on one connection of its publisher and
// acknowledged right after a later one had resumed the session: the
// acknowledgement can be one that the broker kept for the session, of a message
// that it took on a connection that was lost under it. An acknowledgement on the
// connection that carried the message, or long after the resume, refutes it.
func (j *judgement) ackedByResume(f check.Fault) bool {
	x := f.Exception
	if x == nil || x.Sent == 0 || x.Acked == 0 {
		return false
	}
	return slices.ContainsFunc(j.connsOf(x.Publisher), func(c *timeline.Conn) bool {
		return c.SessionPresent && x.Sent < c.Dial && c.Connack <= x.Acked && x.Acked <= c.Connack+resumeSlack
	})
}

// publisherLost: the publisher lost the connection on which it wrote the message,
// and the message was read around its return: the broker can have handled what
// came on the two connections at one time. A publisher that stayed connected from
// the one to the other, or that was back for long, refutes it.
func (j *judgement) publisherLost(f check.Fault) bool {
	x := f.Exception
	if x == nil || x.Sent == 0 || x.At == 0 {
		return false
	}
	return slices.ContainsFunc(j.connsOf(x.Publisher), func(c *timeline.Conn) bool {
		return accepted(c) && x.Sent < c.Dial && c.Connect <= x.At && x.At <= c.Connack+resumeSlack
	})
}

// brokerAtResume: the broker sent the packet on a connection that had resumed a
// kept session just before: it can be one of those that it sends again. On a
// new session, or later in the life of the connection, it is not.
func (j *judgement) brokerAtResume(f check.Fault) bool {
	return charged(f.Finding, timeline.ChargeBroker) && j.atResume(f.Finding, true)
}

// twiceByResume: the broker sent the message twice on a connection that had
// resumed a kept session just before, with DUP = 1 and then with DUP = 0, and it
// can have come to the broker while that session was being resumed. A message of
// which no copy with DUP = 1 is seen on this connection, or any further copy,
// refutes it, as one does that the broker handled before the resume.
func (j *judgement) twiceByResume(f check.Fault) bool {
	g := f.Finding
	if !j.brokerAtResume(f) {
		return false
	}
	p, ok := g.Packet()
	if !ok || p.Out || p.Type != "PUBLISH" || p.Flags&flagDUP != 0 {
		return false
	}
	var copies []timeline.Packet
	for _, q := range g.Last {
		if !q.Out && q.Type == "PUBLISH" && q.ID == g.PacketID {
			copies = append(copies, q)
		}
	}
	return len(copies) == 2 && copies[0].Flags == p.Flags|flagDUP && j.cameInResume(g, copies[0].At, p.Flags&flagQoS)
}

// cameInResume reports whether the message of a finding can have come to the
// broker after the CONNECT of its connection and before an instant. Of one that
// the accounts no longer had open, when it was acknowledged is not known, and the
// bound is ours. Of QoS 2, where a further copy is in the course of things, they
// keep no instants.
func (j *judgement) cameInResume(g *timeline.Finding, until timeline.Instant, qos byte) bool {
	m, ok := j.messageOf(g.Stream, g.Seq)
	if !ok {
		return qos == flagQoS2 && g.Stream != 0
	}
	last := m.Acked + routeSlack
	if m.Acked == 0 {
		last = m.Sent + resumeSlack
	}
	return m.Sent != 0 && m.Sent <= until && j.connOf(g.ClientID, g.N).Connect <= last
}

// messageOf gives a message with its instants, where the accounts have them.
func (j *judgement) messageOf(stream uint32, seq uint64) (ledger.Message, bool) {
	for _, r := range j.e.records {
		if r.Stream == nil || r.Stream.ID != stream {
			continue
		}
		for _, m := range r.Stream.Open {
			if m.Seq == seq {
				return m, true
			}
		}
	}
	return ledger.Message{}, false
}

// againAtReconnect: the publisher's library sent a PUBLISH again just after it
// had connected again, when it sends what its store holds. A PUBLISH of the id on
// this very connection before it refutes it, as one that came later does. (A
// PUBREL does not: a broker that repeats a PUBREC has the library write one.)
func (j *judgement) againAtReconnect(f check.Fault) bool {
	g := f.Finding
	return j.publishedAtReconnect(g) && !slices.ContainsFunc(g.Last, func(p timeline.Packet) bool {
		return p.Out && p.Type == "PUBLISH" && p.ID == g.PacketID && p.At < g.At
	})
}

// firstWithDup: the PUBLISH has DUP = 1, and the publisher's library sent it just
// after it had connected again. One without DUP refutes it, as a later one does.
func (j *judgement) firstWithDup(f check.Fault) bool { return j.publishedAtReconnect(f.Finding) }

// pubrelAtReconnect: the publisher's library sent the PUBREL just after a
// reconnect, when it began an exchange again that it should have gone on with.
func (j *judgement) pubrelAtReconnect(f check.Fault) bool {
	return j.sentAtReconnect(f.Finding, "PUBREL", 0)
}

// publishedAtReconnect reports whether a packet is a PUBLISH with DUP = 1 that
// the publisher's library wrote just after a reconnect.
func (j *judgement) publishedAtReconnect(f *timeline.Finding) bool {
	return j.sentAtReconnect(f, "PUBLISH", flagDUP)
}

func (j *judgement) sentAtReconnect(f *timeline.Finding, kind string, flags byte) bool {
	if !charged(f, timeline.ChargePublisher) || f.N < 2 {
		return false
	}
	p, ok := f.Packet()
	return ok && p.Out && p.Type == kind && p.Flags&flags == flags && j.atResume(f, false)
}

// Flags in the fixed header of a PUBLISH.
const (
	flagDUP  = 0x08
	flagQoS  = 0x06
	flagQoS2 = 0x04
)

// atResume reports whether a packet came within the slack after the CONNACK of
// its connection, and whether that resumed a session.
func (j *judgement) atResume(f *timeline.Finding, resumed bool) bool {
	c := j.connOf(f.ClientID, f.N)
	return c != nil && accepted(c) && (c.SessionPresent || !resumed) && c.Connack <= f.At && f.At <= c.Connack+resumeSlack
}

func charged(f *timeline.Finding, whom timeline.Charge) bool { return f != nil && f.Charge == whom }

// republishedAfterPubrel: the publisher's library is charged with the second
// delivery, and its wire shows the PUBLISH of this very message after its PUBREL,
// just after a reconnect.
func (j *judgement) republishedAfterPubrel(f check.Fault) bool {
	return j.republished(f, "publish-after-pubrel")
}

// republishedAfterClean: the same of a PUBLISH of a session that was discarded.
func (j *judgement) republishedAfterClean(f check.Fault) bool {
	return j.republished(f, "resend-after-clean")
}

func (j *judgement) republished(f check.Fault, rule string) bool {
	x := f.Exception
	if x == nil || x.Charge != timeline.ChargePublisher {
		return false
	}
	return slices.ContainsFunc(j.e.found, func(g timeline.Finding) bool {
		return g.Rule == rule && g.ClientID == x.Publisher && g.Stream == x.Stream && g.Seq == x.Seq &&
			j.againAtReconnect(check.Fault{Finding: &g})
	})
}

// handledAgain: the subscriber's library is charged with a further call of the
// handler, and the wire shows that the broker sent this very message again before
// the delivery was released. A message that was read once refutes it.
func (j *judgement) handledAgain(f check.Fault) bool {
	x := f.Exception
	if x == nil || x.Charge != timeline.ChargeSubscriber {
		return false
	}
	return slices.ContainsFunc(j.e.records, func(r ledger.Record) bool {
		d := r.Delivery
		return d != nil && d.Stream == x.Stream && d.Client == x.Subscriber && d.Epoch == x.Epoch && d.Again.Contains(x.Seq)
	})
}

// keepAliveCut: the broker ended a connection whose client had been silent for
// its keep alive and half of it, rounded down to whole seconds, and not yet for
// the 1.5 times of it that [MQTT-3.1.2-24] gives. A connection that ended
// sooner, one that ended later, or one with an even keep alive ended for
// another reason. A PINGREQ that went out just before the end, and has no answer,
// can have crossed with it: the silence is then the one before it.
//
// Of a client that was not back it is its last connection; one that stayed away
// for longer than its policy may sleep refutes it.
func (j *judgement) keepAliveCut(f check.Fault) bool {
	c := j.lastOf(f)
	if c == nil || f.Conn == nil && c.End+timeline.Instant(j.rules.Max[c.Fleet]) < j.storm.Stop || c.End == 0 || c.LastOut == 0 || (c.EndKind != timeline.EndEOF && c.EndKind != timeline.EndReset) {
		return false
	}
	const second = timeline.Instant(time.Second)
	silent, keep := c.End-c.LastOut, timeline.Instant(c.KeepAlive)
	if silent < routeSlack && c.PingReqs > c.PingResps {
		silent = timeline.Instant(c.MaxOutGap)
	}
	return c.KeepAlive%2 == 1 && silent >= (keep+keep/2)*second && 2*silent < 3*keep*second
}

// closedAtALook: the connection outlived 1.5 times its keep alive in silence, and
// the broker closed it, no later than a broker does that looks once in 5 s and
// counts whole seconds. One that it closed later or never, and one that the
// client closed, refute it.
func (j *judgement) closedAtALook(f check.Fault) bool {
	c := f.Conn
	if c == nil || c.End == 0 || c.LastOut == 0 || (c.EndKind != timeline.EndEOF && c.EndKind != timeline.EndReset) {
		return false
	}
	const second = timeline.Instant(time.Second)
	silent, limit := c.End-c.LastOut, timeline.Instant(c.KeepAlive)*3*second/2
	return silent > limit && silent <= limit+6*second+routeSlack
}

// connectsOverlap: another connection of the client was on its way through
// the broker at the same time: between our writing its CONNECT and our reading
// its CONNACK. Two that came one after the other refute it.
func (j *judgement) connectsOverlap(f check.Fault) bool {
	c := j.lastOf(f)
	return c != nil && slices.ContainsFunc(j.allOf(c.ClientID), func(o *timeline.Conn) bool { return o != c && overlap(o, c) })
}

// overlap reports whether two accepted connections were handled at one time.
func overlap(a, b *timeline.Conn) bool {
	return accepted(a) && accepted(b) && a.Connect <= b.Connack && b.Connect <= a.Connack
}

// cleanAtEnd: the connection, or the last one of the client, is a clean session
// that began while the broker can have been busy with the end of the one before:
// that ended less than the slack before the CONNACK, or later.
func (j *judgement) cleanAtEnd(f check.Fault) bool {
	c := j.lastOf(f)
	return c != nil && j.cleanAfter(c)
}

// lastOf gives the connection that a finding is about, of a client the last one
// that its library opened.
func (j *judgement) lastOf(f check.Fault) *timeline.Conn {
	if conns := j.connsOf(f.Client); f.Conn == nil && len(conns) > 0 {
		return conns[len(conns)-1]
	}
	return f.Conn
}

func (j *judgement) cleanAfter(c *timeline.Conn) bool {
	return c.Clean && accepted(c) && slices.ContainsFunc(j.allOf(c.ClientID), func(o *timeline.Conn) bool {
		return o != c && accepted(o) && o.Connack < c.Connack && (o.End == 0 || o.End+resumeSlack >= c.Connack)
	})
}

// toldOfTakeover: the broker sent a DISCONNECT to a connection while another one
// of the same client was connecting, or just after. Any other packet, and any
// other time, refutes it.
func (j *judgement) toldOfTakeover(f check.Fault) bool {
	g := f.Finding
	if !charged(g, timeline.ChargeBroker) {
		return false
	}
	p, ok := g.Packet()
	return ok && p.Type == "DISCONNECT" && slices.ContainsFunc(j.allOf(g.ClientID), func(o *timeline.Conn) bool {
		return o.N != g.N && accepted(o) && o.Connect <= g.At && g.At <= o.Connack+resumeSlack
	})
}

// beforeConnack: the first packet from the broker on a connection to a kept session
// was a PUBLISH that is no resend, and the session was resumed: the broker can have
// routed the message between the resume and the CONNACK. Any other packet refutes it,
// as does DUP = 1 (what was kept for the session it sends after the CONNACK), and a
// session that was not resumed.
//
// Of a connection: its library closed it at such a PUBLISH, having read the CONNACK
// that came with it.
func (j *judgement) beforeConnack(f check.Fault) bool {
	g := f.Finding
	if g == nil {
		return f.Conn != nil && j.closedAtEarly(f.Conn)
	}
	if !charged(g, timeline.ChargeBroker) {
		return false
	}
	p, ok := g.Packet()
	if !ok || p.Out || p.Type != "PUBLISH" || p.Flags&flagDUP != 0 || cameIn(g.Last) != 1 {
		return false
	}
	c := j.connOf(g.ClientID, g.N)
	return c != nil && !c.Clean && c.Connect != 0 && c.Connect <= g.At && j.resumedAfter(c, g.At)
}

func (j *judgement) closedAtEarly(c *timeline.Conn) bool {
	return c.EndKind == timeline.EndLocal && !c.Scripted && slices.ContainsFunc(j.e.found, func(g timeline.Finding) bool {
		return g.Rule == "first-packet" && g.ClientID == c.ClientID && g.N == c.N && g.At <= c.End && c.End <= g.At+resumeSlack &&
			j.beforeConnack(check.Fault{Finding: &g})
	})
}

// cameIn counts the packets from the broker.
func cameIn(last []timeline.Packet) (n int) {
	for _, p := range last {
		if !p.Out {
			n++
		}
	}
	return n
}

// resumedAfter reports whether a connection resumed a session with a CONNACK that
// came at an instant or later. A library that closes at a packet before it
// [MQTT-4.8.0-1] can not read it: then the client's next CONNACK has to be that of
// the same session. A connection on which no CONNACK came though the client waited,
// or that the broker ended, refutes it.
func (j *judgement) resumedAfter(c *timeline.Conn, at timeline.Instant) bool {
	if c.Connack == 0 {
		if c.EndKind != timeline.EndLocal || c.Scripted || c.End < at || c.End > at+resumeSlack {
			return false
		}
		if c = j.acceptedAfter(c); c == nil {
			return false
		}
	}
	return accepted(c) && !c.Clean && c.SessionWanted && c.SessionPresent && at <= c.Connack
}

// acceptedAfter gives the client's first accepted connection whose CONNECT was
// written after that of c; nil = there is none.
func (j *judgement) acceptedAfter(c *timeline.Conn) (next *timeline.Conn) {
	for _, o := range j.allOf(c.ClientID) {
		if accepted(o) && o.Connect > c.Connect && (next == nil || o.Connect < next.Connect) {
			next = o
		}
	}
	return next
}

// The premises without which a defect can not show.

func (j *judgement) anyConn(is func(c *timeline.Conn) bool) bool {
	return slices.ContainsFunc(j.storm.Clients, func(cl *Client) bool { return slices.ContainsFunc(cl.Conns, is) })
}

// anyResumedQueue: a session was resumed to which the plan has messages of QoS 1
// or 2.
func (j *judgement) anyResumedQueue() bool {
	return j.anyConn(func(c *timeline.Conn) bool {
		return c.SessionPresent && j.carries(1, func(t scenarios.Traffic) bool { return t.To == c.Fleet })
	})
}

// anyPublisherBack: a client came back whose fleet publishes at QoS 1 or 2.
func (j *judgement) anyPublisherBack() bool {
	return j.anyConn(func(c *timeline.Conn) bool { return j.publisherBack(c, 1) })
}

func (j *judgement) anyPublisherBackAt2() bool {
	return j.anyConn(func(c *timeline.Conn) bool { return c.SessionPresent && j.publisherBack(c, 2) })
}

func (j *judgement) anyCleanPublisherBack() bool {
	return j.anyConn(func(c *timeline.Conn) bool { return c.Clean && j.publisherBack(c, 2) })
}

func (j *judgement) publisherBack(c *timeline.Conn, qos byte) bool {
	return c.N > 1 && accepted(c) && j.carries(qos, func(t scenarios.Traffic) bool { return t.From == c.Fleet })
}

// carries reports whether the plan has such traffic of this QoS or above.
func (j *judgement) carries(qos byte, such func(scenarios.Traffic) bool) bool {
	return slices.ContainsFunc(j.e.plan.Traffic, func(t scenarios.Traffic) bool { return t.QoS >= qos && such(t) })
}

func (j *judgement) anyOddKeepAlive() bool {
	return j.anyConn(func(c *timeline.Conn) bool {
		return c.KeepAlive%2 == 1 && time.Duration(c.MaxOutGap) >= time.Duration(c.KeepAlive+c.KeepAlive/2)*time.Second
	})
}

func (j *judgement) anyKeepAliveOver() bool {
	return j.anyConn(func(c *timeline.Conn) bool {
		return c.KeepAlive != 0 && 2*time.Duration(c.MaxOutGap) > 3*time.Duration(c.KeepAlive)*time.Second
	})
}

func (j *judgement) anyOverlap() bool {
	return slices.ContainsFunc(j.storm.Clients, func(cl *Client) bool {
		return len(cl.Rivals) > 0
	})
}

func (j *judgement) anyCleanAtEnd() bool {
	return j.anyConn(func(c *timeline.Conn) bool { return c.Clean && j.cleanAfter(c) })
}
