package ledger

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// TestSettled: a book is settled when nothing of QoS 1 and 2 is under way or
// owed; what the publisher can not complete any more is no debt.
func TestSettled(t *testing.T) {
	for _, c := range []struct {
		name string
		h    *history
		want bool
	}{
		{"nothing sent", newHistory(1), true},
		{"written only", newHistory(1).write(1), false},
		{"read, not acknowledged", newHistory(1).write(1).read(1), false},
		{"acknowledged, not read", newHistory(1).write(1).ack(1), false},
		{"acknowledged and read", newHistory(1).write(1).ack(1).read(1), true},
		{"one of two read", newHistory(1).write(1, 2).ack(1, 2).read(2), false},
		{"QoS 0", newHistory(0).write(1), true},
		{"PUBREC only", newHistory(2).write(1).ack(1).read(1), false},
		{"PUBCOMP", newHistory(2).write(1).ack(1).release(1).complete(1).read(1), true},
		{"read twice", newHistory(1).write(1).ack(1).read(1, 1), true},
	} {
		if got := c.h.Settled(); got != c.want {
			t.Errorf("%s: settled is %t", c.name, got)
		}
	}
	h := newHistory(1).write(1).ack(1)
	h.Connected("s", 2, false, h.tick()) // the session is over: nothing is owed to it
	if !h.Settled() {
		t.Error("a session that is over is owed a message")
	}
	h = newHistory(1).write(1).read(1)
	h.Connected("p", 2, false, h.tick())
	if !h.Settled() {
		t.Error("a publisher whose session was lost is waited for")
	}
}

// TestNotOwedAtQoS0: what is expected at QoS 0 only may never come.
func TestNotOwedAtQoS0(t *testing.T) {
	h := newHistory(1)
	h.Subscribed("other", "t", 0, h.tick())
	if !h.write(1).ack(1).read(1).Settled() {
		t.Error("a copy at QoS 0 is waited for")
	}
}

// TestLiveStrangers: the live figures count messages, not copies.
func TestLiveStrangers(t *testing.T) {
	h := newHistory(1).write(1)
	for range 2 {
		h.deliver("stranger", mqtt.Delivery{Header: header(1), QoS: 1, Conn: 1})
		h.deliver("s", mqtt.Delivery{Header: header(1), QoS: 2, Conn: 1})
	}
	if got := h.Totals(); got.Misrouted != 1 || got.WrongQoS != 1 {
		t.Errorf("%d misrouted, %d at a wrong QoS", got.Misrouted, got.WrongQoS)
	}
}
