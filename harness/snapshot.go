package harness

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// leakCycles is how many actions of faults it takes to tell a leak of a few
	// goroutines in a hundred cycles from noise.
	leakCycles = 300
	// leakQuiet is how long the process is left alone before the last snapshot:
	// what ends by itself has ended by then.
	leakQuiet = 5 * time.Second
	// leakClients is the largest fleet that is looked at: a snapshot stops the
	// world for as long as it takes to walk all goroutines, ten of each client.
	leakClients = 1000
)

// watchesLeaks reports whether the plan has enough cycles, and few enough
// clients, to look for leaks.
func (r *run) watchesLeaks() bool {
	if r.plan.Clients > leakClients {
		return false
	}
	n := 0
	for _, ph := range r.plan.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				n += f.Count
			}
		}
	}
	return n >= leakCycles
}

// snapshot notes what this process holds, at a quiet moment.
func (r *run) snapshot() error {
	goroutines, err := measure.Goroutines()
	if errors.Is(err, measure.ErrTooManyGoroutines) {
		return nil // no snapshot: the check then has nothing to say
	}
	if err != nil {
		return err
	}
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, _, fds := measure.FDs()
	r.ev.add(timeline.Event{Snapshot: &timeline.Snapshot{
		At: r.clock.Now(), Goroutines: goroutines, HeapBytes: int64(m.HeapAlloc), FDs: int64(fds),
	}})
	return nil
}

// firstSnapshot is taken before the first phase with faults, lastSnapshot when
// the drained run has been quiet for a while.
func (r *run) firstSnapshot() error {
	if r.snapped || !r.watchesLeaks() {
		return nil
	}
	r.snapped = true
	return r.snapshot()
}

func (r *run) lastSnapshot(ctx context.Context) error {
	if !r.snapped {
		return nil
	}
	// The closer's pool of idle connections waits for the next kick: no leak.
	if err := r.closePool(); err != nil {
		return err
	}
	t := time.NewTimer(leakQuiet)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-r.soft.Done():
		return nil // interrupted: nobody waits for this
	case <-t.C:
	}
	return r.snapshot()
}
