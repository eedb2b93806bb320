package netfault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// errPeerClosed is what Write gives after the FIN; see the package comment.
var errPeerClosed = fmt.Errorf("%w (after %w)", syscall.EPIPE, io.EOF)

// conn is a registered connection.
type conn struct {
	net.Conn
	links *Links // nil: of none
	id    string
	older *conn // next older live connection of the same client id; guarded by links.mu

	// mu guards what follows, and is held while an end is being put into
	// effect, so that an error that comes meanwhile is judged afterwards. Read
	// and Write take it only on an error, and while they are slow.
	mu    sync.Mutex
	state state
	// doomed: the far end is about to reset it.
	doomed bool
	// A socket whose reading side is shut down still takes what arrives, so
	// that the end must be remembered to be final.
	ended atomic.Bool

	// slow is set while the connection is impaired or bytes are late: then the
	// deadlines are kept here, and the socket's are ours.
	slow          atomic.Pointer[slow]
	readBy, write deadline
}

type state byte

const (
	open state = iota
	finned
	aborted
	closed
)

// halfCloser is a stream socket, TCP or Unix.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
}

func isPipe(c net.Conn) bool { return c.LocalAddr().Network() == "pipe" }

// fin makes the connection end as if the peer had closed it. An error means
// that nothing was changed.
func (c *conn) fin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return net.ErrClosed
	}
	if c.slow.Load() != nil {
		return c.finLater(0) // behind what is late
	}
	if err := c.shutdown(); err != nil {
		return err
	}
	if hc, ok := c.Conn.(halfCloser); ok {
		// Wakes a Read. It can fail only on a socket that has ended since,
		// and then no Read waits.
		_ = hc.CloseRead()
	}
	c.state = finned
	return nil
}

// shutdown sends the FIN.
func (c *conn) shutdown() error {
	if hc, ok := c.Conn.(halfCloser); ok {
		return hc.CloseWrite()
	}
	if isPipe(c.Conn) {
		// A net.Pipe has neither buffer nor reset: its Close is a FIN both
		// ways.
		return c.Conn.Close()
	}
	return fmt.Errorf("%w: %T", ErrHalfClose, c.Conn)
}

// finish makes the connection end by all means: a transport without half close
// is closed, which the library takes for the peer's doing too.
func (c *conn) finish() {
	if err := c.fin(); errors.Is(err, ErrHalfClose) {
		c.mu.Lock()
		if c.state == open {
			c.state = finned
		}
		c.mu.Unlock()
		_ = c.Conn.Close() // its error changes nothing: the end was asked for
	}
	c.links.forget(c)
}

// Read reads; after the FIN it gives io.EOF when what had arrived is used up,
// after a reset ECONNRESET.
func (c *conn) Read(b []byte) (int, error) {
	for {
		if c.ended.Load() {
			return 0, c.final()
		}
		if c.slow.Load() == nil {
			n, err := c.Conn.Read(b)
			if c.slow.Load() == nil {
				if n == 0 && c.woken(err) {
					continue
				}
				return n, c.readError(err)
			}
			c.arrived(b[:n], err) // the impairment came while it waited
		}
		if n, err, done := c.readSlow(b); done {
			return n, err
		}
	}
}

// woken reports whether a Read was woken by us, and not by its own deadline.
func (c *conn) woken(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state != closed && !c.readBy.passed(time.Now())
}

// readError gives what the library is told of an error of the socket.
func (c *conn) readError(err error) error {
	if err == nil {
		return nil
	}
	switch c.failed(err) {
	case finned:
		c.ended.Store(true)
		return io.EOF
	case aborted:
		c.ended.Store(true)
		return c.final()
	case closed:
		if errors.Is(err, os.ErrDeadlineExceeded) { // ours
			return c.final()
		}
	case open:
		if errors.Is(err, io.EOF) && c.wasReset() {
			return c.opError("read", errReset)
		}
	}
	return err
}

// wasReset reports whether the EOF of a socket that was to be reset is none: the
// kernel tells one of the callers of the reset, and the others EOF. A FIN leaves
// the socket half open.
func (c *conn) wasReset() bool {
	c.mu.Lock()
	doomed := c.doomed
	c.mu.Unlock()
	return doomed && hasClosed(c.Conn)
}

// final is what every Read gives when the connection has ended from here.
func (c *conn) final() error {
	c.mu.Lock()
	s := c.state
	c.mu.Unlock()
	switch s {
	case aborted:
		return c.opError("read", errReset)
	case closed:
		return c.opError("read", net.ErrClosed)
	}
	return io.EOF
}

// Write writes; after the FIN or a reset it fails.
func (c *conn) Write(b []byte) (int, error) {
	taken := 0
	if c.slow.Load() != nil {
		n, err, done := c.writeSlow(b)
		if done {
			return n, err
		}
		taken = n
	}
	n, err := c.Conn.Write(b[taken:])
	if err != nil {
		err = c.writeFailed(err)
	}
	return taken + n, err
}

// writeFailed gives what the library is told of an error of the socket.
func (c *conn) writeFailed(err error) error {
	switch c.failed(err) {
	case finned:
		return c.writeError()
	case aborted:
		return c.opError("write", errReset)
	case closed:
		if errors.Is(err, os.ErrDeadlineExceeded) { // ours
			return c.opError("write", net.ErrClosed)
		}
	}
	return err
}

// writeError is what a write gives after the FIN.
func (c *conn) writeError() error { return c.opError("write", errPeerClosed) }

// errReset is what a reset gives, whichever of its callers the kernel told.
var errReset = os.NewSyscallError("connection", syscall.ECONNRESET)

// opError says what net says.
func (c *conn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// At a Close after the FIN at most so many bytes are thrown away, for so long.
const (
	maxDrain     = 1 << 20
	maxDrainTime = 100 * time.Millisecond
)

// Close closes the real connection. After a FIN it first throws away what has
// arrived: a close with unread bytes is a reset, which would overtake what the
// broker has yet to read. While bytes to the broker are late or held, the real
// one is closed behind them.
func (c *conn) Close() error {
	c.mu.Lock()
	was := c.state
	c.state = closed
	slow := c.slow.Load() != nil
	later := slow && was != closed && c.closeLater(was)
	c.mu.Unlock()
	c.links.forget(c)
	switch {
	case later:
		return nil
	case slow && was == closed:
		return c.opError("close", net.ErrClosed) // it is under way
	}
	return c.shut(was)
}

// shut closes the real connection, whose state was this before the Close.
func (c *conn) shut(was state) error {
	if _, half := c.Conn.(halfCloser); half && was == finned {
		// The reading side is shut down, so that no Read should wait.
		_ = c.Conn.SetReadDeadline(time.Now().Add(maxDrainTime))
		_, _ = io.CopyN(io.Discard, c.Conn, maxDrain)
	}
	return c.Conn.Close()
}

// failed notes an error of Read or Write and gives the state that explains it.
// A passed deadline does not end a connection.
func (c *conn) failed(err error) state {
	c.mu.Lock()
	s := c.state
	c.mu.Unlock()
	if s == open && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.links.forget(c)
	}
	return s
}
