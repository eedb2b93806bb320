package broker

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// pipeBuffer is how much waits in one direction of a connection in memory, in
	// bytes; behind it a Write waits. Without a buffer, as of net.Pipe, client and
	// broker could each wait in a Write for the other to read.
	pipeBuffer = 64 << 10
	// pipeKept is how much of an empty buffer is kept for the next bytes.
	pipeKept = 1 << 10
)

// pipeAddr is one end of a connection in memory.
type pipeAddr string

func (pipeAddr) Network() string  { return TransportPipe }
func (a pipeAddr) String() string { return string(a) }

// pipeConn is one end of a connection in memory. It is to its users what a TCP
// socket is, half closes and deadlines included, but for the reset: a Close lets
// the peer read what was written, then io.EOF, whatever was left unread. The
// peer's next Write gives io.ErrClosedPipe.
type pipeConn struct {
	in, out       *pipeLane
	local, remote pipeAddr
	writing       sync.Mutex // a Write is not mixed with another one
}

// newPipe makes both ends of a connection.
func newPipe(near, far pipeAddr) (*pipeConn, *pipeConn) {
	up, down := newPipeLane(), newPipeLane()
	return &pipeConn{in: down, out: up, local: near, remote: far}, &pipeConn{in: up, out: down, local: far, remote: near}
}

// pipeLane is one direction.
type pipeLane struct {
	mu      sync.Mutex
	changed sync.Cond
	buf     bytes.Buffer // written and not read
	fin     bool         // nothing more is written
	left    bool         // the writer has closed its end
	deaf    bool         // what comes is thrown away
	gone    bool         // the reader has closed its end
	readBy  pipeDeadline
	writeBy pipeDeadline
}

func newPipeLane() *pipeLane {
	l := &pipeLane{}
	l.changed.L = &l.mu
	return l
}

// wake has all who wait look again.
func (l *pipeLane) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.changed.Broadcast()
}

// Read implements net.Conn.
func (c *pipeConn) Read(p []byte) (int, error) {
	l := c.in
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.gone:
			return 0, c.failed("read", net.ErrClosed)
		case l.readBy.passed():
			return 0, c.failed("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case l.buf.Len() > 0:
			n, err := l.buf.Read(p)
			if l.buf.Len() == 0 && l.buf.Cap() > pipeKept {
				l.buf = bytes.Buffer{}
			}
			l.changed.Broadcast() // there is room
			return n, err
		case l.fin || l.deaf:
			return 0, io.EOF
		}
		l.changed.Wait()
	}
}

// Write implements net.Conn. It returns when all is in the buffer.
func (c *pipeConn) Write(p []byte) (n int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	l := c.out
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.left:
			return n, c.failed("write", net.ErrClosed)
		case l.fin:
			return n, c.failed("write", syscall.EPIPE)
		case l.gone:
			return n, c.failed("write", io.ErrClosedPipe)
		case l.writeBy.passed():
			return n, c.failed("write", os.ErrDeadlineExceeded)
		case l.deaf:
			return len(p), nil
		}
		room := min(len(p)-n, pipeBuffer-l.buf.Len())
		if room > 0 {
			l.buf.Write(p[n : n+room])
			n += room
			l.changed.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		l.changed.Wait()
	}
}

// CloseWrite is a FIN: the peer reads what was written, then io.EOF.
func (c *pipeConn) CloseWrite() error {
	l := c.out
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.left:
		return c.failed("close", net.ErrClosed)
	case l.gone:
		return c.failed("close", syscall.ENOTCONN)
	}
	l.fin = true
	l.changed.Broadcast()
	return nil
}

// CloseRead has Read give what is there, then io.EOF. What comes later is thrown
// away.
func (c *pipeConn) CloseRead() error {
	l := c.in
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return c.failed("close", net.ErrClosed)
	}
	l.deaf = true
	l.changed.Broadcast()
	return nil
}

// Close implements net.Conn.
func (c *pipeConn) Close() error {
	l := c.out
	l.mu.Lock()
	was := l.left
	l.left, l.fin = true, true
	l.writeBy.set(time.Time{}, nil)
	l.changed.Broadcast()
	l.mu.Unlock()
	if was {
		return c.failed("close", net.ErrClosed)
	}
	l = c.in
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gone, l.buf = true, bytes.Buffer{}
	l.readBy.set(time.Time{}, nil)
	l.changed.Broadcast()
	return nil
}

// failed says what net says of a socket.
func (c *pipeConn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: TransportPipe, Source: c.local, Addr: c.remote, Err: err}
}

// LocalAddr implements net.Conn.
func (c *pipeConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *pipeConn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *pipeConn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *pipeConn) SetReadDeadline(t time.Time) error {
	l := c.in
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return c.failed("set", net.ErrClosed)
	}
	l.readBy.set(t, l.wake)
	l.changed.Broadcast()
	return nil
}

// SetWriteDeadline implements net.Conn.
func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	l := c.out
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left {
		return c.failed("set", net.ErrClosed)
	}
	l.writeBy.set(t, l.wake)
	l.changed.Broadcast()
	return nil
}

// pipeDeadline is a deadline and what wakes those who wait when it passes.
type pipeDeadline struct {
	at    time.Time // zero = none
	timer *time.Timer
}

// set sets it; the zero time takes it away.
func (d *pipeDeadline) set(t time.Time, wake func()) {
	if t.IsZero() {
		d.at = t
		if d.timer != nil {
			d.timer.Stop()
		}
		return
	}
	in := max(0, time.Until(t))
	d.at = time.Now().Add(in) // on the monotonic clock, as the timer is
	if d.timer == nil {
		d.timer = time.AfterFunc(in, wake)
	} else {
		d.timer.Reset(in)
	}
}

func (d *pipeDeadline) passed() bool { return !d.at.IsZero() && !d.at.After(time.Now()) }
