package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const run = 77

// history writes a book by hand: one step is one millisecond. Stream 1 goes
// from publisher "p" on topic "t" at the history's QoS to subscriber "s".
type history struct {
	*Book
	now  timeline.Instant
	conn int // the publisher's connection
	sub  int // the subscriber's
	away map[string]bool
	wet  bool // not drained
	lazy bool // the subscriber neither answers nor calls its handler
	more Situation
}

// newHistory has the subscriber connected and subscribed.
func newHistory(qos byte) *history {
	h := &history{Book: NewBook(run), conn: 1, sub: 1, away: map[string]bool{}}
	h.AddStream(1, "p", "t", qos)
	h.AddSubscriber("s")
	h.Connected("s", 1, false, h.tick())
	h.Subscribed("s", "t", max(qos, 1), h.tick())
	return h
}

func (h *history) tick() timeline.Instant { h.now += 1e6; return h.now }

// write offers messages to the publisher's current connection.
func (h *history) write(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Attempted(1, seq, h.conn, h.now, h.tick())
	}
	return h
}

func (h *history) ack(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Acked(1, seq, h.tick())
	}
	return h
}

// release and complete finish an exchange at QoS 2.
func (h *history) release(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Released(1, seq, h.conn, h.tick())
	}
	return h
}

func (h *history) complete(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.Completed(1, seq, h.tick())
	}
	return h
}

// exchange goes through whole exchanges, one by one.
func (h *history) exchange(seqs ...uint64) *history {
	for _, seq := range seqs {
		h.write(seq).ack(seq)
		if h.streams.get(1).qos == 2 {
			h.release(seq).complete(seq)
		}
	}
	return h
}

// read delivers to the subscriber, which answers and calls its handler.
func (h *history) read(seqs ...uint64) *history { return h.copy("s", false, h.sub, seqs...) }

func (h *history) copy(client string, dup bool, conn int, seqs ...uint64) *history {
	for _, seq := range seqs {
		h.deliver(client, mqtt.Delivery{Header: header(seq), DUP: dup, Conn: conn})
	}
	return h
}

// deliver fills in what a delivery lacks: header, topic and QoS, where that is
// 0 the QoS that is owed.
func (h *history) deliver(client string, p mqtt.Delivery) *history {
	st := h.streams.get(1)
	p.Topic = []byte("t")
	if p.QoS == 0 {
		h.clients.open(client).mu.Lock()
		p.QoS = min(st.qos, h.clients.get(client).holds("t", st.qos).granted)
		h.clients.get(client).mu.Unlock()
	}
	h.Delivered(client, p, h.tick())
	if h.lazy {
		return h
	}
	if p.QoS > 0 {
		h.Answered(client, 1, p.Header.Seq, p.Conn, h.tick())
	}
	if !p.Again {
		h.Handled(client, 1, p.Header.Seq)
	}
	return h
}

func header(seq uint64) mqtt.Header {
	return mqtt.Header{Kind: mqtt.KindData, Run: run, Stream: 1, Seq: seq, Intended: 5, Sent: 6}
}

// reconnect gives the subscriber a new connection of the same session.
func (h *history) reconnect() *history {
	h.sub++
	h.Connected("s", h.sub, true, h.tick())
	return h
}

// fresh begins a new session of the subscriber, subscribed again.
func (h *history) fresh() *history {
	h.sub++
	h.Connected("s", h.sub, false, h.tick())
	h.Subscribed("s", "t", max(h.streams.get(1).qos, 1), h.tick())
	return h
}

// sentinel closes the stream.
func (h *history) sentinel() *history {
	h.Sentinel(1, h.tick(), h.tick())
	h.SentinelDelivered("s", 1, h.tick())
	return h
}

// close fills the timetable to what was attempted, unless the history did, and
// closes the account, over the text form.
func (h *history) close(t *testing.T) Account {
	t.Helper()
	st := h.streams.get(1)
	if st.scheduled == 0 {
		h.Slots(1, st.attempted.Len(), 0, 0)
	}
	h.more.Away, h.more.Drained = h.away, !h.wet
	return Close(roundTrip(t, slices.Collect(h.Accounts())), h.more)
}

// verdicts gives the exceptions in short: "lost s 3".
func verdicts(a Account) []string {
	out := []string{}
	for _, e := range a.Exceptions {
		out = append(out, fmt.Sprintf("%s %s %d", e.Verdict, e.Subscriber, e.Seq))
	}
	slices.Sort(out)
	return out
}

// wants fails unless the account balances and has exactly these exceptions.
func wants(t *testing.T, a Account, want ...string) {
	t.Helper()
	if !a.Balanced() {
		t.Errorf("does not balance: %q, %q, %q, %q", a.QoS[0].Balance, a.QoS[1].Balance, a.QoS[2].Balance, a.Problems)
	}
	slices.Sort(want)
	if diff := cmp.Diff(append([]string{}, want...), verdicts(a)); diff != "" {
		t.Errorf("exceptions (-want +got):\n%s", diff)
	}
}
