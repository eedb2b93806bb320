package ledger

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const groupFilter = "$share/g/t"

// groupHistory has the members "m" and "n" of one shared group, and no other
// subscriber, of stream 1.
func groupHistory(qos byte) *history {
	h := &history{Book: NewBook(run), conn: 1, sub: 1, away: map[string]bool{}}
	h.AddStream(1, "p", "t", qos)
	for _, m := range []string{"m", "n"} {
		h.Connected(m, 1, false, h.tick())
		h.Asked(m, groupFilter, qos, h.tick())
		h.Subscribed(m, groupFilter, qos, h.tick())
	}
	return h
}

// at delivers to a member.
func (h *history) at(member string, seqs ...uint64) *history {
	for _, seq := range seqs {
		h.deliver(member, mqtt.Delivery{Header: header(seq), QoS: h.streams.get(1).qos, Conn: h.sub})
	}
	return h
}

// end closes the stream; the group's sentinel goes to one member.
func (h *history) end(member string) *history {
	h.Sentinel(1, h.tick(), h.tick())
	h.SentinelDelivered(member, 1, h.tick())
	return h
}

func TestSharedGroups(t *testing.T) {
	for _, c := range []struct {
		name string
		play func() *history
		want []string
	}{
		{"each message to one of two members", func() *history {
			return groupHistory(1).exchange(1, 2, 3, 4).at("m", 1, 3).at("n", 2, 4).end("n")
		}, nil},
		{"order is no promise", func() *history {
			return groupHistory(2).exchange(1, 2, 3).at("m", 3).at("n", 2, 1).end("n")
		}, nil},
		{"lost in the group: an extension, so a warning", func() *history {
			return groupHistory(1).exchange(1, 2, 3).at("m", 1).at("n", 3).end("n")
		}, []string{"lost $share/g/t 2: warn, "}},
		{"scripted: swallowed on its way to a member", func() *history {
			return groupHistory(1).exchange(1, 2, 3).at("m", 1).at("n", 3).end("n").
				swallow(timeline.Frame{ClientID: "m", Stream: 1, Seq: 2})
		}, []string{"scripted $share/g/t 2: legal, frame-fault"}},
		{"undetermined: a member is away and may hold it", func() *history {
			h := groupHistory(1).exchange(1, 2, 3).at("m", 1).at("n", 3).end("n")
			h.away["m"] = true
			return h
		}, []string{"undetermined $share/g/t 2: legal, "}},
		{"legal: it went with a member's session", func() *history {
			h := groupHistory(2).exchange(1, 2).at("n", 1)
			h.Connected("m", 2, false, h.tick())
			return h.exchange(3).at("n", 3).end("n")
		}, []string{"legal-loss $share/g/t 2: legal, session"}},
		{"legal: sent at the instant at which a member's session ended", func() *history {
			h := groupHistory(1).exchange(1).at("n", 1).write(2)
			h.Connected("m", 2, false, h.now)
			return h.ack(2).exchange(3).at("n", 3).end("n")
		}, []string{"legal-loss $share/g/t 2: legal, session"}},
		{"lost: sent after a member's session ended", func() *history {
			h := groupHistory(1).exchange(1).at("n", 1)
			h.Connected("m", 2, false, h.tick())
			return h.exchange(2, 3).at("n", 3).end("n")
		}, []string{"lost $share/g/t 2: warn, "}},
		{"QoS 1: assigned again to another member", func() *history {
			return groupHistory(1).exchange(1).at("m", 1).at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: legal, reassigned"}},
		{"QoS 2: delivered to two members", func() *history {
			return groupHistory(2).exchange(1).at("m", 1).at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: broker, reassigned"}},
		{"QoS 2: published again after its PUBREL, and so delivered to another member", func() *history {
			h := groupHistory(2).write(1).ack(1).release(1).publisherBack(true).write(1).ack(1).release(1).complete(1)
			return h.at("m", 1).at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: publisher-library, republish"}},
		{"QoS 2: published again after a clean start, and so delivered to another member", func() *history {
			h := groupHistory(2).write(1).publisherBack(false).write(1).ack(1).release(1).complete(1)
			return h.at("m", 1).at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: legal, session"}},
		{"QoS 2: delivered to another member at the session's end", func() *history {
			h := groupHistory(2).exchange(1).at("m", 1)
			h.Connected("m", 2, false, h.tick())
			return h.at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: broker, reassigned"}},
		{"QoS 2: twice to one member", func() *history {
			return groupHistory(2).exchange(1).at("m", 1, 1).end("n")
		}, []string{"duplicated m 1: broker, unprovoked"}},
		{"QoS 2: one delivery, two handler calls", func() *history {
			h := groupHistory(2).exchange(1).at("m", 1)
			h.Handled("m", 1, 1)
			return h.end("n")
		}, []string{"duplicated m 1: subscriber-library, handler"}},
		{"QoS 0: twice", func() *history {
			return groupHistory(0).write(1).at("m", 1).at("n", 1)
		}, []string{"duplicated $share/g/t 1: broker, "}},
		{"QoS 0: lost", func() *history {
			return groupHistory(0).write(1, 2).at("m", 1)
		}, []string{"lost-qos0 $share/g/t 2: legal, "}},
		{"not redelivered: a warning", func() *history {
			h := groupHistory(1).exchange(1)
			h.lazy = true
			h.at("m", 1)
			h.Connected("m", 2, true, h.tick())
			return h.end("n")
		}, []string{"not-redelivered m 1: warn, "}},
		{"stuck in a member", func() *history {
			h := groupHistory(1).exchange(1)
			h.lazy = true
			return h.at("m", 1).end("n")
		}, []string{"stuck m 1: subscriber-library, "}},
		{"reassigned: the first member's lack of an answer is nobody's fault", func() *history {
			h := groupHistory(1).exchange(1)
			h.lazy = true
			h.at("m", 1)
			h.Connected("m", 2, true, h.tick())
			h.lazy = false
			return h.at("n", 1).end("n")
		}, []string{"duplicated $share/g/t 1: legal, reassigned"}},
		{"lost in a member's client", func() *history {
			h := groupHistory(1).exchange(1)
			h.lazy = true
			h.at("m", 1).Answered("m", 1, 1, 1, h.tick())
			return h.end("n")
		}, []string{"lost-in-client m 1: subscriber-library, "}},
		{"an own subscription and a shared one: one copy to each", func() *history {
			h := groupHistory(1)
			h.Subscribed("m", "t", 1, h.tick())
			h.exchange(1, 2).at("m", 1, 1, 2).at("n", 2)
			return h.end("m").end("n")
		}, nil},
		{"an own subscription and a shared one: the own one goes first", func() *history {
			h := groupHistory(1)
			h.Subscribed("m", "t", 1, h.tick())
			h.exchange(1, 2).at("m", 1, 2).at("n", 2)
			return h.end("m").end("n")
		}, []string{"lost $share/g/t 1: warn, "}},
		{"an own subscription lost it, the group did not", func() *history {
			h := groupHistory(1)
			h.Subscribed("m", "t", 1, h.tick())
			return h.exchange(1).at("n", 1).end("m").end("n")
		}, []string{"lost m 1: broker, "}},
		{"a group lost it, the own subscription did not", func() *history {
			h := groupHistory(1)
			h.Subscribed("m", "t", 1, h.tick())
			return h.exchange(1).at("m", 1).end("m").end("m")
		}, []string{"lost $share/g/t 1: warn, "}},
		{"nobody is subscribed any more", func() *history {
			h := groupHistory(1).exchange(1).at("m", 1)
			h.Unsubscribed("m", groupFilter, h.tick())
			h.Unsubscribed("n", groupFilter, h.tick())
			return h.exchange(2).end("n")
		}, nil},
		{"misrouted: the group's filter was refused", func() *history {
			h := groupHistory(1).exchange(1).at("m", 1)
			h.Connected("o", 1, false, h.tick())
			h.Subscribed("o", groupFilter, 0x80, h.tick())
			return h.exchange(2).at("o", 2).end("n")
		}, []string{"misrouted o 2: broker, "}},
		{"subscribed before the stream was known, in a member's second epoch", func() *history {
			h := &history{Book: NewBook(run), conn: 1, sub: 1, away: map[string]bool{}}
			for n := range 2 {
				h.Connected("m", n+1, false, h.tick())
				h.Subscribed("m", "$share/g/+", 1, h.tick())
			}
			h.AddStream(1, "p", "t", 1)
			h.sub = 2
			return h.exchange(1, 2).at("m", 1, 2).end("m")
		}, nil},
		{"a member is granted less: what comes at that QoS is right", func() *history {
			h := groupHistory(2).exchange(1).at("m", 1)
			h.Subscribed("m", groupFilter, 1, h.tick())
			return h.exchange(2).deliver("m", mqtt.Delivery{Header: header(2), QoS: 1, Conn: 1}).end("m")
		}, nil},
		{"a subscription of its own, and later a shared one beside it: a copy for each", func() *history {
			h := newHistory(1).exchange(1).read(1)
			h.Subscribed("s", groupFilter, 1, h.tick())
			return h.exchange(2).read(2, 2).end("s").end("s")
		}, nil},
		{"a member with a lower grant leaves", func() *history {
			h := groupHistory(2)
			h.Subscribed("n", groupFilter, 1, h.tick())
			h.exchange(1).at("m", 1)
			h.Unsubscribed("n", groupFilter, h.tick())
			return h.exchange(2, 3).at("m", 3).end("m")
		}, []string{"lost $share/g/t 2: warn, "}},
	} {
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

func TestSharedFilter(t *testing.T) {
	for filter, want := range map[string]string{
		"$share/g/a/b": "a/b", "$share/g/+/#": "+/#", "$share/g//a": "/a",
		"a": "", "$share/g": "", "$share/g/": "", "$share//a": "", "$share/g+/a": "", "x/$share/g/a": "",
	} {
		if inner, ok := shared(filter); inner != want || ok != (want != "") {
			t.Errorf("%s: %q %v", filter, inner, ok)
		}
	}
}

// The live figures count what a group got once, whichever member read it.
func TestTotalsOfGroup(t *testing.T) {
	h := groupHistory(1).exchange(1, 2).at("m", 1).at("n", 1, 2)
	if got := h.Totals(); got.Delivered != 2 || got.Duplicated != 1 {
		t.Errorf("%+v", got)
	}
}

// The account of a member tells the QoS that it was granted last, none if it
// was refused.
func TestGrantOfMember(t *testing.T) {
	h := groupHistory(1).exchange(1).at("m", 1)
	h.Unsubscribed("m", groupFilter, h.tick())
	h.Connected("o", 1, false, h.tick())
	h.Subscribed("o", groupFilter, 0x80, h.tick())
	h.at("o", 1)
	want := map[string]byte{"m": 1, "o": 0}
	for r := range h.Accounts() {
		if d := r.Delivery; d != nil && d.Group != "" && d.Client != d.Group {
			if granted, ok := want[d.Client]; !ok || d.Granted != granted {
				t.Errorf("%s was granted %d", d.Client, d.Granted)
			}
			delete(want, d.Client)
		}
	}
	if len(want) > 0 {
		t.Errorf("no account of %v", want)
	}
}
