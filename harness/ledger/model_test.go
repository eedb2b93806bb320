package ledger

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
	"pgregory.net/rapid"
)

// The model keeps every event of a history and applies the definitions to the
// whole of it, message by message, with no thought of cost.
type model struct {
	qos    map[uint32]byte
	topic  map[uint32]string
	events []event
}

type event struct {
	kind   string // write ack epoch sub read
	client string
	stream uint32
	seq    uint64
	conn   int
	filter string
	grant  byte
}

// state is what a client was subscribed to just before event i.
func (m *model) state(client string, stream uint32, i int) (epoch int, filters int, granted byte) {
	held := map[string]byte{}
	for _, e := range m.events[:i] {
		switch {
		case e.client != client:
		case e.kind == "epoch":
			epoch++
			clear(held)
		case e.kind == "sub":
			held[e.filter] = e.grant
		}
	}
	for f, g := range held {
		if scenarios.Matches(f, m.topic[stream]) {
			filters++
			granted = max(granted, g)
		}
	}
	return epoch, filters, granted
}

// find gives the index of the first such event before i, -1 if none.
func (m *model) find(i int, is func(event) bool) int { return slices.IndexFunc(m.events[:i], is) }

func (m *model) written(stream uint32, seq uint64) int {
	return m.find(len(m.events), func(e event) bool { return e.kind == "write" && e.stream == stream && e.seq == seq })
}

func (m *model) acked(stream uint32, seq uint64, before int) int {
	return m.find(before, func(e event) bool { return e.kind == "ack" && e.stream == stream && e.seq == seq })
}

func (m *model) read(client string, stream uint32, seq uint64) int {
	return m.find(len(m.events), func(e event) bool {
		return e.kind == "read" && e.client == client && e.stream == stream && e.seq == seq
	})
}

// late: some higher number was written before.
func (m *model) late(stream uint32, seq uint64) bool {
	return m.find(m.written(stream, seq), func(e event) bool { return e.kind == "write" && e.stream == stream && e.seq > seq }) >= 0
}

// account names the account that expects or receives a message at event i.
func (m *model) account(client string, stream uint32, i int) (string, byte) {
	epoch, filters, granted := m.state(client, stream, i)
	if filters == 0 {
		return "", 0
	}
	q := min(granted, m.qos[stream])
	return fmt.Sprint(epoch, "/", q), q
}

// verdict judges one message at one client: "" if plain.
func (m *model) verdict(client string, stream uint32, seq uint64, away, drained, sentinel bool) Verdict {
	w := m.written(stream, seq)
	account, q := m.account(client, stream, w)
	switch {
	case account == "" || m.read(client, stream, seq) >= 0:
		return ""
	case q == 0:
		return LostQoS0
	case m.acked(stream, seq, len(m.events)) < 0:
		return ""
	}
	epoch, _, _ := m.state(client, stream, w)
	last, _, _ := m.state(client, stream, len(m.events))
	passed := false
	for i, e := range m.events {
		if e.kind == "read" && e.client == client && e.stream == stream && e.seq > seq && !m.late(stream, seq) {
			at, _, _ := m.state(client, stream, i)
			passed = passed || at == epoch
		}
	}
	switch {
	case last > epoch && passed:
		return Lost
	case last > epoch:
		return LegalLoss
	case away || !drained:
		return Undetermined
	case passed || sentinel:
		return Lost
	}
	return Undetermined
}

// before: m1 was certainly before m2 as far as i shows.
func (m *model) before(stream uint32, m1, m2 uint64, i int) bool {
	for j, e := range m.events[:i] {
		if e.kind != "write" || e.stream != stream || e.seq != m2 {
			continue
		}
		earlier := m.find(j, func(o event) bool {
			return o.kind == "write" && o.stream == stream && o.seq == m1 && o.conn == e.conn
		})
		if earlier < 0 && m.acked(stream, m1, j) < 0 {
			return false
		}
	}
	return true
}

// ordered says whether a read counts for order in the account that expects it.
func (m *model) ordered(i int) (string, byte, bool) {
	e := m.events[i]
	newer := m.find(i, func(o event) bool { return o.kind == "read" && o.client == e.client && o.conn > e.conn })
	wants, q := m.account(e.client, e.stream, m.written(e.stream, e.seq))
	now, _ := m.account(e.client, e.stream, i)
	return now, q, newer < 0 && wants != "" && wants == now && m.read(e.client, e.stream, e.seq) == i
}

// reordered judges the read at event i.
func (m *model) reordered(i int) bool {
	e := m.events[i]
	account, q, ok := m.ordered(i)
	if !ok {
		return false
	}
	if q == 0 {
		writes := 0
		for _, o := range m.events[:i] {
			if o.kind == "write" && o.stream == e.stream && o.seq == e.seq {
				writes++
			}
		}
		if writes > 1 {
			return false
		}
	}
	for j, o := range m.events[:i] {
		if o.kind == "read" && o.client == e.client && o.stream == e.stream {
			if other, _, ok := m.ordered(j); ok && other == account && m.before(e.stream, e.seq, o.seq, j) {
				return true
			}
		}
	}
	return false
}

var clients = []string{"a", "b"}

// draw plays a random history to the model and to a book.
func draw(t *rapid.T) (*model, *Book) {
	m := &model{qos: map[uint32]byte{1: 0, 2: 1, 3: 1}, topic: map[uint32]string{1: "t", 2: "t/u", 3: "v"}}
	b := NewBook(run)
	for id := uint32(1); id <= 3; id++ {
		b.AddStream(id, "p", m.topic[id], m.qos[id])
	}
	grants := map[string]byte{}
	conns, next, free := map[string]int{}, map[uint32]uint64{}, map[uint32][]uint64{}
	for range rapid.IntRange(1, 70).Draw(t, "steps") {
		e := event{
			kind:   rapid.SampledFrom([]string{"write", "write", "write", "rewrite", "ack", "ack", "read", "read", "read", "reread", "epoch", "sub", "sub", "conn"}).Draw(t, "kind"),
			client: rapid.SampledFrom(clients).Draw(t, "client"),
			stream: rapid.Uint32Range(1, 3).Draw(t, "stream"),
		}
		now := timeline.Instant(len(m.events) + 1)
		old := func() bool { // a message that was written
			if next[e.stream] == 0 {
				return false
			}
			e.seq = rapid.Uint64Range(1, next[e.stream]).Draw(t, "seq")
			return m.written(e.stream, e.seq) >= 0
		}
		switch e.kind {
		case "conn":
			conns[rapid.SampledFrom([]string{"p1", "p2", "p3", "a", "b"}).Draw(t, "who")]++
			continue
		case "write", "rewrite":
			e.conn = conns[fmt.Sprint("p", e.stream)]
			switch {
			case e.kind == "rewrite":
				if !old() || m.find(len(m.events), func(o event) bool {
					return o.kind == "write" && o.stream == e.stream && o.seq == e.seq && o.conn == e.conn
				}) >= 0 {
					continue
				}
			case len(free[e.stream]) > 0 && rapid.Bool().Draw(t, "free"):
				e.seq, free[e.stream] = free[e.stream][0], free[e.stream][1:]
			default:
				next[e.stream]++
				if rapid.IntRange(0, 5).Draw(t, "skip") == 0 {
					free[e.stream] = append(free[e.stream], next[e.stream])
					continue // numbered, and written later or never
				}
				e.seq = next[e.stream]
			}
			e.kind, e.client = "write", ""
			b.Attempted(e.stream, e.seq, e.conn, now, now)
		case "ack":
			if !old() || m.qos[e.stream] == 0 {
				continue
			}
			e.client = ""
			b.Acked(e.stream, e.seq, now)
		case "read", "reread":
			if !old() || (m.read(e.client, e.stream, e.seq) >= 0) != (e.kind == "reread") {
				continue
			}
			e.kind = "read"
			e.conn = max(0, conns[e.client]-rapid.IntRange(0, 4).Draw(t, "stale")/4)
			b.Delivered(e.client, mqtt.Delivery{Header: mqtt.Header{Run: run, Stream: e.stream, Seq: e.seq}, Topic: []byte(m.topic[e.stream]), QoS: 1, DUP: false, Conn: e.conn}, now)
		case "epoch":
			b.Connected(e.client, 1, false, now)
		case "sub":
			e.filter = rapid.SampledFrom([]string{"t", "t/#", "t/u", "+", "#"}).Draw(t, "filter")
			key := e.client + e.filter
			if _, ok := grants[key]; !ok {
				grants[key] = rapid.ByteRange(0, 1).Draw(t, "grant")
			}
			e.grant = grants[key]
			b.Subscribed(e.client, e.filter, e.grant, now)
		}
		m.events = append(m.events, e)
	}
	for id, n := range next {
		b.Slots(id, int64(n), 0, 0)
		b.Queued(id, int64(n)-b.streams.get(id).attempted.Len())
	}
	return m, b
}

func TestBookAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, b := draw(t)
		away := map[string]bool{"a": rapid.Bool().Draw(t, "away")}
		drained := rapid.Bool().Draw(t, "drained")
		sentinel := map[string]bool{}
		for id := uint32(1); id <= 3; id++ {
			for _, c := range clients {
				if b.clients.get(c) != nil && rapid.Bool().Draw(t, "sentinel") {
					b.SentinelDelivered(c, id, 1e9)
					sentinel[fmt.Sprint(c, id)] = true
				}
			}
		}
		a := Close(slices.Collect(b.Accounts()), Situation{Away: away, Drained: drained})
		if !a.Balanced() {
			t.Fatalf("does not balance: %q, %q, %q", a.QoS[0].Balance, a.QoS[1].Balance, a.Problems)
		}
		compareExceptions(t, m, b, a, away, drained, sentinel)
		compareCounts(t, m, b, a)
	})
}

func compareExceptions(t *rapid.T, m *model, b *Book, a Account, away map[string]bool, drained bool, sentinel map[string]bool) {
	var want, got []string
	for id := uint32(1); id <= 3; id++ {
		for seq := range b.streams.get(id).attempted.All() {
			for _, c := range clients {
				if v := m.verdict(c, id, seq, away[c], drained, sentinel[fmt.Sprint(c, id)]); v != "" {
					want = append(want, fmt.Sprintf("%s %s %d/%d", v, c, id, seq))
				}
			}
		}
	}
	for i, e := range m.events {
		if e.kind == "read" && m.reordered(i) {
			want = append(want, fmt.Sprintf("%s %s %d/%d", Reordered, e.client, e.stream, e.seq))
		}
	}
	for _, e := range a.Exceptions {
		if e.Verdict != Duplicated && e.Verdict != Misrouted && e.Verdict != WrongQoS && e.Verdict != Stuck && !e.Warn {
			got = append(got, fmt.Sprintf("%s %s %d/%d", e.Verdict, e.Subscriber, e.Stream, e.Seq))
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	for _, sub := range b.clients.all() {
		for _, d := range sub.all {
			if len(d.order.witnesses) == maxWitnesses { // it may have forgotten one
				want = slices.DeleteFunc(want, func(s string) bool { return !slices.Contains(got, s) && s[0] == 'r' })
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("-want +got:\n%s", diff)
	}
}

func compareCounts(t *rapid.T, m *model, b *Book, a Account) {
	copies, first := int64(0), int64(0)
	doubt, recovered, indeterminate := map[string]bool{}, int64(0), int64(0)
	for i, e := range m.events {
		key := fmt.Sprint(e.stream, "/", e.seq)
		switch {
		case e.kind != "read":
		case m.read(e.client, e.stream, e.seq) == i:
			first++
			if m.reordered(i) {
				doubt[key] = true
			}
		default:
			copies++
			doubt[key] = true
		}
	}
	for id := uint32(1); id <= 3; id++ {
		for seq := range b.streams.get(id).attempted.All() {
			key, open, got := fmt.Sprint(id, "/", seq), m.qos[id] > 0 && m.acked(id, seq, len(m.events)) < 0, false
			for _, c := range clients {
				account, _ := m.account(c, id, m.written(id, seq))
				read := m.read(c, id, seq) >= 0
				got = got || read
				doubt[key] = doubt[key] || account != "" && !read
			}
			doubt[key] = doubt[key] || open
			if open {
				indeterminate++
				if got {
					recovered++
				}
			}
		}
	}
	inDoubt := int64(0)
	for _, in := range doubt {
		if in {
			inDoubt++
		}
	}
	kept := int64(0)
	for id := uint32(1); id <= 3; id++ {
		kept += int64(len(b.streams.get(id).record().Open))
	}
	total := b.Totals()
	if total.Duplicated != copies || total.Delivered != first || total.InDoubt < inDoubt || kept != total.InDoubt {
		t.Fatalf("%+v, %d kept; want %d duplicated, %d delivered, %d in doubt", total, kept, copies, first, inDoubt)
	}
	if q := a.QoS[1]; q.Recovered != recovered || q.Indeterminate != indeterminate {
		t.Fatalf("%+v; want %d recovered of %d indeterminate", q, recovered, indeterminate)
	}
}
