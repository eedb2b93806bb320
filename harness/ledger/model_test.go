package ledger

import (
	"fmt"
	"slices"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// The model keeps every event of a history and applies the definitions to the
// whole of it, message by message, with no thought of cost.
type model struct {
	qos    map[uint32]byte
	topic  map[uint32]string
	events []event
}

type event struct {
	kind   string // write ack release complete; epoch conn ask sub unsub read answer handle
	client string // publisher or subscriber
	stream uint32
	seq    uint64
	conn   int
	filter string
	grant  byte // asked, granted, or of a copy that was read
	again  bool
	retain bool
	at     int // its index
}

const publisher = "p"

// find gives the index of the first such event before i, -1 if none.
func (m *model) find(i int, is func(event) bool) int { return slices.IndexFunc(m.events[:i], is) }

// last gives the index of the last such event, -1 if none.
func (m *model) last(is func(event) bool) int {
	for i := len(m.events) - 1; i >= 0; i-- {
		if is(m.events[i]) {
			return i
		}
	}
	return -1
}

func of(kind string, stream uint32, seq uint64) func(event) bool {
	return func(e event) bool { return e.kind == kind && e.stream == stream && e.seq == seq }
}

func (m *model) written(stream uint32, seq uint64) int {
	return m.find(len(m.events), of("write", stream, seq))
}

// delivered: a read that begins a delivery at this client.
func (m *model) delivered(i int) bool {
	e := m.events[i]
	if e.kind != "read" || e.retain {
		return false
	}
	return !e.again || m.find(i, func(o event) bool {
		return m.sameCopy(o, e) && m.epochOf(o.at) == m.epochOf(i)
	}) < 0
}

func (m *model) sameCopy(o, e event) bool {
	return o.kind == "read" && !o.retain && o.client == e.client && o.stream == e.stream && o.seq == e.seq
}

func (m *model) read(client string, stream uint32, seq uint64) int {
	return m.find(len(m.events), func(e event) bool {
		return m.sameCopy(e, event{client: client, stream: stream, seq: seq})
	})
}

// late: some higher number was written before.
func (m *model) late(stream uint32, seq uint64) bool {
	return m.find(m.written(stream, seq), func(e event) bool { return e.kind == "write" && e.stream == stream && e.seq > seq }) >= 0
}

// epochAt counts the epochs of a client before event i; the first connection of
// a client begins one too.
func (m *model) epochAt(client string, i int) (n int) {
	for _, e := range m.events[:i] {
		if e.client == client && e.kind == "epoch" {
			n++
		}
	}
	return n
}

// epochOf is the epoch that a read belongs to: by its connection.
func (m *model) epochOf(i int) int {
	e := m.events[i]
	n := m.epochAt(e.client, i)
	for j := i - 1; j >= 0; j-- {
		if o := m.events[j]; o.client == e.client && o.kind == "epoch" {
			if e.conn >= o.conn {
				break
			}
			n--
		}
	}
	return n
}

// holding is what a client holds of filters that match a stream, before event
// i and in one epoch: granted now, and each QoS that was or may be granted.
func (m *model) holding(client string, stream uint32, i, epoch int) (granted []byte, legal []byte) {
	held, asked, ever := map[string]byte{}, map[string]byte{}, map[byte]bool{}
	for j, e := range m.events[:i] {
		if e.client != client || m.epochAt(client, j+1) != epoch || !scenarios.Matches(e.filter, m.topic[stream]) {
			continue
		}
		switch e.kind {
		case "ask":
			asked[e.filter] = e.grant
		case "sub":
			delete(asked, e.filter)
			delete(held, e.filter)
			if e.grant < 0x80 {
				held[e.filter] = e.grant
				ever[e.grant] = true
			}
		case "unsub":
			delete(held, e.filter)
		}
	}
	for _, g := range held {
		granted = append(granted, min(g, m.qos[stream]))
	}
	for _, g := range asked {
		ever[g] = true
	}
	for g := range ever {
		legal = append(legal, min(g, m.qos[stream]))
	}
	return granted, legal
}

// account names the account that would expect a message written at event i,
// "" if none would: the epoch, and the part of it with the same owed QoS.
func (m *model) account(client string, stream uint32, i int) (string, byte) {
	epoch := m.epochAt(client, i)
	part, qos := 0, byte(0)
	at := []byte{0}           // the QoS of each part
	where := map[uint64]int{} // the part that each message of the epoch belongs to
	for j := range i + 1 {
		if m.epochAt(client, j) != epoch {
			continue
		}
		granted, _ := m.holding(client, stream, j, epoch)
		if len(granted) == 0 {
			continue
		}
		q := slices.Max(granted)
		used := false
		for seq, p := range where {
			used = used || p == part && m.expects(client, stream, seq, j)
		}
		if q != qos && used {
			part++
			at = append(at, q)
		}
		for seq, p := range where {
			read := m.read(client, stream, seq)
			if q < qos && at[p] > q && m.find(j, of("ack", stream, seq)) < 0 && (read < 0 || read >= j) {
				where[seq] = part // moved, as owed says
			}
		}
		qos, at[part] = q, q
		if j < i && m.events[j].kind == "write" && m.events[j].stream == stream && m.written(stream, m.events[j].seq) == j {
			where[m.events[j].seq] = part
		}
	}
	if granted, _ := m.holding(client, stream, i, epoch); len(granted) == 0 {
		return "", 0
	}
	return fmt.Sprint(epoch, "/", part), qos
}

// expects: the SUBACK was read before the first byte was written, and no
// UNSUBSCRIBE was written before the acknowledgement, as far as is known at
// event until.
func (m *model) expects(client string, stream uint32, seq uint64, until int) bool {
	w := m.written(stream, seq)
	epoch := m.epochAt(client, w)
	granted, _ := m.holding(client, stream, w, epoch)
	if len(granted) == 0 {
		return false
	}
	for j := w; j < until; j++ {
		e := m.events[j]
		if e.kind == "unsub" && e.client == client && m.epochAt(client, j) == epoch && m.qos[stream] > 0 {
			left, _ := m.holding(client, stream, j+1, epoch)
			read := m.read(client, stream, seq)
			if len(left) == 0 && m.find(j, of("ack", stream, seq)) < 0 && (read < 0 || read > j) {
				return false
			}
		}
	}
	return true
}

// owed names the account that expects a message, as far as is known at event
// until. Where the grant is lowered, what was neither acknowledged nor read by
// then goes over to the account of the lower one.
func (m *model) owed(client string, stream uint32, seq uint64, until int) (string, byte) {
	w := m.written(stream, seq)
	i, epoch := w, m.epochAt(client, w)
	for j := w; j < until && m.epochAt(client, j+1) == epoch; j++ {
		before, _ := m.holding(client, stream, j, epoch)
		after, _ := m.holding(client, stream, j+1, epoch)
		read := m.read(client, stream, seq)
		_, q := m.account(client, stream, i)
		if len(before) > 0 && len(after) > 0 && slices.Max(after) < slices.Max(before) && slices.Max(after) < q &&
			m.find(j, of("ack", stream, seq)) < 0 && (read < 0 || read > j) {
			i = j + 1
		}
	}
	return m.account(client, stream, i)
}

// lastConn is the number of a client's last connection.
func (m *model) lastConn(client string) (last int) {
	for _, e := range m.events {
		if e.client == client {
			last = max(last, e.conn)
		}
	}
	return last
}

// exchange is where the exchange of a message with its publisher stands.
func (m *model) exchange(stream uint32, seq uint64) (acked, released, completed, abandoned, reset bool, conn int) {
	for _, e := range m.events {
		ours := e.stream == stream && e.seq == seq
		done := completed || acked && m.qos[stream] == 1
		switch {
		case ours && e.kind == "write":
			reset = false
			if !acked || abandoned {
				conn = e.conn
			}
		case ours && e.kind == "ack":
			if m.qos[stream] == 2 && (!acked || abandoned) {
				conn = 0
			}
			// A further PUBREC after the PUBCOMP opens nothing again.
			acked, abandoned = true, reset && m.qos[stream] == 2 && !completed
		case ours && e.kind == "release":
			released, conn = true, e.conn
		case ours && e.kind == "complete":
			completed, abandoned = true, false
		case e.kind == "epoch" && e.client == publisher && !done && m.written(stream, seq) >= 0 && e.at > m.written(stream, seq):
			reset, abandoned = true, m.qos[stream] == 2 && acked
		}
	}
	return
}

// known: acknowledged, and owed by the broker.
func (m *model) known(stream uint32, seq uint64) bool {
	acked, _, _, abandoned, _, _ := m.exchange(stream, seq)
	return acked && !abandoned
}

// end is how a history is closed.
type end struct {
	away     map[string]bool
	drained  bool
	sentinel map[string]bool // read, by client and stream; came home, by publisher and stream
}

// verdict judges one message at one client: "" if plain.
func (m *model) verdict(client string, stream uint32, seq uint64, end end) Verdict {
	w := m.written(stream, seq)
	_, q := m.owed(client, stream, seq, len(m.events))
	switch {
	case !m.expects(client, stream, seq, len(m.events)) || m.read(client, stream, seq) >= 0:
		return ""
	case q == 0:
		return LostQoS0
	case !m.known(stream, seq):
		return ""
	}
	epoch, last := m.epochAt(client, w), m.epochAt(client, len(m.events))
	passed := m.passed(client, stream, seq)
	_, released, completed, _, _, conn := m.exchange(stream, seq)
	lost := Lost
	// A PUBREL that was written on a connection before the last may be lost.
	if m.qos[stream] == 2 && !completed && (!released || conn != m.lastConn(publisher) || end.away[publisher]) {
		lost = Undetermined
	}
	switch {
	case last > epoch && passed:
		return lost
	case last > epoch:
		return LegalLoss
	case end.away[client] || !end.drained:
		return Undetermined
	case passed || end.sentinel[fmt.Sprint(client, stream)]:
		return lost
	}
	return Undetermined
}

// passed: a message with a higher number was read in the epoch, and the lower
// one was written once and answered within the epoch, or some read in the same
// account was certainly sent later.
func (m *model) passed(client string, stream uint32, seq uint64) bool {
	if m.late(stream, seq) {
		return false
	}
	epoch := m.epochAt(client, m.written(stream, seq))
	over := m.find(len(m.events), func(e event) bool {
		return e.kind == "epoch" && e.client == client && m.epochAt(client, e.at) == epoch
	})
	if over < 0 {
		over = len(m.events)
	}
	once := m.once("write", "ack", stream, seq, over) && (m.qos[stream] < 2 || m.once("release", "complete", stream, seq, over))
	owner, _ := m.owed(client, stream, seq, len(m.events))
	higher := false
	for i, e := range m.events {
		if e.kind != "read" || e.retain || e.client != client || e.stream != stream || m.epochOf(i) != epoch {
			continue
		}
		account, _, ok := m.ordered(i)
		higher = higher || e.seq > seq
		once = once || ok && account == owner && m.before(stream, seq, e.seq, i)
	}
	return higher && once
}

// once: written once and answered, by event i.
func (m *model) once(sent, done string, stream uint32, seq uint64, i int) bool {
	n := 0
	for _, e := range m.events[:i] {
		if of(sent, stream, seq)(e) {
			n++
		}
	}
	return n == 1 && m.find(i, of(done, stream, seq)) >= 0
}

// before: m1 was certainly before m2 as far as i shows.
func (m *model) before(stream uint32, m1, m2 uint64, i int) bool {
	return m.earlier("write", "ack", stream, m1, m2, i) && m.earlier("release", "complete", stream, m1, m2, i)
}

func (m *model) earlier(sent, done string, stream uint32, m1, m2 uint64, i int) bool {
	for j, e := range m.events[:i] {
		if !of(sent, stream, m2)(e) {
			continue
		}
		here := m.find(j, func(o event) bool { return of(sent, stream, m1)(o) && o.conn == e.conn })
		if here < 0 && m.find(j, of(done, stream, m1)) < 0 {
			return false
		}
	}
	return true
}

// ordered says whether a read counts for order in the account that expects it.
func (m *model) ordered(i int) (string, byte, bool) {
	e := m.events[i]
	newer := m.find(i, func(o event) bool {
		return o.client == e.client && o.conn > e.conn && (o.kind == "read" && !o.retain || o.kind == "epoch" || o.kind == "conn")
	})
	wants, q := m.owed(e.client, e.stream, e.seq, i)
	now := m.current(e.client, e.stream, i)
	ok := newer < 0 && wants != "" && wants == now && m.expects(e.client, e.stream, e.seq, i) && m.read(e.client, e.stream, e.seq) == i
	return wants, q, ok
}

// current names the account that is used at event i, also while nothing is
// granted.
func (m *model) current(client string, stream uint32, i int) string {
	for ; i >= 0; i-- {
		if name, _ := m.account(client, stream, i); name != "" {
			return name
		}
		if i > 0 && m.events[i-1].kind == "epoch" && m.events[i-1].client == client {
			break
		}
	}
	return ""
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
			if of("write", e.stream, e.seq)(o) {
				writes++
			}
		}
		if writes > 1 {
			return false
		}
	}
	for j, o := range m.events[:i] {
		if o.kind == "read" && !o.retain && o.client == e.client && o.stream == e.stream {
			if other, _, ok := m.ordered(j); ok && other == account && m.before(e.stream, e.seq, o.seq, j) {
				return true
			}
		}
	}
	return false
}

// misplaced judges the QoS of the copy read at event i.
func (m *model) misplaced(i int) Verdict {
	e := m.events[i]
	_, legal := m.holding(e.client, e.stream, i, m.epochOf(i))
	switch {
	case len(legal) == 0:
		return Misrouted
	case !slices.Contains(legal, e.grant):
		return WrongQoS
	}
	return ""
}

// handled judges what the client did with a message that it read.
func (m *model) handled(client string, stream uint32, seq uint64, end end) Verdict {
	mine := func(kind string) func(event) bool {
		return func(e event) bool { return of(kind, stream, seq)(e) && e.client == client }
	}
	answered, called := m.last(mine("answer")) >= 0, m.last(mine("handle")) >= 0
	epoch, top, last := m.epochAt(client, len(m.events)), -1, 0
	for i, e := range m.events {
		if e.client == client && e.kind != "answer" {
			last = max(last, e.conn)
		}
		if mine("read")(e) && !e.retain && e.grant > 0 && m.epochOf(i) == epoch {
			top = max(top, e.conn)
		}
	}
	switch {
	case !end.drained:
		return ""
	case answered && !called:
		return LostInClient
	case answered || top < 0 || end.away[client] || !end.sentinel[fmt.Sprint(client, stream)]:
		return ""
	case top == last:
		return Stuck
	case m.expects(client, stream, seq, len(m.events)) && !called:
		return NotRedelivered
	}
	return ""
}

// stuck judges the publisher's exchange of a message, and whether its last
// packet was written on the publisher's last connection.
func (m *model) stuck(stream uint32, seq uint64, end end) (is, broker bool) {
	acked, _, completed, _, reset, conn := m.exchange(stream, seq)
	done := completed || acked && m.qos[stream] == 1
	home := end.sentinel[fmt.Sprint(publisher, stream)]
	return end.drained && home && !end.away[publisher] && m.qos[stream] > 0 && !done && !reset, conn == m.lastConn(publisher)
}

// below: several filters match, and no copy came at the highest QoS of them.
func (m *model) below(client string, stream uint32, seq uint64, end end) Verdict {
	n := len(m.events)
	name, q := m.owed(client, stream, seq, n)
	if name == "" || name != m.current(client, stream, n) || !m.expects(client, stream, seq, n) ||
		end.away[client] || !end.drained || !end.sentinel[fmt.Sprint(client, stream)] {
		return ""
	}
	low := false
	for i, e := range m.events {
		if !m.sameCopy(e, event{client: client, stream: stream, seq: seq}) || !m.delivered(i) || m.epochOf(i) != m.epochAt(client, n) {
			continue
		}
		several := false
		for j := range i + 1 {
			if other, _ := m.account(client, stream, j); other == name {
				granted, _ := m.holding(client, stream, j, m.epochAt(client, j))
				several = several || len(granted) > 1
			}
		}
		if e.grant >= q || !several {
			return ""
		}
		low = true
	}
	if low {
		return WrongQoS
	}
	return ""
}
