package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

func links() *Links { return NewLinks(timeline.NewClock().Now) }

func closeIt(t *testing.T, r *Links, id string) bool {
	t.Helper()
	closed, err := r.CloseConnection(t.Context(), id)
	if err != nil || closed.Found == nil {
		t.Fatalf("CloseConnection: %+v, %v", closed, err)
	}
	return *closed.Found
}

func TestNewestFirst(t *testing.T) {
	r := links()
	old, mid, newest := newLink(t, "pipe", r, "c"), newLink(t, "pipe", r, "c"), newLink(t, "pipe", r, "c")
	newLink(t, "pipe", r, "d")
	mid.client.Close() // from the middle of the chain
	for _, l := range []link{newest, old} {
		if !closeIt(t, r, "c") {
			t.Fatal("not found")
		}
		if _, err := l.client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("another connection was closed: %v", err)
		}
	}
	if closeIt(t, r, "c") || closeIt(t, r, "nobody") {
		t.Error("found what is not there")
	}
	if n := r.Live(); n != 1 {
		t.Errorf("%d live, want d alone", n)
	}
}

// What has ended is forgotten, whoever ended it, and is not found.
func TestForgets(t *testing.T) {
	for name, end := range map[string]func(l link){
		"local Close":        func(l link) { l.client.Close(); l.client.Close() },
		"FIN of the broker":  func(l link) { l.broker.Close(); _, _ = io.ReadAll(l.client) },
		"write to the ended": func(l link) { l.broker.Close(); _, _ = l.client.Write([]byte("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := links()
			end(newLink(t, "pipe", r, "c"))
			if len(r.live) != 0 || closeIt(t, r, "c") {
				t.Errorf("%d are live", len(r.live))
			}
		})
	}
}

// A deadline that passes does not end a connection.
func TestADeadlineIsNoEnd(t *testing.T) {
	r := links()
	l := newLink(t, "tcp", r, "c")
	_ = l.client.SetDeadline(time.Unix(1, 0))
	if _, err := l.client.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the read gives %v", err)
	}
	if !closeIt(t, r, "c") {
		t.Error("it is not found any more")
	}
}

// half is a socket whose shutdown answers as it is told.
type half struct {
	net.Conn
	err error
}

func (h half) CloseWrite() error { return h.err }
func (h half) CloseRead() error  { return nil }

type bare struct{ net.Conn }

func (bare) LocalAddr() net.Addr { return &net.TCPAddr{} }

func TestWhatCanNotBeClosed(t *testing.T) {
	end, peer := net.Pipe()
	defer end.Close()
	defer peer.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	odd := errors.New("odd")
	for _, tc := range []struct {
		name  string
		c     net.Conn
		ctx   context.Context
		found bool
		err   error
	}{
		{"it had been reset", half{end, syscall.ENOTCONN}, t.Context(), false, nil},
		{"it is closed", half{end, net.ErrClosed}, t.Context(), false, nil},
		{"the shutdown fails", half{end, odd}, t.Context(), true, odd},
		{"no half close", bare{end}, t.Context(), true, ErrHalfClose},
		{"no time left", half{end, nil}, cancelled, false, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := links()
			w := r.Wrap("c", tc.c)
			closed, err := r.CloseConnection(tc.ctx, "c")
			if !errors.Is(err, tc.err) || (closed.Found != nil && *closed.Found) != tc.found {
				t.Errorf("%+v, %v", closed, err)
			}
			if w.(*conn).state != open {
				t.Error("it is marked as closed")
			}
		})
	}
}

// chatty is a socket that goes on after its end.
type chatty struct {
	half
	reads *int
}

func (c chatty) Read(b []byte) (int, error) {
	if *c.reads++; *c.reads == 1 {
		return 0, io.EOF
	}
	return 1, nil
}

func TestTheEndIsFinal(t *testing.T) {
	r := links()
	w := r.Wrap("c", chatty{reads: new(int)})
	closeIt(t, r, "c")
	for range 3 {
		if n, err := w.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%d bytes, %v after the FIN", n, err)
		}
	}
	// Two callers at once may both have found it: one FIN, one answer "found".
	if err := w.(*conn).fin(); !gone(err) {
		t.Errorf("a second FIN: %v", err)
	}
}

// A writer that the peer's full window blocks is woken too.
func TestWakesABlockedWriter(t *testing.T) {
	r := links()
	l := newLink(t, "tcp", r, "c")
	started, done := make(chan struct{}), make(chan error)
	go func() {
		close(started)
		for b := make([]byte, 1<<20); ; {
			if _, err := l.client.Write(b); err != nil {
				done <- err
				return
			}
		}
	}()
	<-started
	closeIt(t, r, "c")
	if err := <-done; !errors.Is(err, io.EOF) {
		t.Errorf("the writer got %v", err)
	}
}

type kinds struct {
	mu  sync.Mutex
	got []timeline.EndKind
}

func (*kinds) Packet(bool, *mqtt.Packet, timeline.Instant) {}
func (*kinds) Unsent(*mqtt.Packet)                         {}
func (k *kinds) End(e timeline.End) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.got = append(k.got, e.Kind)
}

// The tap above must see a FIN, whichever goroutine of a busy library notices
// first, and although the broker answers the FIN with a reset.
func TestTheTapSeesAFin(t *testing.T) {
	r, k := links(), &kinds{}
	const rounds = 100
	for range rounds {
		l := newLink(t, "tcp", r, "c")
		c := wire.Tap(l.client, r.now, k)
		var group sync.WaitGroup
		first := make(chan struct{})
		group.Go(func() { // the broker reads a little, resets at the FIN
			b := make([]byte, 64)
			_, _ = l.broker.Read(b)
			close(first)
			_, _ = io.Copy(io.Discard, l.broker)
			_ = l.broker.(*net.TCPConn).SetLinger(0)
			l.broker.Close()
		})
		for range 2 {
			group.Go(func() {
				for b := mqtt.AppendPingreq(nil); ; {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			})
		}
		group.Go(func() { _, _ = io.Copy(io.Discard, c) })
		<-first
		closeIt(t, r, "c")
		group.Wait()
		c.Close()
	}
	for i, kind := range k.got {
		if kind != timeline.EndEOF {
			t.Errorf("round %d ended with %s", i, kind)
		}
	}
	if len(k.got) != rounds || r.Live() != 0 {
		t.Errorf("%d ends of %d, %d live", len(k.got), rounds, r.Live())
	}
}

func TestCostOfAWrapper(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 96 {
		t.Errorf("a wrapper is %d bytes", n)
	}
	const n = 10_000
	r, goroutines, stub := links(), runtime.NumGoroutine(), net.Conn(half{})
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	before := allocated()
	for _, id := range ids {
		r.Wrap(id, stub)
	}
	// All that is allocated, with what the growing map throws away again.
	if each := (allocated() - before) / n; each > 200 {
		t.Errorf("%d bytes a connection", each)
	}
	if g := runtime.NumGoroutine(); g > goroutines {
		t.Errorf("%d goroutines, before %d", g, goroutines)
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestConcurrentUse(t *testing.T) {
	r := links()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				a, b := net.Pipe()
				w := r.Wrap("c", a)
				_, _ = r.CloseConnection(context.Background(), "c")
				w.Close()
				b.Close()
			}
		})
	}
	group.Wait()
	if n := r.Live(); n != 0 {
		t.Errorf("%d are left", n)
	}
}
