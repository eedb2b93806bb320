package harness

import (
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// step is where a wave of a phase begins and which of the phase's faults it has.
type step struct {
	at          time.Duration // from the start of the phase
	early, late time.Duration // between which at is with any seed
	drawn       []int         // indices of the faults, ascending; nil = all
}

func (s step) has(fault int) bool { return s.drawn == nil || slices.Contains(s.drawn, fault) }

// steps lays down when the waves of a phase begin, and what they have.
func steps(ph scenarios.Phase, seed uint64) []step {
	if ph.Walk != nil {
		return walk(*ph.Walk, len(ph.Faults), func(k int) *rand.Rand {
			return rand.New(rand.NewPCG(mix(seed, ph.Name, k, -1), 0)) // -1: no fault has this number
		})
	}
	all := make([]step, max(1, ph.Repeat.Times))
	for k := range all {
		at := time.Duration(k) * ph.Repeat.Every
		all[k] = step{at: at, early: at, late: at}
	}
	return all
}

// horizons are how long the clients of wave k are watched, and the shortest that
// this is with any seed: a scenario is right or wrong whatever its seed.
func horizons(ph scenarios.Phase, waves []step, k int) (drawn, shortest time.Duration) {
	if k == len(waves)-1 || ph.Repeat.Overlap {
		return horizon(ph, waves[k].at, -1), horizon(ph, waves[k].late, -1)
	}
	return horizon(ph, waves[k].at, waves[k+1].at), horizon(ph, waves[k].late, waves[k+1].early)
}

// horizon of a wave that begins at an instant of its phase: the phase's time-out
// (or its time) from there, cut at the next wave; next < 0 = by none.
func horizon(ph scenarios.Phase, at, next time.Duration) time.Duration {
	h := ph.Timeout
	if ph.Until == nil {
		h = ph.For - at
	}
	if next >= 0 {
		h = min(h, next-at)
	}
	return h
}

// walk draws the steps of a random walk. What a step draws depends on the seed
// and its number only, so that a longer walk begins like a shorter one.
func walk(w scenarios.Walk, faults int, seeded func(k int) *rand.Rand) []step {
	all := make([]step, w.Steps)
	for k := range all {
		draw, early := seeded(k), time.Duration(k)*w.Every
		jitter := time.Duration(w.Jitter * float64(w.Every))
		later := time.Duration(draw.Float64() * float64(jitter)).Truncate(time.Microsecond)
		drawn := draw.Perm(faults)[:1+draw.IntN(w.AtOnce)]
		slices.Sort(drawn)
		all[k] = step{at: early + later, early: early, late: early + jitter, drawn: drawn}
	}
	return all
}
