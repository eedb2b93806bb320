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
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

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
	r := NewLinks(clock.Now)
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
	case rule.Act == CutAfter, rule.Act == Truncate:
		pass = join(head, rule.part(x))
		accepted = len(pass)
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

// TestDisarmedUnderWay: a packet that is under way at the disarming is acted on
// if it comes whole. If it does not, the rule is told to be unmet, and does not
// come back.
func TestDisarmedUnderWay(t *testing.T) {
	for _, tc := range []struct{ come, hits, unmet int }{{2, 0, 1}, {4, 1, 0}} {
		f, h, unmet := NewFrames(timeline.NewClock().Now), new(hits), 0
		rule := h.rule(Rule{Packet: mqtt.PUBACK, Act: Swallow, Nth: 1})
		rule.Unmet = func() { unmet++ }
		off, reads := f.Arm("c", rule), 0
		c := f.Wrap("c", 1, &memory{toRead: packet(mqtt.PUBACK)[:tc.come], chunk: func(int) int {
			if reads++; reads == 2 {
				off()
				if unmet != 0 {
					t.Error("told to be unmet with its packet under way")
				}
			}
			return 1
		}})
		if _, err := io.ReadAll(c); err != nil {
			t.Fatal(err)
		}
		off()
		if len(h.got) != tc.hits || unmet != tc.unmet {
			t.Errorf("%d bytes: %d hits, %d times unmet", tc.come, len(h.got), unmet)
		}
		if got := send(t, f, 2, packet(mqtt.PUBACK)); len(got) != 4 || len(h.got) != tc.hits || f.client("c").rules.Load() != 0 {
			t.Errorf("passed %x, %d hits", got, len(h.got))
		}
	}
}

// TestUnmet: a rule is told to be unmet once, when it is disarmed, and only if
// it never acted.
func TestUnmet(t *testing.T) {
	for _, sent := range []int{0, 1, 2} {
		f, h, unmet := NewFrames(timeline.NewClock().Now), new(hits), 0
		rule := h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 2})
		rule.Unmet = func() { unmet++ }
		off := f.Arm("c", rule)
		send(t, f, 1, bytes.Repeat(packet(mqtt.PUBACK), sent))
		if unmet != 0 {
			t.Errorf("%d packets: unmet before it was disarmed", sent)
		}
		off()
		off()
		if len(h.got)+unmet != 1 || len(h.got) != sent/2 {
			t.Errorf("%d packets: %d hits, %d times unmet", sent, len(h.got), unmet)
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
