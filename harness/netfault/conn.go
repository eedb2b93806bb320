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
	reg   *Registry
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
		err = &net.OpError{
			Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(),
			Err: errPeerClosed,
		}
	}
	return n, err
}

// Close closes the real connection.
func (c *conn) Close() error {
	c.mu.Lock()
	c.state = closed
	c.mu.Unlock()
	c.reg.forget(c)
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
