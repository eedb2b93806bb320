package fleet

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// fakeDriver makes clients without a network: they are up at once, and what
// they are given to publish goes to publish.
type fakeDriver struct {
	publish func(m fakeMessage) error

	mu       sync.Mutex
	settings []Settings
}

// fakeMessage is one call of Publish.
type fakeMessage struct {
	id, topic string
	qos       byte
	retain    bool
	size      int
	h         mqtt.Header
}

func (d *fakeDriver) Info() reports.Driver { return reports.Driver{Name: "fake"} }

func (d *fakeDriver) New(s Settings) (Client, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settings = append(d.settings, s)
	return &fakeClient{driver: d, id: s.ClientID, dial: s.Dial}, nil
}

// noConn is the connection of a fake: nobody reads or writes it.
type noConn struct{ net.Conn }

type fakeClient struct {
	driver *fakeDriver
	id     string
	dial   func(context.Context) (net.Conn, error)
}

func (c *fakeClient) Connect(ctx context.Context) error {
	_, err := c.dial(ctx)
	return err
}
func (c *fakeClient) Subscribe(context.Context, []scenarios.Subscription) error { return nil }
func (c *fakeClient) Disconnect()                                               {}
func (c *fakeClient) Close()                                                    {}

func (c *fakeClient) Publish(topic string, qos byte, retain bool, payload []byte) error {
	h, err := mqtt.ParsePayload(payload)
	if err != nil {
		return err
	}
	return c.driver.publish(fakeMessage{id: c.id, topic: topic, qos: qos, retain: retain, size: len(payload), h: h})
}

// rig is traffic between fleets of fakes.
type rig struct {
	*bench
	driver  *fakeDriver
	traffic *Traffic
	fleets  map[string]*Fleet

	mu   sync.Mutex
	sent map[uint32][]fakeMessage // data that was taken, by stream, in the order of the calls
	all  []fakeMessage            // the same of all streams
}

// errNo is the fake library's refusal.
var errNo = errors.New("no")

// newRig makes a plan's fleets and a control fleet of two. Each message is
// written as soon as it is taken, unless the test replaces driver.publish
// before Start.
func newRig(t testing.TB, plan *scenarios.Plan) *rig {
	t.Helper()
	r := &rig{bench: newBench(t), driver: &fakeDriver{}, fleets: map[string]*Fleet{}, sent: map[uint32][]fakeMessage{}}
	r.driver.publish = func(m fakeMessage) error { r.take(m, true); return nil }
	r.traffic = r.bench.traffic(plan, r.book.accounts())
	all := []scenarios.PlanFleet{{Clients: 2, Fleet: scenarios.Fleet{Name: ControlFleet, ClientID: controlID}}}
	var fleets []*Fleet
	for _, pf := range append(all, plan.Fleets...) {
		f, err := New(Config{
			Run: testRun, RunID: testRunID, Clients: pf.Clients, Fleet: pf.Fleet, Driver: r.driver,
			Addresses: []string{"nowhere"}, Clock: r.clock, Accounts: r.traffic.Accounts(),
			Dial: func(context.Context, string, string, int, Tap) (net.Conn, string, string, error) {
				return noConn{}, "", "", nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		f.cfg.Fleet.Connect.Rate = 0
		f.Start(t.Context())
		fleets, r.fleets[pf.Name] = append(fleets, f), f
	}
	t.Cleanup(r.close)
	for _, f := range fleets {
		await(t, "clients up", func() bool { return int(f.up.Load()) == f.Len() })
		for i := range f.Len() {
			r.live(f.Name(), i, 1)
		}
	}
	if err := r.traffic.Join(fleets...); err != nil {
		t.Fatal(err)
	}
	return r
}

// close ends everything in the order of a run.
func (r *rig) close() {
	r.traffic.Stop()
	for _, f := range r.fleets {
		closeAll(r.t, f)
	}
	closeAll(r.t, r.traffic)
}

// live makes a client live on a connection; 0 = away.
func (r *rig) live(fleet string, client int, n int64) {
	r.fleets[fleet].clients[client].session.liveN.Store(n)
}

// take notes a message that the fake library took, and tells the tap's account
// when it is written.
func (r *rig) take(m fakeMessage, written bool) {
	now := r.clock.Now()
	if m.h.Kind == mqtt.KindSentinel {
		r.traffic.tally.Sentinel(m.h.Stream, now, 0)
		if written {
			r.traffic.tally.Sentinel(m.h.Stream, now, now)
		}
		return
	}
	r.mu.Lock()
	r.sent[m.h.Stream] = append(r.sent[m.h.Stream], m)
	r.all = append(r.all, m)
	r.mu.Unlock()
	if written {
		r.traffic.tally.Attempted(m.h.Stream, m.h.Seq, 1, timeline.Instant(m.h.Intended), now)
	}
}

// count is how many messages of a stream were taken.
func (r *rig) count(stream uint32) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sent[stream])
}

func (r *rig) total() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.all)
}

func (r *rig) start() {
	r.t.Helper()
	if err := r.traffic.Start(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// after waits until some time of the run's clock has passed.
func (r *rig) after(d time.Duration) {
	r.t.Helper()
	at := r.clock.Now() + timeline.Instant(d)
	await(r.t, d.String(), func() bool { return r.clock.Now() >= at })
}

// check fails unless the books of every stream add up, and its numbers are
// 1, 2, 3, … in the order of the calls.
func (r *rig) check(t interface{ Errorf(string, ...any) }) {
	r.close()
	r.book.mu.Lock()
	defer r.book.mu.Unlock()
	for _, l := range r.traffic.lanes {
		s, queued, attempted := r.book.slots[l.ID], r.book.queued[l.ID], int64(len(r.book.attempted[l.ID]))
		if s[0] != s[1]+s[2]+queued+attempted || queued < 0 {
			t.Errorf("stream %d: %d scheduled, %d missed, %d refused, %d queued, %d attempted", l.ID, s[0], s[1], s[2], queued, attempted)
		}
		for i, m := range r.sent[l.ID] {
			if m.h.Seq != uint64(i+1) {
				t.Errorf("stream %d: call %d has number %d", l.ID, i+1, m.h.Seq)
				break
			}
			if m.id != l.Publisher || m.topic != l.Topic || m.qos != l.QoS || m.retain != l.retain || m.size != max(l.payload, mqtt.HeaderSize) {
				t.Errorf("stream %d: sent as %+v, want %+v", l.ID, m, l.Stream)
				break
			}
		}
		if int64(len(r.sent[l.ID])) != attempted+queued {
			t.Errorf("stream %d: %d taken, %d attempted, %d queued", l.ID, len(r.sent[l.ID]), attempted, queued)
		}
	}
}
