package wire

import (
	"net"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Observer is told what passes. The calls of one connection come from its
// reader, its writers and whoever closes it, and may interleave: the observer
// locks. It must not call the connection, but for Last. A Packet and its slices are valid
// during the call only.
//
// A connection can end in one direction while the other still carries bytes
// that had arrived or were on their way, so that Packet and Unsent may follow
// End.
type Observer interface {
	// Packet reports a control packet. An outgoing one (out) is reported before
	// the byte that completes it is given to the socket, with the instant just
	// before the write of its first byte; an incoming one with the instant after
	// the read of its last byte, before the library sees that byte.
	Packet(out bool, p *mqtt.Packet, at timeline.Instant)
	// Unsent takes an outgoing packet back: the socket did not accept its last
	// byte, so that it was certainly not sent.
	Unsent(p *mqtt.Packet)
	// End is called once.
	End(end timeline.End)
}

// Tap puts the tap onto conn, which must be fresh: its first bytes are a
// CONNECT and a CONNACK. now reads the run's clock. The tap starts no
// goroutine and holds nothing that Close would have to free.
//
// The connection that it gives also has a method Last() []timeline.Packet: the
// last 16 packets until now, oldest first.
func Tap(conn net.Conn, now func() timeline.Instant, obs Observer) net.Conn {
	return &tap{Conn: conn, now: now, obs: obs}
}

type tap struct {
	net.Conn // addresses
	now      func() timeline.Instant
	obs      Observer

	// Readers and writers are serialised, each over the whole system call, as
	// the socket itself does: so the framers see the order of the wire.
	// Deadlines and Close take neither lock.
	rmu    sync.Mutex
	in     mqtt.Framer
	wmu    sync.Mutex
	out    mqtt.Framer
	before *mqtt.Framer // scratch: out as it was before a write, made when first needed

	ending
}

// Read reads from the connection and reports the packets that are complete with
// what it read.
func (t *tap) Read(b []byte) (int, error) {
	t.rmu.Lock()
	defer t.rmu.Unlock()
	n, err := t.Conn.Read(b)
	at := t.now()
	if n > 0 {
		bad := t.in.Feed(b[:n], int64(at), func(p *mqtt.Packet) {
			t.seen(false, p, at)
			t.obs.Packet(false, p, at)
		})
		t.fed(false, t.in.Partial(), bad, at)
	}
	if err != nil {
		t.failed(t.obs, err, false, false, at)
	}
	return n, err
}

// Write reports the packets that b completes, and writes b.
func (t *tap) Write(b []byte) (int, error) {
	t.wmu.Lock()
	defer t.wmu.Unlock()
	fresh := t.out.Partial() == 0
	if !fresh {
		// Only a packet that began in an earlier write needs its bytes kept.
		if t.before == nil {
			t.before = new(mqtt.Framer)
		}
		t.before.CopyFrom(&t.out)
	}
	at := t.now()
	bad := t.out.Feed(b, int64(at), func(p *mqtt.Packet) {
		first := timeline.Instant(p.First)
		t.seen(true, p, first)
		t.obs.Packet(true, p, first)
	})
	n, err := t.Conn.Write(b)
	if n < len(b) {
		bad = t.takeBack(b, n, int64(at), fresh)
	}
	t.fed(true, t.out.Partial(), bad, at)
	if err != nil {
		t.failed(t.obs, err, true, n > 0, t.now())
	} else if n == len(b) {
		t.accepted()
	}
	return n, err
}

// takeBack sets the outgoing framer to what the socket really accepted, n bytes
// of b, and reports the packets that then lack their last byte.
func (t *tap) takeBack(b []byte, n int, at int64, fresh bool) error {
	var was mqtt.Framer
	if !fresh {
		was.CopyFrom(t.before)
	}
	t.out = mqtt.Framer{}
	t.out.CopyFrom(&was)
	end := -was.Partial() // where in b the packets end
	_ = was.Feed(b, at, func(p *mqtt.Packet) {
		if end += p.Size; end > n {
			t.unsee(p)
			t.obs.Unsent(p)
		}
	})
	return t.out.Feed(b[:n], at, func(*mqtt.Packet) {})
}

// Close reports the end, unless there was one already, and closes.
func (t *tap) Close() error {
	t.closed(t.obs, t.now())
	return t.Conn.Close()
}

// SetDeadline sets both deadlines.
func (t *tap) SetDeadline(d time.Time) error {
	t.refreshed()
	return t.Conn.SetDeadline(d)
}

// SetReadDeadline sets the read deadline.
func (t *tap) SetReadDeadline(d time.Time) error {
	t.refreshed()
	return t.Conn.SetReadDeadline(d)
}
