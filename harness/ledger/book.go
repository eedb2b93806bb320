package ledger

import (
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Book keeps the accounts of one run while it goes. All methods are safe for
// concurrent use. What happens to one message takes one lock, that of its
// stream; no lock is global.
//
// Calls come in the order of cause: Attempted, Released and Asked before the
// bytes leave, Acked, Delivered and Subscribed after they were read, Answered
// after they were written. Sequence numbers of a stream count from 1.
//
// Memory is O(streams × subscribers × epochs + gaps + messages in doubt), and
// does not grow with the number of messages. A message is in doubt while some
// subscriber that expects it lacks it or its exchange with the publisher is not
// complete.
//
// Locks are taken in the order topics, client, shared group, stream.
type Book struct {
	run     uint64
	streams streamTable
	clients clientTable
	topics  topics
	strays  strays
}

// NewBook makes the book of the run with this number (mqtt.Header.Run): what
// carries another one is a stray.
func NewBook(run uint64) *Book {
	return &Book{
		run:     run,
		clients: clientTable{seed: maphash.MakeSeed()},
		topics:  topics{byTopic: map[string][]*stream{}, byFilter: map[string][]*subscriber{}},
	}
}

// stream is the publisher's side of one stream, and holds the lock of all its
// deliveries.
//
// In a large fleet each message finds its stream and its delivery out of the
// cache, and costs as much time as it touches cache lines. So in both the fields
// that every message touches come first, and what these point to lies between
// them as long as there is one of it.
type stream struct {
	topic     string
	publisher *subscriber
	id        uint32
	qos       byte

	mu        sync.Mutex // guards all below, and deliveries of this stream
	attempted Set
	written   uint64 // transmissions so far: gives each its place in the publisher's order
	conn      int    // highest connection number of the publisher that wrote
	expecting []*delivery
	hot       *delivery // the current account that was used last
	open      window    // messages in doubt
	acked     Set
	room      struct { // where these slices begin: they move out when they grow
		expecting [1]*delivery
		open      [1]message
	}
	live                               Totals // but Unexpected, Attempted and Acked
	released, completed                Set    // at QoS 2
	late, resent                       Set
	republished, carried               Set
	scheduled, missed, refused, queued int64
	sentinelSent, sentinelAcked        timeline.Instant
}

// newStream makes a stream without messages.
func newStream(id uint32, publisher *subscriber, topic string, qos byte) *stream {
	st := &stream{id: id, publisher: publisher, topic: topic, qos: qos}
	st.expecting, st.open.buf = st.room.expecting[:0], st.room.open[:0]
	return st
}

// subscriber is one client's side, or that of a shared group.
type subscriber struct {
	client string       // or the group's whole filter
	conn   atomic.Int64 // highest connection number that is known

	mu        sync.Mutex // guards all below
	publishes []*stream
	epoch     int
	began     timeline.Instant
	first     int                  // number of this epoch's first connection
	filters   map[string]grant     // filters of this epoch
	known     map[string]bool      // filters of all epochs: those that topics holds
	current   map[uint32]*delivery // this epoch's accounts by stream
	all       []*delivery          // accounts of all epochs
	groups    map[string]*subscriber
	asked     timeline.Instant // its last SUBSCRIBE or UNSUBSCRIBE

	group *group // of a shared group
}

// grant is what a client asked for and was granted of one filter.
type grant struct {
	granted byte // refused = nothing
	asked   byte // of a SUBSCRIBE whose SUBACK was not read; refused = none
	legal   byte // a bit for each QoS that was granted in this epoch
}

// refused is the lowest return code of a SUBACK that grants nothing
// [MQTT-3.9.3-2].
const refused = 0x80

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

// Totals are the live figures of a book, for the status line. The judgement is
// made from the accounts.
type Totals struct {
	Delivered  int64    // first copies, over all subscribers
	InDoubt    int64    // messages not settled
	Attempted  int64    // messages
	Acked      int64    // messages
	Duplicated int64    // further copies; at QoS 2 further deliveries
	Reordered  int64    // first copies out of order
	Unexpected int64    // strays
	Misrouted  int64    // messages read without a matching filter
	WrongQoS   int64    // messages read at a QoS that no filter explains
	Lost       [3]int64 // by expected QoS: missing copies that a later message of the stream has passed; some may yet come
}

// Totals sums the live figures. It takes the lock of each stream for a moment.
func (b *Book) Totals() Totals {
	t := Totals{Unexpected: b.strays.total.Load()}
	for _, st := range b.streams.all() {
		st.mu.Lock()
		t.Attempted += st.attempted.Len()
		t.Acked += st.acked.Len()
		t.Delivered += st.live.Delivered
		t.Duplicated += st.live.Duplicated
		t.Reordered += st.live.Reordered
		t.Misrouted += st.live.Misrouted
		t.WrongQoS += st.live.WrongQoS
		t.InDoubt += st.live.InDoubt
		for q, n := range st.live.Lost {
			t.Lost[q] += n
		}
		st.mu.Unlock()
	}
	return t
}

// Settled reports whether no message of QoS 1 or 2 is under way or owed any
// more: its exchange with the publisher is complete, or can not be completed as
// the publisher's session was lost, and each subscription that expects it at
// QoS 1 or 2 has it.
func (b *Book) Settled() bool {
	for _, st := range b.streams.all() {
		if st.qos > 0 && !st.settledAll() {
			return false
		}
	}
	return true
}

func (st *stream) settledAll() bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	settled := true
	st.open.each(func(m *message) {
		switch {
		case !settled:
		case !m.reset && !st.complete(m):
			settled = false
		case m.owed > 0:
			settled = !st.lacking(m.seq)
		}
	})
	return settled
}

// lacking reports whether a subscription that expects a message at QoS 1 or 2
// has not read it.
func (st *stream) lacking(seq uint64) bool {
	return slices.ContainsFunc(st.expecting, func(d *delivery) bool {
		return d.qos() > 0 && d.expected.Contains(seq) && !d.seen(seq)
	})
}

// AddStream opens the accounts of a stream, once per id; publisher is a client
// id. Subscriptions that were granted before count from now on.
func (b *Book) AddStream(id uint32, publisher, topic string, qos byte) {
	b.topics.mu.Lock()
	defer b.topics.mu.Unlock()
	st := newStream(id, b.clients.open(publisher), topic, qos)
	if !b.streams.add(st) {
		return
	}
	st.publisher.mu.Lock()
	st.publisher.publishes = append(st.publisher.publishes, st)
	st.publisher.mu.Unlock()

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
func (b *Book) AddSubscriber(client string) { b.clients.open(client) }

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
	total atomic.Int64

	mu   sync.Mutex
	list []Stray
	more map[strayKind]int64
}

type strayKind struct {
	why string
	qos byte
}

func (b *Book) stray(s Stray) {
	b.strays.total.Add(1)
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

// strayed reports whether a message of a stream was booked as a stray of this
// client, or may have been: the list is full.
func (b *Book) strayed(client string, id uint32, seq uint64) bool {
	b.strays.mu.Lock()
	defer b.strays.mu.Unlock()
	return len(b.strays.list) == maxStrays || slices.ContainsFunc(b.strays.list, func(s Stray) bool {
		return s.Client == client && s.Stream == id && s.Seq == seq
	})
}
