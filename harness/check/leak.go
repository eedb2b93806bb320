package check

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The bounds of a leak are ours: below so many cycles noise and leak look the
// same.
const (
	leakCycles  = 300
	leakPer100  = 2        // goroutines or files that 100 cycles may leave behind
	leakHeapPer = 16 << 10 // bytes of heap a cycle: half of what one client of a library holds
)

// leak demands that what a cycle of connecting and losing a connection takes
// comes back. Goroutines are charged by the function that started them; of a
// file nobody tells who opened it, and heap is kept for many good reasons, so
// that it only warns.
func leak(ev Evidence) Result {
	l := ev.Leak
	switch {
	case l == nil:
		return notApplicable("no leak was measured")
	case l.Cycles < leakCycles:
		return notApplicable("%d cycles are too few to tell a leak from noise: %d are needed", l.Cycles, leakCycles)
	}
	var t tally
	leaks := func(more int64) bool { return more*100 > int64(l.Cycles)*leakPer100 }
	per := func(more int64) float64 { return float64(more) / float64(l.Cycles) }
	for _, g := range l.Goroutines {
		if more := int64(g.More); leaks(more) {
			t.fault(g.Charge, more, "%d goroutines more of %s (%.3f a cycle)", more, g.Creator, per(more))
		}
	}
	if leaks(l.FDs) {
		t.fault(timeline.ChargeNobody, l.FDs, "%d open files more (%.3f a cycle)", l.FDs, per(l.FDs))
	}
	if l.HeapBytes > int64(l.Cycles)*leakHeapPer {
		t.warn(1, "%d bytes of heap more (%.0f a cycle)", l.HeapBytes, per(l.HeapBytes))
	}
	return t.verdict(fmt.Sprintf("goroutines and files that %d cycles left behind: %d (%s)", l.Cycles, t.count, t.charged()),
		valid("what %d cycles took came back", l.Cycles))
}
