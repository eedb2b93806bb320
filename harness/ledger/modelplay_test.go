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

var (
	clients = []string{"a", "b"}
	streams = []uint32{1, 2, 3, 4}
	filters = []string{"t", "t/#", "t/u", "+", "#"}
)

// player plays a random history to the model and to a book.
type player struct {
	*rapid.T
	m      *model
	b      *Book
	grants map[string]byte // of a client's filter: the same each time
	conns  map[string]int
	next   map[uint32]uint64
	free   map[uint32][]uint64
}

func draw(t *rapid.T) (*model, *Book) {
	p := &player{
		T: t, b: NewBook(run),
		m: &model{
			qos:   map[uint32]byte{1: 0, 2: 1, 3: 1, 4: 2},
			topic: map[uint32]string{1: "t", 2: "t/u", 3: "v", 4: "t"},
		},
		grants: map[string]byte{}, conns: map[string]int{}, next: map[uint32]uint64{}, free: map[uint32][]uint64{},
	}
	for _, id := range streams {
		p.b.AddStream(id, publisher, p.m.topic[id], p.m.qos[id])
	}
	kinds := []string{
		"write", "write", "write", "rewrite", "ack", "ack", "release", "complete", "read", "read", "read", "reread",
		"answer", "handle", "epoch", "conn", "ask", "sub", "sub", "unsub",
	}
	// Mostly one stream and one client, or a history hardly ever comes to a point.
	focus := rapid.SampledFrom(streams).Draw(t, "focus")
	for range rapid.IntRange(1, 120).Draw(t, "steps") {
		e := event{
			kind:   rapid.SampledFrom(kinds).Draw(t, "kind"),
			client: rapid.SampledFrom(clients).Draw(t, "client"),
			stream: rapid.SampledFrom(streams).Draw(t, "stream"),
			at:     len(p.m.events),
		}
		if rapid.IntRange(0, 5).Draw(t, "focused") > 0 {
			e.client, e.stream = clients[0], focus
		}
		if p.play(&e, timeline.Instant(e.at+1)) {
			p.m.events = append(p.m.events, e)
		}
	}
	for id, n := range p.next {
		p.b.Slots(id, int64(n), 0, 0)
		p.b.Queued(id, int64(n)-p.b.streams.get(id).attempted.Len())
	}
	return p.m, p.b
}

// play fills in an event and tells the book; false if it can not be now.
func (p *player) play(e *event, now timeline.Instant) bool {
	switch e.kind {
	case "write", "rewrite":
		return p.write(e, now)
	case "ack", "release", "complete":
		return p.exchange(e, now)
	case "read", "reread":
		return p.read(e, now)
	case "answer", "handle":
		return p.handle(e, now)
	case "epoch", "conn":
		e.client = rapid.SampledFrom(append(clients, publisher)).Draw(p.T, "who")
		e.stream = 0
		p.conns[e.client]++
		e.conn = p.conns[e.client]
		p.b.Connected(e.client, e.conn, e.kind == "conn", now)
		return true
	}
	return p.subscribe(e, now)
}

// old picks a message that was written.
func (p *player) old(e *event) bool {
	if p.next[e.stream] == 0 {
		return false
	}
	e.seq = rapid.Uint64Range(1, p.next[e.stream]).Draw(p.T, "seq")
	return p.m.written(e.stream, e.seq) >= 0
}

func (p *player) write(e *event, now timeline.Instant) bool {
	e.conn = p.conns[publisher]
	switch {
	case e.kind == "rewrite":
		if !p.old(e) || p.m.find(len(p.m.events), func(o event) bool { return of("write", e.stream, e.seq)(o) && o.conn == e.conn }) >= 0 {
			return false
		}
	case len(p.free[e.stream]) > 0 && rapid.Bool().Draw(p.T, "free"):
		e.seq, p.free[e.stream] = p.free[e.stream][0], p.free[e.stream][1:]
	default:
		p.next[e.stream]++
		if rapid.IntRange(0, 5).Draw(p.T, "skip") == 0 {
			p.free[e.stream] = append(p.free[e.stream], p.next[e.stream])
			return false // numbered, and written later or never
		}
		e.seq = p.next[e.stream]
	}
	e.kind, e.client = "write", ""
	p.b.Attempted(e.stream, e.seq, e.conn, now, now)
	return true
}

func (p *player) exchange(e *event, now timeline.Instant) bool {
	e.client = ""
	if !p.old(e) {
		return false
	}
	acked, released, completed, _, _, _ := p.m.exchange(e.stream, e.seq)
	switch qos := p.m.qos[e.stream]; {
	case e.kind == "ack" && qos > 0:
		p.b.Acked(e.stream, e.seq, now)
	case e.kind == "release" && qos == 2 && acked && !completed:
		e.conn = p.conns[publisher]
		p.b.Released(e.stream, e.seq, e.conn, now)
	case e.kind == "complete" && qos == 2 && released:
		p.b.Completed(e.stream, e.seq, now)
	default:
		return false
	}
	return true
}

func (p *player) read(e *event, now timeline.Instant) bool {
	if !p.old(e) || (p.m.read(e.client, e.stream, e.seq) >= 0) != (e.kind == "reread") {
		return false
	}
	e.kind = "read"
	e.conn = p.conns[e.client]
	if rapid.IntRange(0, 4).Draw(p.T, "stale") == 0 && p.stale(e) {
		e.conn--
	}
	i := len(p.m.events)
	p.m.events = append(p.m.events, *e)
	_, legal := p.m.holding(e.client, e.stream, i, p.m.epochOf(i))
	p.m.events = p.m.events[:i]
	e.grant = rapid.ByteRange(0, 2).Draw(p.T, "qos")
	if len(legal) > 0 && rapid.IntRange(0, 9).Draw(p.T, "right") > 0 {
		slices.Sort(legal)
		e.grant = rapid.SampledFrom(legal).Draw(p.T, "legal")
	}
	e.again = e.grant == 2 && rapid.IntRange(0, 3).Draw(p.T, "again") == 0
	e.retain = rapid.IntRange(0, 9).Draw(p.T, "retain") == 0
	p.b.Delivered(e.client, mqtt.Delivery{
		Header: mqtt.Header{Run: run, Stream: e.stream, Seq: e.seq}, Topic: []byte(p.m.topic[e.stream]),
		QoS: e.grant, Retain: e.retain, Again: e.again, Conn: e.conn,
	}, now)
	return true
}

// stale says that the book has an account for a read on the connection before:
// where nothing of the stream was ever subscribed or read in an epoch it has
// none, and takes the one before or after.
func (p *player) stale(e *event) bool {
	d := p.b.clients.open(e.client).current[e.stream]
	if d == nil || e.conn < 2 {
		return false
	}
	first := 0 // connection of the epoch that it belongs to
	for _, o := range p.m.events {
		if o.kind == "epoch" && o.client == e.client && o.conn < e.conn {
			first = o.conn
		}
	}
	for d.prev != nil && e.conn-1 < d.first {
		d = d.prev
	}
	return d.first == first
}

func (p *player) handle(e *event, now timeline.Instant) bool {
	if !p.old(e) {
		return false
	}
	i := p.m.last(func(o event) bool {
		return p.m.sameCopy(o, *e) && (e.kind == "handle" || o.grant > 0)
	})
	if i < 0 {
		return false
	}
	e.conn = p.m.events[i].conn
	if e.kind == "answer" {
		p.b.Answered(e.client, e.stream, e.seq, e.conn, now)
	} else {
		e.conn = 0
		p.b.Handled(e.client, e.stream, e.seq)
	}
	return true
}

func (p *player) subscribe(e *event, now timeline.Instant) bool {
	e.stream = 0
	e.filter = rapid.SampledFrom(filters).Draw(p.T, "filter")
	key := e.client + e.filter
	if _, ok := p.grants[key]; !ok {
		p.grants[key] = rapid.ByteRange(0, 2).Draw(p.T, "grant")
	}
	e.grant = p.grants[key]
	switch e.kind {
	case "ask":
		p.b.Asked(e.client, e.filter, e.grant, now)
	case "sub":
		p.b.Subscribed(e.client, e.filter, e.grant, now)
	case "unsub":
		p.b.Unsubscribed(e.client, e.filter, now)
	}
	return true
}

func TestBookAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, b := draw(t)
		end := end{
			away:     map[string]bool{"a": rapid.Bool().Draw(t, "away"), publisher: rapid.IntRange(0, 3).Draw(t, "publisher away") == 0},
			drained:  rapid.Bool().Draw(t, "drained"),
			sentinel: map[string]bool{},
		}
		for _, id := range streams {
			for _, c := range append(clients, publisher) {
				if !rapid.Bool().Draw(t, "sentinel") {
					continue
				}
				end.sentinel[fmt.Sprint(c, id)] = true
				if c == publisher {
					b.Sentinel(id, 1e9, 2e9)
				} else {
					b.SentinelDelivered(c, id, 1e9)
				}
			}
		}
		a := Close(slices.Collect(b.Accounts()), Situation{Away: end.away, Drained: end.drained})
		if !a.Balanced() {
			t.Fatalf("does not balance: %+v, %q", a.QoS, a.Problems)
		}
		compareExceptions(t, m, b, a, end)
		compareCounts(t, m, b, a)
	})
}

// wanted applies the definitions to the whole history.
func wanted(m *model, b *Book, end end) (want []string) {
	add := func(v Verdict, who string, id uint32, seq uint64, guilt string) {
		if v != "" {
			want = append(want, fmt.Sprintf("%s %s %d/%d %s", v, who, id, seq, guilt))
		}
	}
	guilt := map[Verdict]string{Lost: "broker", NotRedelivered: "broker", Stuck: "subscriber-library", LostInClient: "subscriber-library"}
	for _, id := range streams {
		for seq := range b.streams.get(id).attempted.All() {
			if is, broker := m.stuck(id, seq, end); is && broker {
				add(Stuck, "", id, seq, "broker")
			} else if is {
				add(Stuck, "", id, seq, "publisher-library")
			}
			for _, c := range clients {
				v := m.verdict(c, id, seq, end)
				add(v, c, id, seq, guilt[v])
				v = m.handled(c, id, seq, end)
				add(v, c, id, seq, guilt[v])
				add(m.below(c, id, seq, end), c, id, seq, "broker")
				add(m.twice(c, id, seq), c, id, seq, "broker")
			}
		}
	}
	for i, e := range m.events {
		if e.kind != "read" {
			continue
		}
		if !e.retain && m.reordered(i) {
			add(Reordered, e.client, e.stream, e.seq, "broker")
		}
		add(m.misplaced(i), e.client, e.stream, e.seq, "broker")
	}
	slices.Sort(want)
	return slices.Compact(want)
}

// twice: more than one delivery at QoS 2 in one epoch, where the client held
// one filter at most, and nothing was sent again upstream.
func (m *model) twice(client string, stream uint32, seq uint64) Verdict {
	if m.qos[stream] < 2 || !m.plain(client, stream, seq) {
		return ""
	}
	n := map[int]int{}
	for i, e := range m.events {
		if m.sameCopy(e, event{client: client, stream: stream, seq: seq}) && m.delivered(i) {
			n[m.epochOf(i)]++
		}
	}
	for _, n := range n {
		if n > 1 {
			return Duplicated
		}
	}
	return ""
}

// plain says that twice can judge: one filter at most, always at QoS 2, each
// copy of it, and no handler call too many or resend to blame.
func (m *model) plain(client string, stream uint32, seq uint64) bool {
	writes, calls, copies := 0, 0, 0
	for i, e := range m.events {
		granted, _ := m.holding(client, stream, i, m.epochAt(client, i))
		filter := e.client == client && e.kind == "sub" && scenarios.Matches(e.filter, m.topic[stream])
		if len(granted) > 1 || filter && e.grant < 2 {
			return false
		}
		switch ours := e.client == client && e.stream == stream && e.seq == seq; {
		case of("write", stream, seq)(e):
			writes++
		case ours && e.kind == "handle":
			calls++
		case ours && e.kind == "read" && (e.grant < 2 || e.retain):
			return false
		case ours && e.kind == "read":
			copies++
		}
	}
	return writes == 1 && calls <= 1
}

func compareExceptions(t *rapid.T, m *model, b *Book, a Account, end end) {
	want := wanted(m, b, end)
	var got []string
	for _, e := range a.Exceptions {
		if e.Warn || e.Verdict == Unexpected {
			continue // final copies out of order and unprovoked ones are planted elsewhere
		}
		if e.Verdict == Duplicated && (!m.plain(e.Subscriber, e.Stream, e.Seq) || !e.Fault || m.qos[e.Stream] < 2) {
			continue
		}
		got = append(got, fmt.Sprintf("%s %s %d/%d %s", e.Verdict, e.Subscriber, e.Stream, e.Seq, e.Charge))
	}
	slices.Sort(got)
	for _, sub := range b.clients.all() {
		for _, d := range sub.all {
			if len(d.order.witnesses) == maxWitnesses { // it may have forgotten one
				want = slices.DeleteFunc(want, func(s string) bool { return !slices.Contains(got, s) && s[:3] == "reo" })
			}
		}
	}
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Fatalf("%s\n-want +got:\n%s", m, diff)
	}
}

// String lists the events, for a failure.
func (m *model) String() (s string) {
	for _, e := range m.events {
		s += fmt.Sprintf("%+v\n", e)
	}
	return s
}

func compareCounts(t *rapid.T, m *model, b *Book, a Account) {
	copies, first := int64(0), int64(0)
	doubt := map[string]bool{}
	for i, e := range m.events {
		key := fmt.Sprint(e.stream, "/", e.seq)
		if e.kind != "read" {
			continue
		}
		doubt[key] = doubt[key] || m.misplaced(i) != ""
		switch {
		case e.retain || !m.delivered(i):
		case m.read(e.client, e.stream, e.seq) == i:
			first++
			doubt[key] = doubt[key] || m.reordered(i)
		default:
			copies++
			doubt[key] = true
		}
	}
	var recovered, indeterminate, completed [3]int64
	for _, id := range streams {
		q := m.qos[id]
		for seq := range b.streams.get(id).attempted.All() {
			acked, _, done, _, _, _ := m.exchange(id, seq)
			got := false
			key := fmt.Sprint(id, "/", seq)
			for _, c := range clients {
				read := m.read(c, id, seq) >= 0
				got = got || read
				doubt[key] = doubt[key] || !read && m.expects(c, id, seq, len(m.events))
			}
			doubt[key] = doubt[key] || q == 1 && !acked || q == 2 && !done
			if done {
				completed[q]++
			}
			if q > 0 && !m.known(id, seq) {
				indeterminate[q]++
				if got {
					recovered[q]++
				}
			}
		}
	}
	inDoubt, kept := int64(0), int64(0)
	for _, in := range doubt {
		if in {
			inDoubt++
		}
	}
	for _, id := range streams {
		kept += int64(len(b.streams.get(id).record().Open))
	}
	total := b.Totals()
	if total.Duplicated != copies || total.Delivered != first || total.InDoubt != inDoubt || kept != inDoubt {
		t.Fatalf("%s\n%+v, %d kept; want %d duplicated, %d delivered, %d in doubt", m, total, kept, copies, first, inDoubt)
	}
	for q := range a.QoS {
		if got := a.QoS[q]; got.Recovered != recovered[q] || got.Indeterminate != indeterminate[q] || got.Completed != completed[q] {
			t.Fatalf("%s\nQoS %d: %+v; want %d recovered of %d indeterminate, %d completed", m, q, got, recovered[q], indeterminate[q], completed[q])
		}
	}
}
