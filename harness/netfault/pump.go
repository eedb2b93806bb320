package netfault

import (
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

// The end of a slow connection, and the goroutine that writes what is late.

// finAfter ends the connection with a FIN to the client now, and one to the
// broker after delay.
func (c *conn) finAfter(delay time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return net.ErrClosed
	}
	c.slowly()
	return c.finLater(delay)
}

// finLater sends the FIN behind what is late. c.mu is held, here and below.
func (c *conn) finLater(delay time.Duration) error {
	s := c.slow.Load()
	hc, half := c.Conn.(halfCloser)
	if !half && !isPipe(c.Conn) {
		c.settle(s)
		return fmt.Errorf("%w: %T", ErrHalfClose, c.Conn)
	}
	c.state = finned
	s.out.push(piece{due: s.due(true, 0).Add(delay), fin: true})
	c.links.linger(c, true)
	if half {
		_ = hc.CloseRead() // as in fin
	} else {
		s.in.push(piece{due: s.due(false, 0), err: io.EOF}) // a pipe has no half: the end is ours
	}
	c.changed(s)
	c.pump(s)
	return nil
}

// closeLater reports whether the close of the socket has to wait: for what is
// late, or for the link to be whole again. What is held then is dropped, as of a
// socket that is gone. was is the state before the Close.
func (c *conn) closeLater(was state) bool {
	s := c.slow.Load()
	s.in.queue, s.in.size = nil, 0
	held := s.holds(true) && was != aborted
	if held {
		s.out.queue = slices.DeleteFunc(s.out.queue, func(p piece) bool { return !p.fin })
		s.out.size = 0
	}
	due := s.due(true, 0)
	if was == aborted || !held && len(s.out.queue) == 0 && !s.pumping && !due.After(time.Now()) {
		c.changed(s)
		s.filters, s.out = nil, lane{}
		c.settle(s)
		return false
	}
	s.out.push(piece{due: due, close: true, was: was})
	c.links.linger(c, true)
	c.changed(s)
	if !s.pumping {
		_ = c.Conn.SetWriteDeadline(past) // wakes a Write that began before the impairment
	}
	c.pump(s)
	return true
}

// force ends the connection at once.
func (c *conn) force() {
	c.mu.Lock()
	c.state = closed
	if s := c.slow.Load(); s != nil {
		s.filters, s.in, s.out = nil, lane{}, lane{}
		c.changed(s)
		c.settle(s)
	}
	c.mu.Unlock()
	_ = c.Conn.Close() // it may be closed already
	c.links.linger(c, false)
}

// pump starts the goroutine that writes what is late, if there is something
// that it may write and none runs.
func (c *conn) pump(s *slow) {
	if s.pumping || len(s.out.queue) == 0 || s.holds(true) {
		return
	}
	s.pumping = true
	_ = c.Conn.SetWriteDeadline(time.Time{})
	c.links.pumps.Go(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for c.pumpOne(s) {
		}
		s.pumping = false
		c.settle(s)
	})
}

// pumpOne writes the first piece when it is due; false if there is nothing to
// be written.
func (c *conn) pumpOne(s *slow) bool {
	due, any := s.out.head()
	if !any || s.holds(true) {
		return false
	}
	if due.After(time.Now()) {
		c.wait(s, due)
		return true
	}
	p := s.out.pop()
	c.mu.Unlock()
	err := c.put(p)
	c.mu.Lock()
	switch {
	case err != nil && s.err == nil:
		c.broken(s, err)
	case p.close:
		s.filters = nil
	}
	if (p.fin || p.close) && len(s.out.queue) == 0 {
		c.links.linger(c, false)
	}
	c.changed(s) // there is room
	return true
}

// put writes a piece, or ends the connection.
func (c *conn) put(p piece) error {
	switch {
	case p.fin:
		_ = c.shutdown() // it fails only on what has ended
		return nil
	case p.close:
		_ = c.shut(p.was) // the library has been told
		return nil
	}
	_, err := c.Conn.Write(p.b)
	return err
}

// broken says that a piece was not taken: nothing behind it can be, but for the
// end.
func (c *conn) broken(s *slow, err error) {
	s.out.queue = slices.DeleteFunc(s.out.queue, func(p piece) bool { return !p.fin && !p.close })
	s.out.size = 0
	c.mu.Unlock()
	told := c.writeFailed(err)
	c.mu.Lock()
	s.err = told
}
