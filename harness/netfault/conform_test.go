package netfault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closer is what the conformance test is about: connections are wrapped, and
// one is ended with a FIN.
type closer interface {
	Wrap(clientID string, c net.Conn) net.Conn
	CloseConnection(ctx context.Context, clientID string) (target.Closed, error)
}

// link is one client's connection: below the wrapper, above it, the broker's.
type link struct{ raw, client, broker net.Conn }

func newLink(t testing.TB, network string, s closer, id string) link {
	t.Helper()
	var l link
	if network == "pipe" {
		l.raw, l.broker = net.Pipe()
	} else {
		l.raw, l.broker = tcpPair(t)
	}
	l.client = s.Wrap(id, l.raw)
	t.Cleanup(func() { l.client.Close(); l.raw.Close(); l.broker.Close() })
	return l
}

func tcpPair(t testing.TB) (client, broker net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if broker, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, broker
}

// saw is all that one end read, and the error that ended it (EOF = io.EOF).
type saw struct {
	text string
	err  error
}

func watch(c net.Conn) <-chan saw {
	ch := make(chan saw, 1)
	go func() {
		b, err := io.ReadAll(c)
		if err == nil {
			err = io.EOF
		}
		ch <- saw{string(b), err}
	}()
	return ch
}

// conformsToFin ends one of two connections and says what was not as a FIN has
// it: at the client, at the broker, at the other connection. patience bounds
// the wait for what never comes.
func conformsToFin(t testing.TB, network string, s closer, patience time.Duration) error {
	t.Helper()
	victim, other := newLink(t, network, s, "victim"), newLink(t, network, s, "other")
	client, broker := watch(victim.client), watch(victim.broker)
	var wrong []error
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Errorf(format, args...)) }
	expect := func(who string, ch <-chan saw, text string) {
		select {
		case got := <-ch:
			if got.text != text || !errors.Is(got.err, io.EOF) {
				bad("%s read %q, then %w; want %q, then EOF", who, got.text, got.err, text)
			}
		case <-time.After(patience):
			bad("%s noticed nothing", who)
		}
	}
	for c, text := range map[net.Conn]string{victim.client: "sent", victim.broker: "arrived"} {
		if _, err := c.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}

	closed, err := s.CloseConnection(t.Context(), "victim")
	if err != nil || closed.Found == nil || !*closed.Found || closed.At == 0 {
		bad("CloseConnection says %+v, %w", closed, err)
	}
	expect("the client", client, "arrived")
	expect("the broker", broker, "sent")
	_ = victim.client.SetDeadline(time.Now().Add(patience)) // or a wrong fault would hang here
	if _, err := victim.client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || !errors.Is(err, io.EOF) {
		bad("a write after the FIN gives %w", err)
	}
	if n, err := victim.client.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		bad("a second read gives %d, %w", n, err)
	}
	if err := victim.client.Close(); err != nil {
		bad("the library's Close gives %w", err)
	}
	if n, err := victim.raw.Write([]byte("x")); err == nil {
		bad("after the library's Close the socket is open: wrote %d", n)
	}
	if closed, err := s.CloseConnection(t.Context(), "victim"); err != nil || closed.Found == nil || *closed.Found || closed.At != 0 {
		bad("a second CloseConnection says %+v, %w", closed, err)
	}
	for from, to := range map[net.Conn]net.Conn{other.client: other.broker, other.broker: other.client} {
		go func() { _, _ = from.Write([]byte("echo")) }()
		_ = to.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.ReadFull(to, make([]byte, 4)); err != nil {
			bad("another client's connection: %w", err)
		}
	}
	return errors.Join(wrong...)
}

func TestFinConforms(t *testing.T) {
	for _, network := range []string{"tcp", "pipe"} {
		t.Run(network, func(t *testing.T) {
			if err := conformsToFin(t, network, NewLinks(timeline.NewClock().Now), 10*time.Second); err != nil {
				t.Error(err)
			}
		})
	}
}

// wrongCloser is a closer with a planted fault: it ends connections as its
// function does.
type wrongCloser struct {
	*Links
	fault func(all map[string]net.Conn, c net.Conn)
	all   map[string]net.Conn
}

func (w *wrongCloser) Wrap(id string, c net.Conn) net.Conn {
	w.all[id] = c
	return w.Links.Wrap(id, c)
}

func (w *wrongCloser) CloseConnection(_ context.Context, id string) (target.Closed, error) {
	c := w.newest(id)
	if c == nil {
		return target.Closed{Found: new(bool)}, nil
	}
	w.forget(c)
	w.fault(w.all, c)
	found := true
	return target.Closed{Found: &found, At: w.now()}, nil
}

func tell(c net.Conn) { // the library, as the real one does
	c.(*conn).mu.Lock()
	c.(*conn).state = finned
	c.(*conn).mu.Unlock()
}

// Each planted fault must be caught by the test that the real closer passes.
func TestConformanceCatchesWrongFaults(t *testing.T) {
	raw := func(c net.Conn) *net.TCPConn { return c.(*conn).Conn.(*net.TCPConn) }
	for name, fault := range map[string]func(map[string]net.Conn, net.Conn){
		"nothing":                   func(_ map[string]net.Conn, c net.Conn) {},
		"no FIN to the broker":      func(_ map[string]net.Conn, c net.Conn) { tell(c); _ = raw(c).CloseRead() },
		"no EOF to the library":     func(_ map[string]net.Conn, c net.Conn) { tell(c); _ = raw(c).CloseWrite() },
		"a plain Close":             func(_ map[string]net.Conn, c net.Conn) { _ = raw(c).Close() },
		"a reset":                   func(_ map[string]net.Conn, c net.Conn) { tell(c); _ = raw(c).SetLinger(0); _ = raw(c).Close() },
		"writes fail as on a reset": func(_ map[string]net.Conn, c net.Conn) { _ = raw(c).CloseWrite(); _ = raw(c).CloseRead() },
		"all connections": func(all map[string]net.Conn, c net.Conn) {
			_ = c.(*conn).fin()
			for _, o := range all {
				_ = o.(*net.TCPConn).CloseWrite()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &wrongCloser{Links: NewLinks(timeline.NewClock().Now), fault: fault, all: map[string]net.Conn{}}
			if err := conformsToFin(t, "tcp", w, 50*time.Millisecond); err == nil {
				t.Error("not caught")
			} else {
				t.Logf("caught: %v", err)
			}
		})
	}
}
