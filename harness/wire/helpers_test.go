package wire

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ticks is a clock that counts its readings: 1, 2, 3, …
func ticks() func() timeline.Instant {
	var n atomic.Int64
	return func() timeline.Instant { return timeline.Instant(n.Add(1)) }
}

// recorder is an Observer that keeps what it is told, one line each.
type recorder struct {
	mu    sync.Mutex
	lines []string
	end   timeline.End
	ends  int
}

func (r *recorder) log(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func (r *recorder) Packet(out bool, p *mqtt.Packet, at timeline.Instant) {
	way := "in"
	if out {
		way = "out"
	}
	r.log("%s %v %d at %d", way, p.Type, p.ID, at)
}

func (r *recorder) Unsent(p *mqtt.Packet) { r.log("unsent %v %d", p.Type, p.ID) }

func (r *recorder) End(e timeline.End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = e
	r.ends++
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines
	r.lines = nil
	return l
}

func (r *recorder) ended() (timeline.End, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.end, r.ends
}

// script is a connection whose calls a test writes down; what it does not set
// panics when called.
type script struct {
	net.Conn
	read  func(b []byte) (int, error)
	write func(b []byte) (int, error)
	close func()
}

func (s *script) Read(b []byte) (int, error)  { return s.read(b) }
func (s *script) Write(b []byte) (int, error) { return s.write(b) }
func (s *script) Close() error {
	if s.close != nil {
		s.close()
	}
	return nil
}

// tcpPair is a connection over loopback TCP: the client's end, the peer's.
func tcpPair(t testing.TB) (client, peer *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); p.Close() })
	return c.(*net.TCPConn), p.(*net.TCPConn)
}
