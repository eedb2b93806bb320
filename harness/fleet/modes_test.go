package fleet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// between is a plan of fleets a and b, of so many clients.
func between(a, b int, items ...scenarios.Traffic) *scenarios.Plan {
	return &scenarios.Plan{
		Fleets: []scenarios.PlanFleet{
			{Clients: a, Fleet: scenarios.Fleet{Name: "a", ClientID: "{fleet}-{index}"}},
			{Clients: b, Fleet: scenarios.Fleet{Name: "b", ClientID: "{fleet}-{index}"}},
		},
		Traffic: items,
	}
}

func TestStreamsOfFleets(t *testing.T) {
	for _, tt := range []struct {
		name string
		item scenarios.Traffic
		want []string // publisher>receiver topic rate
	}{
		{"to each client", scenarios.Traffic{From: "a", To: "b", Topic: "x/{client}", Each: 2},
			[]string{"a-0>b-0 x/b-0 2", "a-1>b-1 x/b-1 2", "a-0>b-2 x/b-2 2"}},
		{"with both fields", scenarios.Traffic{From: "a", To: "b", Topic: "{from}/{client}", Total: 6},
			[]string{"a-0>b-0 a-0/b-0 2", "a-1>b-1 a-1/b-1 2", "a-0>b-2 a-0/b-2 2"}},
		{"one topic", scenarios.Traffic{From: "b", To: "a", Topic: "x", Total: 6},
			[]string{"b-0> x 2", "b-1> x 2", "b-2> x 2"}},
		{"a topic of its own each", scenarios.Traffic{From: "b", To: "a", Topic: "x/{from}", Each: 6},
			[]string{"b-0> x/b-0 6", "b-1> x/b-1 6", "b-2> x/b-2 6"}},
		{"to itself", scenarios.Traffic{From: "a", To: "a", Topic: "x/{client}", Each: 1},
			[]string{"a-0>a-0 x/a-0 1", "a-1>a-1 x/a-1 1"}},
		{"at faults there is no rate", scenarios.Traffic{From: "a", To: "a", Topic: "x/{client}", Each: 1, At: "fault"},
			[]string{"a-0>a-0 x/a-0 0", "a-1>a-1 x/a-1 0"}},
		{"control without a field", scenarios.Traffic{From: "control", To: "b", Topic: "x/{from}", Total: 4},
			[]string{"rb-control-t1-0> x/rb-control-t1-0 4"}},
	} {
		streams, err := Streams(between(2, 3, tt.item), testRun, 2)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i, s := range streams {
			got = append(got, fmt.Sprintf("%s>%s %s %g", s.Publisher, s.Client, s.Topic, s.Rate))
			if s.ID != uint32(i+1) || s.From != tt.item.From || (s.To >= 0) != (s.Client != "") {
				t.Errorf("%s: stream %d: %+v", tt.name, i, s)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s:\n got %q\nwant %q", tt.name, got, tt.want)
		}
	}
	for name, p := range map[string]*scenarios.Plan{
		"at":          between(1, 1, scenarios.Traffic{From: "a", To: "b", Topic: "{client}", At: "noon"}),
		"while":       between(1, 1, scenarios.Traffic{From: "a", To: "b", Topic: "{client}", While: "here"}),
		"away of all": between(1, 1, scenarios.Traffic{From: "a", To: "b", Topic: "x", While: "away"}),
	} {
		if _, err := Streams(p, testRun, 2); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for _, p := range []*scenarios.Plan{
		between(0, 1, scenarios.Traffic{From: "a", To: "b", Topic: "{client}", Each: 1}),
		between(1, 0, scenarios.Traffic{From: "a", To: "b", Topic: "x", Each: 1}),
	} {
		if streams, err := Streams(p, testRun, 2); err != nil || len(streams) != 0 {
			t.Errorf("with nobody there: %v, %v", streams, err)
		}
	}
}

// Whatever the items, the libraries and the moments are: each message ends up
// in exactly one place, and numbers follow the order of the calls.
func TestBalanceOfAnyTraffic(t *testing.T) {
	fleets := rapid.SampledFrom([]string{"a", "b", ControlFleet})
	rapid.Check(t, func(rt *rapid.T) {
		sizes := rapid.SliceOfN(rapid.IntRange(1, 20), 2, 2).Draw(rt, "clients")
		items := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) scenarios.Traffic {
			it := scenarios.Traffic{
				From: fleets.Draw(rt, "from"), To: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "to"),
				Topic: rapid.SampledFrom([]string{"x/{client}", "x/{from}", "{from}/{client}", "x"}).Draw(rt, "topic"),
				QoS:   byte(rapid.IntRange(0, 2).Draw(rt, "qos")), Payload: rapid.IntRange(0, 200).Draw(rt, "payload"),
				Burst: rapid.IntRange(0, 5).Draw(rt, "burst"), Retain: rapid.Bool().Draw(rt, "retain"),
				At: rapid.SampledFrom([]string{"", "fault"}).Draw(rt, "at"),
			}
			if strings.Contains(it.Topic, clientField) && rapid.Bool().Draw(rt, "away") {
				it.While = whileAway
			}
			rate := float64(rapid.IntRange(1, 5000).Draw(rt, "rate"))
			if rapid.Bool().Draw(rt, "each") {
				it.Each = rate / 100
			} else {
				it.Total = rate
			}
			return it
		}), 1, 5).Draw(rt, "items")
		refuses, drops, blocks := rapid.Float64Range(0, 0.5).Draw(rt, "refuses"), rapid.Float64Range(0, 0.5).Draw(rt, "drops"), rapid.Float64Range(0, 0.02).Draw(rt, "blocks")
		giveUp := rapid.Bool().Draw(rt, "given up")

		r := newRig(t, between(sizes[0], sizes[1], items...))
		r.driver.publish = func(m fakeMessage) error {
			if rand.Float64() < blocks {
				<-time.After(time.Millisecond)
			}
			if m.h.Kind == mqtt.KindData && rand.Float64() < refuses {
				return errNo
			}
			r.take(m, rand.Float64() >= drops)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if err := r.traffic.Start(ctx); err != nil {
			rt.Fatal(err)
		}
		var faults sync.WaitGroup
		for _, name := range []string{"a", "b"} {
			faults.Go(func() {
				for i := range r.fleets[name].Len() {
					r.traffic.Before(name, i)
					r.live(name, i, int64(rand.N(2)))
				}
			})
		}
		end := time.After(15 * time.Millisecond)
		<-end
		if giveUp {
			cancel()
		}
		faults.Wait()
		r.check(rt)
		if got := r.book.totals(); got.scheduled == 0 && slices.ContainsFunc(items, func(i scenarios.Traffic) bool { return i.At == "" && i.While == "" && i.Total > 1000 }) {
			rt.Errorf("nothing was scheduled")
		}
	})
}

// The messages of a burst are handed over back to back, and counted one by one.
func TestBurstsAreBackToBack(t *testing.T) {
	item := scenarios.Traffic{From: "a", To: "b", Topic: "x/{client}", QoS: 1, Each: 200, Burst: 5}
	r := newRig(t, between(1, 3, item)) // one publisher, three streams
	r.start()
	await(t, "300 messages", func() bool { return r.total() >= 300 })
	r.traffic.Stop()
	for i := 0; i < len(r.all); i += 5 {
		for _, m := range r.all[i : i+5] {
			if m.h.Stream != r.all[i].h.Stream || m.h.Intended != r.all[i].h.Intended {
				t.Fatalf("burst at %d: %+v after %+v", i, m, r.all[i])
			}
		}
	}
	// 200 messages per second are a burst each 25 ms.
	for id, sent := range r.sent {
		for i := 5; i < len(sent); i += 5 {
			if d := sent[i].h.Intended - sent[i-5].h.Intended; d < 24_999_000 || d > 25_001_000 {
				t.Errorf("stream %d: bursts are due %d ns apart", id, d)
			}
		}
	}
	r.check(t)
	if got := r.book.totals(); got.scheduled != int64(len(r.all)) || got.missed+got.refused+got.queued != 0 {
		t.Errorf("%d calls: %+v", len(r.all), got)
	}
}

func TestOnlyWhileAway(t *testing.T) {
	for _, from := range []string{"control", "a"} {
		r := newRig(t, between(2, 2, scenarios.Traffic{From: from, To: "b", Topic: "x/{client}", Each: 500, While: "away"}))
		r.live("b", 1, 0)
		r.start()
		await(t, "messages to the one that is away", func() bool { return r.count(2) > 50 })
		if n := r.count(1); n != 0 {
			t.Errorf("%s: %d messages to one that is connected", from, n)
		}
		r.live("b", 0, 0)
		r.live("b", 1, 2)
		changed := r.clock.Now()
		await(t, "messages to the other", func() bool { return r.count(1) > 50 })
		r.traffic.Stop()
		// A slot that was queued while it was away may come a moment later.
		for _, m := range r.sent[2] {
			if late := timeline.Instant(m.h.Intended) - changed; late > 0 {
				t.Errorf("%s: due %s after it was back", from, time.Duration(late))
			}
		}
		r.check(t)
		r.book.mu.Lock()
		for id, s := range r.book.slots {
			if s[0] != int64(len(r.sent[id])) {
				t.Errorf("%s: stream %d: %d scheduled, %d sent: slots while connected are not scheduled", from, id, s[0], len(r.sent[id]))
			}
		}
		r.book.mu.Unlock()
	}
}

// Each action is preceded by one burst of the streams that go with the client,
// and of no others.
func TestBeforeAnAction(t *testing.T) {
	const burst = 7
	for _, tt := range []struct {
		name     string
		from     string
		topic    string
		fleet    string // acted on: its client 1
		want     []uint32
		withheld bool // while: away
	}{
		{"the receiver, from control", "control", "x/{client}", "b", []uint32{2}, false},
		{"any receiver, from control", "control", "x", "b", []uint32{1}, false},
		{"the publisher", "a", "x/{from}", "a", []uint32{2}, false},
		{"no publisher", "a", "x/{from}", "b", nil, false},
		{"the publisher of two", "a", "x/{client}", "a", []uint32{2, 4}, false},
		{"the receiver", "a", "x/{client}", "b", []uint32{2}, false},
		{"itself", "b", "x/{client}", "b", []uint32{2}, false},
		{"a stranger", "b", "x/{client}", "a", nil, false},
		{"a receiver that is connected", "control", "x/{client}", "b", nil, true},
	} {
		item := scenarios.Traffic{From: tt.from, To: "b", Topic: tt.topic, QoS: 1, Burst: burst, At: "fault"}
		if tt.withheld {
			item.While = whileAway
		}
		r := newRig(t, between(2, 4, item))
		r.traffic.Before(tt.fleet, 1)
		if r.total() != 0 {
			t.Errorf("%s: sent before the start", tt.name)
		}
		r.start()
		r.traffic.Before(tt.fleet, 1)
		if r.total() != burst*len(tt.want) {
			t.Errorf("%s: %d messages when the action begins, want %d", tt.name, r.total(), burst*len(tt.want))
		}
		for _, id := range tt.want {
			if r.count(id) != burst {
				t.Errorf("%s: stream %d: %d messages", tt.name, id, r.count(id))
			}
		}
		r.traffic.Stop()
		r.traffic.Before(tt.fleet, 1)
		r.check(t)
		if got := r.book.totals(); got.scheduled != int64(burst*len(tt.want)) {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
}

// What could not be handed over in time is missed: it is never sent after the
// action that it was to precede.
func TestBeforeIsBounded(t *testing.T) {
	const bound = 100 * time.Millisecond
	r := newRig(t, between(1, 1, scenarios.Traffic{From: "control", To: "b", Topic: "x/{client}", QoS: 1, Burst: 5, At: "fault"}))
	r.traffic.cfg.WriteTimeout = bound
	r.traffic.lanes[0].patience = r.traffic.lane(&r.traffic.lanes[0].Stream).patience
	release := make(chan struct{})
	r.driver.publish = func(m fakeMessage) error {
		<-release
		r.take(m, true)
		return nil
	}
	r.start()
	began := r.clock.Now()
	r.traffic.Before("b", 0)
	took := time.Duration(r.clock.Now() - began)
	if took < bound || took > 20*bound {
		t.Errorf("returned after %s, the bound is %s", took, bound)
	}
	close(release)
	r.check(t)
	// The first call was under way; it is the library that sends it late.
	if got := r.book.totals(); got.scheduled != 5 || got.missed != 4 || got.attempted != 1 {
		t.Errorf("got %+v", got)
	}
}

// A thousand faults at once, among the slots of the timetable.
func TestBeforeAtOnce(t *testing.T) {
	r := newRig(t, between(3, 50,
		scenarios.Traffic{From: "a", To: "b", Topic: "f/{client}", QoS: 1, Burst: 3, At: "fault"},
		scenarios.Traffic{From: "a", To: "b", Topic: "x/{client}", QoS: 1, Each: 50}))
	r.start()
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() { r.traffic.Before("b", i%50) })
	}
	all.Wait()
	n := 0
	for id := range uint32(50) {
		n += r.count(id + 1)
	}
	if n != 3000 {
		t.Errorf("%d messages of 1,000 bursts of 3", n)
	}
	r.check(t)
}

func TestTrafficRefusesWhatDoesNotFit(t *testing.T) {
	b := newBench(t)
	item := scenarios.Traffic{From: "a", To: "b", Topic: "x/{client}", Each: 1, While: "away"}
	cfg := b.trafficConfig(between(1, 1, item), Accounts{})
	for name, change := range map[string]func(*TrafficConfig){
		"no clock": func(c *TrafficConfig) { c.Clock = nil },
		"no items": func(c *TrafficConfig) { c.Items = nil },
		"gap":      func(c *TrafficConfig) { c.Streams[0].ID = 2 },
	} {
		cfg := cfg
		cfg.Streams = slices.Clone(cfg.Streams)
		change(&cfg)
		if _, err := NewTraffic(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	traffic, err := NewTraffic(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := traffic.Start(t.Context()); !errors.Is(err, ErrConfig) {
		t.Errorf("without Join: %v", err)
	}
	if err := traffic.Sentinels(t.Context()); !errors.Is(err, ErrConfig) {
		t.Errorf("sentinels without Join: %v", err)
	}
	r := newRig(t, between(1, 1))
	for name, fleets := range map[string][]*Fleet{"no publisher": {r.fleets["b"]}, "no receiver": {r.fleets["a"]}} {
		if err := traffic.Join(fleets...); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	closeAll(t, traffic)
}
