package netfault

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// TestNothingIsLost: whatever impairments come and go on a busy connection, each
// byte arrives once and in order, both ways, and then it is fast again.
func TestNothingIsLost(t *testing.T) {
	const bytes = 300_000
	forEachNetwork(t, func(t *testing.T, network string) {
		for seed := range uint64(6) {
			s := newFaults(t)
			l := newLink(t, network, s, "c")
			var carried, weather sync.WaitGroup
			stop := make(chan struct{})
			for i := range 3 {
				weather.Go(func() { storms(s, rand.New(rand.NewPCG(seed, uint64(i))), stop) })
			}
			for _, dir := range [][2]net.Conn{{l.client, l.broker}, {l.broker, l.client}} {
				carried.Go(func() { write(t, dir[0], text(bytes, 'a'), seed) })
				carried.Go(func() {
					got := make([]byte, bytes)
					if n, err := io.ReadFull(dir[1], got); err != nil || string(got) != string(text(bytes, 'a')) {
						t.Errorf("seed %d: %d bytes, %v", seed, n, err)
					}
				})
			}
			time.Sleep(150 * time.Millisecond)
			close(stop)
			weather.Wait()
			carried.Wait()
			waitUntil(t, func() bool { return l.client.(*conn).slow.Load() == nil })
		}
	})
}

// storms puts impairments on and takes them off.
func storms(s *Links, rng *rand.Rand, stop <-chan struct{}) {
	way := func() (w Way) {
		switch rng.IntN(5) {
		case 0:
			w.Hold = true
		case 1:
			w.Delay = time.Duration(rng.IntN(10)) * time.Millisecond
		case 2:
			w.Jitter = time.Duration(1+rng.IntN(10)) * time.Millisecond
		case 3:
			w.Rate = float64(100_000 + rng.IntN(1_000_000))
		}
		return w
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		lift := s.Impair("c", Impairment{Up: way(), Down: way(), New: true, Seed: rng.Uint64()})
		time.Sleep(time.Duration(rng.IntN(5)) * time.Millisecond)
		lift()
	}
}

// write writes in pieces, with a deadline that is set anew for each.
func write(t *testing.T, c net.Conn, b []byte, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	for len(b) > 0 {
		n := min(len(b), 1+rng.IntN(5000))
		_ = c.SetWriteDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Write(b[:n]); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			return
		}
		b = b[n:]
	}
}

// TestEndsUnderImpairments: however a connection ends while impairments come and
// go, everybody who waits is told, and nothing is left behind.
func TestEndsUnderImpairments(t *testing.T) {
	for seed := range uint64(60) {
		s := newFaults(t)
		l := newLink(t, "tcp", s, "c")
		rng := rand.New(rand.NewPCG(seed, 5))
		var busy, weather sync.WaitGroup
		stop := make(chan struct{})
		for i := range 2 {
			weather.Go(func() { storms(s, rand.New(rand.NewPCG(seed, uint64(i))), stop) })
		}
		for _, c := range []net.Conn{l.client, l.broker} {
			busy.Go(func() {
				for b := make([]byte, 3000); ; {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			})
			busy.Go(func() {
				_, _ = io.Copy(io.Discard, c)
				if c == l.broker {
					c.Close() // as a broker does
				}
			})
		}
		time.Sleep(time.Duration(rng.IntN(8)) * time.Millisecond)
		switch seed % 6 {
		case 0:
			l.client.Close()
		case 1:
			_, _, _ = s.Reset(t.Context(), "c")
		case 2:
			_, _ = s.CloseConnection(t.Context(), "c")
		case 3:
			l.broker.Close()
		case 4:
			_ = l.broker.(*net.TCPConn).SetLinger(0)
			l.broker.Close()
		case 5:
			_, hasten, _ := s.SlowClose(t.Context(), "c", time.Hour)
			hasten()
		}
		time.Sleep(2 * time.Millisecond)
		close(stop)
		weather.Wait()
		l.client.Close()
		l.client.Close()
		done := make(chan struct{})
		go func() { busy.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("seed %d: somebody waits", seed)
		}
		if err := s.Close(); err != nil || s.Live() != 0 || len(s.lingering) != 0 {
			t.Errorf("seed %d: %d live, %d linger, %v", seed, s.Live(), len(s.lingering), err)
		}
	}
}
