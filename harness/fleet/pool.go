package fleet

import (
	"sync"
	"time"
)

const (
	// poolSize is how many publishers hand messages to their libraries at a
	// time, as long as none of them blocks.
	poolSize = 8
	// stallAfter is how long the pool may stand still with work to do before it
	// is given more goroutines.
	stallAfter = 10 * time.Millisecond
)

// pool runs the publishers that have something to send, so that thousands of
// them need a handful of goroutines. Any of their libraries may block, for
// seconds around a loss, and each that does takes a goroutine out of the pool.
// So the pool doubles whenever it stands still; the goroutines end as soon as
// there is nothing more to take.
type pool struct {
	mu      sync.Mutex
	idle    sync.Cond    // signals that the last worker has ended
	ready   []*publisher // first come, first served, from head
	head    int
	workers int
	taken   uint64 // publishers taken from ready
	seen    uint64 // taken at the last look
	watched bool   // a look is coming
	timer   *time.Timer
}

func newPool() *pool {
	p := &pool{}
	p.idle.L = &p.mu
	return p
}

// add queues a publisher that has something to send.
func (p *pool) add(pub *publisher) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.head > 0 && p.head >= len(p.ready)/2 { // the list may never run empty
		n := copy(p.ready, p.ready[p.head:])
		clear(p.ready[n:])
		p.ready, p.head = p.ready[:n], 0
	}
	p.ready = append(p.ready, pub)
	if p.workers < poolSize {
		p.grow(1)
		return
	}
	p.watch()
}

// grow starts n workers. p.mu is held.
func (p *pool) grow(n int) {
	p.workers += n
	for range n {
		go p.work()
	}
}

// work serves publishers until none is left.
func (p *pool) work() {
	for {
		pub := p.take()
		if pub == nil {
			return
		}
		if more := pub.drain(); more {
			p.add(pub) // behind the others
		}
	}
}

// take gives the publisher whose turn it is; nil ends the worker.
func (p *pool) take() *publisher {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting() == 0 {
		if p.workers--; p.workers == 0 {
			p.idle.Broadcast()
		}
		return nil
	}
	pub := p.ready[p.head]
	p.ready[p.head] = nil
	p.taken++
	if p.head++; p.head == len(p.ready) {
		p.ready, p.head = p.ready[:0], 0
	}
	return pub
}

func (p *pool) waiting() int { return len(p.ready) - p.head }

// watch has a look at the pool a little later. p.mu is held.
func (p *pool) watch() {
	if p.watched {
		return
	}
	p.watched, p.seen = true, p.taken
	if p.timer == nil {
		p.timer = time.AfterFunc(stallAfter, p.look)
		return
	}
	p.timer.Reset(stallAfter)
}

// look doubles a pool that took nobody since the last look.
func (p *pool) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched = false
	waiting := p.waiting()
	if waiting == 0 {
		return
	}
	if p.taken == p.seen {
		p.grow(min(p.workers, waiting))
	}
	p.watch()
}

// wait returns when nothing is left to do.
func (p *pool) wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.workers > 0 || p.waiting() > 0 {
		p.idle.Wait()
	}
}
