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
)

// errPeerClosed is what Write gives after the FIN; see the package comment.
var errPeerClosed = fmt.Errorf("%w (after %w)", syscall.EPIPE, io.EOF)

// conn is a registered connection.
type conn struct {
	net.Conn
	reg   *Registry // nil: in none
	id    string
	older *conn // next older live connection of the same client id; guarded by reg.mu

	// mu guards state, and is held while a FIN is being put into effect, so
	// that an error that comes meanwhile is judged afterwards. Read and Write
	// take it only on an error.
	mu    sync.Mutex
	state state

	// A socket whose reading side is shut down still takes what arrives, so
	// that the end must be remembered to be final.
	ended atomic.Bool
}

type state byte

const (
	open state = iota
	finned
	closed
)

// halfCloser is a stream socket, TCP or Unix.
type halfCloser interface {
	CloseRead() error
	CloseWrite() error
}

// fin makes the connection end as if the peer had closed it. An error means
// that nothing was changed.
func (c *conn) fin() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return net.ErrClosed
	}
	if hc, ok := c.Conn.(halfCloser); ok {
		if err := hc.CloseWrite(); err != nil {
			return err
		}
		// Wakes a Read. It can fail only on a socket that has ended since,
		// and then no Read waits.
		_ = hc.CloseRead()
	} else if c.Conn.LocalAddr().Network() == "pipe" {
		// A net.Pipe has neither buffer nor reset: its Close is a FIN both
		// ways.
		if err := c.Conn.Close(); err != nil {
			return err
		}
	} else {
		return fmt.Errorf("%w: %T", ErrHalfClose, c.Conn)
	}
	c.state = finned
	return nil
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
	c.reg.forget(c)
}

// Read reads; after the FIN it gives io.EOF when what had arrived is used up.
func (c *conn) Read(b []byte) (int, error) {
	if c.ended.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(b)
	if err != nil && c.failed(err) == finned {
		c.ended.Store(true)
		err = io.EOF
	}
	return n, err
}

// Write writes; after the FIN it fails.
func (c *conn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err != nil && c.failed(err) == finned {
		err = c.writeError()
	}
	return n, err
}

// writeError is what a write gives after the FIN.
func (c *conn) writeError() error {
	return &net.OpError{
		Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
		Err: errPeerClosed,
	}
}

// maxDrain bounds how many bytes are thrown away at a Close after the FIN.
const maxDrain = 1 << 20

// Close closes the real connection. After a FIN it first throws away what has
// arrived: a close with unread bytes is a reset, which would overtake what the
// broker has yet to read.
func (c *conn) Close() error {
	c.mu.Lock()
	was := c.state
	c.state = closed
	c.mu.Unlock()
	c.reg.forget(c)
	if _, half := c.Conn.(halfCloser); half && was == finned {
		// The reading side is shut down, so that no Read waits.
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
		c.reg.forget(c)
	}
	return s
}
