package netfault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// ours is a message of ours.
func ours(seq uint64) mqtt.Header {
	return mqtt.Header{Kind: mqtt.KindData, Run: 1, Stream: 3, Seq: seq, Intended: 5, Sent: 6}
}

func publish(qos byte, id uint16, h mqtt.Header, size int) []byte {
	payload := make([]byte, size)
	mqtt.PutPayload(payload, h)
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: "rb/t", ID: id, QoS: qos, Payload: payload})
}

// packet makes a packet of a type with packet id 7.
func packet(t mqtt.Type) []byte {
	switch t {
	case mqtt.CONNECT:
		return mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "c"})
	case mqtt.CONNACK:
		return mqtt.AppendConnack(nil, true, 0)
	case mqtt.PUBLISH:
		return publish(2, 7, ours(9), 300)
	case mqtt.PUBACK:
		return mqtt.AppendPuback(nil, 7)
	case mqtt.PUBREC:
		return mqtt.AppendPubrec(nil, 7)
	case mqtt.PUBREL:
		return mqtt.AppendPubrel(nil, 7)
	case mqtt.PUBCOMP:
		return mqtt.AppendPubcomp(nil, 7)
	case mqtt.SUBSCRIBE:
		return mqtt.AppendSubscribe(nil, 7, mqtt.Filter{Topic: "a/#", QoS: 1})
	case mqtt.SUBACK:
		return mqtt.AppendSuback(nil, 7, 1)
	case mqtt.PINGREQ:
		return mqtt.AppendPingreq(nil)
	case mqtt.PINGRESP:
		return mqtt.AppendPingresp(nil)
	}
	panic(t)
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

// framesCloser lets newLink wrap a connection number n by Frames, above the
// registry, as in a run.
type framesCloser struct {
	*Frames
	*Registry
	n int
}

func (f framesCloser) Wrap(id string, c net.Conn) net.Conn {
	if f.Registry != nil {
		c = f.Registry.Wrap(id, c)
	}
	return f.Frames.Wrap(id, f.n, c)
}

// hits gathers what a rule reports.
type hits struct {
	mu   sync.Mutex
	got  []Hit
	done []Hit
}

func (h *hits) rule(r Rule) Rule {
	r.Hit = func(x Hit) { h.mu.Lock(); defer h.mu.Unlock(); h.got = append(h.got, x) }
	r.Done = func(x Hit) { h.mu.Lock(); defer h.mu.Unlock(); h.done = append(h.done, x) }
	return r
}

var acts = map[string]Rule{
	"swallow":           {Act: Swallow},
	"swallow and close": {Act: Swallow, Close: true},
	"cut before":        {Act: CutBefore},
	"cut after":         {Act: CutAfter},
}

// TestActs holds each act on each kind of packet in each direction against the
// exact bytes, and the ends, that both sides see.
func TestActs(t *testing.T) {
	types := []mqtt.Type{mqtt.PUBLISH, mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBREL, mqtt.PUBCOMP, mqtt.CONNACK, mqtt.SUBACK, mqtt.SUBSCRIBE}
	for _, network := range []string{"tcp", "pipe"} {
		for _, kind := range types {
			for _, out := range []bool{true, false} {
				for name, rule := range acts {
					t.Run(fmt.Sprintf("%s/%v/out=%v/%s", network, kind, out, name), func(t *testing.T) {
						rule.Packet, rule.Out, rule.QoS, rule.Nth = kind, out, -1, 1
						testAct(t, network, rule)
					})
				}
			}
		}
	}
}

func testAct(t *testing.T, network string, rule Rule) {
	clock := timeline.NewClock()
	f, h := NewFrames(clock.Now), new(hits)
	remember(t, f, rule)
	r := NewRegistry(clock.Now)
	l := newLink(t, network, framesCloser{f, r, 4}, "c")
	f.Arm("c", h.rule(rule))
	from, to := l.client, l.broker
	if !rule.Out {
		from, to = to, from
	}
	head, x, tail := packet(mqtt.PINGREQ), packet(rule.Packet), packet(mqtt.PINGRESP)
	all := join(head, x, tail)
	pass, accepted := join(head, tail), len(all)
	if rule.ends() {
		pass, accepted = head, len(head)
	}
	switch {
	case rule.Act == CutAfter:
		pass, accepted = join(head, x), len(head)+len(x)
	case rule.Close:
		accepted = len(head) + len(x)
	}
	back := watch(from) // the other direction, which a blocked Read waits on
	before := clock.Now()
	written := make(chan saw, 1)
	go func() {
		n, err := from.Write(all)
		written <- saw{fmt.Sprint(n), err}
	}()
	got := make([]byte, len(pass))
	if _, err := io.ReadFull(to, got); err != nil || !bytes.Equal(got, pass) {
		t.Fatalf("passed %x, %v, want %x", got, err, pass)
	}
	if rule.ends() {
		_ = to.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := to.Read(got[:1]); n != 0 || err != io.EOF {
			t.Errorf("then %d bytes, %v, want EOF", n, err)
		}
	}
	w := <-written
	if rule.Out && (w.text != fmt.Sprint(accepted) || (w.err != nil) != rule.ends()) {
		t.Errorf("wrote %s of %d, %v, want %d", w.text, len(all), w.err, accepted)
	}
	want := Hit{N: 4, Out: rule.Out, Packet: rule.Packet, Passed: rule.Act == CutAfter}
	if rule.Packet != mqtt.CONNACK {
		want.ID = 7
	}
	if rule.Packet >= mqtt.PUBLISH && rule.Packet <= mqtt.PUBCOMP {
		want.Message = ours(9)
	}
	h.mu.Lock()
	if len(h.got) != 1 || h.got[0].At < before || h.got[0].At > clock.Now() {
		t.Fatalf("hits: %+v", h.got)
	}
	want.At = h.got[0].At
	if diff := cmp.Diff([][]Hit{{want}, {want}}, [][]Hit{h.got, h.done}); diff != "" {
		t.Error(diff)
	}
	h.mu.Unlock()
	if !rule.ends() {
		go func() { _, _ = from.Write(x) }() // nth is spent
		if _, err := io.ReadFull(to, make([]byte, len(x))); err != nil {
			t.Errorf("it does not live on: %v", err)
		}
		if _, err := to.Write(x); err != nil {
			t.Errorf("it does not live on: %v", err)
		}
		to.Close()
		if b := <-back; b.text != string(x) {
			t.Errorf("the other direction carried %x", b.text)
		}
		return
	}
	if b := <-back; b.text != "" || !errors.Is(b.err, io.EOF) {
		t.Errorf("the writer's side read %x, %v", b.text, b.err)
	}
	if _, err := l.client.Write(head); !errors.Is(err, syscall.EPIPE) || !errors.Is(err, io.EOF) {
		t.Errorf("a later write: %v", err)
	}
	if n, err := l.client.Read(got[:1]); n != 0 || err != io.EOF {
		t.Errorf("a later read: %d, %v", n, err)
	}
	if n := r.Live(); n != 0 {
		t.Errorf("%d live connections", n)
	}
}

// remember has an earlier connection of the client carry the PUBLISH of the
// exchange that the rule's packet belongs to.
func remember(t *testing.T, f *Frames, rule Rule) {
	l := newLink(t, "pipe", framesCloser{f, nil, 1}, "c")
	from, to := l.client, l.broker
	if (rule.Packet == mqtt.PUBREL || rule.Packet == mqtt.PUBLISH) != rule.Out {
		from, to = to, from
	}
	go func() { _, _ = from.Write(packet(mqtt.PUBLISH)) }()
	if _, err := io.ReadFull(to, make([]byte, len(packet(mqtt.PUBLISH)))); err != nil {
		t.Fatal(err)
	}
	l.client.Close()
}

// TestNthAndQoS: packets are counted from the arming, over connections, by
// direction, type and QoS; a spent rule rests.
func TestNthAndQoS(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	puback, q1, q2 := packet(mqtt.PUBACK), publish(1, 1, ours(1), 48), publish(2, 2, ours(2), 48)
	send(t, f, 1, puback)
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBACK, Out: true, QoS: -1, Act: Swallow, Nth: 3}))
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBLISH, Out: true, QoS: 2, Act: Swallow, Nth: 2}))
	f.Arm("other", h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1}))
	for n, tc := range []struct{ in, want []byte }{
		{join(puback, q1, q2, puback), join(puback, q1, q2, puback)},
		{join(q1, puback, q2), q1},
		{join(puback, q2, q2), join(puback, q2, q2)},
	} {
		if got := send(t, f, n+2, tc.in); !bytes.Equal(got, tc.want) {
			t.Errorf("connection %d passed %x, want %x", n+2, got, tc.want)
		}
	}
	if len(h.got) != 2 || h.got[0].Packet != mqtt.PUBACK || h.got[1].Message != ours(2) || h.got[0].N != 3 || h.got[1].N != 3 {
		t.Errorf("%+v", h.got)
	}
	if n := f.client("c").rules.Load(); n != 0 {
		t.Errorf("%d rules are still armed", n)
	}
}

// send writes bytes on a new connection and gives what passes.
func send(t *testing.T, f *Frames, n int, b []byte) []byte {
	t.Helper()
	m := &memory{}
	c := f.Wrap("c", n, m)
	if wrote, err := c.Write(b); wrote != len(b) || err != nil {
		t.Fatalf("wrote %d of %d, %v", wrote, len(b), err)
	}
	return m.wrote
}

// memory is a connection that reads from and writes to memory.
type memory struct {
	net.Conn
	toRead, wrote []byte
	chunk         func(left int) int // bytes of the next Read; nil = all
	fail          func() error       // of the next write, before half of it
	closed        bool
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func (m *memory) LocalAddr() net.Addr  { return pipeAddr{} }
func (m *memory) RemoteAddr() net.Addr { return pipeAddr{} }
func (m *memory) Close() error         { m.closed = true; return nil }

func (m *memory) Read(b []byte) (int, error) {
	switch {
	case m.closed:
		return 0, io.ErrClosedPipe
	case len(m.toRead) == 0:
		return 0, io.EOF
	}
	n := min(len(b), len(m.toRead))
	if m.chunk != nil {
		n = min(n, m.chunk(len(m.toRead)))
	}
	copy(b, m.toRead[:n])
	m.toRead = m.toRead[n:]
	return n, nil
}

func (m *memory) Write(b []byte) (int, error) {
	if m.closed {
		return 0, io.ErrClosedPipe
	}
	if m.fail != nil {
		if err := m.fail(); err != nil {
			m.wrote = append(m.wrote, b[:len(b)/2]...)
			return len(b) / 2, err
		}
	}
	m.wrote = append(m.wrote, b...)
	return len(b), nil
}

// TestShare: about the share, the same packets for the same seed, others for
// another.
func TestShare(t *testing.T) {
	const n, share = 4000, 0.1
	run := func(seed uint64) []byte {
		f := NewFrames(timeline.NewClock().Now)
		f.Arm("c", Rule{Packet: mqtt.PUBREC, Out: true, Act: Swallow, Share: share, Seed: seed})
		var b []byte
		for i := range n {
			b = mqtt.AppendPubrec(b, uint16(i+1))
		}
		return send(t, f, 1, b)
	}
	one := run(1)
	if !bytes.Equal(one, run(1)) || bytes.Equal(one, run(2)) {
		t.Error("the seed does not decide")
	}
	swallowed := n - len(one)/4
	if sigma := math.Sqrt(n * share * (1 - share)); math.Abs(float64(swallowed)-n*share) > 5*sigma {
		t.Errorf("%d of %d swallowed", swallowed, n)
	}
}

// TestOrderOfRules: the first armed one acts, and the others do not see what it
// acted on; disarmed ones are not asked.
func TestOrderOfRules(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	rule := h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1})
	off := f.Arm("c", rule)
	f.Arm("c", rule)
	f.Arm("c", rule)
	off()
	off()
	if got := send(t, f, 1, bytes.Repeat(packet(mqtt.PUBACK), 3)); len(got) != 4 || len(h.got) != 2 {
		t.Errorf("passed %x, %d hits", got, len(h.got))
	}
}

// TestHalfAPacket: a packet that does not come whole is no packet: no hit, and
// the rule waits for the next one.
func TestHalfAPacket(t *testing.T) {
	for name, rule := range acts {
		for _, out := range []bool{true, false} {
			f, h := NewFrames(timeline.NewClock().Now), new(hits)
			rule.Packet, rule.Out, rule.QoS, rule.Nth = mqtt.PUBLISH, out, -1, 1
			f.Arm("c", h.rule(rule))
			for n := range 3 {
				half := packet(mqtt.PUBLISH)[:20+n]
				m := &memory{toRead: half}
				c := f.Wrap("c", n, m)
				if out {
					if _, err := c.Write(half); err != nil {
						t.Fatal(err)
					}
					m.closed = true
					_, _ = c.Write(packet(mqtt.PUBLISH)[20+n:])
				} else if _, err := io.ReadAll(c); err != nil {
					t.Fatal(err)
				}
			}
			whole := &memory{toRead: packet(mqtt.PUBLISH)}
			c := f.Wrap("c", 9, whole)
			if out {
				_, _ = c.Write(packet(mqtt.PUBLISH))
			} else {
				_, _ = io.ReadAll(c)
			}
			// A swallow needs nothing of the connection, so that the writer that
			// ended the packet on a dead one was told that it was written.
			if out && rule.Act == Swallow {
				if len(h.got) != 1 || h.got[0].N != 0 {
					t.Errorf("%s: %+v", name, h.got)
				}
			} else if !out && (len(h.got) != 1 || h.got[0].N != 9) {
				t.Errorf("%s, out=%v: %+v", name, out, h.got)
			}
			if n := f.client("c").rules.Load(); n != 0 {
				t.Errorf("%s, out=%v: %d rules are armed again", name, out, n)
			}
		}
	}
}

// TestNoMQTT: what is no MQTT passes untouched, also behind an armed rule.
func TestNoMQTT(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1}))
	b := join([]byte{0xff, 1, 2, 3}, packet(mqtt.PUBACK))
	if got := send(t, f, 1, b); !bytes.Equal(got, b) || len(h.got) != 0 {
		t.Errorf("passed %x, hits %v", got, h.got)
	}
}

// TestFailedWrite: an error of the socket is the library's to see, with what
// was accepted; what then is offered again passes, whatever it is.
func TestFailedWrite(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1}))
	calls := 0
	m := &memory{fail: func() error {
		if calls++; calls == 1 {
			return os.ErrDeadlineExceeded
		}
		return nil
	}}
	c := f.Wrap("c", 1, m)
	b := join(packet(mqtt.PUBREC), packet(mqtt.PUBACK), packet(mqtt.PINGREQ))
	n, err := c.Write(b)
	if n != 2 || !errors.Is(err, os.ErrDeadlineExceeded) || len(h.got) != 0 {
		t.Fatalf("wrote %d, %v, %d hits", n, err, len(h.got))
	}
	if _, err := c.Write(b[n:]); err != nil || !bytes.Equal(m.wrote, b) {
		t.Errorf("passed %x, %v", m.wrote, err)
	}
	if got := send(t, f, 2, packet(mqtt.PUBACK)); len(got) != 0 {
		t.Error("the rule does not wait for the next connection")
	}
}

// TestDeadlinesPass: a deadline wakes a Read that waits for the rest of a
// swallowed packet, and the packet goes on where it was.
func TestDeadlinesPass(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	l := newLink(t, "tcp", framesCloser{f, nil, 1}, "c")
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBLISH, QoS: -1, Act: Swallow, Nth: 1}))
	x := packet(mqtt.PUBLISH)
	if _, err := l.broker.Write(x[:60]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 16)
	_ = l.client.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := l.client.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%d, %v", n, err)
	}
	_ = l.client.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := l.broker.Write(join(x[60:], packet(mqtt.PINGRESP))); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(l.client, b[:2]); err != nil || !bytes.Equal(b[:n], packet(mqtt.PINGRESP)) || len(h.got) != 1 {
		t.Errorf("%x, %v, %d hits", b[:n], err, len(h.got))
	}
}

// TestTheBrokerGetsItAll: what was written before a cut reaches a broker that
// reads late, and then it sees a FIN and no reset, although the library closed
// its end with unread bytes in it.
func TestTheBrokerGetsItAll(t *testing.T) {
	f := NewFrames(timeline.NewClock().Now)
	for range 20 {
		l := newLink(t, "tcp", framesCloser{f, nil, 1}, "c")
		f.Arm("c", Rule{Packet: mqtt.PUBREL, Out: true, Act: CutBefore, Nth: 1})
		if _, err := l.broker.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		big := publish(1, 1, ours(1), 100_000)
		if n, err := l.client.Write(join(big, packet(mqtt.PUBREL))); n != len(big) || err == nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		l.client.Close()
		if got := <-watch(l.broker); len(got.text) != len(big) || got.err != io.EOF {
			t.Fatalf("the broker read %d of %d, %v", len(got.text), len(big), got.err)
		}
	}
}

// TestNoHalfClose: a transport that can only be closed is closed, and the
// library takes it for the peer's doing.
func TestNoHalfClose(t *testing.T) {
	f := NewFrames(timeline.NewClock().Now)
	end, peer := net.Pipe()
	defer peer.Close()
	f.Arm("c", Rule{Packet: mqtt.PUBREL, Out: true, Act: CutBefore, Nth: 1})
	c := f.Wrap("c", 1, bare{end})
	read := watch(c)
	if n, err := c.Write(packet(mqtt.PUBREL)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d, %v", n, err)
	}
	if got := <-read; got.err != io.EOF {
		t.Errorf("the library reads %v", got.err)
	}
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the broker reads %v", err)
	}
}

// watched is what a tap tells.
type watched struct {
	kinds
	sent, unsent []mqtt.Type
}

func (w *watched) Packet(out bool, p *mqtt.Packet, _ timeline.Instant) {
	if out {
		w.sent = append(w.sent, p.Type)
	}
}
func (w *watched) Unsent(p *mqtt.Packet) { w.unsent = append(w.unsent, p.Type) }

// TestUnderTheTap: the tap sees what the library sees: a FIN, swallowed packets
// as sent, cut ones as certainly not sent.
func TestUnderTheTap(t *testing.T) {
	for name, rule := range acts {
		if !rule.ends() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			f, w := NewFrames(timeline.NewClock().Now), new(watched)
			l := newLink(t, "tcp", framesCloser{f, nil, 1}, "c")
			c := wire.Tap(l.client, f.now, w)
			rule.Packet, rule.Out, rule.Nth = mqtt.PUBREL, true, 1
			f.Arm("c", rule)
			read := watch(c)
			_, _ = c.Write(join(packet(mqtt.PUBACK), packet(mqtt.PUBREL), packet(mqtt.PINGREQ)))
			<-read
			c.Close()
			want := []mqtt.Type{mqtt.PINGREQ}
			if rule.Act == CutBefore {
				want = []mqtt.Type{mqtt.PUBREL, mqtt.PINGREQ}
			}
			if !slices.Equal(w.unsent, want) || !slices.Equal(w.got, []timeline.EndKind{timeline.EndEOF}) {
				t.Errorf("unsent %v, want %v; ends %v", w.unsent, want, w.got)
			}
		})
	}
}

// TestArmWhileBusy: rules come and go while both directions are busy, under the
// race detector; each swallowed packet is one hit, and nothing else is missing.
func TestArmWhileBusy(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	const packets = 3000
	var group, busy sync.WaitGroup
	stop := make(chan struct{})
	for _, out := range []bool{true, false} {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(1, 2))
			for {
				select {
				case <-stop:
					return
				default:
				}
				r := Rule{Packet: mqtt.PUBACK, Out: out, Act: Swallow, Nth: 1 + rng.IntN(3)}
				if rng.IntN(2) == 0 {
					r.Nth, r.Share = 0, 0.5
				}
				f.Arm("c", h.rule(r))()
				off := f.Arm("c", h.rule(r))
				defer off()
			}
		})
	}
	var missing [2]int
	for n := range 2 {
		l := newLink(t, "tcp", framesCloser{f, nil, n}, "c")
		for side, ends := range [][2]net.Conn{{l.client, l.broker}, {l.broker, l.client}} {
			busy.Go(func() {
				for i := range packets {
					if _, err := ends[0].Write(mqtt.AppendPuback(nil, uint16(i+1))); err != nil {
						t.Error(err)
					}
				}
				if err := ends[0].(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				got, err := io.ReadAll(ends[1])
				if err != nil || len(got)%4 != 0 {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				h.mu.Lock()
				defer h.mu.Unlock()
				missing[side] += packets - len(got)/4
			})
		}
	}
	busy.Wait()
	close(stop)
	group.Wait()
	if n := len(h.got); n == 0 || n != missing[0]+missing[1] {
		t.Errorf("%d hits, %d packets are missing", n, missing)
	}
}

func (w *framed) CloseWrite() error { return w.conn.Conn.(halfCloser).CloseWrite() }

func TestExchanges(t *testing.T) {
	f := func(x *exchanges, out, passed bool, b []byte) mqtt.Header {
		var h mqtt.Header
		if err := new(mqtt.Framer).Feed(b, 0, func(p *mqtt.Packet) { h = x.follow(out, passed, p) }); err != nil {
			t.Fatal(err)
		}
		return h
	}
	var x exchanges
	f(&x, true, true, publish(1, 7, ours(1), 48))
	f(&x, false, true, publish(2, 7, ours(2), 48))
	for name, tc := range map[string]struct {
		out  bool
		kind mqtt.Type
		want uint64
	}{
		"PUBREC in is of what was sent":  {false, mqtt.PUBREC, 1},
		"PUBREL out is of what was sent": {true, mqtt.PUBREL, 1},
		"PUBREC out is of what was got":  {true, mqtt.PUBREC, 2},
		"PUBREL in is of what was got":   {false, mqtt.PUBREL, 2},
		"SUBACK is of no message":        {false, mqtt.SUBACK, 0},
	} {
		if h := f(&x, tc.out, true, packet(tc.kind)); h.Seq != tc.want {
			t.Errorf("%s: message %d, want %d", name, h.Seq, tc.want)
		}
	}
	// An id that another's message uses now stands for ours no more.
	f(&x, true, true, mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: 7, QoS: 1}))
	if h := f(&x, false, true, packet(mqtt.PUBACK)); h != (mqtt.Header{}) {
		t.Errorf("%+v", h)
	}
	// The end of an exchange that the peer may not know of is remembered, and
	// what is remembered is bounded.
	f(&x, true, true, packet(mqtt.PUBCOMP))
	if h := f(&x, false, true, packet(mqtt.PUBREL)); h.Seq != 2 {
		t.Errorf("%+v", h)
	}
	for id := range 1000 {
		f(&x, false, true, publish(2, uint16(id+100), ours(3), 48))
		f(&x, true, true, mqtt.AppendPubcomp(nil, uint16(id+100)))
	}
	if n := len(x.got.messages); n != len(x.got.over) {
		t.Errorf("%d exchanges are remembered, want %d", n, len(x.got.over))
	}
	if h := f(&x, false, true, packet(mqtt.PUBREL)); h != (mqtt.Header{}) {
		t.Errorf("%+v", h)
	}
	// A swallowed PUBACK ends nothing.
	f(&x, false, true, publish(1, 7, ours(4), 48))
	f(&x, true, false, packet(mqtt.PUBACK))
	if x.got.messages[7].over {
		t.Error("a swallowed PUBACK ended an exchange")
	}
}
