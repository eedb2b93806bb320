package fleet

import (
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// probes tells whose probe a PUBACK that the control fleet reads belongs to:
// the numbers of its probes differ over all clients.
type probes struct {
	issued atomic.Uint64

	mu  sync.Mutex
	out map[uint64]probe // sent and not acknowledged, by number
}

// next is the number of another probe, from 1.
func (p *probes) next() uint64 { return p.issued.Add(1) }

// sending notes a probe that is about to be given to the library.
func (p *probes) sending(seq uint64, pr probe) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out == nil {
		p.out = map[uint64]probe{}
	}
	p.out[seq] = pr
}

// take gives a probe that was sent, once.
func (p *probes) take(seq uint64) (probe, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr, ok := p.out[seq]
	delete(p.out, seq)
	return pr, ok
}

// acked says that the PUBACK of a probe was read.
func (p *probes) acked(seq uint64, at timeline.Instant) {
	if pr, ok := p.take(seq); ok {
		pr.s.probeAcked(pr.n, at)
	}
}
