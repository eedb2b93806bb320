package fleet

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// voice is what a library writes to, above the tap: it can be silenced, and then
// each Write waits. Nothing of it reaches the tap or the wire, a PINGREQ as
// little as a PUBLISH, and no deadline wakes it, as in a process whose writing
// thread is stopped. Reads go on, and Close ends the wait.
type voice struct {
	net.Conn
	n      int // number of the connection
	silent atomic.Bool

	mu      sync.Mutex
	closed  bool
	resumed chan struct{} // closed when a silence is over; nil = there is none
}

func (v *voice) Write(b []byte) (int, error) {
	for v.silent.Load() {
		v.mu.Lock()
		resumed, closed := v.resumed, v.closed
		v.mu.Unlock()
		if closed {
			return 0, fmt.Errorf("write: %w", net.ErrClosed)
		}
		if resumed != nil {
			<-resumed
		}
	}
	return v.Conn.Write(b)
}

func (v *voice) Close() error {
	v.mu.Lock()
	v.closed = true
	v.wake()
	v.mu.Unlock()
	return v.Conn.Close()
}

// wake has the writes that wait look again. v.mu is held.
func (v *voice) wake() {
	if v.resumed != nil {
		close(v.resumed)
		v.resumed = nil
	}
}

// silence begins one, and gives what ends it, which may be called twice; nil
// when there is one.
func (v *voice) silence() (resume func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.resumed != nil || v.closed {
		return nil
	}
	resumed := make(chan struct{})
	v.resumed = resumed
	v.silent.Store(true)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.resumed == resumed { // not of a later silence
			v.silent.Store(false)
			v.wake()
		}
	}
}

// Silence has a client write nothing more on its live connection, PINGREQ
// included, while it reads on: each write of its library waits until resume,
// which may be called twice, or until the library closes the connection. n is
// the number of the connection; later ones are not silent. Without a live
// connection, or on one that is silent already, it is ErrRefused.
func (f *Fleet) Silence(client int) (n int, resume func(), err error) {
	c := f.clients[client]
	c.mu.Lock()
	v := c.voice
	c.mu.Unlock()
	if v == nil || !c.session.on(v.n) {
		return 0, nil, fmt.Errorf("silence: %w: no live connection", ErrRefused)
	}
	if resume = v.silence(); resume == nil {
		return v.n, nil, fmt.Errorf("silence: %w: it is silent", ErrRefused)
	}
	return v.n, resume, nil
}
