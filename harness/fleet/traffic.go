package fleet

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// slotMissed is how late a message may be handed to the library. Later it is
// counted as missed.
const slotMissed = timeline.Instant(time.Second)

// TrafficConfig is what the traffic is made from.
type TrafficConfig struct {
	Clock    *timeline.Clock
	Items    []scenarios.Traffic // of the plan
	Streams  []Stream            // made from it by Streams
	Accounts Accounts

	WriteTimeout time.Duration // of the fleets, as in Config; 0 = 5 s
}

// Traffic publishes the streams of a plan, from the control fleet and from any
// other: by the timetable (Start, Stop), just before an action of a fault
// (Before), and at last the sentinels. It is open loop: what can not be sent in
// time is counted as missed, never put off.
//
// Its life: NewTraffic, fleets that are made with its Accounts, Join, Start,
// Stop, Sentinels, Close of the fleets, Close.
type Traffic struct {
	cfg        TrafficConfig
	tally      *tally
	pool       *pool
	lanes      []*lane           // by stream id - 1
	items      []*item           // those with a timetable
	before     map[actor][]*lane // those without
	publishers []*publisher

	mu       sync.Mutex
	open     bool // started and not stopped
	stopAt   timeline.Instant
	stop     chan struct{}  // closed = the timetable ends
	running  sync.WaitGroup // the timetable, and bursts before actions
	givenUp  atomic.Bool    // what is not handed over yet counts as missed
	stopping sync.Once
	closing  sync.Once
	closed   chan struct{}
}

// actor is a client of a fleet; client -1 = any of them.
type actor struct {
	fleet  string
	client int
}

// NewTraffic lays the streams out and starts nothing.
func NewTraffic(cfg TrafficConfig) (*Traffic, error) {
	if cfg.Clock == nil {
		return nil, fmt.Errorf("%w: a clock is needed", ErrConfig)
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = defaultWriteTimeout
	}
	cfg.Accounts = cfg.Accounts.filled()
	t := &Traffic{
		cfg: cfg, tally: newTally(cfg.Streams, cfg.Accounts), pool: newPool(),
		before: map[actor][]*lane{}, stop: make(chan struct{}), closed: make(chan struct{}),
	}
	items := make([]item, len(cfg.Items))
	for i := range cfg.Streams {
		s := &cfg.Streams[i]
		if s.ID != uint32(i+1) || s.Item < 0 || s.Item >= len(items) {
			return nil, fmt.Errorf("%w: stream %d at %d, item %d", ErrConfig, s.ID, i, s.Item)
		}
		l := t.lane(s)
		t.lanes = append(t.lanes, l)
		if cfg.Items[s.Item].At == atFault {
			t.precede(l)
			continue
		}
		it := &items[s.Item]
		it.lanes = append(it.lanes, l)
		it.rate += s.Rate / float64(l.burst)
	}
	for i := range items {
		if items[i].rate > 0 {
			t.items = append(t.items, &items[i])
		}
	}
	return t, nil
}

func (t *Traffic) lane(s *Stream) *lane {
	item := &t.cfg.Items[s.Item]
	l := &lane{Stream: *s, payload: item.Payload, burst: max(item.Burst, 1), retain: item.Retain, patience: slotMissed}
	if item.At == atFault {
		// What Before did not wait for must not be sent after the action.
		l.patience = min(l.patience, timeline.Instant(t.cfg.WriteTimeout))
	}
	return l
}

// precede notes before whose actions a stream is sent: those on its receiver,
// and on its publisher, unless that is of the control fleet.
func (t *Traffic) precede(l *lane) {
	receiver := actor{t.cfg.Items[l.Item].To, l.To}
	who := []actor{{l.From, l.Index}}
	switch {
	case l.From == ControlFleet:
		who = []actor{receiver} // any of them, when they share the topic
	case l.To >= 0 && receiver != who[0]:
		who = append(who, receiver)
	}
	for _, a := range who {
		t.before[a] = append(t.before[a], l)
	}
}

// Accounts are the books for the fleets that publish: those of the
// configuration, behind the traffic's own count of what was really written.
func (t *Traffic) Accounts() Accounts {
	a := t.cfg.Accounts
	a.Publications, a.Sentinels = t.tally, t.tally
	return a
}

// Join names, once, the fleets that the streams come from and go to, the
// control fleet among them.
func (t *Traffic) Join(fleets ...*Fleet) error {
	byName := map[string]*Fleet{}
	for _, f := range fleets {
		byName[f.Name()] = f
	}
	publishers := map[actor]*publisher{}
	for _, l := range t.lanes {
		from := byName[l.From]
		if from == nil || l.Index >= from.Len() {
			return fmt.Errorf("%w: stream %d comes from client %d of %q: no such client", ErrConfig, l.ID, l.Index, l.From)
		}
		if item := &t.cfg.Items[l.Item]; item.While == whileAway {
			l.receiver = byName[item.To]
			if l.receiver == nil || l.To < 0 || l.To >= l.receiver.Len() {
				return fmt.Errorf("%w: stream %d goes to client %d of %q: no such client", ErrConfig, l.ID, l.To, item.To)
			}
		}
		who := actor{l.From, l.Index}
		p := publishers[who]
		if p == nil {
			p = &publisher{traffic: t, client: from.clients[l.Index]}
			publishers[who] = p
			t.publishers = append(t.publishers, p)
		}
		p.lanes, l.publisher = append(p.lanes, l), p
	}
	return nil
}

// Start begins the timetable: slot k of each traffic item is due at
// now + k / rate. It returns at once, and may be called once, after Join. When
// ctx ends, the traffic is given up: what was not sent by then is missed.
func (t *Traffic) Start(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.open || t.stopAt != 0:
		return fmt.Errorf("%w: traffic can be started once", ErrConfig)
	case len(t.lanes) > 0 && t.publishers == nil:
		return fmt.Errorf("%w: the traffic knows no fleets", ErrConfig)
	}
	t.open = true
	start := t.cfg.Clock.Now()
	t.running.Go(func() { t.timetable(ctx, start) })
	return nil
}

// Stop ends the timetable now, waits until the libraries have taken or refused
// what was due, and books what became of the slots. It may be called twice, and
// without Start.
func (t *Traffic) Stop() {
	t.stopping.Do(func() {
		t.mu.Lock()
		t.open = false
		t.stopAt = t.cfg.Clock.Now()
		close(t.stop)
		t.mu.Unlock()
		t.running.Wait()
		t.pool.wait()
		for _, l := range t.lanes {
			t.cfg.Accounts.Timetable.Slots(l.ID, l.scheduled, l.missed, l.refused)
		}
	})
}

// Close ends the traffic and books, per stream, what the libraries took and
// never wrote: the fleets must have been closed. It may be called twice.
func (t *Traffic) Close() error {
	t.closing.Do(func() {
		close(t.closed)
		t.Stop()
		for _, l := range t.lanes {
			taken := l.scheduled - l.missed - l.refused
			t.cfg.Accounts.Timetable.Queued(l.ID, taken-t.tally.stream(l.ID).seal())
		}
	})
	return nil
}

// Before sends one burst of each stream that goes with actions of faults on
// this client, and returns when the libraries have taken them, or after the
// write time-out: what is left then counts as missed. Faults call it just
// before the action, any number of them at once.
func (t *Traffic) Before(fleet string, client int) {
	one, any := t.before[actor{fleet, client}], t.before[actor{fleet, -1}]
	if len(one)+len(any) == 0 || !t.begin() {
		return
	}
	defer t.running.Done()
	var due []*lane
	for _, lanes := range [][]*lane{one, any} {
		for _, l := range lanes {
			if !l.withheld() {
				due = append(due, l)
			}
		}
	}
	if len(due) == 0 {
		return
	}
	sent := &countdown{done: make(chan struct{})}
	sent.left.Store(int64(len(due)))
	now := t.cfg.Clock.Now()
	for _, l := range due {
		l.publisher.push(slot{lane: l, due: now, done: sent})
	}
	bound := time.NewTimer(t.cfg.WriteTimeout)
	defer bound.Stop()
	select {
	case <-sent.done:
	case <-bound.C:
	}
}

// begin enters what Stop waits for; false when the traffic does not run.
func (t *Traffic) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open {
		t.running.Add(1)
	}
	return t.open
}
