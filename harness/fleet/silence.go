package fleet

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// maxKept bounds what a silent client keeps of what its library writes, in
// bytes; beyond it each write waits.
const maxKept = 1 << 20

// catchUpWithin bounds how long what a silence kept may take to go out.
const catchUpWithin = 10 * time.Second

// pingreq is the one packet of its kind.
var pingreq = mqtt.AppendPingreq(nil)

// voice is what a library writes to, above the tap: it can be silenced. What is
// written in a silence is taken and kept, as by a send buffer that nobody
// empties, and goes out in order when the silence is over, or never. A PINGREQ
// waits instead, whatever its deadline: its library would take it for sent, and
// close the connection itself when no PINGRESP comes. Reads go on.
type voice struct {
	net.Conn
	n      int // number of the connection
	silent atomic.Bool

	mu      sync.Mutex // held while what was kept is written
	kept    []byte
	closed  atomic.Bool
	changed chan struct{} // closed when a silence is over, or the connection; nil = there was none
}

func (v *voice) Write(b []byte) (int, error) {
	for v.silent.Load() {
		taken, changed := v.take(b)
		switch {
		case taken:
			return len(b), nil
		case v.closed.Load():
			return 0, fmt.Errorf("write: %w", net.ErrClosed)
		case changed != nil:
			<-changed
		}
	}
	return v.Conn.Write(b)
}

// take keeps what is written in a silence, or gives what to wait for; neither
// when the silence is over.
func (v *voice) take(b []byte) (taken bool, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case !v.silent.Load() || v.closed.Load():
		return false, nil
	case bytes.Equal(b, pingreq) || len(v.kept)+len(b) > maxKept:
		return false, v.changed
	}
	v.kept = append(v.kept, b...)
	return true, nil
}

func (v *voice) Close() error {
	v.closed.Store(true)
	err := v.Conn.Close() // first: it ends a write that has the lock
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wake()
	return err
}

// wake has the writes that wait look again. v.mu is held.
func (v *voice) wake() {
	v.kept = nil
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
}

// silence begins one, and gives what ends it, which may be called twice; nil
// when there is one, or the connection is closed.
func (v *voice) silence() (resume func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.changed != nil || v.closed.Load() {
		return nil
	}
	changed := make(chan struct{})
	v.changed = changed
	v.silent.Store(true)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if v.changed != changed {
			return // over, or a later one
		}
		v.catchUp()
		v.silent.Store(false)
		v.wake()
	}
}

// catchUp writes what was kept. A broker that does not read any more must not
// keep a fault from being lifted: then the connection ends. v.mu is held.
func (v *voice) catchUp() {
	if len(v.kept) == 0 {
		return
	}
	_ = v.Conn.SetWriteDeadline(time.Now().Add(catchUpWithin)) // that of a write that was taken has passed
	if _, err := v.Conn.Write(v.kept); err != nil {
		_ = v.Conn.Close() // half of it may be out: nothing can follow; the next write, or read, tells
		return
	}
	_ = v.Conn.SetWriteDeadline(time.Time{})
}

// Silence has a client write nothing more on its live connection, PINGREQ
// included, while it reads on, until resume, which may be called twice. What its
// library writes until then goes out at resume, or never, when the connection
// ends before. n is the number of the connection; later ones are not silent.
// Without a live connection, or on one that is silent already, it is ErrRefused.
func (f *Fleet) Silence(client int) (n int, resume func(), err error) {
	c := f.clients[client]
	c.mu.Lock()
	v := c.voice
	c.mu.Unlock()
	if v == nil || !c.session.on(v.n) {
		return 0, nil, fmt.Errorf("silence: %w: no live connection", ErrRefused)
	}
	if resume = v.silence(); resume == nil {
		return v.n, nil, fmt.Errorf("silence: %w: it is silent, or closed", ErrRefused)
	}
	return v.n, resume, nil
}
