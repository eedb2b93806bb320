package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

func startTestPipe(t *testing.T) *Pipe {
	t.Helper()
	p, err := StartPipe(testContext(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// dialPipe is dialRaw over memory.
func dialPipe(t *testing.T, p *Pipe) rawClient {
	t.Helper()
	conn, err := p.Dial(testContext(t), p.Info().Addresses[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return rawClient{t: t, conn: conn}
}

func (c rawClient) connect(info mqtt.ConnectInfo) rawClient {
	c.t.Helper()
	c.write(mqtt.AppendConnect(nil, info))
	if ack := c.read(4); ack[0] != 0x20 || ack[3] != 0 {
		c.t.Fatalf("CONNACK % x", ack)
	}
	return c
}

// TestPipeConn: a connection in memory is a net.Conn by the conformance test of
// golang.org/x/net.
func TestPipeConn(t *testing.T) {
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		near, far := newPipe("near", "far")
		return near, far, func() { _, _ = near.Close(), far.Close() }, nil
	})
}

// A full buffer holds a Write back, and each end of the connection frees it.
func TestPipeIsBounded(t *testing.T) {
	for what, tc := range map[string]struct {
		free func(near, far *pipeConn) error
		want error
	}{
		"a read": {func(_, far *pipeConn) error {
			_, err := io.CopyN(io.Discard, far, pipeBuffer+1)
			return err
		}, nil},
		"the peer's Close":    {func(_, far *pipeConn) error { return far.Close() }, io.ErrClosedPipe},
		"the peer turns deaf": {func(_, far *pipeConn) error { return far.CloseRead() }, nil},
		"our Close":           {func(near, _ *pipeConn) error { return near.Close() }, net.ErrClosed},
		"our FIN":             {func(near, _ *pipeConn) error { return near.CloseWrite() }, syscall.EPIPE},
		"our deadline":        {func(near, _ *pipeConn) error { return near.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(what, func(t *testing.T) {
			near, far := newPipe("near", "far")
			if n, err := near.Write(make([]byte, pipeBuffer)); n != pipeBuffer || err != nil {
				t.Fatal(n, err)
			}
			done := make(chan error, 1)
			go func() {
				_, err := near.Write([]byte("x"))
				done <- err
			}()
			if err := tc.free(near, far); err != nil {
				t.Fatal(err)
			}
			if err := <-done; !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			_, _ = near.Close(), far.Close()
		})
	}
}

// The ends of a connection are those of a socket, but for the reset.
func TestPipeEnds(t *testing.T) {
	near, far := newPipe("near", "far")
	reads := func(c net.Conn, want string) {
		t.Helper()
		if got, err := io.ReadAll(c); string(got) != want || err != nil {
			t.Errorf("read %q, %v; want %q, then EOF", got, err, want)
		}
	}
	for _, c := range []net.Conn{near, far} {
		if _, err := c.Write([]byte("before")); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(near.CloseWrite(), near.CloseWrite()); err != nil {
		t.Fatal(err)
	}
	reads(far, "before")
	if _, err := far.Write([]byte(", and after")); err != nil {
		t.Errorf("the other half: %v", err)
	}
	if err := far.Close(); err != nil {
		t.Fatal(err)
	}
	reads(near, "before, and after")
	if err := far.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second Close: %v", err)
	}
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if err := near.CloseWrite(); !errors.Is(err, syscall.ENOTCONN) {
		t.Errorf("a FIN to nobody: %v", err)
	}
	if err := near.Close(); err != nil {
		t.Fatal(err)
	}
}

// The broker behind pipes is the embedded one: it closes a client, keeps the
// session, and its end is abrupt.
func TestPipe(t *testing.T) {
	p := startTestPipe(t)
	kept := mqtt.ConnectInfo{ClientID: "c", KeepAlive: 30}
	c := dialPipe(t, p).connect(kept)
	c.subscribe("t", 1)
	if found, at, err := p.CloseClient(testContext(t), "c"); err != nil || !found || at == 0 {
		t.Errorf("found %v at %d, %v", found, at, err)
	}
	if got, fin := c.rest(); len(got) > 0 || !fin {
		t.Errorf("got % x, fin %v; want a bare FIN", got, fin)
	}
	again := dialPipe(t, p)
	again.write(mqtt.AppendConnect(nil, kept))
	if ack := again.read(4); ack[2] != 1 {
		t.Errorf("CONNACK % x: the session is gone", ack)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if got, fin := again.rest(); len(got) > 0 || !fin {
		t.Errorf("at the end got % x, fin %v; want a bare FIN", got, fin)
	}
	if _, err := p.Dial(testContext(t), p.Info().Addresses[0]); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("dialled after Close: %v", err)
	}
	if _, err := p.Dial(testContext(t), "tcp://127.0.0.1:1"); !errors.Is(err, ErrAddress) {
		t.Errorf("another address: %v", err)
	}
}

// A dial that nobody accepts ends with its context, as net's does.
func TestPipeDialEnds(t *testing.T) {
	l := &pipeListener{dialled: make(chan net.Conn), done: make(chan struct{})}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := l.dial(ctx); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}
