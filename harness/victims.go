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
	away    []int        // indices of the entries that were not back at the last look
	late    map[heat]int // clients that were not back at the horizon
}

// heat is a wave of a phase at one fleet.
type heat struct {
	wave  int
	fleet string
}

type victim struct {
	place
	n    int // number of the connection that was live when it was closed; 0 = none was
	wave int // that last acted on it
	away bool
	// failed: the action was answered with an error, so that the connection may
	// well live on: such a client is no victim that can come back.
	failed bool
	late   bool // counted as censored: not back at the horizon of its wave
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

// spared reports whether nobody waits for the client: its action failed and its
// connection lives on, or it is lost and never dials again.
func (v victim) spared() bool {
	live := v.n != 0 && v.fleet.LiveN(v.place.index) == v.n
	return v.failed && live || !live && !v.fleet.ComesBack()
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
		p = &phaseVictims{index: map[string]int{}, late: map[heat]int{}}
		v.phases[name] = p
	}
	return p
}

// back counts the distinct clients closed so far in the phase and those that
// have come back since they were last closed. Whose action failed for good is
// none of them.
func (v *victims) back(phase string) (back, hit int, issuing bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	spared := 0
	still := p.away[:0]
	for _, i := range p.away {
		e := &p.hit[i]
		if e.back() {
			e.away = false
			continue
		}
		still = append(still, i)
		if e.spared() {
			spared++
		}
	}
	p.away = still
	return len(p.hit) - len(p.away), len(p.hit) - spared, p.pending > 0 || p.ahead > 0
}

// failed notes that the last action on a client was answered with an error.
func (v *victims) failed(phase, clientID string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	if i, found := p.index[clientID]; found {
		p.hit[i].failed = true
	}
}

// overdue counts the clients that a wave ended and that are not back at its
// horizon, which is now: they are censored for certain.
func (v *victims) overdue(phase string, wave int) {
	v.back(phase)
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.phase(phase)
	for _, i := range p.away {
		e := &p.hit[i]
		if e.wave == wave && e.n != 0 && !e.late && !e.failed && e.fleet.LiveN(e.place.index) != e.n {
			e.late = true
			p.late[heat{wave, e.fleet.Name()}]++
		}
	}
}

// censored counts those of a phase and a fleet ("" = of all); each: in the wave
// with the most.
func (v *victims) censored(phase, fleet string, each bool) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	sum, most := 0, 0
	for name, p := range v.phases {
		waves := map[int]int{}
		for h, n := range p.late {
			if (phase == "" || phase == name) && (fleet == "" || fleet == h.fleet) {
				waves[h.wave] += n
				sum += n
				most = max(most, waves[h.wave])
			}
		}
	}
	if each {
		return most
	}
	return sum
}

// watch wraps the closer so that each close notes the connection it is about
// to end, and whether it failed.
func (v *victims) watch(phase string, wave int, next target.ConnectionCloser, where map[string]place) target.ConnectionCloser {
	return closerFunc(func(ctx context.Context, clientID string) (target.Closed, error) {
		if at, found := where[clientID]; found {
			v.closing(phase, wave, clientID, at, at.fleet.LiveN(at.index))
		}
		closed, err := next.CloseConnection(ctx, clientID)
		if err != nil {
			v.failed(phase, clientID)
		}
		return closed, err
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
func (v *victims) cut(phase string, wave int, clientID string, at place) {
	v.mu.Lock()
	n := v.frame[clientID]
	v.phase(phase).ahead--
	v.mu.Unlock()
	v.closing(phase, wave, clientID, at, n)
}

// closing notes that connection n of a client is about to be ended on purpose.
func (v *victims) closing(phase string, wave int, clientID string, at place, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[clientID] = n
	if at.fleet.ComesBack() {
		v.acting(phase, wave, clientID, at, n)
	} // else nobody waits for it
}

// acting makes a client one that is away. v.mu is held.
func (v *victims) acting(phase string, wave int, clientID string, at place, n int) {
	p := v.phase(phase)
	i, found := p.index[clientID]
	if !found {
		i = len(p.hit)
		p.index[clientID] = i
		p.hit = append(p.hit, victim{place: at})
	}
	e := &p.hit[i]
	e.n, e.wave, e.lifted, e.failed, e.late = n, wave, 0, false, false
	if !e.away {
		e.away = true
		p.away = append(p.away, i)
	}
}

// holding notes that a lasting fault is about to hold a client on connection n,
// and released that it was lifted.
func (v *victims) holding(phase string, wave int, clientID string, at place, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[clientID] = n
	// Also one that would not come back: the fault goes on until it is lost or let go.
	v.acting(phase, wave, clientID, at, n)
	if e := v.phase(phase).victim(clientID); e != nil {
		e.held++
	}
}

func (v *victims) released(phase, clientID string, at timeline.Instant) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.phase(phase).victim(clientID); e != nil {
		e.held--
		e.lifted = at
	}
}

// victim is the entry of a client; nil = nobody waits for it.
func (p *phaseVictims) victim(clientID string) *victim {
	if i, found := p.index[clientID]; found {
		return &p.hit[i]
	}
	return nil
}

// mark notes that connection n of a client that is no victim is about to be ended
// on purpose.
func (v *victims) mark(clientID string, n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.last[clientID] = n
}

// acted reports whether connection n of a client was closed on purpose.
func (v *victims) acted(clientID string, n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, found := v.last[clientID]
	return found && last == n
}

// reached reports whether a fault acted on connection n of a client, or on a
// later one.
func (v *victims) reached(clientID string, n int) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	last, found := v.last[clientID]
	return found && last >= n
}

type closerFunc func(ctx context.Context, clientID string) (target.Closed, error)

func (f closerFunc) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	return f(ctx, clientID)
}
