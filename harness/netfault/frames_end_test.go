package netfault

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// TestTheBrokerGetsItAll: what was written before a cut reaches a broker that
// reads late, although most of it still lay in our send buffer when the library
// closed its end with unread bytes in it, which resets a connection. Then the
// broker sees a FIN.
func TestTheBrokerGetsItAll(t *testing.T) {
	f := NewFrames(timeline.NewClock().Now)
	for range 5 {
		l := newLink(t, "tcp", framesCloser{f, nil, 1}, "c")
		if err := errors.Join(l.raw.(*net.TCPConn).SetWriteBuffer(1<<20), l.broker.(*net.TCPConn).SetReadBuffer(32<<10)); err != nil {
			t.Fatal(err)
		}
		f.Arm("c", Rule{Packet: mqtt.PUBREL, Out: true, Act: CutBefore, Nth: 1})
		if _, err := l.broker.Write(make([]byte, 10_000)); err != nil {
			t.Fatal(err)
		}
		big := publish(1, 1, ours(1), 200_000)
		if n, err := l.client.Write(join(big, packet(mqtt.PUBREL))); n != len(big) || err == nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
		l.client.Close()
		if got := <-watch(l.broker); len(got.text) != len(big) || got.err != io.EOF {
			t.Fatalf("the broker read %d of %d, %v", len(got.text), len(big), got.err)
		}
	}
}

// TestNothingAfterTheEnd: of a connection that a rule ended no other rule is
// asked: a write fails although its packet is to be swallowed, and the rule
// waits for the next connection.
func TestNothingAfterTheEnd(t *testing.T) {
	f, h := NewFrames(timeline.NewClock().Now), new(hits)
	l := newLink(t, "tcp", framesCloser{f, nil, 1}, "c")
	f.Arm("c", Rule{Packet: mqtt.PUBREL, Act: CutBefore, Nth: 1})
	f.Arm("c", h.rule(Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1}))
	if _, err := l.broker.Write(packet(mqtt.PUBREL)); err != nil {
		t.Fatal(err)
	}
	if n, err := l.client.Read(make([]byte, 9)); n != 0 || err != io.EOF {
		t.Fatalf("%d, %v", n, err)
	}
	if n, err := l.client.Write(packet(mqtt.PUBACK)); n != 0 || !errors.Is(err, io.EOF) || len(h.got) != 0 {
		t.Errorf("%d, %v, %d hits", n, err, len(h.got))
	}
	if got := send(t, f, 2, packet(mqtt.PUBACK)); len(got) != 0 || len(h.got) != 1 {
		t.Errorf("passed %x, %d hits", got, len(h.got))
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
			if rule.Act == CutBefore || rule.Act == Truncate {
				want = []mqtt.Type{mqtt.PUBREL, mqtt.PINGREQ}
			}
			if !slices.Equal(w.unsent, want) || !slices.Equal(w.got, []timeline.EndKind{timeline.EndEOF}) {
				t.Errorf("unsent %v, want %v; ends %v", w.unsent, want, w.got)
			}
		})
	}
}
