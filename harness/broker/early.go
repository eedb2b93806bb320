package broker

import "net"

// earlyConn is an accepted connection whose end can be noticed while mochi,
// which is in a hook, does not read it: then one read is made for it ahead of
// time. It is used by the goroutine that mochi serves the connection in.
type earlyConn struct {
	net.Conn
	socket net.Conn // as accepted, below TLS and WebSocket
	ahead  *ahead   // nil = nothing was read ahead, or all of it was taken
}

// ahead is one read, under way or done. A WebSocket can not take a read back,
// so that it is kept for whoever reads next.
type ahead struct {
	buf     [64]byte // more than a PINGREQ or a SUBSCRIBE that was sent in advance
	at, n   int
	err     error
	done    chan struct{} // closed: the read is done
	noticed chan struct{} // closed: it met the end of the connection
}

// Read gives what was read ahead first.
func (c *earlyConn) Read(p []byte) (int, error) {
	a := c.ahead
	if a == nil {
		return c.Conn.Read(p)
	}
	<-a.done // the deadline of now is the read's too
	if a.at < a.n {
		n := copy(p, a.buf[a.at:a.n])
		a.at += n
		return n, nil
	}
	if a.err != nil {
		return 0, a.err
	}
	c.ahead = nil
	return c.Conn.Read(p)
}

// gone is closed once the client has ended the connection. Of one that sends
// more while it waits that is not noticed: what it sent comes first.
func (c *earlyConn) gone() <-chan struct{} {
	if c.ahead == nil {
		a := &ahead{done: make(chan struct{}), noticed: make(chan struct{})}
		c.ahead = a
		go func() { // ends with the connection at the latest: see finish
			a.n, a.err = c.Conn.Read(a.buf[:])
			if a.n == 0 && a.err != nil {
				close(a.noticed)
			}
			close(a.done)
		}()
	}
	return c.ahead.noticed
}

// finish waits for the read that was made ahead; the connection is closed.
func (c *earlyConn) finish() {
	if c.ahead != nil {
		<-c.ahead.done
	}
}
