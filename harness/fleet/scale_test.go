package fleet

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// goroutines gives the most that the process had while work ran, above what it
// had before.
func goroutines(work func()) int {
	before := runtime.NumGoroutine()
	var most atomic.Int64
	stop := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		for {
			most.Store(max(most.Load(), int64(runtime.NumGoroutine()-before)))
			select {
			case <-stop:
				return
			default:
				runtime.Gosched()
			}
		}
	})
	work()
	close(stop)
	watch.Wait()
	return int(most.Load())
}

func TestThousandsOfPublishersOnAFewGoroutines(t *testing.T) {
	const n = 3000
	r := newRig(t, between(n, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", QoS: 1, Each: 2}))
	var calls atomic.Int64
	r.driver.publish = func(fakeMessage) error { calls.Add(1); return nil } // no lock in common: nothing blocks
	most := goroutines(func() {
		r.start()
		await(t, "each has published", func() bool { return calls.Load() >= n })
		r.traffic.Stop()
	})
	// The timetable, the pool, the watcher itself, a timer of the pool, and what
	// the runtime and the test before may still have.
	if limit := poolSize + 8; most > limit {
		t.Errorf("%d goroutines, want at most %d", most, limit)
	}
	t.Logf("%d publishers: at most %d goroutines, %d messages", n, most, calls.Load())
	r.close()
	if got := balance(t, r.book); got.queued != calls.Load() {
		t.Errorf("%d calls: %+v", calls.Load(), got)
	}
}

// Clients whose library blocks hold up nobody but themselves.
func TestBlockedClientsStallNobody(t *testing.T) {
	const n, blocked = 500, 40
	r := newRig(t, between(n, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", QoS: 1, Each: 10}))
	release := make(chan struct{})
	var latest atomic.Int64 // how late others were handed over
	stuck := map[string]bool{}
	for i := range blocked {
		stuck[r.fleets["a"].ID(i*n/blocked)] = true
	}
	r.driver.publish = func(m fakeMessage) error {
		if stuck[m.id] {
			<-release
		} else {
			late := int64(r.clock.Now()) - m.h.Intended
			for old := latest.Load(); late > old && !latest.CompareAndSwap(old, late); old = latest.Load() {
			}
		}
		return nil
	}
	most := goroutines(func() {
		r.start()
		r.after(1500 * time.Millisecond)
		close(release)
		r.traffic.Stop()
	})
	if limit := poolSize + 2*blocked + 4; most > limit {
		t.Errorf("%d goroutines, want at most %d", most, limit)
	}
	if late := time.Duration(latest.Load()); late > 500*time.Millisecond {
		t.Errorf("another client's message was handed over %s late", late)
	}
	t.Logf("%d of %d blocked: others at most %s late, at most %d goroutines", blocked, n, time.Duration(latest.Load()), most)
	r.close()
	balance(t, r.book)
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	for _, l := range r.traffic.lanes {
		missed := r.book.slots[l.ID][1]
		if stuck[l.Publisher] != (missed > 0) {
			t.Errorf("%s: %d missed, blocked %v", l.Publisher, missed, stuck[l.Publisher])
		}
	}
}

// The sentinel of a publisher that is away waits for it, and counts as not
// acknowledged if it does not come.
func TestSentinelsWaitForTheirPublisher(t *testing.T) {
	r := newRig(t, between(3, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", Each: 1}))
	var early atomic.Bool
	var back atomic.Int64
	r.driver.publish = func(m fakeMessage) error {
		if m.h.Kind == mqtt.KindSentinel && m.id == "a-1" {
			at := back.Load()
			early.Store(early.Load() || at == 0 || int64(r.clock.Now())-at < int64(sentinelSettle))
		}
		r.take(m, true)
		return nil
	}
	r.live("a", 1, 0)
	r.start()
	r.traffic.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err := r.traffic.Sentinels(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "2 of 3") {
		t.Errorf("got %v", err)
	}
	back.Store(int64(r.clock.Now()))
	var wait sync.WaitGroup
	wait.Go(func() {
		if err := r.traffic.Sentinels(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r.after(20 * time.Millisecond)
	back.Store(int64(r.clock.Now()))
	r.live("a", 1, 2)
	wait.Wait()
	if early.Load() {
		t.Error("sent before its publisher had settled")
	}
	r.check(t)
}

// A refused sentinel is tried again; a closed traffic has none.
func TestSentinelsTryAgain(t *testing.T) {
	r := newRig(t, between(40, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", Each: 1, QoS: 0, Retain: true}))
	var calls atomic.Int64
	r.driver.publish = func(m fakeMessage) error {
		if m.h.Kind != mqtt.KindSentinel {
			return errNo
		}
		if m.qos != 1 || m.retain || m.h.Seq != 1 {
			t.Errorf("sentinel %+v", m)
		}
		if calls.Add(1)%3 != 0 {
			return errNo
		}
		r.take(m, true)
		return nil
	}
	r.traffic.Stop()
	if err := r.traffic.Sentinels(t.Context()); err != nil {
		t.Error(err)
	}
	r.close()
	r.traffic.tally.home.Store(0)
	if err := r.traffic.Sentinels(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
