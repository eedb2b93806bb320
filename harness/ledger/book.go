package ledger

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Book keeps the accounts of one run while it goes. All methods are safe for
// concurrent use. What happens to one message takes the lock of its stream and,
// on the subscriber's side, of its client; no lock is global.
//
// Calls come in the order of cause: Attempted before the bytes leave, Acked,
// Delivered and Subscribed after they were read. Sequence numbers of a stream
// count from 1.
//
// Memory is O(streams × subscribers × epochs + gaps + messages in doubt). A
// message is in doubt while some subscriber that expects it lacks it or, at
// QoS 1, while it is not acknowledged.
//
// Locks are taken in the order topics, subscriber, stream.
type Book struct {
	run     uint64
	streams *table[uint32, *stream]
	clients *table[string, *subscriber]
	topics  topics
	strays  strays
	totals  counters
}

// NewBook makes the book of the run with this number (mqtt.Header.Run): what
// carries another one is a stray.
func NewBook(run uint64) *Book {
	return &Book{
		run:     run,
		streams: newStreamTable(),
		clients: newClientTable(),
		topics:  topics{byTopic: map[string][]*stream{}, byFilter: map[string][]*subscriber{}},
	}
}

// stream is the publisher's side of one stream, and holds the lock of all its
// deliveries.
type stream struct {
	id        uint32
	publisher string
	topic     string
	qos       byte

	mu                                 sync.Mutex // guards all below, and deliveries of this stream
	scheduled, missed, refused, queued int64
	attempted, acked, late, resent     Set
	written                            uint64 // transmissions so far: gives each its place in the publisher's order
	open                               window // messages in doubt
	expecting                          []*delivery
	sentinelSent, sentinelAcked        timeline.Instant
}

// subscriber is one client's side.
type subscriber struct {
	client string

	mu      sync.Mutex // guards all below
	epoch   int
	began   timeline.Instant
	filters map[string]byte      // filters of this epoch and their granted QoS
	known   map[string]bool      // filters of all epochs: those that topics holds
	current map[uint32]*delivery // this epoch's accounts by stream
	all     []*delivery          // accounts of all epochs
	conn    int                  // highest connection number that delivered
}

// topics joins streams and subscriptions. It is used in set-up and when a
// SUBACK is read, never for a message.
type topics struct {
	mu       sync.Mutex
	all      []*stream
	byTopic  map[string][]*stream
	byFilter map[string][]*subscriber // filters without wildcard
	wild     []wildcard
}

type wildcard struct {
	filter string
	sub    *subscriber
}

// counters are the live totals.
type counters struct {
	attempted, acked, delivered, duplicated, reordered, unexpected, inDoubt atomic.Int64
	lost                                                                    [2]atomic.Int64
}

// Totals are the live figures of a book, for the status line. The judgement is
// made from the accounts.
type Totals struct {
	Attempted  int64    // messages
	Acked      int64    // messages
	Delivered  int64    // first copies, over all subscribers
	Duplicated int64    // further copies
	Reordered  int64    // first copies out of order
	Unexpected int64    // strays
	InDoubt    int64    // messages not settled
	Lost       [2]int64 // by expected QoS: missing copies that a later message of the stream has passed; some may yet come
}

// Totals reads the live figures. It takes no lock.
func (b *Book) Totals() Totals {
	c := &b.totals
	return Totals{
		Attempted: c.attempted.Load(), Acked: c.acked.Load(), Delivered: c.delivered.Load(),
		Duplicated: c.duplicated.Load(), Reordered: c.reordered.Load(), Unexpected: c.unexpected.Load(),
		InDoubt: c.inDoubt.Load(), Lost: [2]int64{c.lost[0].Load(), c.lost[1].Load()},
	}
}

// AddStream opens the accounts of a stream, once per id; publisher is a client
// id. Subscriptions that were granted before count from now on.
func (b *Book) AddStream(id uint32, publisher, topic string, qos byte) {
	b.topics.mu.Lock()
	defer b.topics.mu.Unlock()
	st, added := b.streams.add(id, func() *stream {
		return &stream{id: id, publisher: publisher, topic: topic, qos: qos}
	})
	if !added {
		return
	}
	b.topics.all = append(b.topics.all, st)
	b.topics.byTopic[topic] = append(b.topics.byTopic[topic], st)
	subs := slices.Clone(b.topics.byFilter[topic])
	for _, w := range b.topics.wild {
		if scenarios.Matches(w.filter, topic) {
			subs = append(subs, w.sub)
		}
	}
	for _, sub := range subs {
		sub.mu.Lock()
		sub.expect(st, 0)
		sub.mu.Unlock()
	}
}

// AddSubscriber opens the accounts of a client, by its client id. A client
// that was not added is added when it is first named.
func (b *Book) AddSubscriber(client string) { b.subscriber(client) }

func (b *Book) subscriber(client string) *subscriber {
	if sub := b.clients.get(client); sub != nil {
		return sub
	}
	sub, _ := b.clients.add(client, func() *subscriber {
		return &subscriber{client: client, filters: map[string]byte{}, current: map[uint32]*delivery{}}
	})
	return sub
}

// subscribe enters a filter of a client and gives the streams that it matches.
// The caller holds the lock of topics.
func (t *topics) subscribe(filter string, sub *subscriber, known bool) []*stream {
	if !wild(filter) {
		if !known {
			t.byFilter[filter] = append(t.byFilter[filter], sub)
		}
		return t.byTopic[filter]
	}
	if !known {
		t.wild = append(t.wild, wildcard{filter, sub})
	}
	var match []*stream
	for _, st := range t.all {
		if scenarios.Matches(filter, st.topic) {
			match = append(match, st)
		}
	}
	return match
}

// maxStrays is how many strays are kept one by one: a broker that floods us
// with foreign messages must not take the memory.
const maxStrays = 10_000

type strays struct {
	mu   sync.Mutex
	list []Stray
	more map[strayKind]int64
}

type strayKind struct {
	why string
	qos byte
}

func (b *Book) stray(s Stray) {
	b.totals.unexpected.Add(1)
	b.strays.mu.Lock()
	defer b.strays.mu.Unlock()
	if len(b.strays.list) < maxStrays {
		b.strays.list = append(b.strays.list, s)
		return
	}
	if b.strays.more == nil {
		b.strays.more = map[strayKind]int64{}
	}
	b.strays.more[strayKind{s.Why, s.QoS}]++
}
