package harness

import (
	"context"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// victims follows, while the run goes on, who was closed in a phase and who is
// back, to know when `until: {back: …}` is reached and for the status line. It
// judges nothing: the numbers of the report come from the evidence.
//
// It is asked a hundred times a second in the middle of the storm that is
// being measured, so that a look costs two atomic loads for each client that is
// still away, and nothing for those that are back.
type victims struct {
	mu     sync.Mutex
	phases map[string]*phaseVictims
	last   map[string]int // by client id: the connection that was last closed on purpose
	frame  map[string]int // by client id: the connection on which a frame fault last acted
}

type phaseVictims struct {
	pending int            // waves that are not fully issued
	ahead   int            // connections that frame faults will end when their packets pass
	index   map[string]int // by client id: its entry in hit
	hit     []victim
	away    []int // indices of the entries that were not back at the last look
}

type victim struct {
	place
	n    int // number of the connection that was live when it was closed; 0 = none was
	away bool
	// A lasting fault holds the client until it is lifted.
	held   int              // lasting faults on it now
	lifted timeline.Instant // when the last of them was lifted; 0 = not by such a fault
}

// back reports whether the client is back on a later connection, or has lived
// through what is lifted on the same one.
func (v victim) back() bool {
	if v.fleet.BackOn(v.place.index) > v.n {
		return true
	}
	return v.lifted != 0 && v.held == 0 && v.n != 0 && v.fleet.Lives(v.place.index, v.n, v.lifted)
}

func newVictims() *victims {
	return &victims{phases: map[string]*phaseVictims{}, last: map[string]int{}, frame: map[string]int{}}
}

// announce says how many waves a phase has, before any of them starts.
func (v *victims) announce(phase string, waves int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase(phase).pending = waves
}

// expect says how many connections frame faults of the phase will end.
func (v *victims) expect(phase string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase(phase).ahead += n
}

func (v *victims) issuedAll(phase string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase(phase).pending--
}

func (v *victims) phase(name string) *phaseVictims {
	p := v.phases[name]
	if p == nil {
		p = &phaseVictims{index: map[string]int{}}
		v.phases[name] = p
	}
	return p
}

// back counts the distinct clients closed so far in the phase and those that
// have come back since they were last closed.
func (v *victims) back(phase string) (back, hit int, issuing bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	still := p.away[:0]
	for _, i := range p.away {
		if e := &p.hit[i]; e.back() {
			e.away = false
		} else {
			still = append(still, i)
		}
	}
	p.away = still
	return len(p.hit) - len(p.away), len(p.hit), p.pending > 0 || p.ahead > 0
}

// watch wraps the closer so that each close notes the connection it is about
// to end.
func (v *victims) watch(phase string, next target.ConnectionCloser, where map[string]place) target.ConnectionCloser {
	return closerFunc(func(ctx context.Context, clientID string) (target.Closed, error) {
		if at, found := where[clientID]; found {
			v.closing(phase, clientID, at, at.fleet.LiveN(at.index))
		}
		return next.CloseConnection(ctx, clientID)
	})
}

// framed notes the connection on which a frame fault acts on a packet. Whether
// it ends the connection, its action says (cut).
func (v *victims) framed(clientID string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.frame[clientID] = n
}

// cut notes that the connection on which a frame fault last acted is ended.
func (v *victims) cut(phase, clientID string, at place) {
	v.mu.Lock()
	n := v.frame[clientID]
	v.phase(phase).ahead--
	v.mu.Unlock()
	v.closing(phase, clientID, at, n)
}

// closing notes that connection n of a client is about to be ended on purpose.
func (v *victims) closing(phase, clientID string, at place, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[clientID] = n
	p := v.phase(phase)
	i, found := p.index[clientID]
	if !found {
		i = len(p.hit)
		p.index[clientID] = i
		p.hit = append(p.hit, victim{place: at})
	}
	p.hit[i].n, p.hit[i].lifted = n, 0
	if !p.hit[i].away {
		p.hit[i].away = true
		p.away = append(p.away, i)
	}
}

// holding notes that a lasting fault is about to hold a client on connection n,
// and released that it was lifted.
func (v *victims) holding(phase, clientID string, at place, n int) {
	v.closing(phase, clientID, at, n)
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	p.hit[p.index[clientID]].held++
}

func (v *victims) released(phase, clientID string, at timeline.Instant) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	e := &p.hit[p.index[clientID]]
	e.held--
	e.lifted = at
}

// acted reports whether connection n of a client was closed on purpose.
func (v *victims) acted(clientID string, n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, found := v.last[clientID]
	return found && last == n
}

type closerFunc func(ctx context.Context, clientID string) (target.Closed, error)

func (f closerFunc) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	return f(ctx, clientID)
}
