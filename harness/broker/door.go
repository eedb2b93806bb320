package broker

import (
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// The waits after failed Accepts, doubling from first to longest.
const (
	acceptRetryFirst   = time.Millisecond
	acceptRetryLongest = 250 * time.Millisecond
)

// door is the one listener that mochi knows. Its accept loops go on after an
// error (mochi's own end for good at the first EMFILE), and it owns the
// accepted sockets, so that it can close them all without mochi's DISCONNECT,
// which MQTT 3.1.1 forbids a server to send, and without waiting for clients
// that do not read.
type door struct {
	ways     []way
	log      *slog.Logger
	failures atomic.Int64  // failed Accepts
	done     chan struct{} // closed by Close

	handshake time.Duration // bound of TLS and WebSocket together
	connect   time.Duration // bound of the CONNECT after it; 0 = none

	mu      sync.Mutex
	closed  bool
	conns   map[net.Conn]struct{} // as accepted: closing one is abrupt for every transport
	running sync.WaitGroup        // accept loops and connections
}

var _ listeners.Listener = (*door)(nil)

func newDoor(ways []way, log *slog.Logger) *door {
	return &door{ways: ways, log: log, done: make(chan struct{}), conns: make(map[net.Conn]struct{}), handshake: openTimeout}
}

// Init, ID, Address and Protocol are mochi's words.
func (d *door) Init(*slog.Logger) error { return nil }
func (d *door) ID() string              { return "door" }
func (d *door) Address() string         { return d.ways[0].Addr().String() }
func (d *door) Protocol() string        { return "tcp" }

// Serve accepts on every listener until Close, and waits for the loops.
func (d *door) Serve(establish listeners.EstablishFn) {
	var loops sync.WaitGroup
	for _, w := range d.ways {
		if !d.enter(nil) {
			break
		}
		loops.Go(func() {
			defer d.running.Done()
			d.accept(w, establish)
		})
	}
	loops.Wait()
}

// accept serves one listener.
func (d *door) accept(w way, establish listeners.EstablishFn) {
	wait := acceptRetryFirst
	for {
		conn, err := w.Accept()
		if err != nil {
			d.failures.Add(1)
			select {
			case <-d.done:
				return
			case <-time.After(wait):
			}
			d.log.Warn("accept failed, trying again", "error", err, "after", wait)
			wait = min(2*wait, acceptRetryLongest)
			continue
		}
		wait = acceptRetryFirst
		if !d.enter(conn) {
			_ = conn.Close() // accepted while closing
			return
		}
		go func() {
			defer d.leave(conn)
			opened, ok := d.open(w, conn)
			if !ok {
				return
			}
			early := &earlyConn{Conn: opened, socket: conn}
			_ = establish(d.ID(), early) // how it ended is for mochi's hooks to tell
			_ = conn.Close()             // mochi has closed it, unless it panicked
			early.finish()
		}()
	}
}

// open makes the handshakes of a transport, in bounded time. mochi sets the
// next deadline when it has read the CONNECT.
func (d *door) open(w way, conn net.Conn) (net.Conn, bool) {
	opened := conn
	if w.open != nil {
		bound(conn, d.handshake)
		var err error
		if opened, err = w.open(conn); err != nil {
			d.log.Info("handshake failed", "at", w.url, "remote", conn.RemoteAddr(), "error", err)
			return nil, false
		}
	}
	if w.open != nil || d.connect > 0 {
		bound(conn, d.connect)
	}
	return opened, true
}

// bound sets how long a connection may take for what comes next; 0 = for ever.
// It fails on a closed one only, as what comes next does then.
func bound(conn net.Conn, d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = conn.SetDeadline(at)
}

// enter counts one more running goroutine, and its connection if it has one;
// false when the door is closed.
func (d *door) enter(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return false
	}
	d.running.Add(1)
	if conn != nil {
		d.conns[conn] = struct{}{}
	}
	return true
}

func (d *door) leave(conn net.Conn) {
	_ = conn.Close() // twice, unless its handshake failed
	d.mu.Lock()
	delete(d.conns, conn)
	d.mu.Unlock()
	d.running.Done()
}

// Close closes listeners and connections at once and waits until mochi is done
// with each. It never calls mochi's closer, which says DISCONNECT to everyone.
func (d *door) Close(listeners.CloseFn) {
	d.mu.Lock()
	first := !d.closed
	d.closed = true
	open := make([]net.Conn, 0, len(d.conns))
	for conn := range d.conns {
		open = append(open, conn)
	}
	d.mu.Unlock()
	if first {
		close(d.done)
		for _, w := range d.ways {
			_ = w.Close() // listeners have nothing left to lose
		}
		for _, conn := range open {
			_ = conn.Close() // mochi may have closed it already
		}
	}
	d.running.Wait()
}
