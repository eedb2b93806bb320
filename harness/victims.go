package harness

import (
	"context"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// victims follows, while the run goes on, who was hit in a phase and who is
// back, to know when `until: {back: …}` is reached and for the status line. It
// judges nothing: the numbers of the report come from the evidence.
type victims struct {
	mu     sync.Mutex
	phases map[string]*phaseVictims
	last   map[string]int // by client id: the connection that was last closed on purpose
}

type phaseVictims struct {
	pending int            // waves that are not fully issued
	hit     map[string]int // by client id: number of the connection that was live when it was last closed; 0 = none was
}

func newVictims() *victims {
	return &victims{phases: map[string]*phaseVictims{}, last: map[string]int{}}
}

// announce says how many waves a phase has, before any of them starts.
func (v *victims) announce(phase string, waves int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase(phase).pending = waves
}

func (v *victims) issuedAll(phase string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.phase(phase).pending--
}

func (v *victims) phase(name string) *phaseVictims {
	p := v.phases[name]
	if p == nil {
		p = &phaseVictims{hit: map[string]int{}}
		v.phases[name] = p
	}
	return p
}

// back counts the distinct clients closed so far in the phase and those that
// are back: on a later connection than the one that was closed.
func (v *victims) back(phase string, backOn func(clientID string) int) (back, hit int, issuing bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	for id, n := range p.hit {
		if on := backOn(id); on > n {
			back++
		}
	}
	return back, len(p.hit), p.pending > 0
}

// watch wraps the closer so that each close notes the connection it is about
// to end.
func (v *victims) watch(phase string, next target.ConnectionCloser, liveN func(clientID string) int) target.ConnectionCloser {
	return closerFunc(func(ctx context.Context, clientID string) (target.Closed, error) {
		n := liveN(clientID)
		v.mu.Lock()
		v.phase(phase).hit[clientID] = n
		v.last[clientID] = n
		v.mu.Unlock()
		return next.CloseConnection(ctx, clientID)
	})
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
