package fleet

import (
	"fmt"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// testBook keeps what the accounts are told.
type testBook struct {
	mu         sync.Mutex
	attempted  map[uint32]map[uint64]int // copies
	acked      map[uint32]map[uint64]int
	delivered  map[uint32]map[uint64]int
	handled    int
	corrupt    int
	epochs     map[string]int
	subscribed map[string]int
	sent       map[uint32]bool // sentinels
	home       map[uint32]bool
	reached    map[uint32]string
	slots      map[uint32][3]int64
	queued     map[uint32]int64
	story      []string // what the exchanges came to, in the order of the calls
}

// tell adds a line to the story. b.mu is held.
func (b *testBook) tell(format string, args ...any) {
	b.story = append(b.story, fmt.Sprintf(format, args...))
}

// told takes the story so far.
func (b *testBook) told() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	story := b.story
	b.story = nil
	return story
}

func newTestBook() *testBook {
	return &testBook{
		attempted: map[uint32]map[uint64]int{}, acked: map[uint32]map[uint64]int{}, delivered: map[uint32]map[uint64]int{},
		epochs: map[string]int{}, subscribed: map[string]int{},
		sent: map[uint32]bool{}, home: map[uint32]bool{}, reached: map[uint32]string{},
		slots: map[uint32][3]int64{}, queued: map[uint32]int64{},
	}
}

func (b *testBook) accounts() Accounts {
	return Accounts{Sessions: b, Publications: b, Deliveries: b, Handlings: b, Sentinels: b, Timetable: b}
}

func (b *testBook) Attempted(stream uint32, seq uint64, conn int, _, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("attempted %d/%d on %d", stream, seq, conn)
	if b.attempted[stream] == nil {
		b.attempted[stream] = map[uint64]int{}
	}
	b.attempted[stream][seq]++
}

func (b *testBook) Acked(stream uint32, seq uint64, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("acked %d/%d", stream, seq)
	if b.acked[stream] == nil {
		b.acked[stream] = map[uint64]int{}
	}
	b.acked[stream][seq]++
}

func (b *testBook) Connected(client string, conn int, present bool, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("connected on %d, present %v", conn, present)
	if !present {
		b.epochs[client]++
	}
}

func (b *testBook) Released(stream uint32, seq uint64, conn int, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("released %d/%d on %d", stream, seq, conn)
}

func (b *testBook) Moved(uint32, uint64)     {}
func (b *testBook) Displaced(uint32, uint64) {}

func (b *testBook) Completed(stream uint32, seq uint64, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("completed %d/%d", stream, seq)
}

func (b *testBook) Asked(_, filter string, qos byte, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("asked %s at %d", filter, qos)
}

func (b *testBook) Unsubscribed(_, filter string, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("unsubscribed %s", filter)
}

func (b *testBook) Answered(_ string, stream uint32, seq uint64, conn int, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("answered %d/%d on %d", stream, seq, conn)
}

func (b *testBook) Subscribed(client, filter string, granted byte, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("subscribed %s at %d", filter, granted)
	b.subscribed[client+" "+filter]++
}

func (b *testBook) Delivered(_ string, d mqtt.Delivery, _ timeline.Instant) {
	h := d.Header
	b.mu.Lock()
	defer b.mu.Unlock()
	more := ""
	if d.Again {
		more += " again"
	}
	if d.Retain {
		more += " retained"
	}
	b.tell("delivered %d/%d on %d%s", h.Stream, h.Seq, d.Conn, more)
	if b.delivered[h.Stream] == nil {
		b.delivered[h.Stream] = map[uint64]int{}
	}
	b.delivered[h.Stream][h.Seq]++
}

func (b *testBook) Corrupt(string, []byte, timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corrupt++
}

func (b *testBook) Handled(_ string, stream uint32, seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tell("handled %d/%d", stream, seq)
	b.handled++
}

func (b *testBook) Sentinel(stream uint32, _, acked timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent[stream] = true
	if acked != 0 {
		b.home[stream] = true
	}
}

func (b *testBook) SentinelDelivered(client string, stream uint32, _ timeline.Instant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reached[stream] = client
}

func (b *testBook) Slots(stream uint32, scheduled, missed, refused int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.slots[stream]
	b.slots[stream] = [3]int64{s[0] + scheduled, s[1] + missed, s[2] + refused}
}

func (b *testBook) Queued(stream uint32, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.queued[stream] += n
}

// totals adds up all streams.
type totals struct{ scheduled, missed, refused, queued, attempted, acked, delivered int64 }

func (b *testBook) totals() totals {
	b.mu.Lock()
	defer b.mu.Unlock()
	var t totals
	for _, s := range b.slots {
		t.scheduled, t.missed, t.refused = t.scheduled+s[0], t.missed+s[1], t.refused+s[2]
	}
	for _, n := range b.queued {
		t.queued += n
	}
	for _, m := range b.attempted {
		t.attempted += int64(len(m))
	}
	for _, m := range b.acked {
		t.acked += int64(len(m))
	}
	for _, m := range b.delivered {
		t.delivered += int64(len(m))
	}
	return t
}

func (b *testBook) subs(client, filter string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.subscribed[client+" "+filter]
}

func (b *testBook) epoch(client string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.epochs[client]
}

// timesRead is how often a message was read.
func (b *testBook) timesRead(stream uint32, seq uint64) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.delivered[stream][seq]
}

func (b *testBook) handlings() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.handled
}
