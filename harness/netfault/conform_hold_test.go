package netfault

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// conformsToHold holds the connection of one client in one or both directions:
// nothing of a cut direction arrives, the end of the stream included, until the
// lift; then all does, in order. The other direction goes on.
func conformsToHold(t testing.TB, network string, s faults, up, down bool, patience time.Duration) error {
	t.Helper()
	v := &verdict{t: t, patience: patience, quiet: 30 * time.Millisecond}
	victim, other := newParty(t, network, s, "victim"), newParty(t, network, s, "other")
	ended := newParty(t, network, s, "victim") // an older and a newer connection of one client
	v.untouched(victim, "before ")
	v.untouched(ended, "before ")
	lift := s.Impair("victim", Impairment{Up: Way{Hold: up}, Down: Way{Hold: down}})

	sent, told := text(3000, 'a'), text(3000, 'A')
	v.held(victim, up, down, sent, told)
	v.done("a write to the end", v.says(ended.broker, []byte("last")))
	ended.broker.Close()
	if down {
		v.silent(ended.atClient)
	} else {
		v.ends(ended.atClient, io.EOF)
	}
	v.untouched(other, "other")

	lift()
	lift()
	v.hears(victim.atBroker, append([]byte("before "), sent...))
	v.hears(victim.atClient, append([]byte("before "), told...))
	v.ends(ended.atClient, io.EOF)
	v.hears(ended.atClient, []byte("before last"))
	v.goesOn(victim, append([]byte("before "), sent...), append([]byte("before "), told...))
	return v.result()
}

// held sends in both directions and says that only what is not cut arrives.
func (v *verdict) held(p party, up, down bool, sent, told []byte) {
	v.t.Helper()
	wrote := v.says(p.client, sent)
	go func() {
		for part := range slices.Chunk(told, 700) {
			if _, err := p.broker.Write(part); err != nil {
				return
			}
		}
	}()
	v.done("a write of the client", wrote)
	if !up {
		v.hears(p.atBroker, append([]byte("before "), sent...))
	}
	if !down {
		v.hears(p.atClient, append([]byte("before "), told...))
	}
	if up {
		v.silent(p.atBroker)
		v.hears(p.atBroker, []byte("before "))
	}
	if down {
		v.silent(p.atClient)
		v.hears(p.atClient, []byte("before "))
	}
}

// goesOn says that a connection carries what comes next.
func (v *verdict) goesOn(p party, atBroker, atClient []byte) {
	v.done("a write after the lift", v.says(p.client, []byte("more")))
	v.done("a write to it after the lift", v.says(p.broker, []byte("more")))
	v.hears(p.atBroker, append(atBroker, "more"...))
	v.hears(p.atClient, append(atClient, "more"...))
}

func TestHoldConforms(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		for _, way := range [][2]bool{{true, true}, {true, false}, {false, true}} {
			if err := conformsToHold(t, network, newFaults(t), way[0], way[1], 10*time.Second); err != nil {
				t.Errorf("up %v, down %v: %v", way[0], way[1], err)
			}
		}
	})
}

// conformsToHeldClose closes a held connection at the client: its calls end, and
// the broker's end stays open until the lift, and gets none of what was held.
func conformsToHeldClose(t testing.TB, network string, s faults, patience time.Duration) error {
	t.Helper()
	v := &verdict{t: t, patience: patience, quiet: 30 * time.Millisecond}
	p := newParty(t, network, s, "victim")
	v.untouched(p, "before")
	lift := s.Impair("victim", Impairment{Up: Way{Hold: true}, Down: Way{Hold: true}})
	v.done("a held write", v.says(p.client, text(1000, 'a')))
	blocked := v.says(p.client, text(2*maxHeld, 'b'))
	select {
	case err := <-blocked:
		v.bad("a write behind a full buffer gives %w", err)
	case <-time.After(v.quiet):
	}
	if err := p.client.Close(); err != nil {
		v.bad("Close gives %w", err)
	}
	v.ends(p.atClient, net.ErrClosed)
	select {
	case err := <-blocked:
		if !errors.Is(err, net.ErrClosed) {
			v.bad("a write that waits gives %w at the Close", err)
		}
	case <-time.After(patience):
		v.bad("a write waits behind the Close")
	}
	v.silent(p.atBroker)
	lift()
	v.ends(p.atBroker, io.EOF)
	v.hears(p.atBroker, []byte("before"))
	return v.result()
}

func TestHeldCloseConforms(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		if err := conformsToHeldClose(t, network, newFaults(t), 10*time.Second); err != nil {
			t.Error(err)
		}
	})
}

// A close at the client passes where only the other direction is cut.
func TestCloseUnderAHoldOfTheOtherWay(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		s, v := newFaults(t), &verdict{t: t, patience: 10 * time.Second}
		p := newParty(t, network, s, "c")
		defer s.Impair("c", Impairment{Down: Way{Hold: true}})()
		v.done("a write", v.says(p.client, []byte("last")))
		p.client.Close()
		v.ends(p.atBroker, io.EOF)
		v.hears(p.atBroker, []byte("last"))
		v.ends(p.atClient, net.ErrClosed)
		if err := v.result(); err != nil {
			t.Error(err)
		}
	})
}

// A reset by the broker waits like the rest of what it sent.
func TestHoldKeepsAReset(t *testing.T) {
	s, v := newFaults(t), &verdict{t: t, patience: 10 * time.Second, quiet: 30 * time.Millisecond}
	p := newParty(t, "tcp", s, "c")
	lift := s.Impair("c", Impairment{Up: Way{Hold: true}, Down: Way{Hold: true}})
	_ = p.broker.(*net.TCPConn).SetLinger(0)
	p.broker.Close()
	v.silent(p.atClient)
	v.done("a write to the reset socket", v.says(p.client, []byte("x")))
	lift()
	v.ends(p.atClient, syscall.ECONNRESET)
	if err := v.result(); err != nil {
		t.Error(err)
	}
}

// Deadlines work while a connection is held, and when it is not any more.
func TestDeadlinesUnderAHold(t *testing.T) {
	forEachNetwork(t, func(t *testing.T, network string) {
		s := newFaults(t)
		l := newLink(t, network, s, "c")
		soon := func() time.Time { return time.Now().Add(20 * time.Millisecond) }
		lift := s.Impair("c", Impairment{Up: Way{Hold: true}, Down: Way{Hold: true}})
		_ = l.client.SetReadDeadline(soon())
		go func() { _, _ = l.broker.Write([]byte("held")) }()
		b := make([]byte, 10)
		for range 2 {
			if n, err := l.client.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Read gives %d, %v", n, err)
			}
		}
		_ = l.client.SetWriteDeadline(soon())
		if n, err := l.client.Write(text(maxHeld+1, 'a')); n != maxHeld || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("Write takes %d, %v", n, err)
		}
		got := listen("the broker", l.broker)
		lift()
		if n, err := l.client.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after the lift Read gives %d, %v", n, err)
		}
		_ = l.client.SetDeadline(time.Time{})
		if n, err := l.client.Read(b); err != nil || string(b[:n]) != "held" {
			t.Errorf("after the lift Read gives %q, %v", b[:n], err)
		}
		v := &verdict{t: t, patience: 10 * time.Second}
		v.hears(got, text(maxHeld+1, 'a')[:maxHeld])
		waitUntil(t, func() bool { return l.client.(*conn).slow.Load() == nil })
		_ = l.client.SetReadDeadline(soon())
		if n, err := l.client.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("of the fast connection Read gives %d, %v", n, err)
		}
		if err := v.result(); err != nil {
			t.Error(err)
		}
	})
}

// A deadline that was set before the hold holds.
func TestDeadlineFromBeforeAHold(t *testing.T) {
	s := newFaults(t)
	l := newLink(t, "tcp", s, "c")
	_ = l.client.SetReadDeadline(time.Now().Add(40 * time.Millisecond))
	failed := make(chan error, 1)
	go func() {
		_, err := l.client.Read(make([]byte, 1))
		failed <- err
	}()
	lift := s.Impair("c", Impairment{Down: Way{Hold: true}})
	lift() // at once: what woke the Read was neither its deadline nor its data
	if err := <-failed; !errors.Is(err, os.ErrDeadlineExceeded) || time.Now().Before(l.client.(*conn).readBy.time()) {
		t.Errorf("%v, at its deadline: %v", err, time.Now().After(l.client.(*conn).readBy.time()))
	}
}

func waitUntil(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never came")
		}
	}
}

// leaky has a planted fault: its hold is none, or its lift is wrong.
type leaky struct {
	*Links
	impair func(w *leaky, im Impairment) func()
}

func (w *leaky) Impair(_ string, im Impairment) func() { return w.impair(w, im) }

// first is the victim's older connection, on which the test talks.
func (w *leaky) first() *conn {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all("victim")[1]
}

func TestConformanceCatchesWrongHolds(t *testing.T) {
	for name, impair := range map[string]func(*leaky, Impairment) func(){
		"nothing": func(*leaky, Impairment) func() { return func() {} },
		"one direction": func(w *leaky, im Impairment) func() {
			im.Up = Way{}
			return w.Links.Impair("victim", im)
		},
		"everybody": func(w *leaky, im Impairment) func() {
			a, b := w.Links.Impair("victim", im), w.Links.Impair("other", im)
			return func() { a(); b() }
		},
		"the lift leaves one connection cut": func(w *leaky, im Impairment) func() {
			first := w.first()
			lift := w.Links.Impair("victim", im)
			return func() {
				x := &impairment{Impairment: im}
				first.impair(x, newShaper(im.Up, 0, 0), newShaper(im.Down, 0, 0))
				lift()
			}
		},
		"it throws away": func(w *leaky, im Impairment) func() {
			first := w.first()
			lift := w.Links.Impair("victim", im)
			return sync.OnceFunc(func() {
				first.mu.Lock()
				first.slow.Load().out = lane{}
				first.mu.Unlock()
				lift()
			})
		},
		"it turns the order": func(w *leaky, im Impairment) func() {
			first := w.first()
			lift := w.Links.Impair("victim", im)
			return sync.OnceFunc(func() {
				first.mu.Lock()
				q := first.slow.Load().out.queue
				q[0], q[1] = q[1], q[0]
				first.mu.Unlock()
				lift()
			})
		},
		"it leaks an EOF": func(w *leaky, im Impairment) func() {
			c := w.newest("victim")
			lift := w.Links.Impair("victim", im)
			c.mu.Lock()
			c.slow.Load().filters = nil // the connection that ends is let through
			c.changed(c.slow.Load())
			c.mu.Unlock()
			return lift
		},
		"the lift ends it": func(w *leaky, im Impairment) func() {
			first := w.first()
			lift := w.Links.Impair("victim", im)
			return func() { lift(); _ = first.fin() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &leaky{Links: newFaults(t), impair: impair}
			caught(t, conformsToHold(t, "tcp", w, true, true, 100*time.Millisecond))
		})
	}
}

func TestConformanceCatchesWrongHeldCloses(t *testing.T) {
	for name, impair := range map[string]func(*leaky, Impairment) func(){
		"nothing is held": func(*leaky, Impairment) func() { return func() {} },
		"the close leaks": func(w *leaky, im Impairment) func() {
			im.Up = Way{}
			return w.Links.Impair("victim", im)
		},
		"it is never ended": func(w *leaky, im Impairment) func() { w.Links.Impair("victim", im); return func() {} },
		"what was held is sent": func(w *leaky, im Impairment) func() {
			c := w.newest("victim")
			lift := w.Links.Impair("victim", im)
			return func() {
				c.mu.Lock()
				c.slow.Load().out.queue = append([]piece{{b: []byte("held")}}, c.slow.Load().out.queue...)
				c.mu.Unlock()
				lift()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &leaky{Links: newFaults(t), impair: impair}
			caught(t, conformsToHeldClose(t, "tcp", w, 100*time.Millisecond))
		})
	}
}
