package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func pub(id uint16) []byte {
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: id, QoS: 1, Payload: []byte("payload")})
}

func join(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func want(t *testing.T, got []string, lines ...string) {
	t.Helper()
	if d := cmp.Diff(lines, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

// What the tap says about a packet must come before the socket has the byte
// that completes it, or an acknowledgement could overtake its message.
func TestOutgoingIsReportedBeforeTheSocketHasIt(t *testing.T) {
	r := &recorder{}
	c := Tap(&script{write: func(b []byte) (int, error) {
		r.log("socket %d", len(b))
		return len(b), nil
	}}, ticks(), r)
	p := pub(7)
	head := len(p) - len("payload")
	for _, b := range [][]byte{p[:head], p[head:], join(pub(8), pub(9))} {
		if n, err := c.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
	}
	want(t, r.take(),
		"socket 7",
		"out PUBLISH 7 at 1", "socket 7", // the instant of its first byte
		"out PUBLISH 8 at 3", "out PUBLISH 9 at 3", "socket 28")
}

func TestIncomingIsReportedAfterItsLastByte(t *testing.T) {
	r := &recorder{}
	stream := join(pub(1), pub(2))
	c := Tap(&script{read: func(b []byte) (int, error) {
		r.log("socket %d", len(b))
		n := copy(b, stream)
		stream = stream[n:]
		return n, nil
	}}, ticks(), r)
	for _, size := range []int{1, 1, 12, 14} { // as paho reads, then whole
		if n, err := c.Read(make([]byte, size)); n != size || err != nil {
			t.Fatal(n, err)
		}
		r.log("library")
	}
	want(t, r.take(), "socket 1", "library", "socket 1", "library",
		"socket 12", "in PUBLISH 1 at 3", "library",
		"socket 14", "in PUBLISH 2 at 4", "library")
}

func TestUnsent(t *testing.T) {
	broken := errors.New("broken")
	b := join(pub(1), pub(2), mqtt.AppendPingreq(nil), pub(3)[:5]) // 14 + 14 + 2 + 5 bytes
	all := []string{"out PUBLISH 1 at 1", "out PUBLISH 2 at 1", "out PINGREQ 0 at 1"}
	for _, tc := range []struct {
		name     string
		accepted int
		partial  int
		unsent   []string
		ring     []uint16
	}{
		{"nothing", 0, 0, []string{"unsent PUBLISH 1", "unsent PUBLISH 2", "unsent PINGREQ 0"}, nil},
		{"all but a byte of the first", 13, 13, []string{"unsent PUBLISH 1", "unsent PUBLISH 2", "unsent PINGREQ 0"}, nil},
		{"the first", 14, 0, []string{"unsent PUBLISH 2", "unsent PINGREQ 0"}, []uint16{1}},
		{"into the third", 29, 1, []string{"unsent PINGREQ 0"}, []uint16{1, 2}},
		{"into the unfinished one", 32, 2, nil, []uint16{1, 2, 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			c := Tap(&script{write: func([]byte) (int, error) { return tc.accepted, broken }}, ticks(), r)
			if n, err := c.Write(b); n != tc.accepted || err != broken {
				t.Errorf("Write gives %d, %v", n, err)
			}
			want(t, r.take(), append(append([]string(nil), all...), tc.unsent...)...)
			end, _ := r.ended()
			if end.Kind != timeline.EndOther || end.Err != "broken" || end.PartialOut != tc.partial {
				t.Errorf("end %+v", end)
			}
			var ring []uint16
			for _, p := range end.Last {
				ring = append(ring, p.ID)
			}
			if d := cmp.Diff(tc.ring, ring); d != "" {
				t.Errorf("ring: %s", d)
			}
		})
	}
}

// A packet that began in an earlier write is taken back too, and comes again
// when the library goes on where the socket stopped.
func TestUnsentAcrossWrites(t *testing.T) {
	r := &recorder{}
	accept := []int{5, 4, 100, 100}
	c := Tap(&script{write: func(b []byte) (int, error) {
		n := min(accept[0], len(b))
		accept = accept[1:]
		if n < len(b) {
			return n, io.ErrShortWrite
		}
		return n, nil
	}}, ticks(), r)
	b := join(pub(1), pub(2))
	_, _ = c.Write(b[:5])
	_, _ = c.Write(b[5:]) // 4 of 23 bytes
	want(t, r.take(), "out PUBLISH 1 at 1", "out PUBLISH 2 at 2", "unsent PUBLISH 1", "unsent PUBLISH 2")
	_, _ = c.Write(b[9:])
	want(t, r.take(), "out PUBLISH 1 at 1", "out PUBLISH 2 at 4") // 3 was the instant of the error
}

func TestMalformedBytesPass(t *testing.T) {
	r := &recorder{}
	in := join(mqtt.AppendConnack(nil, false, 0), []byte{0xF0, 1, 2}, pub(1))
	c := Tap(&script{
		read: func(b []byte) (int, error) {
			if len(in) == 0 {
				return 0, syscall.ECONNRESET
			}
			n := copy(b, in)
			in = in[n:]
			return n, nil
		},
		write: func(b []byte) (int, error) { return len(b), nil },
	}, ticks(), r)
	got := make([]byte, 100)
	n, err := c.Read(got)
	if n != 4+3+14 || err != nil {
		t.Fatalf("the library reads %d bytes, %v", n, err)
	}
	if _, ends := r.ended(); ends != 0 {
		t.Error("malformed bytes end the connection")
	}
	_, _ = c.Write(mqtt.AppendPingreq(nil)) // the other direction is not blind
	_, _ = c.Read(got)
	want(t, r.take(), "in CONNACK 0 at 1", "out PINGREQ 0 at 2")
	end, ends := r.ended()
	wantErr := "from the broker: malformed MQTT packet: packet type 15 is reserved, then reset: connection reset by peer"
	if ends != 1 || end.Kind != timeline.EndProtocol || end.At != 3 || end.Err != wantErr {
		t.Errorf("%d ends: %+v", ends, end)
	}
}

// Malformed bytes that the socket did not take were never sent.
func TestMalformedBytesThatWereNotSent(t *testing.T) {
	r := &recorder{}
	c := Tap(&script{write: func([]byte) (int, error) { return 2, syscall.EPIPE }}, ticks(), r)
	_, _ = c.Write(join(mqtt.AppendPingreq(nil), []byte{0}))
	if end, _ := r.ended(); end.Kind != timeline.EndReset {
		t.Errorf("%+v", end)
	}
}

// A time-out is the end only when the library takes it for one.
func TestTimeouts(t *testing.T) {
	late := os.ErrDeadlineExceeded
	type step = func(c *tap)
	var result struct {
		n   int
		err error
	}
	read := func(n int, err error) step {
		return func(c *tap) { result.n, result.err = n, err; _, _ = c.Read(make([]byte, 2)) }
	}
	write := func(n int, err error) step {
		b := mqtt.AppendPingreq(nil)
		if n > len(b) { // something else of n bytes
			b = make([]byte, n)
		}
		return func(c *tap) { result.n, result.err = n, err; _, _ = c.Write(b) }
	}
	refresh := func(c *tap) { c.refreshed() }
	local := func(c *tap) { _ = c.Close() }
	for _, tc := range []struct {
		name  string
		steps []step
		kind  timeline.EndKind
		at    timeline.Instant
	}{
		{"handshake", []step{read(0, late), local}, timeline.EndTimeout, 1},
		{"polled read, then FIN", []step{read(0, late), refresh, read(0, late), refresh, read(0, io.EOF)}, timeline.EndEOF, 3},
		{"polled read, then Close", []step{read(0, late), refresh, local}, timeline.EndLocal, 2},
		{"read, then the writer is reset", []step{read(0, late), write(0, syscall.EPIPE)}, timeline.EndTimeout, 1},
		{"two reads", []step{read(0, late), read(0, late), local}, timeline.EndTimeout, 1},
		{"malformed bytes, then a read", []step{write(9, nil), read(0, late), local}, timeline.EndProtocol, 3},
		{"read, then malformed bytes", []step{read(0, late), write(9, nil), local}, timeline.EndTimeout, 1},
		{"write, then Close", []step{write(0, late), local}, timeline.EndTimeout, 2},
		{"write, then the reader is reset", []step{write(0, late), read(0, syscall.ECONNRESET)}, timeline.EndTimeout, 2},
		{"write, survived", []step{write(0, late), write(2, nil), local}, timeline.EndLocal, 4},
		{"torn write", []step{write(1, late), write(2, nil), read(0, io.EOF)}, timeline.EndTimeout, 2},
		{"both, the write first", []step{write(0, late), read(0, late), local}, timeline.EndTimeout, 2},
		{"ETIMEDOUT is no deadline", []step{read(0, syscall.ETIMEDOUT), refresh, local}, timeline.EndTimeout, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &recorder{}
			do := func([]byte) (int, error) { return result.n, result.err }
			c := Tap(&script{read: do, write: do}, ticks(), r).(*tap)
			for _, s := range tc.steps {
				s(c)
			}
			if end, ends := r.ended(); ends != 1 || end.Kind != tc.kind || end.At != tc.at {
				t.Errorf("%d ends: %+v; want %s at %d", ends, end, tc.kind, tc.at)
			}
		})
	}
}

// The end must be known before the socket closes, or a reader that the close
// wakes could be taken for the first error.
func TestCloseIsReportedFirst(t *testing.T) {
	r := &recorder{}
	var before []int
	c := Tap(&script{close: func() { _, ends := r.ended(); before = append(before, ends) }}, ticks(), r)
	_ = c.Close()
	_ = c.Close()
	if _, ends := r.ended(); before[0] != 1 || ends != 1 {
		t.Errorf("%v ends when the socket closed, %d at last", before, ends)
	}
}

func TestRingKeepsTheLastSixteen(t *testing.T) {
	r := &recorder{}
	c := Tap(&script{write: func(b []byte) (int, error) { return len(b), nil }}, ticks(), r)
	for id := range uint16(20) {
		_, _ = c.Write(mqtt.AppendPubrel(nil, id))
	}
	_ = c.Close()
	end, _ := r.ended()
	if len(end.Last) != ringSize {
		t.Fatalf("%d packets", len(end.Last))
	}
	for i, p := range end.Last {
		w := timeline.Packet{At: timeline.Instant(i + 5), Out: true, Type: "PUBREL", Flags: 2, ID: uint16(i + 4), Bytes: 4}
		if p != w {
			t.Errorf("packet %d: %+v, want %+v", i, p, w)
		}
	}
}

// asker reads the ring from within its own calls, as the observer of a breach
// does.
type asker struct {
	recorder
	conn net.Conn
	seen [][]timeline.Packet
}

func (a *asker) Packet(bool, *mqtt.Packet, timeline.Instant) {
	a.seen = append(a.seen, a.conn.(interface{ Last() []timeline.Packet }).Last())
}

func TestRingAtThePacket(t *testing.T) {
	a := &asker{}
	a.conn = Tap(&script{write: func(b []byte) (int, error) { return len(b), nil }}, ticks(), a)
	for id := range uint16(20) {
		_, _ = a.conn.Write(mqtt.AppendPubrel(nil, id))
	}
	for i, last := range a.seen {
		if n := len(last); n != min(i+1, ringSize) || last[n-1].ID != uint16(i) {
			t.Errorf("at packet %d: %+v", i, last)
		}
	}
	if len(a.seen) != 20 {
		t.Errorf("%d packets", len(a.seen))
	}
}

func TestSizeOfATap(t *testing.T) {
	if n := unsafe.Sizeof(tap{}); n > 640 {
		t.Errorf("%d bytes", n)
	}
}
