package netfault

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"
)

// Way is what happens to the bytes of one direction. Whatever it is, none is
// lost and their order stays.
type Way struct {
	Hold   bool          // nothing passes before the impairment is lifted, the end of the stream included
	Delay  time.Duration // each piece is this late
	Jitter time.Duration // and up to this more, drawn evenly for each piece
	Rate   float64       // bytes per second, by a token bucket of one segment (1460 bytes); 0 = no limit
}

// Dials says what becomes of a client's new dials.
type Dials byte

// The fates of a dial.
const (
	DialsPass    Dials = iota
	DialsHang          // until the dialler gives up or the impairment is lifted
	DialsRefused       // ECONNREFUSED
)

// Impairment is what lasts on the link of one client.
type Impairment struct {
	Up, Down Way  // client to broker, broker to client
	New      bool // on connections that are made while it lasts, too; their dials take the two delays longer
	Dials    Dials
	Seed     uint64 // of the jitter's draws: each connection and direction has its own
	// Dialled, if set, is told of each dial that was not let through; safe for
	// concurrent use, quick.
	Dialled func()
}

// lossless reports whether connections are left as they are.
func (im *Impairment) lossless() bool { return im.Up == Way{} && im.Down == Way{} }

// impairment is an Impairment in force.
type impairment struct {
	Impairment
	lifted chan struct{}

	mu    sync.Mutex
	over  bool
	conns []*conn // that it is on
	n     uint64  // connections that it ever was on
}

// Impair puts an impairment on the live connections of a client, and on its new
// ones and its dials if it says so. Several on one client add up. lift takes it
// off: what was held or late is released at once, in order. It may be called
// twice.
func (l *Links) Impair(clientID string, im Impairment) (lift func()) {
	x := &impairment{Impairment: im, lifted: make(chan struct{})}
	l.mu.Lock()
	l.impaired[clientID] = append(slices.Clip(l.impaired[clientID]), x)
	live := l.all(clientID)
	l.mu.Unlock()
	for _, c := range live {
		x.add(c)
	}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		rest := slices.DeleteFunc(slices.Clone(l.impaired[clientID]), func(y *impairment) bool { return y == x })
		if l.impaired[clientID] = rest; len(rest) == 0 {
			delete(l.impaired, clientID)
		}
		l.mu.Unlock()
		x.lift()
	})
}

func (x *impairment) add(c *conn) {
	if x.lossless() {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.over {
		return
	}
	x.conns = append(slices.DeleteFunc(x.conns, (*conn).isOver), c)
	x.n++
	c.impair(x, newShaper(x.Up, x.Seed, 2*x.n), newShaper(x.Down, x.Seed, 2*x.n+1))
}

func (x *impairment) lift() {
	close(x.lifted)
	x.mu.Lock()
	x.over = true
	conns := x.conns
	x.conns = nil
	x.mu.Unlock()
	for _, c := range conns {
		c.lift(x)
	}
}

// Dial makes a connection of a client with dial, or fails as the impairments of
// the client have it, and wraps what it made.
func (l *Links) Dial(ctx context.Context, clientID string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	if err := l.gate(ctx, clientID); err != nil {
		return nil, err
	}
	c, err := dial(ctx)
	if err != nil {
		return nil, err
	}
	return l.Wrap(clientID, c), nil
}

// gate returns when a dial may begin.
func (l *Links) gate(ctx context.Context, clientID string) error {
	for told := (*impairment)(nil); ; {
		x, delay := l.atTheGate(clientID)
		if x == nil {
			return pause(ctx, delay)
		}
		if x != told && x.Dialled != nil {
			x.Dialled()
		}
		told = x
		if x.Dials == DialsRefused {
			return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
		}
		select {
		case <-x.lifted:
		case <-ctx.Done():
			return gaveUp(ctx)
		}
	}
}

// atTheGate gives the impairment that does not let a client's dials pass, or
// none and how much longer they take.
func (l *Links) atTheGate(clientID string) (*impairment, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delay := time.Duration(0)
	for _, x := range l.impaired[clientID] {
		if x.Dials != DialsPass {
			return x, 0
		}
		if x.New {
			delay += x.Up.Delay + x.Down.Delay
		}
	}
	return nil, delay
}

// pause waits, as a dial does.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return gaveUp(ctx)
	}
}

// gaveUp is what a dial gives whose context ended: of a deadline the time-out
// that net gives.
func gaveUp(ctx context.Context) error {
	err := ctx.Err()
	if err == context.DeadlineExceeded {
		err = os.ErrDeadlineExceeded
	}
	return &net.OpError{Op: "dial", Net: "tcp", Err: err}
}

// shaper says how late the bytes of one direction of one connection are.
type shaper struct {
	Way
	draw   *rand.Rand
	bucket *rate.Limiter
}

// segment is the largest piece that is late as a whole: the payload of a TCP
// segment on Ethernet.
const segment = 1460

func newShaper(w Way, seed, stream uint64) shaper {
	s := shaper{Way: w}
	if w.Jitter > 0 {
		s.draw = rand.New(rand.NewPCG(seed, stream))
	}
	if w.Rate > 0 {
		s.bucket = rate.NewLimiter(rate.Limit(w.Rate), segment)
	}
	return s
}

// late is by how much a piece of n bytes, at most a segment, is late.
func (s *shaper) late(now time.Time, n int) time.Duration {
	d := s.Delay
	if s.draw != nil {
		d += time.Duration(s.draw.Int64N(int64(s.Jitter) + 1))
	}
	if s.bucket != nil && n > 0 {
		d += s.bucket.ReserveN(now, n).DelayFrom(now)
	}
	return d
}
