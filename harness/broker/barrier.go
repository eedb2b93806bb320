package broker

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"golang.org/x/time/rate"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// barriers are the gates that stand at the door of one broker.
type barriers struct {
	up      atomic.Pointer[[]*barrier] // in the order in which a client meets them; nil = none, which costs one load a packet
	closing chan struct{}              // closed: the broker closes, and nobody waits any more

	mu sync.Mutex // one change at a time
}

func newBarriers() *barriers { return &barriers{closing: make(chan struct{})} }

// barrier is one gate.
type barrier struct {
	target.Gate
	clients *regexp.Regexp // nil = every client
	closing <-chan struct{}
	lifted  chan struct{}
	bucket  *rate.Limiter // of ConnectLimit
	workers chan struct{} // of SlowAuth, as many as may be busy; nil = no bound

	mu      sync.Mutex
	tally   target.GateTally
	queued  int // of Held: those that wait for a worker
	rng     *rand.Rand
	buckets map[*mochi.Client]*rate.Limiter // of PublishQuota
	inside  sync.WaitGroup                  // the hooks that are in it; none enters once it is lifted
}

func newBarrier(g target.Gate, closing <-chan struct{}) (*barrier, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	b := &barrier{
		Gate: g, closing: closing, lifted: make(chan struct{}),
		rng: rand.New(rand.NewPCG(g.Seed, 0)), buckets: map[*mochi.Client]*rate.Limiter{},
	}
	if g.Clients != "" {
		b.clients = regexp.MustCompile(`^(?:` + g.Clients + `)$`) // g.Check has compiled it
	}
	if l := g.ConnectLimit; l != nil {
		b.bucket = rate.NewLimiter(rate.Limit(l.Rate), l.Burst)
	}
	if s := g.SlowAuth; s != nil && s.Workers > 0 {
		b.workers = make(chan struct{}, s.Workers)
	}
	return b, nil
}

// SetGate implements target.Gatekeeper.
func (e *Embedded) SetGate(_ context.Context, g target.Gate) (target.GateTally, error) {
	return e.gate.barriers.set(g)
}

var _ target.Gatekeeper = (*Embedded)(nil)

func (s *barriers) set(g target.Gate) (target.GateTally, error) {
	next, err := newBarrier(g, s.closing)
	if err != nil {
		return target.GateTally{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*barrier
	var before *barrier
	for _, b := range s.list() {
		if b.Name == g.Name {
			before = b
		} else {
			all = append(all, b)
		}
	}
	if !g.Open() {
		all = append(all, next)
	}
	// What is asked for first, and by name where that is the same.
	slices.SortFunc(all, func(a, b *barrier) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name))
	})
	if len(all) > 0 {
		s.up.Store(&all)
	} else {
		s.up.Store(nil)
	}
	if before == nil {
		return target.GateTally{}, nil
	}
	return before.lift(), nil
}

// rank orders what a CONNECT meets: a limit stands before the backend is asked.
func (b *barrier) rank() int {
	switch {
	case b.ConnectLimit != nil:
		return 0
	case b.SlowAuth != nil:
		return 1
	}
	return 2
}

func (s *barriers) list() []*barrier {
	if all := s.up.Load(); all != nil {
		return *all
	}
	return nil
}

// held is how many wait now.
func (s *barriers) held() (n int64) {
	for _, b := range s.list() {
		b.mu.Lock()
		n += b.tally.Held
		b.mu.Unlock()
	}
	return n
}

// close has nobody wait any more: the broker closes.
func (s *barriers) close() { close(s.closing) }

// enter counts a packet in, unless the barrier is lifted or not for its client.
func (b *barrier) enter(id string) bool {
	if b.clients != nil && !b.clients.MatchString(id) {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.lifted:
		return false
	default:
	}
	b.inside.Add(1)
	b.tally.Seen++
	b.tally.Held++
	return true
}

// leave counts it out again, by what became of it.
func (b *barrier) leave(err error) {
	defer b.inside.Done()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tally.Held--
	_, refused := errors.AsType[refusal](err)
	switch {
	case err == nil:
		b.tally.Passed++
	case refused:
		b.tally.Refused++
	case errors.Is(err, errGone):
		b.tally.Gone++
	default:
		b.tally.Closed++
	}
}

// lift lets out who is in it, and gives the last tally.
func (b *barrier) lift() target.GateTally {
	b.mu.Lock()
	close(b.lifted)
	b.mu.Unlock()
	b.inside.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tally
}

// picks decides for a share of the clients, for each always the same.
func (b *barrier) picks(id string, share float64) bool {
	caught := []string{id}
	if b.clients != nil && b.clients.NumSubexp() > 0 {
		caught = b.clients.FindStringSubmatch(id)[1:]
	}
	h := sha256.Sum256(fmt.Appendf(nil, "%d %q", b.Seed, caught))
	return float64(binary.BigEndian.Uint64(h[:])>>11)/(1<<53) < share
}

// wait holds a connection until its time has come, the barrier is lifted, which
// is nil too, or the broker closes.
func (b *barrier) wait(d time.Duration, gone <-chan struct{}) error {
	b.delayed()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b.lifted:
	case <-gone:
		return errGone
	case <-b.closing:
		return errClosing
	}
	return nil
}

func (b *barrier) delayed() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tally.Delayed++
}
