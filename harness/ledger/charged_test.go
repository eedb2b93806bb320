package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// charged gives the exceptions with what they say of guilt and cause:
// "duplicated s 3: broker, redelivery", "… : warn, unprovoked", "… : legal, ".
func charged(a Account) []string {
	out := []string{}
	for _, e := range a.Exceptions {
		guilt := "legal"
		switch {
		case e.Fault && e.Warn, e.Fault && e.Charge == "", !e.Fault && e.Charge != "":
			guilt = fmt.Sprintf("contradiction %+v", e)
		case e.Fault:
			guilt = string(e.Charge)
		case e.Warn:
			guilt = "warn"
		}
		who := e.Subscriber
		if who == "" {
			who = "(publisher)"
		}
		out = append(out, fmt.Sprintf("%s %s %d: %s, %s", e.Verdict, who, e.Seq, guilt, e.Cause))
	}
	slices.Sort(out)
	return out
}

// deliverQ2 is one delivery at QoS 2, or a further copy of one.
func (h *history) deliverQ2(client string, seq uint64, again bool) *history {
	return h.deliver(client, mqtt.Delivery{Header: header(seq), QoS: 2, DUP: again, Again: again, Conn: h.sub})
}

// silent is a history whose subscriber reads without answering.
func silent(qos byte) *history {
	h := newHistory(qos)
	h.lazy = true
	return h
}

func (h *history) answer(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Answered("s", 1, seq, h.sub, h.tick())
	}
	return h
}

func (h *history) handle(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Handled("s", 1, seq)
	}
	return h
}

// publisherBack gives the publisher a new connection.
func (h *history) publisherBack(present bool) *history {
	h.conn++
	h.Connected("p", h.conn, present, h.tick())
	return h
}

func (h *history) swallow(f timeline.Frame) *history {
	f.Fault = "swallow"
	h.more.Frames = append(h.more.Frames, f)
	return h
}

// Each planted history turns exactly the verdicts beside it, with exactly this
// guilt; those with none, or with legal ones only, are the false alarms next to
// them.
var chargedCases = []struct {
	name string
	play func() *history
	want []string
}{
	{"QoS 2: all is well", func() *history {
		return newHistory(2).exchange(1, 2, 3).read(1, 2, 3).sentinel()
	}, nil},
	{"QoS 2: resent on both hops before PUBREC, and PUBREL resent", func() *history {
		h := silent(2).write(1, 2)
		h.publisherBack(true).write(1, 2).ack(1, 2).release(1, 2)
		h.publisherBack(true).release(1, 2).complete(1, 2)
		h.deliverQ2("s", 1, false).deliverQ2("s", 2, false).reconnect()
		h.deliverQ2("s", 1, true).deliverQ2("s", 2, true)
		return h.answer(1, 2).handle(1, 2).sentinel()
	}, nil},
	{"QoS 2: each subscriber in order, in step with PUBLISH or PUBREL", func() *history {
		return newHistory(2).write(1, 2).ack(2).release(2).complete(2).ack(1).read(2, 1).release(1).complete(1).sentinel()
	}, nil},

	// lost
	{"lost: a gap at QoS 2", func() *history {
		return newHistory(2).exchange(1, 2, 3).read(1, 3).sentinel()
	}, []string{"lost s 2: broker, "}},
	{"lost: PUBREC alone, and the publisher's session lives on", func() *history {
		return newHistory(2).write(1).ack(1).release(1).sentinel()
	}, []string{"lost s 1: broker, ", "stuck (publisher) 1: broker, "}},
	{"undetermined: PUBREL was never written, so the broker may wait for it", func() *history {
		return newHistory(2).write(1).ack(1).sentinel()
	}, []string{"stuck (publisher) 1: publisher-library, ", "undetermined s 1: legal, unreleased"}},
	{"undetermined: PUBREC alone, and the publisher is away", func() *history {
		h := newHistory(2).write(1).ack(1).release(1).sentinel()
		h.away["p"] = true
		return h
	}, []string{"undetermined s 1: legal, unreleased"}},
	{"undetermined: PUBREL was written on an earlier connection, and not again", func() *history {
		return newHistory(2).write(1).ack(1).release(1).publisherBack(true).exchange(2).read(2).sentinel()
	}, []string{"stuck (publisher) 1: publisher-library, ", "undetermined s 1: legal, unreleased"}},
	{"lost: PUBREL was written again on the last connection", func() *history {
		return newHistory(2).write(1).ack(1).release(1).publisherBack(true).release(1).exchange(2).read(2).sentinel()
	}, []string{"lost s 1: broker, ", "stuck (publisher) 1: broker, "}},
	{"not owed: the publisher's session was lost between PUBREC and PUBCOMP", func() *history {
		return newHistory(2).write(1).ack(1).release(1).publisherBack(false).exchange(2).read(2).sentinel()
	}, nil},
	{"owed: the publisher's session was lost after the PUBCOMP", func() *history {
		return newHistory(2).exchange(1).publisherBack(false).exchange(2).read(2).sentinel()
	}, []string{"lost s 1: broker, "}},
	{"not owed: a PUBREC read late, of the session that was lost", func() *history {
		return newHistory(2).write(1).publisherBack(false).ack(1).exchange(2).read(2).sentinel()
	}, nil},
	{"owed: the session was lost, and the exchange was done again", func() *history {
		h := newHistory(2).write(1).ack(1).publisherBack(false).write(1).ack(1).release(1).complete(1)
		return h.exchange(2).read(2).sentinel()
	}, []string{"lost s 1: broker, "}},
	{"legal loss at QoS 2: the tail of an epoch", func() *history {
		return newHistory(2).exchange(1, 2).read(1).fresh().sentinel()
	}, []string{"legal-loss s 2: legal, session"}},
	{"lost: granted 1 and then 2, in one epoch", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "t", 1, h.tick())
		h.exchange(1, 2).read(1)
		h.Subscribed("s", "t", 2, h.tick())
		return h.exchange(3, 4, 5).read(3, 5).sentinel()
	}, []string{"lost s 2: broker, ", "lost s 4: broker, "}},
	{"lost at each grant: lowered, and one was acknowledged before the client asked", func() *history {
		h := newHistory(1).exchange(1).write(2, 3)
		h.Asked("s", "t", 0, h.tick())
		h.Acked(1, 2, h.now) // at the very instant: nobody can tell which came first
		h.ack(3)
		h.Subscribed("s", "t", 0, h.tick())
		return h.exchange(4).read(4).sentinel()
	}, []string{"lost s 1: broker, ", "lost-qos0 s 2: legal, ", "lost-qos0 s 3: legal, "}},
	{"legal loss: the grant changed, and only the PUBACK came after the session's end", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "t", 1, h.tick())
		h.write(1).publisherBack(true).write(2).ack(2).release(2).complete(2).read(2)
		h.Subscribed("s", "t", 2, h.tick())
		return h.fresh().ack(1).release(1).complete(1).sentinel()
	}, []string{"legal-loss s 1: legal, session"}},
	{"not lost: no acknowledgement before the UNSUBSCRIBE", func() *history {
		h := newHistory(1).exchange(1).read(1).write(2)
		h.Unsubscribed("s", "t", h.tick())
		return h.ack(2).exchange(3).sentinel()
	}, nil},
	{"lost: acknowledged before the UNSUBSCRIBE", func() *history {
		h := newHistory(1).exchange(1, 2, 3).read(1, 3)
		h.Unsubscribed("s", "t", h.tick())
		return h.exchange(4).sentinel()
	}, []string{"lost s 2: broker, "}},
	{"not misrouted: under way at the UNSUBSCRIBE", func() *history {
		h := newHistory(1).exchange(1).read(1).write(2)
		h.Unsubscribed("s", "t", h.tick())
		h.ack(2).deliver("s", mqtt.Delivery{Header: header(2), QoS: 1, Conn: 1})
		h.exchange(3).deliver("s", mqtt.Delivery{Header: header(3), QoS: 1, Conn: 1})
		return h.sentinel()
	}, nil},
	{"still owed: another filter matches after the UNSUBSCRIBE", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "#", 1, h.tick())
		h.exchange(1).read(1).write(2)
		h.Unsubscribed("s", "t", h.tick())
		return h.ack(2).exchange(3).read(3).sentinel()
	}, []string{"lost s 2: broker, "}},

	// takeover
	{"takeover: read on the old connection after the new session began", func() *history {
		h := newHistory(1).exchange(1, 2)
		h.fresh().copy("s", false, 1, 1, 2)
		return h.exchange(3).read(3).sentinel()
	}, nil},
	{"takeover: gap in the old epoch, read on the old connection", func() *history {
		h := newHistory(1).exchange(1, 2)
		h.fresh().copy("s", false, 1, 2)
		return h.exchange(3).read(3).sentinel()
	}, []string{"lost s 1: broker, "}},

	// duplicated
	{"duplicated: second delivery at QoS 2", func() *history {
		return newHistory(2).exchange(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: broker, unprovoked"}},
	{"duplicated: second delivery at QoS 2 over a reconnect", func() *history {
		return newHistory(2).exchange(1).read(1).reconnect().copy("s", true, 2, 1).sentinel()
	}, []string{"duplicated s 1: broker, redelivery"}},
	{"duplicated: PUBLISH again after PUBREL", func() *history {
		h := newHistory(2).write(1).ack(1).release(1).publisherBack(true).write(1).ack(1).release(1).complete(1)
		return h.read(1, 1).sentinel()
	}, []string{"duplicated s 1: publisher-library, republish"}},
	{"duplicated: published twice, under two packet ids", func() *history {
		h := newHistory(2).write(1, 1)
		h.Moved(1, 1)
		return h.ack(1).release(1).complete(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: publisher-library, republish"}},
	{"duplicated: resent after its packet id was given to another message", func() *history {
		h := newHistory(2).write(1)
		h.Displaced(1, 1)
		return h.write(1).ack(1).release(1).complete(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: publisher-library, republish"}},
	{"duplicated: state resent after a clean start", func() *history {
		h := newHistory(2).write(1).publisherBack(false).write(1).ack(1).release(1).complete(1).read(1, 1).sentinel()
		h.more.Clean = map[string]bool{"p": true}
		return h
	}, []string{"duplicated s 1: publisher-library, publisher-resend"}},
	{"legal: the publisher's session was lost in between, and it could not know", func() *history {
		return newHistory(2).write(1).publisherBack(false).write(1).ack(1).release(1).complete(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, session"}},
	{"legal: second delivery in a later epoch of the subscriber", func() *history {
		return newHistory(2).exchange(1).read(1).fresh().read(1).exchange(2).read(2).sentinel()
	}, []string{"duplicated s 1: legal, redelivery"}},
	{"duplicated: one delivery at QoS 2, two handler calls", func() *history {
		return newHistory(2).exchange(1).read(1).handle(1).sentinel()
	}, []string{"duplicated s 1: subscriber-library, handler"}},
	{"duplicated: handler called twice for two copies of one delivery", func() *history {
		return newHistory(2).exchange(1).read(1).deliverQ2("s", 1, true).handle(1).sentinel()
	}, []string{"duplicated s 1: subscriber-library, handler"}},
	{"duplicated: QoS 1, more handler calls than copies", func() *history {
		return newHistory(1).exchange(1).read(1, 1).handle(1).sentinel()
	}, []string{"duplicated s 1: subscriber-library, handler"}},
	{"legal: QoS 2, a delivery for each filter", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "#", 2, h.tick())
		return h.exchange(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, overlap"}},
	{"duplicated: QoS 2, more deliveries than filters", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "#", 2, h.tick())
		return h.exchange(1).read(1, 1, 1).sentinel()
	}, []string{"duplicated s 1: broker, unprovoked"}},
	{"legal: QoS 2, filters at 2 and 1, one copy at each and one more at 1", func() *history {
		h := silent(2)
		h.Subscribed("s", "#", 1, h.tick())
		h.exchange(1).deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 2, Conn: 1})
		h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, DUP: true, Conn: 1})
		return h.answer(1).handle(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, redelivery"}},
	{"duplicated: QoS 2, a second filter at 1 came after the first delivery at 2", func() *history {
		h := newHistory(2).exchange(1).read(1)
		h.Subscribed("s", "#", 1, h.tick())
		return h.deliverQ2("s", 1, false).sentinel()
	}, []string{"duplicated s 1: broker, overlap"}},
	{"duplicated: QoS 2, filters at 2 and 1, two deliveries at 2", func() *history {
		h := silent(2)
		h.Subscribed("s", "#", 1, h.tick())
		h.exchange(1).deliver("s", mqtt.Delivery{Header: header(1), QoS: 2, Conn: 1})
		h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 2, Conn: 1})
		return h.answer(1).handle(1, 1).sentinel()
	}, []string{"duplicated s 1: broker, overlap"}},
	{"QoS 0: more copies than filters", func() *history {
		return newHistory(0).write(1).read(1, 1)
	}, []string{"duplicated s 1: broker, "}},
	{"QoS 0: one copy, two handler calls", func() *history {
		return newHistory(0).write(1).read(1).handle(1).sentinel()
	}, []string{"duplicated s 1: subscriber-library, handler"}},
	{"QoS 0: two copies too many, and three handler calls", func() *history {
		return newHistory(0).write(1).read(1, 1).handle(1).sentinel()
	}, []string{"duplicated s 1: broker, "}},
	{"QoS 1: redelivered, as the first copy was not answered", func() *history {
		h := silent(1).exchange(1).read(1).reconnect().read(1)
		return h.answer(1).handle(1).sentinel()
	}, []string{"duplicated s 1: legal, redelivery"}},
	{"QoS 1: again, though answered on the same connection", func() *history {
		return newHistory(1).exchange(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: warn, unprovoked"}},
	{"QoS 1: again, though answered on the same connection, and others since", func() *history {
		return newHistory(1).exchange(1, 2).read(1, 2, 1, 2).sentinel()
	}, []string{"duplicated s 1: warn, unprovoked", "duplicated s 2: warn, unprovoked"}},
	{"QoS 1: again after the connection of the answer ended", func() *history {
		return newHistory(1).exchange(1).read(1).reconnect().read(1).sentinel()
	}, []string{"duplicated s 1: legal, redelivery"}},
	{"QoS 1: the publisher sent it again, and unanswered", func() *history {
		return newHistory(1).write(1).publisherBack(true).write(1).ack(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, publisher-resend"}},
	{"QoS 1: the publisher sent it again after its PUBACK", func() *history {
		return newHistory(1).exchange(1).exchange(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, republish"}},
	{"QoS 1: a copy for each filter", func() *history {
		h := newHistory(1)
		h.Subscribed("s", "#", 1, h.tick())
		return h.exchange(1).read(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, overlap"}},

	// what the client did with it
	{"not-redelivered: read, the connection ended, never sent again", func() *history {
		return silent(1).exchange(1, 2).read(1).reconnect().read(2).answer(2).handle(2).sentinel()
	}, []string{"not-redelivered s 1: broker, "}},
	{"not-redelivered at QoS 2", func() *history {
		return silent(2).exchange(1).read(1).reconnect().sentinel()
	}, []string{"not-redelivered s 1: broker, "}},
	{"redelivered", func() *history {
		return silent(2).exchange(1).read(1).reconnect().deliverQ2("s", 1, true).answer(1).handle(1).sentinel()
	}, nil},
	{"not demanded: the handler had it", func() *history {
		return silent(1).exchange(1).read(1).handle(1).reconnect().sentinel()
	}, nil},
	{"not demanded: the session ended", func() *history {
		return silent(1).exchange(1).read(1).fresh().sentinel()
	}, nil},
	{"not demanded: no later connection", func() *history {
		h := silent(1).exchange(1).read(1).sentinel()
		h.away["s"] = true
		return h
	}, nil},
	{"not demanded yet: no drain", func() *history {
		h := silent(1).exchange(1).read(1).reconnect().sentinel()
		h.wet = true
		return h
	}, nil},
	{"stuck: read and never acknowledged on a connection that lives", func() *history {
		return silent(1).exchange(1, 2).read(1, 2).answer(2).handle(2).sentinel()
	}, []string{"stuck s 1: subscriber-library, "}},
	{"stuck: redelivered, and again not acknowledged", func() *history {
		return silent(1).exchange(1).read(1).reconnect().read(1).handle(1, 1).sentinel()
	}, []string{"duplicated s 1: legal, redelivery", "stuck s 1: subscriber-library, "}},
	{"lost in the client: acknowledged without calling the handler", func() *history {
		return silent(1).exchange(1, 2).read(1, 2).answer(1, 2).handle(2).sentinel()
	}, []string{"lost-in-client s 1: subscriber-library, "}},
	{"lost in the client, at QoS 2, over an epoch, and away", func() *history {
		h := silent(2).exchange(1, 2).read(1, 2).answer(1, 2).fresh().handle(2).sentinel()
		h.away["s"] = true
		return h
	}, []string{"lost-in-client s 1: subscriber-library, "}},
	{"not lost in the client: QoS 0 is never answered", func() *history {
		return silent(0).write(1).read(1).sentinel()
	}, nil},
	{"not lost in the client: no drain", func() *history {
		h := silent(1).exchange(1).read(1).answer(1).sentinel()
		h.wet = true
		return h
	}, nil},
	{"unexpected: read and never attempted, and a stream that the harness does not know", func() *history {
		h := newHistory(1).exchange(1).read(1, 7).sentinel()
		h.Attempted(9, 3, 1, 1, 1)
		return h
	}, []string{"unexpected (publisher) 3: harness, ", "unexpected s 7: broker, "}},
	{"unexpected: handled and never read", func() *history {
		return newHistory(1).exchange(1, 2).read(1).handle(2).sentinel()
	}, []string{"lost s 2: broker, ", "unexpected s 2: subscriber-library, handler"}},

	{"unexpected: handled twice and never read", func() *history {
		return newHistory(1).exchange(1, 2).read(1).handle(2, 2).sentinel()
	}, []string{"lost s 2: broker, ", "unexpected s 2: subscriber-library, handler"}},

	// stuck at the publisher
	{"stuck: PUBLISH resent on the last connection, no PUBACK", func() *history {
		return newHistory(1).write(1).publisherBack(true).write(1).exchange(2).read(1, 2).sentinel()
	}, []string{"stuck (publisher) 1: broker, "}},
	{"stuck: PUBLISH never resent", func() *history {
		return newHistory(1).write(1).publisherBack(true).exchange(2).read(2).sentinel()
	}, []string{"stuck (publisher) 1: publisher-library, "}},
	{"stuck: PUBREL resent, no PUBCOMP", func() *history {
		return newHistory(2).write(1).ack(1).release(1).publisherBack(true).release(1).read(1).sentinel()
	}, []string{"stuck (publisher) 1: broker, "}},
	{"stuck: PUBREL never resent", func() *history {
		return newHistory(2).write(1).ack(1).release(1).publisherBack(true).read(1).sentinel()
	}, []string{"stuck (publisher) 1: publisher-library, "}},
	{"not stuck: its packet id was given to another message", func() *history {
		h := newHistory(1).write(1)
		h.Displaced(1, 1)
		return h.exchange(2).read(1, 2).sentinel()
	}, nil},
	{"neither stuck nor owed: its packet id was given to another message after the PUBREC", func() *history {
		h := newHistory(2).write(1).ack(1)
		h.Displaced(1, 1)
		return h.exchange(2).read(2).sentinel()
	}, nil},
	{"not displaced: it was complete", func() *history {
		h := newHistory(1).exchange(1)
		h.Displaced(1, 1)
		return h.exchange(2).read(2).sentinel()
	}, []string{"lost s 1: broker, "}},
	{"not stuck: the session was lost", func() *history {
		return newHistory(1).write(1).publisherBack(false).exchange(2).read(2).sentinel()
	}, nil},
	{"not stuck: the publisher is away", func() *history {
		h := newHistory(1).write(1).exchange(2).read(2).sentinel()
		h.away["p"] = true
		return h
	}, nil},
	{"not stuck: the sentinel did not come home", func() *history {
		h := newHistory(1).write(1).exchange(2).read(2)
		h.Sentinel(1, h.tick(), 0)
		h.SentinelDelivered("s", 1, h.tick())
		return h
	}, nil},

	// misrouted, wrong QoS, retained
	{"misrouted: after a refusal", func() *history {
		h := newHistory(1).exchange(1).read(1)
		h.Connected("u", 1, false, h.tick())
		h.Asked("u", "t", 1, h.tick())
		h.Subscribed("u", "t", 0x80, h.tick())
		return h.copy("u", false, 1, 1).sentinel()
	}, []string{"misrouted u 1: broker, "}},
	{"misrouted: another topic's filter, also retained", func() *history {
		h := newHistory(1).exchange(1).read(1)
		h.Connected("u", 1, false, h.tick())
		h.Subscribed("u", "v", 1, h.tick())
		return h.deliver("u", mqtt.Delivery{Header: header(1), QoS: 1, Retain: true, Conn: 1}).sentinel()
	}, []string{"misrouted u 1: broker, "}},
	{"misrouted: subscribed in the epoch before", func() *history {
		h := newHistory(1).exchange(1).read(1)
		h.Connected("s", 2, false, h.tick())
		h.exchange(2)
		return h.copy("s", false, 2, 2).sentinel()
	}, []string{"misrouted s 2: broker, "}},
	{"not misrouted: between SUBSCRIBE and SUBACK", func() *history {
		h := newHistory(1).exchange(1).read(1)
		h.Connected("u", 1, false, h.tick())
		h.Asked("u", "t", 1, h.tick())
		h.deliver("u", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		h.Subscribed("u", "t", 0, h.tick())
		return h.sentinel()
	}, nil},
	{"wrong QoS: above the grant", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "t", 1, h.tick())
		h.Connected("s", 2, false, h.tick())
		h.Subscribed("s", "t", 1, h.tick())
		h.sub = 2
		return h.exchange(1).deliverQ2("s", 1, false).sentinel()
	}, []string{"wrong-qos s 1: broker, "}},
	{"wrong QoS: below the grant, and above the publish", func() *history {
		h := newHistory(2)
		h.exchange(1).deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		return h.sentinel()
	}, []string{"wrong-qos s 1: broker, "}},
	{"not the wrong QoS: the SUBACK lowered it, and a resend keeps its own", func() *history {
		h := newHistory(2).exchange(1)
		h.Subscribed("s", "t", 1, h.tick())
		h.deliverQ2("s", 1, false)
		return h.exchange(2).read(2).sentinel()
	}, nil},
	{"wrong QoS: overlapping filters, no copy at the highest", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "#", 1, h.tick())
		h.exchange(1).deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		return h.sentinel()
	}, []string{"wrong-qos s 1: broker, "}},
	{"not the wrong QoS: overlapping filters, a copy at each", func() *history {
		h := newHistory(2)
		h.Subscribed("s", "#", 1, h.tick())
		h.exchange(1).deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		return h.deliverQ2("s", 1, false).sentinel()
	}, []string{"duplicated s 1: legal, overlap"}},
	{"retained: no duplicate, no delivery, answered and handled", func() *history {
		h := newHistory(1).exchange(1).read(1)
		h.Asked("s", "t", 1, h.tick())
		h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Retain: true, Conn: 1})
		h.Connected("u", 1, false, h.tick())
		h.Asked("u", "t", 1, h.tick())
		h.deliver("u", mqtt.Delivery{Header: header(1), QoS: 1, Retain: true, Conn: 1})
		return h.sentinel()
	}, nil},

	// order
	{"reordered at QoS 2", func() *history {
		return newHistory(2).write(1, 2).ack(1, 2).release(1, 2).complete(1, 2).read(2, 1).sentinel()
	}, []string{"reordered s 1: broker, "}},
	{"legal at QoS 2: in the order of the PUBREL", func() *history {
		return newHistory(2).write(1, 2).ack(1, 2).release(2, 1).complete(1, 2).read(2, 1).sentinel()
	}, nil},
	{"legal at QoS 2: in the order of the PUBLISH", func() *history {
		return newHistory(2).write(1, 2).ack(1, 2).release(2, 1).complete(1, 2).read(1, 2).sentinel()
	}, nil},
	{"reordered at QoS 2: completed before the other's PUBREL on another connection", func() *history {
		h := newHistory(2).write(1, 2).ack(1, 2).release(1).complete(1).publisherBack(true)
		return h.release(2).complete(2).read(2, 1).sentinel()
	}, []string{"reordered s 1: broker, "}},
	{"final copies out of order", func() *history {
		h := silent(1).exchange(1, 2, 3).read(1, 2, 3).reconnect().read(2).exchange(4).read(4)
		return h.answer(1, 2, 3, 4).handle(1, 2, 3, 4, 2).sentinel()
	}, []string{"duplicated s 2: legal, redelivery", "reordered s 2: warn, "}},
	{"final copies out of order, at the end", func() *history {
		h := silent(1).exchange(1, 2).read(1, 2).reconnect().read(1)
		return h.answer(1, 2).handle(1, 2, 1).sentinel()
	}, []string{"duplicated s 1: legal, redelivery", "reordered s 1: warn, "}},
	{"final copies in order: 1,2,3,2,3,4", func() *history {
		h := silent(1).exchange(1, 2, 3).read(1, 2, 3).reconnect().read(2, 3).exchange(4).read(4)
		return h.answer(1, 2, 3, 4).handle(1, 2, 3, 4, 2, 3).sentinel()
	}, []string{"duplicated s 2: legal, redelivery", "duplicated s 3: legal, redelivery"}},

	// scripted
	{"scripted: a lost PUBLISH that a frame fault swallowed", func() *history {
		return newHistory(1).exchange(1, 2, 3, 4).read(1, 4).sentinel().
			swallow(timeline.Frame{ClientID: "s", Type: "PUBLISH", Stream: 1, Seq: 2})
	}, []string{"lost s 3: broker, ", "scripted s 2: legal, frame-fault"}},
	{"scripted: not redelivered, and stuck at the subscriber", func() *history {
		return silent(1).exchange(1, 2).read(1).reconnect().read(2).sentinel().
			swallow(timeline.Frame{ClientID: "s", Type: "PUBLISH", Stream: 1, Seq: 1}).
			swallow(timeline.Frame{ClientID: "s", Type: "PUBACK", Out: true, Stream: 1, Seq: 2})
	}, []string{"scripted s 1: legal, frame-fault", "scripted s 2: legal, frame-fault"}},
	{"scripted: stuck at the publisher", func() *history {
		return newHistory(2).write(1).ack(1).release(1).read(1).sentinel().
			swallow(timeline.Frame{ClientID: "p", Type: "PUBREL", Out: true, Stream: 1, Seq: 1})
	}, []string{"scripted (publisher) 1: legal, frame-fault"}},
	{"scripted: first read late", func() *history {
		return newHistory(1).exchange(1, 2).read(2, 1).sentinel().
			swallow(timeline.Frame{ClientID: "s", Type: "PUBLISH", Stream: 1, Seq: 1})
	}, []string{"reordered s 1: legal, frame-fault"}},
	{"not scripted: another client's, another message's, one that passed, a cut", func() *history {
		h := newHistory(1).exchange(1, 2).read(2).sentinel()
		h.swallow(timeline.Frame{ClientID: "x", Stream: 1, Seq: 1}).swallow(timeline.Frame{ClientID: "s", Stream: 1, Seq: 2})
		h.swallow(timeline.Frame{ClientID: "s", Stream: 2, Seq: 1}).swallow(timeline.Frame{ClientID: "s", Stream: 1, Seq: 1, Passed: true})
		h.more.Frames = append(h.more.Frames, timeline.Frame{Fault: "cut", ClientID: "s", Stream: 1, Seq: 1})
		return h
	}, []string{"lost s 1: broker, "}},
}

// countsAgree fails unless the balances count what is listed.
func countsAgree(t testing.TB, a Account) {
	t.Helper()
	listed := map[string]int64{}
	for _, e := range a.Exceptions {
		if e.Verdict == Reordered && !e.Fault {
			continue // listed, and not counted
		}
		listed[fmt.Sprint(e.Verdict, e.QoS)]++
	}
	for q, m := range a.QoS {
		counts := map[Verdict]int64{
			LegalLoss: m.LegalLoss, Undetermined: m.Undetermined, NotRedelivered: m.NotRedelivered,
			LostInClient: m.LostInClient, Stuck: m.Stuck, Reordered: m.Reordered, Unexpected: m.Unexpected,
			Misrouted: m.Misrouted, WrongQoS: m.WrongQoS, Scripted: m.Scripted, Lost: m.Lost,
		}
		if q == 0 {
			delete(counts, Lost)
			counts[LostQoS0] = m.Lost
		}
		for v, n := range counts {
			if n != listed[fmt.Sprint(v, q)] {
				t.Errorf("QoS %d: %d %s counted, %d listed", q, n, v, listed[fmt.Sprint(v, q)])
			}
		}
	}
}

func TestCharged(t *testing.T) {
	for _, c := range chargedCases {
		t.Run(c.name, func(t *testing.T) {
			a := c.play().close(t)
			if !a.Balanced() {
				t.Errorf("does not balance: %+v %q", a.QoS, a.Problems)
			}
			countsAgree(t, a)
			slices.Sort(c.want)
			if diff := cmp.Diff(append([]string{}, c.want...), charged(a)); diff != "" {
				t.Errorf("exceptions (-want +got):\n%s", diff)
			}
		})
	}
}

// What an old connection reads of the new epoch's messages counts once.
func TestReadOnBothSidesOfATakeover(t *testing.T) {
	h := newHistory(1).fresh().exchange(1).copy("s", false, 1, 1).read(1)
	if got := h.Totals(); got.Delivered != 1 || got.Duplicated != 1 || got.InDoubt != 1 {
		t.Errorf("%+v", got)
	}
	want := []string{"duplicated s 1: legal, redelivery"}
	if diff := cmp.Diff(want, charged(h.sentinel().close(t))); diff != "" {
		t.Error(diff)
	}
}

// A row of copies tells of the last one, wherever that was read.
func TestLastCopy(t *testing.T) {
	h := newHistory(1).exchange(1).read(1, 1)
	h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Retain: true, Conn: 1})
	h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 1, Retain: true, Conn: 1})
	h.fresh().read(1, 1)
	at := h.now - 1e6 // it was answered since
	a := h.sentinel().close(t)
	if len(a.Exceptions) != 1 || a.Exceptions[0].At != at || a.Exceptions[0].Conn != 2 || a.Exceptions[0].Copies != 4 {
		t.Errorf("%+v, want the one at %d", a.Exceptions, at)
	}
	retained := 0
	for r := range h.Accounts() {
		if r.Delivery != nil {
			retained += r.Delivery.Retained
		}
	}
	if retained != 2 {
		t.Errorf("%d retained copies", retained)
	}
}

func TestTooManyCopiesToList(t *testing.T) {
	h := newHistory(1).exchange(1, 2, 3).read(1, 2, 3, 1, 2, 3)
	a := closeUpTo(1, slices.Collect(h.sentinel().Accounts()), Situation{Drained: true})
	if len(a.Exceptions) != 1 || a.Unlisted[Duplicated] != 2 || a.QoS[1].Duplicated != 3 {
		t.Errorf("copies in one epoch: %+v %v", a.Exceptions, a.Unlisted)
	}
	h = newHistory(1).exchange(1, 2).read(1, 2).fresh().read(1, 2)
	h.Slots(1, 2, 0, 0)
	records := slices.Collect(h.sentinel().Accounts())
	if a := closeUpTo(2, records, Situation{Drained: true}); !a.Balanced() {
		t.Errorf("two that may be listed: %q", a.QoS[1].Balance)
	}
	if a := closeUpTo(1, records, Situation{Drained: true}); a.Balanced() {
		t.Error("two, one of which may be listed, balance")
	}
}

// The words of a second delivery at QoS 2 say how it is one.
func TestWordsOfSecondDelivery(t *testing.T) {
	for want, h := range map[string]*history{
		"delivered 2 times in one epoch":             newHistory(2).exchange(1).read(1, 1).sentinel(),
		"delivered to two members of a shared group": groupHistory(2).exchange(1).at("m", 1).at("n", 1).end("n"),
	} {
		if a := h.close(t); len(a.Exceptions) != 1 || a.Exceptions[0].Why != want {
			t.Errorf("%+v, want %q", a.Exceptions, want)
		}
	}
}

// Of copies at one instant the one of the later account is the last.
func TestLastOfCopiesAtOneInstant(t *testing.T) {
	extra := func(epoch, conn int, from, to uint64) Record {
		return Record{Delivery: &DeliveryAccount{
			Stream: 1, Client: "s", Epoch: epoch, Granted: 1, Filters: 1, From: from, To: to,
			Delivered: NewSet(1), Extra: []Extra{{Seq: 1, Copies: 2, At: 7, Conn: conn}},
		}}
	}
	stream := Record{Stream: &StreamAccount{ID: 1, QoS: 1, Scheduled: 1, Attempted: NewSet(1), Acked: NewSet(1)}}
	a := Close([]Record{stream, extra(1, 1, 1, 1), extra(2, 2, 0, 0)}, Situation{Drained: true})
	if len(a.Exceptions) != 1 || a.Exceptions[0].Conn != 2 || a.Exceptions[0].Copies != 4 {
		t.Errorf("%+v", a.Exceptions)
	}
}
