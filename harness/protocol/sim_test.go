package protocol

import (
	"fmt"
	"slices"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// sim is a client and a broker that keep the rules, the network between them,
// which loses what is under way when a connection ends, and the tap at the
// client, which feeds a Session.
type sim struct {
	t       *rapid.T
	s       Session
	at      timeline.Instant
	trace   []entry
	last    Seen
	conns   int
	client  *peer
	broker  *peer
	link    *link // nil = none
	old     *link // taken over; the tap still reads from it
	oldLeft int
	msgs    int
	retries bool

	ephemeral bool // the session ends with its connection

	delivered map[int]int // of the epoch: message → deliveries that are no further copy
}

// entry is one line of the tap.
type entry struct {
	conn int
	what string // out, in, unsent, end
	pkt
	resend bool // a PUBLISH or PUBREL that was sent on an earlier connection
	lapsed bool // the broker had forgotten it
}

type pkt struct {
	t         mqtt.Type
	id        uint16
	m         int
	qos       byte
	dup       bool
	retain    bool
	clean, sp bool
}

// link is one connection: what is on its way in each direction.
type link struct {
	n        int
	up, down []pkt
}

// flight is a message that a peer has to bring to its end.
type flight struct {
	m    int
	id   uint16
	qos  byte
	sent int // transmissions
}

// peer is one end of the session: what it sends, in order, and what it has
// received at QoS 2.
type peer struct {
	sim   *sim
	out   bool
	id    uint16
	pubs  []*flight // PUBLISH is not acknowledged, in the order of sending
	rels  []*flight // PUBREL is not acknowledged, in the order of the PUBRECs
	taken map[uint16]bool
}

func newSim(t *rapid.T) *sim {
	s := &sim{t: t, at: 1000, delivered: map[int]int{}}
	s.client = &peer{sim: s, out: true, taken: map[uint16]bool{}}
	s.broker = &peer{sim: s, taken: map[uint16]bool{}}
	return s
}

func (s *sim) tap(e entry) {
	s.at++
	s.trace = append(s.trace, e)
	s.last = e.feed(&s.s, s.at, func(b Breach) {
		s.t.Fatalf("%s breaks %+v\n%s", e, b, s.tail())
	})
}

// feed gives an entry to a session.
func (e entry) feed(s *Session, at timeline.Instant, report func(Breach)) Seen {
	switch e.what {
	case "unsent":
		s.Unsent(e.conn, e.packet())
	case "end":
		s.End(e.conn, at)
	default:
		return s.Packet(e.conn, e.what == "out", e.packet(), at, report)
	}
	return Seen{}
}

func (e entry) packet() *mqtt.Packet {
	p := &mqtt.Packet{Type: e.t, ID: e.id}
	switch e.t {
	case mqtt.PUBLISH:
		p.Flags = e.qos << 1
		if e.dup {
			p.Flags |= 8
		}
		if e.retain {
			p.Flags |= 1
		}
		p.Topic = []byte("t")
		p.Header = mqtt.Header{Kind: mqtt.KindData, Stream: 1, Seq: uint64(e.m), Sent: int64(e.m)}
	case mqtt.CONNECT:
		p.Body = body(mqtt.AppendConnect(nil, mqtt.ConnectInfo{Clean: e.clean}))
	case mqtt.CONNACK:
		p.Body = body(mqtt.AppendConnack(nil, e.sp, 0))
	}
	return p
}

func (e entry) String() string {
	s := fmt.Sprintf("%d: %s %v %d", e.conn, e.what, e.t, e.id)
	if e.t == mqtt.PUBLISH {
		s += fmt.Sprintf(" q%d m%d dup=%v", e.qos, e.m, e.dup)
	}
	if e.t == mqtt.CONNECT || e.t == mqtt.CONNACK {
		s += fmt.Sprintf(" clean=%v sp=%v", e.clean, e.sp)
	}
	return s
}

func (s *sim) tail() string {
	out := ""
	for _, e := range s.trace[max(0, len(s.trace)-80):] {
		out += e.String() + "\n"
	}
	return out
}

// send puts a packet on the link. What the client sends passes the tap first.
func (p *peer) send(q pkt, resend, lapsed bool) {
	l := p.sim.link
	if l == nil {
		return
	}
	if p.out {
		l.up = append(l.up, q)
		p.sim.tap(entry{conn: l.n, what: "out", pkt: q, resend: resend, lapsed: lapsed})
	} else {
		l.down = append(l.down, q)
	}
}

func (p *peer) newID() uint16 {
	for {
		p.id = p.id%40 + 1
		used := func(f *flight) bool { return f.id == p.id }
		if !slices.ContainsFunc(p.pubs, used) && !slices.ContainsFunc(p.rels, used) {
			return p.id
		}
	}
}

// publish takes a new message on; without a link it waits for the next one.
func (p *peer) publish(qos byte) {
	if len(p.pubs)+len(p.rels) >= 8 {
		return
	}
	p.sim.msgs++
	f := &flight{m: p.sim.msgs, id: p.newID(), qos: qos}
	p.pubs = append(p.pubs, f)
	if p.sim.link != nil {
		p.transmit(f, false)
	}
}

func (p *peer) transmit(f *flight, lapsed bool) {
	f.sent++
	p.send(pkt{t: mqtt.PUBLISH, id: f.id, m: f.m, qos: f.qos, dup: f.sent > 1}, f.sent > 1, lapsed)
	if p.out && p.sim.link != nil && p.sim.last != (Seen{Step: Published, Message: Message{mqtt.KindData, 1, uint64(f.m), p.sim.at}, Again: p.sim.last.Again}) {
		p.sim.t.Fatalf("message %d seen as %+v", f.m, p.sim.last)
	}
	if p.out && f.sent > 1 && !p.sim.last.Again {
		p.sim.t.Fatalf("message %d, transmission %d, is no further one\n%s", f.m, f.sent, p.sim.tail())
	}
}

// resume sends all again that is not acknowledged: the two kinds in their
// orders, mixed in any way.
func (p *peer) resume(lapsed bool) {
	pubs, rels := slices.Clone(p.pubs), slices.Clone(p.rels)
	for len(pubs)+len(rels) > 0 {
		if len(pubs) == 0 || len(rels) > 0 && rapid.Bool().Draw(p.sim.t, "PUBREL first") {
			p.send(pkt{t: mqtt.PUBREL, id: rels[0].id}, true, lapsed)
			rels = rels[1:]
		} else {
			p.transmit(pubs[0], lapsed)
			pubs = pubs[1:]
		}
	}
}

// handle is what a peer does on a packet.
func (p *peer) handle(q pkt) {
	byID := func(f *flight) bool { return f.id == q.id }
	switch q.t {
	case mqtt.PUBLISH:
		if q.qos == 1 {
			p.send(pkt{t: mqtt.PUBACK, id: q.id}, false, false)
		} else {
			p.taken[q.id] = true
			p.send(pkt{t: mqtt.PUBREC, id: q.id}, false, false)
		}
	case mqtt.PUBACK:
		if i := slices.IndexFunc(p.pubs, byID); i >= 0 && p.pubs[i].qos == 1 {
			p.expect(Acked, p.pubs[i])
			p.pubs = slices.Delete(p.pubs, i, i+1)
		}
	case mqtt.PUBREC:
		if i := slices.IndexFunc(p.pubs, byID); i >= 0 && p.pubs[i].qos == 2 {
			p.expect(Received, p.pubs[i])
			p.rels = append(p.rels, p.pubs[i])
			p.pubs = slices.Delete(p.pubs, i, i+1)
		}
		p.send(pkt{t: mqtt.PUBREL, id: q.id}, false, false)
	case mqtt.PUBREL:
		delete(p.taken, q.id)
		p.send(pkt{t: mqtt.PUBCOMP, id: q.id}, false, false)
	case mqtt.PUBCOMP:
		if i := slices.IndexFunc(p.rels, byID); i >= 0 {
			p.expect(Completed, p.rels[i])
			p.rels = slices.Delete(p.rels, i, i+1)
		}
	}
}

// expect checks that the session sees the acknowledgement that the client has
// just read as one of the client's message.
func (p *peer) expect(step Step, f *flight) {
	if got := p.sim.last; p.out && (got.Step != step || got.Message.Seq != uint64(f.m)) {
		p.sim.t.Fatalf("acknowledgement of message %d is %v, seen as %+v\n%s", f.m, step, got, p.sim.tail())
	}
}

// read lets the tap read a packet off a link; the client handles it unless its
// connection ends just then.
func (s *sim) read(l *link, handled bool) {
	if len(l.down) == 0 {
		return
	}
	q := l.down[0]
	l.down = l.down[1:]
	s.tap(entry{conn: l.n, what: "in", pkt: q, resend: q.dup || q.t == mqtt.PUBREL})
	if q.t == mqtt.PUBLISH {
		if s.last.Step != Delivered || s.last.Message.Seq != uint64(q.m) {
			s.t.Fatalf("%v seen as %+v", s.trace[len(s.trace)-1], s.last)
		}
		if q.qos == 2 && !s.last.Again {
			s.delivered[q.m]++
		}
	}
	if handled {
		s.client.handle(q)
	}
}

// arrive lets the broker read a packet.
func (s *sim) arrive() {
	if l := s.link; l != nil && len(l.up) > 0 {
		q := l.up[0]
		l.up = l.up[1:]
		s.broker.handle(q)
	}
}

// cut ends the connection: what is on its way is lost, but for some packets
// that the tap still reads and the client does not handle.
func (s *sim) cut() {
	l := s.link
	if l == nil {
		return
	}
	for range rapid.IntRange(0, min(2, len(l.down))).Draw(s.t, "read and not handled") {
		s.read(l, false)
	}
	last := s.trace[len(s.trace)-1]
	if len(l.up) > 0 && last.conn == l.n && last.what == "out" && rapid.Bool().Draw(s.t, "unsent") {
		s.unsent(last)
	}
	s.link = nil
	s.tap(entry{conn: l.n, what: "end"})
}

// unsent takes the last packet back. The library may know that.
func (s *sim) unsent(last entry) {
	s.tap(entry{conn: last.conn, what: "unsent", pkt: last.pkt})
	for _, f := range s.client.pubs {
		if last.t == mqtt.PUBLISH && f.id == last.id && f.sent == 1 && rapid.Bool().Draw(s.t, "known") {
			f.sent = 0
		}
	}
}

// connect brings a new connection up; one that is there is taken over. It may
// end before the CONNACK is read.
func (s *sim) connect(kind string) {
	if s.link != nil {
		s.old, s.oldLeft = s.link, 4
	}
	first := s.conns == 0
	if s.ephemeral && kind != "clean" {
		kind = "after clean"
	}
	s.ephemeral = kind == "clean"
	s.conns++
	l := &link{n: s.conns}
	s.link = nil
	clean, sp := kind == "clean", kind == "resume" && !first
	s.tap(entry{conn: l.n, what: "out", pkt: pkt{t: mqtt.CONNECT, clean: clean}})
	if !sp {
		s.broker.forget()
		clear(s.delivered)
	}
	s.link = l
	s.broker.send(pkt{t: mqtt.CONNACK, sp: sp}, false, false)
	s.broker.resume(false)
	if kind == "resume" && rapid.IntRange(0, 5).Draw(s.t, "lost before CONNACK") == 0 && !first {
		l.down = nil
		s.cut()
		return
	}
	if clean || kind == "after clean" {
		s.client.forget()
	}
	s.read(l, true)
	if kind == "lost" && rapid.Bool().Draw(s.t, "begin anew") {
		s.client.renew()
	}
	s.client.resume(!sp)
}

func (p *peer) forget() {
	p.pubs, p.rels = nil, nil
	clear(p.taken)
}

// renew makes new messages of what the broker has forgotten.
func (p *peer) renew() {
	for _, f := range p.pubs {
		f.id, f.sent = p.newID(), 0
	}
	p.rels = nil
}

// rival lets another connection take the broker's resends and answer none.
func (s *sim) rival() {
	s.cut()
	for _, f := range s.broker.pubs {
		f.sent++
	}
}

// step does one thing of many.
func (s *sim) step() {
	t := s.t
	switch n := rapid.IntRange(0, 99).Draw(t, "step"); {
	case n < 15:
		s.client.publish(byte(rapid.IntRange(1, 2).Draw(t, "QoS")))
	case n < 30:
		s.broker.publish(byte(rapid.IntRange(1, 2).Draw(t, "QoS")))
	case n < 55:
		s.arrive()
	case n < 80:
		if s.link != nil {
			s.read(s.link, true)
		}
	case n < 85:
		s.oldSide()
	case n < 89:
		s.cut()
	case n < 90:
		s.rival()
	case n < 93 && s.link == nil, n < 91:
		s.connect("resume")
	case n < 94:
		s.cut()
		s.connect(rapid.SampledFrom([]string{"resume", "resume", "resume", "lost", "clean"}).Draw(t, "kind"))
	case n < 97 && s.retries:
		s.retry()
	case s.link != nil:
		qos0 := entry{conn: s.link.n, what: rapid.SampledFrom([]string{"in", "out"}).Draw(t, "QoS 0"), pkt: pkt{t: mqtt.PUBLISH}}
		s.tap(qos0)
	}
	if s.oldLeft--; s.oldLeft == 0 && s.old != nil {
		s.tap(entry{conn: s.old.n, what: "end"})
		s.old = nil
	}
}

// busy goes through so many connections of one session, each cut with messages
// in flight in both directions.
func (s *sim) busy(conns int) {
	for range conns {
		s.connect("resume")
		for range 12 {
			if s.link == nil {
				break
			}
			s.client.publish(byte(rapid.IntRange(1, 2).Draw(s.t, "QoS")))
			s.broker.publish(byte(rapid.IntRange(1, 2).Draw(s.t, "QoS")))
			s.arrive()
			s.read(s.link, true)
		}
		s.cut()
	}
}

// oldSide lets something happen on the connection that was taken over: a read,
// or the write of a message that has to be sent again on the new one.
func (s *sim) oldSide() {
	if s.old == nil || s.link == nil {
		return
	}
	if rapid.Bool().Draw(s.t, "read") {
		s.read(s.old, false)
		return
	}
	now := s.link
	s.link = &link{n: s.old.n}
	n := len(s.client.pubs)
	s.client.publish(1)
	s.link = now
	if len(s.client.pubs) > n {
		s.client.transmit(s.client.pubs[n], false)
	}
}

// retry sends a PUBLISH again on its own connection, which MQTT 3.1.1 allows.
func (s *sim) retry() {
	if p := s.client; s.link != nil && len(p.pubs) > 0 {
		if f := rapid.SampledFrom(p.pubs).Draw(s.t, "retry"); f.sent > 0 {
			p.transmit(f, false)
		}
	}
}

// drain brings every exchange to its end and checks that it was followed.
func (s *sim) drain() {
	if s.link == nil {
		s.connect("resume")
	}
	if s.link == nil { // lost before its CONNACK
		s.drain()
		return
	}
	for len(s.link.up)+len(s.link.down) > 0 {
		s.arrive()
		s.read(s.link, true)
	}
	if n := len(s.client.pubs) + len(s.client.rels) + len(s.broker.pubs) + len(s.broker.rels); n > 0 {
		s.t.Fatalf("the simulation leaves %d messages\n%s", n, s.tail())
	}
	for _, o := range s.s.Outstanding() {
		if !o.Lapsed {
			s.t.Fatalf("outstanding: %+v\n%s", o, s.tail())
		}
	}
	for m, n := range s.delivered {
		if n != 1 {
			s.t.Fatalf("message %d has %d deliveries\n%s", m, n, s.tail())
		}
	}
}
