package netfault

import (
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
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
	*Links
	n int
}

func (f framesCloser) Wrap(id string, c net.Conn) net.Conn {
	if f.Links != nil {
		c = f.Links.Wrap(id, c)
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
	"truncate":          {Act: Truncate, Keep: 3},
	"truncate late":     {Act: Truncate, Keep: 1 << 20},
}

// part is what passes of a packet that a rule acts on.
func (r *Rule) part(b []byte) []byte {
	switch r.Act {
	case CutAfter:
		return b
	case Truncate:
		return b[:min(r.Keep, len(b)-1)]
	}
	return nil
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
