package broker

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/mochi-mqtt/server/v2/listeners"
)

// brokenListener fails its first Accepts as a process without free descriptors
// does, then serves one connection.
type brokenListener struct {
	net.Listener
	mu    sync.Mutex
	fails int
}

func (l *brokenListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fails > 0 {
		l.fails--
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func newBroken(t *testing.T, fails int) *brokenListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &brokenListener{Listener: l, fails: fails}
}

func TestAcceptLoopSurvivesErrors(t *testing.T) {
	l := newBroken(t, 3)
	d := newDoor([]way{{Listener: l}}, Options{}.withDefaults().Log)
	accepted := make(chan net.Conn, 1)
	served := make(chan struct{})
	go func() {
		defer close(served)
		d.Serve(func(_ string, c net.Conn) error {
			accepted <- c
			_, err := c.Read(make([]byte, 1)) // to the end of the connection
			return err
		})
	}()
	c := dialRaw(t, l.Addr().String())
	<-accepted
	if n := d.failures.Load(); n != 3 {
		t.Errorf("counted %d failed accepts, want 3", n)
	}
	d.Close(nil)
	<-served
	if got, _ := c.rest(); len(got) > 0 {
		t.Errorf("got % x", got)
	}
	d.Close(nil) // twice
	d.Serve(nil) // after Close: returns at once
}

// Why the door exists: the accept loop of mochi's own listener ends at the
// first error, so the test above can fail.
func TestMochiOwnAcceptLoopEnds(t *testing.T) {
	l := newBroken(t, 1)
	own := listeners.NewNet("own", l)
	own.Serve(func(string, net.Conn) error { return errors.New("never called") }) // returns: it gave up
	if l.fails != 0 {
		t.Error("it ended without an error")
	}
	_ = l.Close()
}
