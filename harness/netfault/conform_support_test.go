package netfault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// faults is what the conformance tests of the faults on a link are about:
// *Links, or one with a planted fault.
type faults interface {
	closer
	Reset(ctx context.Context, clientID string) (target.Closed, bool, error)
	SlowClose(ctx context.Context, clientID string, delay time.Duration) (target.Closed, func(), error)
	Impair(clientID string, im Impairment) (lift func())
	Dial(ctx context.Context, clientID string, dial func(context.Context) (net.Conn, error)) (net.Conn, error)
}

func newFaults(t testing.TB) *Links {
	l := NewLinks(timeline.NewClock().Now)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// verdict gathers what was not as it has to be.
type verdict struct {
	t        testing.TB
	patience time.Duration // bounds the wait for what never comes
	quiet    time.Duration // how long nothing has to come
	wrong    []error
}

func (v *verdict) bad(format string, args ...any) {
	v.wrong = append(v.wrong, fmt.Errorf(format, args...))
}
func (v *verdict) result() error { return errors.Join(v.wrong...) }

// ear reads one end of a connection all the time.
type ear struct {
	who  string
	mu   sync.Mutex
	got  []byte
	at   []time.Time // of each byte
	err  error
	news chan struct{}
}

func listen(who string, c net.Conn) *ear {
	e := &ear{who: who, news: make(chan struct{}, 1)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := c.Read(b)
			e.heard(b[:n], err)
			if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	}()
	return e
}

func (e *ear) heard(b []byte, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.got = append(e.got, b...)
	for range b {
		e.at = append(e.at, time.Now())
	}
	if e.err == nil {
		e.err = err
	}
	select {
	case e.news <- struct{}{}:
	default:
	}
}

func (e *ear) now() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return string(e.got), e.err
}

// hears waits for these bytes since the beginning, and no others.
func (v *verdict) hears(e *ear, want []byte) {
	late := time.After(v.patience)
	for {
		got, err := e.now()
		switch {
		case !bytes.HasPrefix(want, []byte(got)):
			v.bad("%s read %.40q (%d bytes), want %.40q (%d)", e.who, got, len(got), want, len(want))
			return
		case len(got) == len(want):
			return
		case err != nil:
			v.bad("%s read %d bytes of %d, then %w", e.who, len(got), len(want), err)
			return
		}
		select {
		case <-e.news:
		case <-late:
			v.bad("%s waits for %d bytes of %d", e.who, len(want)-len(got), len(want))
			return
		}
	}
}

// ends waits for the end, and that it is this one.
func (v *verdict) ends(e *ear, want error) {
	late := time.After(v.patience)
	for {
		if _, err := e.now(); err != nil {
			if !errors.Is(err, want) {
				v.bad("%s ended with %w, want %w", e.who, err, want)
			}
			return
		}
		select {
		case <-e.news:
		case <-late:
			v.bad("%s noticed no end", e.who)
			return
		}
	}
}

// silent says that nothing comes.
func (v *verdict) silent(e *ear) {
	before, _ := e.now()
	time.Sleep(v.quiet)
	if after, err := e.now(); after != before || err != nil {
		v.bad("%s was to hear nothing, and read %.40q, then %w", e.who, after[len(before):], err)
	}
}

// says writes without waiting for the write: a pipe has no buffer.
func (v *verdict) says(c net.Conn, b []byte) <-chan error {
	done := make(chan error, 1)
	go func() {
		n, err := c.Write(b)
		if err == nil && n != len(b) {
			err = io.ErrShortWrite
		}
		done <- err
	}()
	return done
}

// done waits for a write.
func (v *verdict) done(what string, ch <-chan error) {
	select {
	case err := <-ch:
		if err != nil {
			v.bad("%s: %w", what, err)
		}
	case <-time.After(v.patience):
		v.bad("%s does not end", what)
	}
}

// party is a connection with ears at both ends.
type party struct {
	link
	atClient, atBroker *ear
}

func newParty(t testing.TB, network string, s closer, id string) party {
	l := newLink(t, network, s, id)
	return party{l, listen("the client "+id, l.client), listen("the broker of "+id, l.broker)}
}

// untouched says that a connection that no fault is about carries each byte,
// both ways, at once.
func (v *verdict) untouched(p party, so string) {
	v.done("a write of "+so, v.says(p.client, []byte(so)))
	v.done("a write to "+so, v.says(p.broker, []byte(so)))
	v.hears(p.atBroker, []byte(so))
	v.hears(p.atClient, []byte(so))
}

// text is n bytes that show where they are from.
func text(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i%23) + byte(i/1000)
	}
	return b
}

func forEachNetwork(t *testing.T, f func(t *testing.T, network string)) {
	for _, network := range []string{"tcp", "pipe"} {
		t.Run(network, func(t *testing.T) { f(t, network) })
	}
}
