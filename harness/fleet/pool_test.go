package fleet

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// Each publisher that blocks takes a goroutine with it: the pool grows until
// those behind it are served, and shrinks to nothing when all is done.
func TestPoolOutgrowsBlockedPublishers(t *testing.T) {
	const blocked = 100
	r := newRig(t, between(blocked+1, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", Each: 1}))
	release := make(chan struct{})
	var served atomic.Bool
	r.driver.publish = func(m fakeMessage) error {
		if m.id == r.fleets["a"].ID(blocked) {
			served.Store(true)
			return nil
		}
		<-release
		return nil
	}
	p := r.traffic.pool
	for _, l := range r.traffic.lanes { // the free one comes last
		l.publisher.push(slot{lane: l, due: r.clock.Now()})
	}
	await(t, "the free publisher is served", served.Load)
	p.mu.Lock()
	if p.workers < blocked || p.workers > 2*blocked+poolSize {
		t.Errorf("%d workers for %d blocked publishers", p.workers, blocked)
	}
	p.mu.Unlock()
	close(release)
	p.wait()
	if p.workers != 0 || p.waiting() != 0 {
		t.Errorf("%d workers, %d waiting at the end", p.workers, p.waiting())
	}
}

// A publisher that gets more while it is served goes behind the others, and the
// queue does not grow with what has passed through it.
func TestPoolIsFairAndBounded(t *testing.T) {
	r := newRig(t, between(poolSize*3, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x/{from}", Each: 1}))
	var calls atomic.Int64
	r.driver.publish = func(fakeMessage) error { calls.Add(1); return nil }
	const each = 5000
	var all sync.WaitGroup
	for _, l := range r.traffic.lanes {
		all.Go(func() {
			for range each {
				l.publisher.push(slot{lane: l, due: never}) // on no machine too late
			}
		})
	}
	all.Wait()
	p := r.traffic.pool
	p.wait()
	if got := calls.Load(); got != int64(each*len(r.traffic.lanes)) {
		t.Errorf("%d calls", got)
	}
	if n := cap(p.ready); n > 8*len(r.traffic.lanes) {
		t.Errorf("the queue has room for %d, there are %d publishers", n, len(r.traffic.lanes))
	}
}
