package harness

import (
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// bystanders times the messages to the clients that no fault of the plan names:
// what a storm costs those that are no part of it. Who they are is known before
// the first connect, so that one histogram does for all of them; by client and
// second there would be more evidence than of the storm itself.
type bystanders struct {
	fleet.Deliveries // the book, which everything goes on to

	run     uint64 // number in our payloads
	victims map[seat]bool
	all     bool              // everyone is a victim
	clients map[string]bool   // by client id; complete before the first connect
	streams []bool            // by stream id - 1: its publisher is no victim either
	latency *measure.Recorder // nil = the plan has no fault
}

// seat is a client by fleet and index.
type seat struct {
	fleet string
	index int
}

func newBystanders(plan *scenarios.Plan, book fleet.Deliveries, run uint64) *bystanders {
	b := &bystanders{Deliveries: book, run: run, victims: map[seat]bool{}, clients: map[string]bool{}}
	for _, ph := range plan.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				b.all = b.all || f.Everyone
				for _, v := range f.Victims {
					b.victims[seat{f.Fleet, v.Client}] = true
				}
			}
		}
	}
	if plan.Faulted() {
		b.latency = measure.NewRecorder(measure.Nanoseconds)
	}
	return b
}

// take takes the streams, before the first message.
func (b *bystanders) take(streams []fleet.Stream) {
	b.streams = make([]bool, len(streams))
	for _, s := range streams {
		b.streams[s.ID-1] = !b.victims[seat{s.From, s.Index}]
	}
}

// add takes a client, before the first connect.
func (b *bystanders) add(fleet string, index int, id string) {
	if b.latency != nil && !b.all && !b.victims[seat{fleet, index}] {
		b.clients[id] = true
	}
}

// Delivered implements fleet.Deliveries. A further copy is no delivery, and a
// retained message waited for its subscriber.
func (b *bystanders) Delivered(client string, d mqtt.Delivery, at timeline.Instant) {
	b.Deliveries.Delivered(client, d, at)
	h := &d.Header
	if !b.clients[client] || d.DUP || d.Again || d.Retain || h.Run != b.run || h.Stream == 0 || int(h.Stream) > len(b.streams) || !b.streams[h.Stream-1] {
		return
	}
	b.latency.Record(int64(at) - h.Intended)
}

// cut writes down what was read in one row of health.csv.
func (b *bystanders) cut(ev *evidence, start, end timeline.Instant) {
	if len(b.clients) == 0 {
		return
	}
	h := b.latency.Swap()
	if h.N() == 0 {
		return
	}
	ev.add(timeline.Event{Latency: &timeline.Latency{
		Start: start, End: end, Clients: len(b.clients), Values: h.Encode(), Overflow: h.Overflow(),
	}})
}
