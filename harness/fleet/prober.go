package fleet

import (
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// probeEvery is how often a client that is not back is probed again.
const probeEvery = timeline.Instant(time.Second)

// prober probes, over one control connection, the clients that its queue names.
type prober struct {
	control *Control
	client  *client

	mu    sync.Mutex
	fresh []probe
	wake  chan struct{}
}

// probe is a client whose subscriptions were restored on connection n.
type probe struct {
	s   *session
	n   int
	due timeline.Instant
}

// restored takes over a client that has to be probed. It is called from tap
// callbacks and never blocks on anything but a short lock.
func (c *Control) restored(s *session, n int) {
	p := c.probers[s.index%len(c.probers)]
	p.mu.Lock()
	p.fresh = append(p.fresh, probe{s: s, n: n, due: c.cfg.Clock.Now()})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run probes until the control fleet is closed.
func (p *prober) run() {
	clock := p.control.cfg.Clock
	timer := time.NewTimer(0)
	defer timer.Stop()
	var again []probe // ordered by due time: the period is the same for all
	for {
		for _, pr := range p.take() {
			again = p.send(pr, again)
		}
		for len(again) > 0 && again[0].due <= clock.Now() {
			again = p.send(again[0], again[1:])
		}
		if len(again) > 0 {
			timer.Reset(time.Duration(again[0].due - clock.Now()))
		}
		select {
		case <-p.wake:
		case <-timer.C:
		case <-p.control.ctx.Done():
			return
		}
	}
}

func (p *prober) take() []probe {
	p.mu.Lock()
	defer p.mu.Unlock()
	fresh := p.fresh
	p.fresh = nil
	return fresh
}

// send probes a client that is still there and not back, and keeps it for the
// next time.
func (p *prober) send(pr probe, again []probe) []probe {
	seq, ok := pr.s.issue(pr.n)
	if !ok {
		return again
	}
	h := mqtt.Header{Kind: mqtt.KindProbe, Seq: seq, Intended: int64(pr.due)}
	p.control.probes.sending(seq, pr)
	if p.client.publish(pr.s.probe, 1, false, mqtt.HeaderSize, h) != nil {
		p.control.probes.take(seq) // refused: the next one follows
	}
	pr.due = p.control.cfg.Clock.Now() + probeEvery
	return append(again, pr)
}
