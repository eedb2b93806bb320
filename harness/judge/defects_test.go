package judge

import (
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// The conditions are asked about dev-a of this history, whose connections are
// 1 (0 to 1000 ms), 2 (1010 ms to 3000 ms) and 3 (from 3500 ms); CONNECT is
// written 2 ms after the dial and CONNACK read 4 ms after it. Publisher dev-b
// has the same.
func conditionHistory() *judgement {
	h := newHistory()
	for c := range 2 {
		h.ended(c, 1, 1, 1000)
		h.ended(c, 2, 1010, 3000)
		h.last(c, 3, 3500)
	}
	return &judgement{storm: h.trace(), e: &evidence{}}
}

func packets(last ...timeline.Packet) []timeline.Packet {
	return append([]timeline.Packet{{Type: "CONNACK"}}, last...)
}

// conditionCases has, for each condition, findings that meet it and findings
// that the evidence refutes, each of them different in one clause.
func conditionCases() map[string][]conditionCase {
	sub := func(x ledger.Exception) check.Fault { // a message from dev-b to dev-a
		x.Publisher, x.Subscriber = clientID(1), clientID(0)
		return check.Fault{Exception: &x}
	}
	found := func(n int, at timeline.Instant, charge timeline.Charge, last ...timeline.Packet) check.Fault {
		if k := len(last) - 1; k >= 0 {
			last[k].At, last[k].ID = at*ms, 7
		}
		return check.Fault{Finding: &timeline.Finding{ClientID: clientID(0), N: n, At: at * ms, Charge: charge, PacketID: 7, Last: packets(last...)}}
	}
	dup := timeline.Packet{Type: "PUBLISH", Out: true, Flags: 0x0c, ID: 7}
	bye := timeline.Packet{Type: "DISCONNECT"}
	first := func(n int, at timeline.Instant, in ...timeline.Packet) check.Fault { // what the broker sent, the last of it found
		p := &in[len(in)-1]
		p.At = at * ms
		return check.Fault{Finding: &timeline.Finding{
			ClientID: clientID(0), N: n, At: p.At, Charge: timeline.ChargeBroker, PacketID: p.ID,
			Last: append([]timeline.Packet{{Type: "CONNECT", Out: true}}, in...),
		}}
	}
	early := func(n int, at timeline.Instant) check.Fault {
		f := first(n, at, timeline.Packet{Type: "PUBLISH", Flags: 2, ID: 7})
		if n != 9 && at > 1014 { // the CONNACK of connection 2
			f.Finding.Last = slices.Insert(f.Finding.Last, 1, timeline.Packet{At: 1014 * ms, Type: "CONNACK"})
		}
		return f
	}
	at2 := func(bend func(c *timeline.Conn)) func(j *judgement) {
		return func(j *judgement) { bend(j.connOf(clientID(0), 2)) }
	}
	ended := func(bend func(c *timeline.Conn)) check.Fault {
		c := &timeline.Conn{ClientID: clientID(0), N: 2, KeepAlive: 3, LastOut: 10_000 * ms, End: 14_100 * ms, EndKind: timeline.EndEOF}
		bend(c)
		return check.Fault{Conn: c}
	}
	end := func(at timeline.Instant) check.Fault { return ended(func(c *timeline.Conn) { c.End = at * ms }) }
	clean := func(j *judgement, n int) *timeline.Conn {
		c := j.connOf(clientID(0), n)
		c.Clean = true
		return c
	}
	return map[string][]conditionCase{
		"acknowledged-while-resuming": {
			{"acknowledged in the resume", true, nil, sub(ledger.Exception{Sent: 1000 * ms, Acked: 1013 * ms})},
			{"sent in it", true, nil, sub(ledger.Exception{Sent: 1013 * ms, Acked: 1020 * ms})},
			{"acknowledged before it", false, nil, sub(ledger.Exception{Sent: 900 * ms, Acked: 950 * ms})},
			{"sent after it", false, nil, sub(ledger.Exception{Sent: 1015 * ms, Acked: 1020 * ms})},
			{"never acknowledged", false, nil, sub(ledger.Exception{Sent: 1000 * ms})},
			{"no session was resumed", false, func(j *judgement) { j.connOf(clientID(0), 2).SessionPresent = false }, sub(ledger.Exception{Sent: 1000 * ms, Acked: 1013 * ms})},
			{"about no message", false, nil, end(14_100)},
		},
		"stored-before-resume": {
			{"sent while away", true, nil, sub(ledger.Exception{Sent: 1005 * ms, At: 1020 * ms})},
			{"read by a rival that resumed", true, rival, sub(ledger.Exception{Sent: 1505 * ms, At: 1515 * ms})},
			{"sent after the resume", false, nil, sub(ledger.Exception{Sent: 1040 * ms, At: 1050 * ms})},
			{"read on a new session", false, nil, sub(ledger.Exception{Sent: 500 * ms, At: 600 * ms})},
			{"about no message", false, nil, end(14_100)},
		},
		"acknowledged-by-a-resume": {
			{"sent on 1, acknowledged with the CONNACK of 2", true, nil, sub(ledger.Exception{Sent: 999 * ms, Acked: 1014 * ms})},
			{"acknowledged on the connection that carried it", false, nil, sub(ledger.Exception{Sent: 998 * ms, Acked: 999 * ms})},
			{"acknowledged on 2, sent on 2", false, nil, sub(ledger.Exception{Sent: 1015 * ms, Acked: 1016 * ms})},
			{"acknowledged long after the resume", false, nil, sub(ledger.Exception{Sent: 999 * ms, Acked: 2100 * ms})},
			{"the session was new", false, func(j *judgement) { j.connOf(clientID(1), 2).SessionPresent = false }, sub(ledger.Exception{Sent: 999 * ms, Acked: 1014 * ms})},
			{"never acknowledged", false, nil, sub(ledger.Exception{Sent: 999 * ms})},
		},
		"publisher-lost-under-it": {
			{"sent on 1, read when 2 was there", true, nil, sub(ledger.Exception{Sent: 999 * ms, At: 1020 * ms})},
			{"read before", false, nil, sub(ledger.Exception{Sent: 998 * ms, At: 999 * ms})},
			{"sent and read on 2", false, nil, sub(ledger.Exception{Sent: 1020 * ms, At: 1030 * ms})},
			{"read long after", false, nil, sub(ledger.Exception{Sent: 999 * ms, At: 2100 * ms})},
			{"never read", false, nil, sub(ledger.Exception{Sent: 999 * ms})},
		},
		"sent-by-the-broker-at-a-resume": {
			{"with the CONNACK", true, nil, found(2, 1014, timeline.ChargeBroker)},
			{"long after it", false, nil, found(2, 2100, timeline.ChargeBroker)},
			{"on a new session", false, nil, found(1, 6, timeline.ChargeBroker)},
			{"by the library", false, nil, found(2, 1014, timeline.ChargePublisher)},
			{"on an unknown connection", false, nil, found(9, 1014, timeline.ChargeBroker)},
			{"about no packet", false, nil, end(14_100)},
		},
		"sent-twice-by-a-resume": {
			{"DUP = 1, then 0", true, sentAt(1005, 1016), twice(nil)},
			{"both read at one instant", true, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[1].At = f.At })},
			{"acknowledged in between", true, sentAt(1005, 1016), twice(func(f *timeline.Finding) {
				f.Last = slices.Insert(f.Last, 2, timeline.Packet{At: 1015 * ms, Out: true, Type: "PUBACK", ID: 7})
			})},
			{"acknowledged to the publisher just before the CONNECT", true, sentAt(990, 995), twice(nil)},
			{"not known when it was", true, sentAt(990, 0), twice(nil)},
			{"handled before the resume", false, sentAt(900, 901), twice(nil)},
			{"long before, and not known when", false, sentAt(5, 0), twice(nil)},
			{"sent after the first copy", false, sentAt(1016, 1017), twice(nil)},
			{"never seen to be sent", false, sentAt(0, 1013), twice(nil)},
			{"the accounts do not have it", false, nil, twice(nil)},
			{"they have another one", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Seq = 5 })},
			{"at QoS 2 they have none", true, nil, twice(ofQoS2)},
			{"at QoS 2 and handled before the resume", false, sentAt(900, 901), twice(ofQoS2)},
			{"at QoS 2 and none of ours", false, nil, twice(func(f *timeline.Finding) { ofQoS2(f); f.Stream = 0 })},
			{"no copy before it", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last = slices.Delete(f.Last, 1, 2) })},
			{"the first copy with DUP = 0 too", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[1].Flags = 2 })},
			{"the first copy at another QoS", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[1].Flags = 0x0c })},
			{"the first copy of another id", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[1].ID = 8 })},
			{"the first of the two was written", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[1].Out = true })},
			{"a third copy", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last = slices.Insert(f.Last, 1, f.Last[1]) })},
			{"a copy with DUP = 0 before the two", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) {
				f.Last = slices.Insert(f.Last, 1, timeline.Packet{At: 1014 * ms, Type: "PUBLISH", Flags: 2, ID: 7})
			})},
			{"it is the one with DUP = 1", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[2].Flags = 0x0a })},
			{"it is another packet", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[2].Type = "PUBREL" })},
			{"it was written", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last[2].Out = true })},
			{"long after the resume", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.At, f.Last[2].At = 2100*ms, 2100*ms })},
			{"on a new session", false, both(sentAt(1005, 1016), func(j *judgement) { j.connOf(clientID(0), 2).SessionPresent = false }), twice(nil)},
			{"by the library", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Charge = timeline.ChargePublisher })},
			{"on an unknown connection", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.N = 9 })},
			{"no packet was kept", false, sentAt(1005, 1016), twice(func(f *timeline.Finding) { f.Last = nil })},
			{"about no packet", false, nil, end(14_100)},
		},
		"keep-alive-in-whole-seconds": {
			{"silent for 4.1 s of 4.5", true, nil, end(14_100)},
			{"by a reset", true, nil, ended(func(c *timeline.Conn) { c.EndKind = timeline.EndReset })},
			{"a PINGREQ crossed with it", true, nil, ended(func(c *timeline.Conn) {
				c.End, c.MaxOutGap, c.PingReqs = 10_001*ms, int64(4100*ms), 1
			})},
			{"that had its answer", false, nil, ended(func(c *timeline.Conn) {
				c.End, c.MaxOutGap, c.PingReqs, c.PingResps = 10_001*ms, int64(4100*ms), 1, 1
			})},
			{"that was not so late", false, nil, ended(func(c *timeline.Conn) {
				c.End, c.MaxOutGap, c.PingReqs = 10_001*ms, int64(3900*ms), 1
			})},
			{"that went out before", false, nil, ended(func(c *timeline.Conn) {
				c.End, c.MaxOutGap, c.PingReqs = 10_100*ms, int64(4100*ms), 1
			})},
			{"silent for 3.9 s", false, nil, end(13_900)},
			{"silent for 4.5 s: the broker had to", false, nil, end(14_500)},
			{"an even keep alive", false, nil, ended(func(c *timeline.Conn) { c.KeepAlive, c.End = 2, 13_100*ms })},
			{"a client that sleeps after it", true, sleeper(61_000), check.Fault{Client: clientID(0)}},
			{"a client that should have been back", false, sleeper(99_000), check.Fault{Client: clientID(0)}},
			{"no keep alive", false, nil, ended(func(c *timeline.Conn) { c.KeepAlive, c.End = 0, 10_100*ms })},
			{"the library closed it", false, nil, ended(func(c *timeline.Conn) { c.EndKind = timeline.EndLocal })},
			{"a client on a live connection", false, nil, check.Fault{Client: clientID(0)}},
		},
		"closed-at-a-look-in-5-s": {
			{"a second late", true, nil, end(15_500)},
			{"by a reset", true, nil, ended(func(c *timeline.Conn) { c.EndKind, c.End = timeline.EndReset, 20_400*ms })},
			{"later than a look", false, nil, end(20_600)},
			{"in time", false, nil, end(14_400)},
			{"never", false, nil, ended(func(c *timeline.Conn) { c.End = 0 })},
			{"by its library", false, nil, ended(func(c *timeline.Conn) { c.EndKind, c.End = timeline.EndLocal, 15_500*ms })},
			{"about a client", false, nil, check.Fault{Client: clientID(0)}},
		},
		"connects-overlap": {
			{"one after the other", false, nil, check.Fault{Conn: &timeline.Conn{ClientID: clientID(0), N: 9, Connect: 1020 * ms, Connack: 1030 * ms}}},
			{"both at once", true, nil, check.Fault{Conn: &timeline.Conn{ClientID: clientID(0), N: 9, Connect: 1013 * ms, Connack: 1030 * ms}}},
			{"the other was refused", false, func(j *judgement) { j.connOf(clientID(0), 2).ConnackCode = 2 }, check.Fault{Conn: &timeline.Conn{ClientID: clientID(0), N: 9, Connect: 1013 * ms, Connack: 1030 * ms}}},
			{"of another client", false, nil, check.Fault{Conn: &timeline.Conn{ClientID: "x", N: 9, Connect: 1013 * ms, Connack: 1030 * ms}}},
			{"about a client", false, nil, check.Fault{Client: clientID(0)}},
		},
		"clean-connect-at-an-end": {
			{"a client, its last connection", true, func(j *judgement) { clean(j, 3) }, check.Fault{Client: clientID(0)}},
			{"a kept session", false, nil, check.Fault{Client: clientID(0)}},
			{"the one before ended long before", false, func(j *judgement) { clean(j, 3); j.connOf(clientID(0), 2).End = 2400 * ms }, check.Fault{Client: clientID(0)}},
			{"the first connection of all", false, func(j *judgement) { clean(j, 1); clean(j, 3) }, check.Fault{Conn: &timeline.Conn{ClientID: clientID(0), N: 1, Clean: true, Connack: 5 * ms}}},
			{"an unknown client", false, nil, check.Fault{Client: "x"}},
		},
		"disconnect-at-a-takeover": {
			{"while 2 connected", true, nil, found(1, 1013, timeline.ChargeBroker, bye)},
			{"another packet", false, nil, found(1, 1013, timeline.ChargeBroker, timeline.Packet{Type: "PINGREQ"})},
			{"before", false, nil, found(1, 900, timeline.ChargeBroker, bye)},
			{"on the newest connection", false, nil, found(3, 3600, timeline.ChargeBroker, bye)},
			{"about no packet", false, nil, end(14_100)},
		},
		"publish-before-the-connack": {
			{"the CONNACK of a resumed session followed", true, nil, early(2, 1013)},
			{"at QoS 0, which has no id", true, nil, first(2, 1013, timeline.Packet{Type: "PUBLISH"})},
			{"the library closed at it", true, closedEarly(nil), early(2, 1013)},
			{"a rival read on", true, func(j *judgement) { rival(j); j.connOf(clientID(0), 9).SessionWanted = true }, early(9, 1509)},
			{"on a new session", false, nil, early(1, 3)},
			{"the CONNACK denied the session", false, at2(func(c *timeline.Conn) { c.SessionPresent = false }), early(2, 1013)},
			{"the broker had no session to know", false, at2(func(c *timeline.Conn) { c.SessionWanted = false }), early(2, 1013)},
			{"a clean session", false, at2(func(c *timeline.Conn) { c.Clean = true }), early(2, 1013)},
			{"the CONNACK refused it", false, at2(func(c *timeline.Conn) { c.ConnackCode = 3 }), early(2, 1013)},
			{"sent again", false, nil, first(2, 1013, timeline.Packet{Type: "PUBLISH", Flags: 0x0a, ID: 7})},
			{"an acknowledgement", false, nil, first(2, 1013, timeline.Packet{Type: "PUBACK", ID: 7})},
			{"a PUBREL", false, nil, first(2, 1013, timeline.Packet{Type: "PUBREL", Flags: 2, ID: 7})},
			{"a DISCONNECT", false, nil, first(2, 1013, timeline.Packet{Type: "DISCONNECT"})},
			{"a second CONNACK", false, nil, first(2, 1020, timeline.Packet{Type: "CONNACK"})},
			{"after the CONNACK", false, nil, early(2, 1020)},
			{"after another packet", false, nil, first(2, 1013, timeline.Packet{At: 1013 * ms, Type: "PUBREC", ID: 9}, timeline.Packet{Type: "PUBLISH", Flags: 2, ID: 7})},
			{"before the CONNECT", false, nil, early(2, 1011)},
			{"after a CONNACK that was not kept", false, nil, first(2, 1020, timeline.Packet{Type: "PUBLISH", Flags: 2, ID: 7})},
			{"no CONNECT", false, at2(func(c *timeline.Conn) { c.Connect = 0 }), early(2, 1013)},
			{"charged to the library", false, nil, byLibrary(early(2, 1013))},
			{"on an unknown connection", false, nil, early(8, 1013)},
			{"no packet was kept", false, nil, check.Fault{Finding: &timeline.Finding{ClientID: clientID(0), N: 2, At: 1013 * ms, Charge: timeline.ChargeBroker}}},
			{"no CONNACK, and the broker ended it", false, closedEarly(func(c, _ *timeline.Conn) { c.EndKind = timeline.EndEOF }), early(2, 1013)},
			{"no CONNACK, though the client waited", false, closedEarly(func(c, _ *timeline.Conn) { c.End = 2014 * ms }), early(2, 1013)},
			{"no CONNACK, and it is open", false, closedEarly(func(c, _ *timeline.Conn) { c.End, c.EndKind = 0, "" }), early(2, 1013)},
			{"no CONNACK before the stop", false, closedEarly(func(c, _ *timeline.Conn) { c.Scripted = true }), early(2, 1013)},
			{"closed before it", false, closedEarly(func(c, _ *timeline.Conn) { c.End = 1012 * ms }), early(2, 1013)},
			{"closed, and the next session was new", false, closedEarly(func(_, next *timeline.Conn) { next.SessionPresent = false }), early(2, 1013)},
			{"closed, and the next one could be no other", false, closedEarly(func(_, next *timeline.Conn) { next.SessionWanted = false }), early(2, 1013)},
			{"closed, and the next was a clean session", false, closedEarly(func(_, next *timeline.Conn) { next.Clean = true }), early(2, 1013)},
			closedAtEarly("a connection that the library closed at it", true, nil),
			closedAtEarly("one that it closed long after", false, func(c *timeline.Conn, _ *timeline.Finding) { c.End = 2015 * ms }),
			closedAtEarly("one that it closed before", false, func(c *timeline.Conn, _ *timeline.Finding) { c.End = 1012 * ms }),
			closedAtEarly("one that the broker ended", false, func(c *timeline.Conn, _ *timeline.Finding) { c.EndKind = timeline.EndEOF }),
			closedAtEarly("one that the harness ended", false, func(c *timeline.Conn, _ *timeline.Finding) { c.Scripted = true }),
			closedAtEarly("one that had another finding", false, func(_ *timeline.Conn, g *timeline.Finding) { g.Rule = "server-packet" }),
			closedAtEarly("one of a new session", false, func(c *timeline.Conn, _ *timeline.Finding) { c.SessionPresent = false }),
			closedAtEarly("one whose client has such a finding elsewhere", false, func(c *timeline.Conn, g *timeline.Finding) {
				c.End, g.N, g.At, g.Last[0].At = 3505*ms, 3, 3503*ms, 3503*ms
			}),
			closedAtEarly("one of another client", false, func(_ *timeline.Conn, g *timeline.Finding) { g.ClientID = clientID(1) }),
			{"a client", false, nil, check.Fault{Client: clientID(0)}},
			{"closed, and it was a clean session", false, closedEarly(func(c, _ *timeline.Conn) { c.Clean = true }), early(2, 1013)},
			{"closed, and a rival that was not accepted came next", true, closedEarly(nil, &timeline.Conn{N: 9, Connect: 1508 * ms}), early(2, 1013)},
			{"closed, and a rival got a new session after it was resumed", true, closedEarly(nil, &timeline.Conn{N: 9, Connect: 4000 * ms, Connack: 4002 * ms}), early(2, 1013)},
			{"closed, and a rival got a new session before that", false, closedEarly(nil, &timeline.Conn{N: 9, Connect: 1508 * ms, Connack: 1510 * ms}), early(2, 1013)},
			{"closed, and never accepted again", false, closedEarly(func(_, next *timeline.Conn) { next.Connack = 0 }), early(2, 1013)},
			{"about no packet", false, nil, end(14_100)},
		},
		"published-again-at-a-reconnect": {
			{"with the CONNACK", true, nil, found(2, 1015, timeline.ChargePublisher, dup)},
			{"the PUBREL of a repeated PUBREC before it", true, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBREL", Out: true, ID: 7}, dup)},
			{"it went out on this connection before", false, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBLISH", Out: true, ID: 7}, dup)},
			{"one of another id did", true, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBLISH", Out: true, ID: 8}, dup)},
			{"and a packet came in after it", true, nil, after(found(2, 1015, timeline.ChargePublisher, dup), timeline.Packet{Type: "PUBREC", At: 1016 * ms, ID: 9})},
			{"long after", false, nil, found(2, 2100, timeline.ChargePublisher, dup)},
			{"on the first connection", false, nil, found(1, 6, timeline.ChargePublisher, dup)},
			{"by the broker", false, nil, found(2, 1015, timeline.ChargeBroker, dup)},
		},
		"first-sent-with-dup": {
			{"with the CONNACK", true, nil, found(2, 1015, timeline.ChargePublisher, dup)},
			{"without DUP", false, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBLISH", Out: true, Flags: 2, ID: 7})},
			{"another packet", false, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBREL", Out: true, Flags: 0x0a, ID: 7})},
			{"long after", false, nil, found(2, 2100, timeline.ChargePublisher, dup)},
			{"no packet was kept", false, nil, check.Fault{Finding: &timeline.Finding{ClientID: clientID(0), N: 2, At: 1015 * ms, Charge: timeline.ChargePublisher}}},
			{"about no packet", false, nil, end(14_100)},
		},
		"pubrel-at-a-reconnect": {
			{"with the CONNACK", true, nil, found(2, 1015, timeline.ChargePublisher, timeline.Packet{Type: "PUBREL", Out: true, ID: 7})},
			{"another packet", false, nil, found(2, 1015, timeline.ChargePublisher, dup)},
			{"long after", false, nil, found(2, 2100, timeline.ChargePublisher, timeline.Packet{Type: "PUBREL", Out: true, ID: 7})},
			{"on the first connection", false, nil, found(1, 6, timeline.ChargePublisher, timeline.Packet{Type: "PUBREL", Out: true, ID: 7})},
			{"by the broker", false, nil, found(2, 1015, timeline.ChargeBroker, timeline.Packet{Type: "PUBREL", ID: 7})},
		},
		"republished-after-clean": {
			{"with such a finding", true, republish("resend-after-clean", 1, 3, 4), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
			{"with one of another rule", false, republish("publish-after-pubrel", 1, 3, 4), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
			{"with none", false, nil, sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
		},
		"republished-after-pubrel": {
			{"with such a finding", true, republish("publish-after-pubrel", 1, 3, 4), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
			{"of another message", false, republish("publish-after-pubrel", 1, 3, 5), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
			{"of another publisher", false, republish("publish-after-pubrel", 0, 3, 4), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargePublisher})},
			{"charged to the broker", false, republish("publish-after-pubrel", 1, 3, 4), sub(ledger.Exception{Stream: 3, Seq: 4, Charge: timeline.ChargeBroker})},
			{"about no message", false, nil, end(14_100)},
		},
		"redelivered-before-pubrel": {
			{"the message was read again", true, readAgain(4), sub(ledger.Exception{Stream: 3, Seq: 4, Epoch: 1, Charge: timeline.ChargeSubscriber})},
			{"another one was", false, readAgain(5), sub(ledger.Exception{Stream: 3, Seq: 4, Epoch: 1, Charge: timeline.ChargeSubscriber})},
			{"in another epoch", false, readAgain(4), sub(ledger.Exception{Stream: 3, Seq: 4, Epoch: 2, Charge: timeline.ChargeSubscriber})},
			{"of another stream", false, readAgain(4), sub(ledger.Exception{Stream: 2, Seq: 4, Epoch: 1, Charge: timeline.ChargeSubscriber})},
			{"charged to the broker", false, readAgain(4), sub(ledger.Exception{Stream: 3, Seq: 4, Epoch: 1, Charge: timeline.ChargeBroker})},
			{"about no message", false, nil, end(14_100)},
		},
	}
}

type conditionCase struct {
	what  string
	holds bool
	bend  func(j *judgement)
	fault check.Fault
}

// closedEarly has the library close dev-a's connection 2 before a CONNACK was read,
// at 1014 ms; connection 3 resumes the session.
func closedEarly(bend func(c, next *timeline.Conn), rivals ...*timeline.Conn) func(j *judgement) {
	return func(j *judgement) {
		cl := j.clientOf(clientID(0))
		cl.Rivals = append(cl.Rivals, rivals...)
		c, next := j.connOf(clientID(0), 2), j.connOf(clientID(0), 3)
		c.Connack, c.SessionPresent, c.SessionWanted, c.End, c.EndKind = 0, false, false, 1014*ms, timeline.EndLocal
		if bend != nil {
			bend(c, next)
		}
	}
}

// rival takes dev-a's session over at 1510 ms.
func rival(j *judgement) {
	cl := j.clientOf(clientID(0))
	cl.Rivals = append(cl.Rivals, &timeline.Conn{ClientID: cl.ID, N: 9, Rival: true, SessionPresent: true, Connect: 1508 * ms, Connack: 1510 * ms, End: 1600 * ms})
}

// closedAtEarly is a case about dev-a's connection 2: its library read a PUBLISH and
// the CONNACK behind it, and closed it at 1015 ms.
func closedAtEarly(what string, holds bool, bend func(c *timeline.Conn, g *timeline.Finding)) conditionCase {
	c := &timeline.Conn{
		ClientID: clientID(0), N: 2, Connect: 1012 * ms, Connack: 1014 * ms, SessionPresent: true, SessionWanted: true,
		End: 1015 * ms, EndKind: timeline.EndLocal,
	}
	p := timeline.Packet{At: 1014 * ms, Type: "PUBLISH", Flags: 2, ID: 7}
	g := timeline.Finding{Rule: "first-packet", ClientID: c.ClientID, N: 2, At: p.At, Charge: timeline.ChargeBroker, PacketID: 7, Last: []timeline.Packet{p}}
	if bend != nil {
		bend(c, &g)
	}
	return conditionCase{what, holds, func(j *judgement) {
		*j.connOf(c.ClientID, 2) = *c
		j.e.found = append(j.e.found, g)
	}, check.Fault{Conn: c}}
}

// byLibrary charges a publisher's library with a finding.
func byLibrary(f check.Fault) check.Fault {
	f.Finding.Charge = timeline.ChargePublisher
	return f
}

// after has a packet come after the one that a finding is about.
func after(f check.Fault, p timeline.Packet) check.Fault {
	f.Finding.Last = append(f.Finding.Last, p)
	return f
}

// sleeper cuts dev-a's last connection for its keep alive, at 60 s, and stops the
// run at an instant; its policy sleeps for 30 s at most.
func sleeper(stop timeline.Instant) func(j *judgement) {
	return func(j *judgement) {
		c := j.connOf(clientID(0), 3)
		c.KeepAlive, c.LastOut, c.End, c.EndKind = 1, 58_900*ms, 60_000*ms, timeline.EndEOF
		j.rules, j.storm.Stop = testRules("first-message"), stop*ms
	}
}

// readAgain has dev-a read message seq of stream 3 again before its PUBREL.
func readAgain(seq uint64) func(j *judgement) {
	return func(j *judgement) {
		j.e.records = append(j.e.records, ledger.Record{Delivery: &ledger.DeliveryAccount{
			Stream: 3, Client: clientID(0), Epoch: 1, Again: ledger.NewSet(seq),
		}})
	}
}

// twice is a message that was read twice after the CONNACK of dev-a's connection
// 2, at QoS 1: with DUP = 1 and 1 ms later with DUP = 0.
func twice(bend func(f *timeline.Finding)) check.Fault {
	f := &timeline.Finding{
		Rule: "dup-flag", ClientID: clientID(0), N: 2, At: 1016 * ms, Charge: timeline.ChargeBroker, PacketID: 7, Stream: 3, Seq: 4,
		Last: packets(
			timeline.Packet{At: 1015 * ms, Type: "PUBLISH", Flags: 0x0a, ID: 7},
			timeline.Packet{At: 1016 * ms, Type: "PUBLISH", Flags: 2, ID: 7},
		),
	}
	if bend != nil {
		bend(f)
	}
	return check.Fault{Finding: f}
}

func ofQoS2(f *timeline.Finding) { f.Last[1].Flags, f.Last[2].Flags = 0x0c, 4 }

// sentAt has the accounts say when message 4 of stream 3 was sent and
// acknowledged; 0 = they do not know.
func sentAt(sent, acked timeline.Instant) func(j *judgement) {
	return func(j *judgement) {
		j.e.records = append(j.e.records, ledger.Record{Delivery: &ledger.DeliveryAccount{Stream: 3}}, ledger.Record{Stream: &ledger.StreamAccount{
			ID: 3, Open: []ledger.Message{{Seq: 3, Sent: 1005 * ms}, {Seq: 4, Sent: sent * ms, Acked: acked * ms}},
		}})
	}
}

func both(a, b func(j *judgement)) func(j *judgement) {
	return func(j *judgement) { a(j); b(j) }
}

// republish adds the finding of a PUBLISH that must not have come again, at a
// reconnect.
func republish(rule string, client int, stream uint32, seq uint64) func(j *judgement) {
	return func(j *judgement) {
		j.e.found = append(j.e.found, timeline.Finding{
			Rule: rule, ClientID: clientID(client), N: 2, At: 1016 * ms, Charge: timeline.ChargePublisher,
			Stream: stream, Seq: seq, PacketID: 7, Last: packets(timeline.Packet{At: 1016 * ms, Type: "PUBLISH", Out: true, Flags: 0x0c, ID: 7}),
		})
	}
}

func TestConditions(t *testing.T) {
	cases := conditionCases()
	for name, c := range conditions {
		met := false
		for _, tc := range cases[name] {
			j := conditionHistory()
			if tc.bend != nil {
				tc.bend(j)
			}
			if got := c.holds(j, tc.fault); got != tc.holds {
				t.Errorf("%s, %s: %v", name, tc.what, got)
			}
			met = met || tc.holds
		}
		if !met || len(cases[name]) < 3 {
			t.Errorf("%s has no case that meets it and two that do not", name)
		}
	}
}

// unknownAck adds a finding of unknown-ack on the client's connection after the
// loss, so long after its CONNACK.
func (f *folder) unknownAck(client int, after time.Duration) {
	for i := range f.conns {
		if c := &f.conns[i]; c.Client == client && c.N == 2 {
			f.found = append(f.found, timeline.Finding{
				Rule: "unknown-ack", Charge: timeline.ChargeBroker, Fleet: c.Fleet, Client: client, ClientID: c.ClientID, N: 2,
				At: c.Connack + timeline.Instant(after), PacketID: 7,
			})
		}
	}
}

// TestKnownByFindings: a check that is fed by findings of the tap is explained
// one by one, and not at all where some were only counted.
func TestKnownByFindings(t *testing.T) {
	defect := reports.KnownDefect{Check: "unknown-ack", Condition: "sent-by-the-broker-at-a-resume", Reference: "page#x", Versions: "2.7.9"}
	for name, c := range map[string]struct {
		bend  func(f *folder)
		known string
		exit  int
	}{
		"explained": {func(f *folder) { f.unknownAck(0, time.Millisecond); f.unknownAck(1, time.Millisecond) }, "page#x", 0},
		"one not":   {func(f *folder) { f.unknownAck(0, time.Millisecond); f.unknownAck(1, 2*time.Second) }, "", 1},
		"some only counted": {func(f *folder) {
			f.unknownAck(0, time.Millisecond)
			f.found = append(f.found, timeline.Finding{Rule: "unknown-ack", Charge: timeline.ChargeBroker, Fleet: "devices", At: 2000 * ms, Count: 3})
		}, "", 1},
		"beside a check that nothing explains": {func(f *folder) { f.unknownAck(0, time.Millisecond); f.breakOff(3, 3000) }, "page#x", 1},
		"strict":                               {func(f *folder) { f.unknownAck(0, time.Millisecond); f.env.Strict = true }, "page#x", 1},
		"another version":                      {func(f *folder) { f.unknownAck(0, time.Millisecond); f.env.Target.Version = "2.8.0" }, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			f.know(defect)
			c.bend(f)
			r := f.judge(t)
			if k := find(t, r, "unknown-ack"); k.Verdict != reports.Invalid || k.Known != c.known {
				t.Errorf("%+v", k)
			}
			if r.Run.Strict != f.env.Strict { // or its report would excuse what failed it
				t.Errorf("the report says strict %v", r.Run.Strict)
			}
			if r.ExitCode != c.exit || r.Verdict != reports.Invalid {
				t.Errorf("exit %d, want %d; verdict %s", r.ExitCode, c.exit, r.Verdict)
			}
		})
	}
}

// TestKnownByConnections: the same of a check that is fed by ends, and of the
// expectation over their number; the driver's table counts beside the target's.
func TestKnownByConnections(t *testing.T) {
	defect := reports.KnownDefect{Check: "unscripted", Condition: "keep-alive-in-whole-seconds", Reference: "page#k"}
	cutAt := func(f *folder, client int, silent timeline.Instant) {
		f.breakOff(client, 3000)
		for i := range f.conns {
			if c := &f.conns[i]; c.Client == client && c.End == 3000*ms {
				c.KeepAlive, c.LastOut = 1, 3000*ms-silent*ms
			}
		}
	}
	for name, c := range map[string]struct {
		silent []timeline.Instant
		known  string
		exit   int
	}{
		"explained": {[]timeline.Instant{1100, 1200}, "page#k", 0},
		"one not":   {[]timeline.Instant{1100, 600}, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			f.env.Driver.KnownDefects = []reports.KnownDefect{defect}
			f.plan.Expect = append(f.plan.Expect, expectation("unscripted", "", "equals", "0", "", 0))
			for client, silent := range c.silent {
				cutAt(f, client, silent)
			}
			r := f.judge(t)
			if k := find(t, r, "unscripted"); k.Verdict != reports.Invalid || k.Known != c.known {
				t.Errorf("%+v", k)
			}
			if x := r.Expectations[len(r.Expectations)-1]; x.Verdict != reports.Invalid || x.Known != c.known {
				t.Errorf("%+v", x)
			}
			if r.ExitCode != c.exit {
				t.Errorf("exit %d, want %d", r.ExitCode, c.exit)
			}
		})
	}
}

// TestTwoDefectsExplainOneCheck, each a part of its findings.
func TestTwoDefectsExplainOneCheck(t *testing.T) {
	f := newFolder()
	f.know(reports.KnownDefect{Check: "lost", Condition: "acknowledged-while-resuming", Reference: "page#a"})
	f.env.Driver.KnownDefects = []reports.KnownDefect{{Check: "lost", Condition: "acknowledged-by-a-resume", Reference: "page#b"}}
	f.loseResuming(2, 9)
	if c := find(t, f.judge(t), "lost"); c.Known != "page#a" {
		t.Errorf("%+v", c)
	}
	f.lose(3, 1, 9) // sent at 1000 ms, before its publisher, now another device, was lost
	for i := range f.conns {
		if c := &f.conns[i]; c.Client == 3 {
			c.SessionPresent = false // the first defect has no part in it
		}
	}
	for _, r := range f.records {
		if s := r.Stream; s != nil && s.ID == 31 {
			s.Publisher, s.Open[len(s.Open)-1].Acked = clientID(0), 1015*ms
		}
	}
	if c := find(t, f.judge(t), "lost"); c.Known != "page#a, page#b" {
		t.Errorf("%+v", c)
	}
}

// TestWhatRefutesADefect: a defect that explains a part of the findings only is
// no excuse, and the report says which finding it does not explain.
func TestWhatRefutesADefect(t *testing.T) {
	f := newFolder()
	f.know(reports.KnownDefect{Check: "lost", Condition: "acknowledged-while-resuming", Reference: "page#a"})
	f.loseResuming(2, 9)
	f.lose(3, 1, 9)
	for i := range f.conns {
		if c := &f.conns[i]; c.Client == 3 {
			c.SessionPresent = false // the defect has no part in it
		}
	}
	r := f.judge(t)
	if c := find(t, r, "lost"); c.Known != "" {
		t.Errorf("%+v", c)
	}
	want := regexp.MustCompile(`^check lost: page#a explains 1 of its findings, not the other 1: rb/\S+ #\d+ `)
	if !slices.ContainsFunc(r.Warnings, want.MatchString) {
		t.Errorf("no warning like %s in %q", want, r.Warnings)
	}
}

// TestDefectsThatDidNotShow are told in one line, where they could have shown.
func TestDefectsThatDidNotShow(t *testing.T) {
	f := newFolder()
	f.know(reports.KnownDefect{Check: "lost", Condition: "acknowledged-while-resuming", Reference: "page#a"})
	f.know(reports.KnownDefect{Check: "unscripted", Condition: "keep-alive-in-whole-seconds", Reference: "page#k"})
	f.know(reports.KnownDefect{Check: "reordered", Condition: "stored-before-resume", Reference: "page#o", Versions: "1"})
	r := f.judge(t)
	if !warns(r, "did not this time: page#a") || warns(r, "page#k") || warns(r, "page#o") {
		t.Errorf("%q", r.Warnings)
	}
	f.loseResuming(2, 9)
	if r := f.judge(t); warns(r, "did not this time") {
		t.Errorf("%q", r.Warnings)
	}
	if r := newFolder().judge(t); warns(r, "did not this time") {
		t.Errorf("without a table: %q", r.Warnings)
	}
}
