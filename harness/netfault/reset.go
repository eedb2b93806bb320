package netfault

import (
	"fmt"
	"net"
)

// reset makes the connection end with an RST. An error means that nothing was
// changed. how aborts the socket and says whether the client hears of it only
// from us.
func (c *conn) reset(how func(net.Conn) (synthetic bool, err error)) (synthetic bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state != open {
		return false, net.ErrClosed
	}
	if synthetic, err = how(c.Conn); err != nil {
		return false, err
	}
	c.state = aborted
	if s := c.slow.Load(); s != nil {
		s.out.queue, s.out.size = nil, 0 // nothing can be sent any more
		c.changed(s)
	}
	return synthetic, nil
}

// Doom says that the far end is about to reset the newest connection of a client,
// so that all of its calls are told of the reset, whichever the kernel tells.
func (l *Links) Doom(clientID string) {
	if c := l.newest(clientID); c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.doomed = true
	}
}

// abortByClose has the close of the socket send the RST. The client's own calls
// then give net.ErrClosed, from which the wrapper has to make a reset.
func abortByClose(c net.Conn) (synthetic bool, err error) {
	s, ok := c.(interface{ SetLinger(sec int) error })
	if !ok {
		return false, fmt.Errorf("%w: %T", ErrNoReset, c)
	}
	if err := s.SetLinger(0); err != nil {
		return false, err
	}
	return true, c.Close()
}
