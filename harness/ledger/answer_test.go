package ledger

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// What waits for an answer is told by the connection on which it was read last,
// and copies on the old one of a takeover have their place too.
func TestUnanswered(t *testing.T) {
	type copy struct {
		seq  uint64
		conn int
	}
	for _, c := range []struct {
		name   string
		copies []copy
		done   Set
		want   []Pending
	}{
		{"one connection", []copy{{1, 1}, {2, 1}}, NewSet(2), []Pending{{1, NewSet(1)}}},
		{"all answered", []copy{{1, 1}, {2, 2}}, NewSet(1, 2), nil},
		{"three, the latest first", []copy{{1, 1}, {2, 2}, {3, 3}}, Set{}, []Pending{{3, NewSet(3)}, {2, NewSet(2)}, {1, NewSet(1)}}},
		{"read again", []copy{{1, 1}, {2, 1}, {1, 2}}, Set{}, []Pending{{2, NewSet(1)}, {1, NewSet(2)}}},
		{"late, on the last old one", []copy{{1, 1}, {2, 2}, {3, 3}, {4, 2}}, Set{}, []Pending{{3, NewSet(3)}, {2, NewSet(2, 4)}, {1, NewSet(1)}}},
		{"late, on the first one", []copy{{1, 1}, {2, 2}, {3, 3}, {4, 1}}, Set{}, []Pending{{3, NewSet(3)}, {2, NewSet(2)}, {1, NewSet(1, 4)}}},
		{"late, on one between of which nothing was known", []copy{{1, 1}, {3, 3}, {4, 2}}, Set{}, []Pending{{3, NewSet(3)}, {2, NewSet(4)}, {1, NewSet(1)}}},
	} {
		var u unanswered
		for _, p := range c.copies {
			u.read(p.seq, p.conn, Set{})
		}
		if diff := cmp.Diff(c.want, u.pending(c.done), cmp.Comparer(Set.Equal)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// Many connections on which all was answered leave nothing behind.
func TestUnansweredIsBounded(t *testing.T) {
	h := newHistory(1)
	for seq := uint64(1); seq < 50; seq++ {
		h.exchange(seq).read(seq).reconnect()
	}
	if u := h.clients.get("s").current[1].unanswered; len(u.old) > 0 {
		t.Errorf("kept of %d connections", len(u.old))
	}
}

// Read in two epochs and dealt with twice: once for each copy.
func TestDealtWithInBothEpochs(t *testing.T) {
	h := silent(1).exchange(1).read(1).fresh().read(1).answer(1, 1).handle(1, 1)
	for r := range h.Accounts() {
		if d := r.Delivery; d != nil && (!d.Answered.Equal(NewSet(1)) || !d.Handled.Equal(NewSet(1)) || len(d.Calls) > 0) {
			t.Errorf("epoch %d: answered %v, handled %v, again %v", d.Epoch, d.Answered, d.Handled, d.Calls)
		}
	}
}

// A copy at QoS 0 wants no answer, so that an answer went before it says nothing.
func TestCopyAtQoS0IsProvoked(t *testing.T) {
	h := newHistory(1)
	h.Subscribed("s", "#", 0, h.tick())
	h.exchange(1).read(1)
	h.Delivered("s", mqtt.Delivery{Header: header(1), Topic: []byte("t"), Conn: 1}, h.tick())
	for r := range h.Accounts() {
		if d := r.Delivery; d != nil && (len(d.Extra) != 1 || d.Extra[0].Unprovoked != 0) {
			t.Errorf("%+v", d.Extra)
		}
	}
}
