package netfault

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
)

// conformsToReset resets one of two connections: the client gets ECONNRESET,
// over Read and over Write, the broker too; the other lives on.
func conformsToReset(t testing.TB, s faults, patience time.Duration, idle bool) error {
	t.Helper()
	v := &verdict{t: t, patience: patience}
	victim, other := newParty(t, "tcp", s, "victim"), newParty(t, "tcp", s, "other")
	if !idle {
		v.untouched(victim, "before")
	}
	closed, _, err := s.Reset(t.Context(), "victim")
	if err != nil || closed.Found == nil || !*closed.Found || closed.At == 0 {
		v.bad("Reset says %+v, %w", closed, err)
	}
	v.ends(victim.atClient, syscall.ECONNRESET)
	v.ends(victim.atBroker, syscall.ECONNRESET)
	_ = victim.client.SetDeadline(time.Now().Add(patience)) // or a wrong fault would hang here
	for range 2 {
		if _, err := victim.client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) {
			v.bad("a write after the reset gives %w", err)
		}
		if n, err := victim.client.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
			v.bad("a read after the reset gives %d, %w", n, err)
		}
	}
	if closed, _, err := s.Reset(t.Context(), "victim"); err != nil || closed.Found == nil || *closed.Found {
		v.bad("a second Reset says %+v, %w", closed, err)
	}
	v.untouched(other, "other")
	_ = victim.client.Close()
	if n, err := victim.raw.Write([]byte("x")); err == nil {
		v.bad("after the library's Close the socket is open: wrote %d", n)
	}
	return v.result()
}

// syntheticLinks resets as on a system without an abort.
type syntheticLinks struct{ *Links }

func (s syntheticLinks) Reset(ctx context.Context, id string) (target.Closed, bool, error) {
	var synthetic bool
	closed, err := s.end(ctx, id, "rst", func(c *conn) (err error) {
		synthetic, err = c.reset(abortByClose)
		return err
	})
	return closed, synthetic, err
}

func TestResetConforms(t *testing.T) {
	for _, idle := range []bool{false, true} {
		if err := conformsToReset(t, newFaults(t), 10*time.Second, idle); err != nil {
			t.Error(err)
		}
		if err := conformsToReset(t, syntheticLinks{newFaults(t)}, 10*time.Second, idle); err != nil {
			t.Errorf("synthetic: %v", err)
		}
	}
}

// A synthetic reset says that it is one, and a pipe that it has none.
func TestResetSaysWhatItIs(t *testing.T) {
	s := newFaults(t)
	newLink(t, "tcp", s, "c")
	if _, synthetic, err := (syntheticLinks{s}).Reset(t.Context(), "c"); err != nil || !synthetic {
		t.Errorf("by close: synthetic %v, %v", synthetic, err)
	}
	newLink(t, "tcp", s, "c")
	_, synthetic, err := s.Reset(t.Context(), "c")
	if err != nil || synthetic != (runtime.GOOS != "linux") {
		t.Errorf("of this system: synthetic %v, %v", synthetic, err)
	}
	p := newLink(t, "pipe", s, "p")
	if _, _, err := s.Reset(t.Context(), "p"); !errors.Is(err, ErrNoReset) {
		t.Errorf("a pipe: %v", err)
	}
	go func() { _, _ = p.broker.Write([]byte("x")) }()
	if _, err := p.client.Read(make([]byte, 1)); err != nil {
		t.Errorf("the pipe that can not be reset is broken: %v", err)
	}
}

// The tap above must see a reset, whichever goroutine of a busy library
// notices first: the kernel tells ECONNRESET to one of them.
func TestTheTapSeesAReset(t *testing.T) {
	r, k := newFaults(t), &kinds{}
	const rounds = 100
	for range rounds {
		l := newLink(t, "tcp", r, "c")
		c := wire.Tap(l.client, r.now, k)
		var group sync.WaitGroup
		first := make(chan struct{})
		group.Go(func() {
			_, _ = l.broker.Read(make([]byte, 64))
			close(first)
			_, _ = io.Copy(io.Discard, l.broker)
		})
		for range 2 {
			group.Go(func() {
				for b := mqtt.AppendPingreq(nil); ; {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			})
		}
		group.Go(func() { _, _ = io.Copy(io.Discard, c) })
		<-first
		if _, _, err := r.Reset(t.Context(), "c"); err != nil {
			t.Fatal(err)
		}
		group.Wait()
		c.Close()
	}
	for i, kind := range k.got {
		if kind != timeline.EndReset {
			t.Errorf("round %d ended with %s", i, kind)
		}
	}
	if len(k.got) != rounds || r.Live() != 0 {
		t.Errorf("%d ends of %d, %d live", len(k.got), rounds, r.Live())
	}
}

// The far end's reset is told to one of the calls, by the kernel; the others read
// EOF. Of a connection that was to be reset all are told; of another one, or after
// a FIN, EOF is EOF.
func TestTheFarEndsReset(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("SKIPPED: this system does not say how a socket has ended")
	}
	for _, tc := range []struct {
		doomed, fin bool
		want        error
	}{{true, false, syscall.ECONNRESET}, {false, false, io.EOF}, {true, true, io.EOF}} {
		s := newFaults(t)
		l := newLink(t, "tcp", s, "c")
		if tc.doomed {
			s.Doom("c")
		}
		if tc.fin {
			_ = l.broker.(*net.TCPConn).CloseWrite()
		} else {
			_ = l.broker.(*net.TCPConn).SetLinger(0)
			_ = l.broker.Close()
			if _, err := l.client.Write([]byte("x")); !errors.Is(err, syscall.ECONNRESET) { // it is told
				t.Fatal(err)
			}
		}
		_ = l.client.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := l.client.Read(make([]byte, 1)); !errors.Is(err, tc.want) {
			t.Errorf("%+v: the read gives %v", tc, err)
		}
	}
}

// conformsToSlowClose ends one of two connections: the client reads what had
// arrived, then EOF; the broker's end is open for delay, or to hasten, and then
// gets what was written, and EOF.
func conformsToSlowClose(t testing.TB, network string, s faults, patience time.Duration, hurry bool) error {
	t.Helper()
	v := &verdict{t: t, patience: patience, quiet: 30 * time.Millisecond}
	victim, other := newParty(t, network, s, "victim"), newParty(t, network, s, "other")
	v.untouched(victim, "before")
	delay := 80 * time.Millisecond
	if hurry {
		delay = time.Hour
	}
	began := time.Now()
	closed, hasten, err := s.SlowClose(t.Context(), "victim", delay)
	if err != nil || closed.Found == nil || !*closed.Found || closed.At == 0 {
		v.bad("SlowClose says %+v, %w", closed, err)
	}
	v.ends(victim.atClient, io.EOF)
	if took := time.Since(began); took >= delay {
		v.bad("the client's FIN came after %s", took)
	}
	if _, err := victim.client.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || !errors.Is(err, io.EOF) {
		v.bad("a write after the FIN gives %w", err)
	}
	if err := victim.client.Close(); err != nil { // as a library does at once
		v.bad("the library's Close gives %w", err)
	}
	if err := victim.client.Close(); !errors.Is(err, net.ErrClosed) {
		v.bad("a second Close gives %w", err)
	}
	v.silent(victim.atBroker)
	if hurry {
		hasten()
		hasten()
	}
	v.ends(victim.atBroker, io.EOF)
	if took := time.Since(began); !hurry && took < delay {
		v.bad("the broker's FIN came after %s, want %s", took, delay)
	}
	v.hears(victim.atBroker, []byte("before"))
	v.untouched(other, "other")
	return v.result()
}

func TestSlowCloseConforms(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		for _, hurry := range []bool{false, true} {
			if err := conformsToSlowClose(t, network, newFaults(t), 10*time.Second, hurry); err != nil {
				t.Error(err)
			}
		}
	})
}

// What is slow at the end of the run ends with it.
func TestCloseEndsWhatLingers(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		s := NewLinks(timeline.NewClock().Now)
		v := &verdict{t: t, patience: 10 * time.Second}
		slow, held, open := newParty(t, network, s, "slow"), newParty(t, network, s, "held"), newParty(t, network, s, "open")
		if _, _, err := s.SlowClose(t.Context(), "slow", time.Hour); err != nil {
			t.Fatal(err)
		}
		defer s.Impair("held", Impairment{Up: Way{Hold: true}})()
		v.done("a held write", v.says(held.client, []byte("held")))
		held.client.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		v.ends(slow.atBroker, io.EOF)
		v.ends(held.atBroker, io.EOF)
		v.hears(held.atBroker, nil)
		v.untouched(open, "open")
		if err := v.result(); err != nil {
			t.Error(err)
		}
	})
}

// wrongEnds has a planted fault.
type wrongEnds struct {
	*Links
	reset func(w *wrongEnds, c *conn)
	slow  func(w *wrongEnds, c *conn, delay time.Duration)
}

func (w *wrongEnds) Reset(_ context.Context, id string) (target.Closed, bool, error) {
	closed := w.wrong(id, func(c *conn) { w.reset(w, c) })
	return closed, false, nil
}

func (w *wrongEnds) SlowClose(_ context.Context, id string, delay time.Duration) (target.Closed, func(), error) {
	closed := w.wrong(id, func(c *conn) { w.slow(w, c, delay) })
	return closed, func() {}, nil
}

func (w *wrongEnds) wrong(id string, how func(*conn)) target.Closed {
	c := w.newest(id)
	if c == nil {
		return target.Closed{Found: new(bool)}
	}
	w.forget(c)
	how(c)
	found := true
	return target.Closed{Found: &found, At: w.now()}
}

// Each planted end must be caught by the test that the real one passes.
func TestConformanceCatchesWrongEnds(t *testing.T) {
	tcp := func(c *conn) *net.TCPConn { return c.Conn.(*net.TCPConn) }
	for name, reset := range map[string]func(*wrongEnds, *conn){
		"nothing":                    func(*wrongEnds, *conn) {},
		"a FIN":                      func(_ *wrongEnds, c *conn) { _ = c.fin() },
		"a local close":              func(_ *wrongEnds, c *conn) { _ = tcp(c).SetLinger(0); _ = tcp(c).Close() },
		"a plain close":              func(_ *wrongEnds, c *conn) { c.state = aborted; _ = tcp(c).Close() },
		"only at the client":         func(_ *wrongEnds, c *conn) { c.state = aborted; _ = tcp(c).CloseRead() },
		"the kernel's errors as are": func(_ *wrongEnds, c *conn) { _, _ = abort(c.Conn) },
		"all connections": func(w *wrongEnds, c *conn) {
			_, _ = c.reset(abort)
			_, _ = w.newest("other").reset(abort)
		},
	} {
		t.Run("rst/"+name, func(t *testing.T) {
			w := &wrongEnds{Links: newFaults(t), reset: reset}
			caught(t, conformsToReset(t, w, 50*time.Millisecond, true))
		})
	}
	for name, slow := range map[string]func(*wrongEnds, *conn, time.Duration){
		"nothing":                func(*wrongEnds, *conn, time.Duration) {},
		"a fast FIN":             func(_ *wrongEnds, c *conn, _ time.Duration) { _ = c.fin() },
		"a reset":                func(_ *wrongEnds, c *conn, _ time.Duration) { _, _ = c.reset(abort) },
		"no FIN to the broker":   func(_ *wrongEnds, c *conn, _ time.Duration) { _ = c.finAfter(time.Hour) },
		"the client waits too":   func(_ *wrongEnds, c *conn, d time.Duration) { time.AfterFunc(d, func() { _ = c.fin() }) },
		"the socket is closed":   func(_ *wrongEnds, c *conn, _ time.Duration) { _ = c.finAfter(0) },
		"the FIN comes too soon": func(_ *wrongEnds, c *conn, d time.Duration) { _ = c.finAfter(d * 3 / 4) },
	} {
		t.Run("slow-close/"+name, func(t *testing.T) {
			w := &wrongEnds{Links: newFaults(t), slow: slow}
			caught(t, conformsToSlowClose(t, "tcp", w, 200*time.Millisecond, false))
		})
	}
}

func caught(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Error("not caught")
	} else {
		t.Logf("caught: %v", err)
	}
}
