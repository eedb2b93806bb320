package fleet

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// notGranted marks a filter without a granting SUBACK in this epoch.
const notGranted = subackRefused

// session is what the taps know of one client across its connections. The
// calls come from the library's reader and writer goroutines, and late ones of
// an old connection after a new one began: each connection has its own
// observer (conn), and only the current one changes the session's state.
type session struct {
	fleet  *Fleet
	index  int
	id     string
	wanted []scenarios.Subscription // topics filled
	probe  string                   // probe topic, "" = none
	back   string                   // effective definition of back

	liveN atomic.Int64 // number of the live connection, 0 = none
	backN atomic.Int64 // number of the connection it is back on, 0 = away

	mu       sync.Mutex
	n        int   // attempts so far
	cur      *conn // current attempt; nil between attempts
	intended timeline.Instant
	knew     bool // a CONNACK was accepted: the broker knows a kept session
	lost     bool // an accepted connection was lost and the client is not back
	away     bool // counted in Fleet.away
	settled  bool // the initial subscription was complete once
	closing  bool

	granted  []byte // per wanted filter, in this epoch
	complete bool   // all are granted in this epoch

	issued uint64 // last probe number
	floor  uint64 // last probe number before the current attempt: only later ones count

	inflight map[uint16]inflight // QoS 1 publishes by packet id, across connections
}

// inflight is a QoS 1 publish that waits for its PUBACK.
type inflight struct {
	kind   mqtt.Kind
	stream uint32
	seq    uint64
	sent   timeline.Instant // of its latest transmission
}

func newSession(f *Fleet, index int) *session {
	s := &session{fleet: f, index: index, id: f.ID(index)}
	for _, sub := range f.cfg.Fleet.Subscribe {
		topic := Topic(sub.Topic, f.cfg.Run, s.id)
		if !slices.ContainsFunc(s.wanted, func(w scenarios.Subscription) bool { return w.Topic == topic }) {
			s.wanted = append(s.wanted, scenarios.Subscription{Topic: topic, QoS: sub.QoS})
		}
	}
	s.forget()
	if f.cfg.Probe != "" && f.cfg.Prober != nil {
		s.probe = Topic(f.cfg.Probe, f.cfg.Run, s.id)
	}
	s.back = scenarios.EffectiveBack(f.cfg.Fleet, s.probe)
	return s
}

// forget begins a new epoch: nothing is granted.
func (s *session) forget() {
	s.granted = slices.Repeat([]byte{notGranted}, len(s.wanted))
	s.complete = len(s.wanted) == 0
}

// begin opens the record of a new attempt; nil when the session is closing.
func (s *session) begin(at timeline.Instant) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil
	}
	if s.cur != nil {
		s.leave(s.cur) // its End is late; what it still says goes to its own record
	}
	s.n++
	// A probe is issued only on a live connection, so all that were issued
	// until here are older than the loss.
	s.floor = s.issued
	c := &conn{s: s}
	c.rec = timeline.Conn{
		Fleet: s.fleet.cfg.Fleet.Name, Client: s.index, ClientID: s.id, N: s.n, Dial: at,
		Clean: s.fleet.cfg.Fleet.Session.Clean,
	}
	if !s.knew {
		c.rec.Intended = s.intended
	}
	s.cur = c
	return c
}

// leave takes the counters back when a connection is over. s.mu is held.
func (s *session) leave(c *conn) {
	if s.cur != c {
		return
	}
	s.cur = nil
	if s.liveN.Swap(0) != 0 {
		s.lost = true
		if !s.away {
			s.away = true
			s.fleet.away.Add(1)
		}
	}
	if c.rec.Restored != 0 {
		s.fleet.connected.Add(-1)
	}
	s.backN.Store(0)
	s.fleet.signal()
}

// isBack marks the client as back on c. s.mu is held.
func (s *session) isBack(c *conn) {
	s.backN.Store(int64(c.rec.N))
	s.lost = false
	if s.away {
		s.away = false
		s.fleet.away.Add(-1)
	}
	s.fleet.signal()
}

// restored marks the subscriptions of c as restored, and reports whether a
// probe has to show the rest of the way back. s.mu is held.
func (s *session) restored(c *conn, at timeline.Instant) (probe bool) {
	c.rec.Restored = at
	s.settled = true
	s.fleet.connected.Add(1)
	s.fleet.signal()
	switch {
	case s.back == scenarios.BackFirstMessage && s.lost:
		return true
	case s.backN.Load() == 0:
		// A first connection has no loss to come back from, and no probe.
		s.isBack(c)
	}
	return false
}

// claim reports whether the current connection needs a SUBSCRIBE that nobody
// is working on, with the connection's number.
func (s *session) claim() (n int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cur
	if c == nil || c.claimed || s.liveN.Load() == 0 || !s.needs(c) {
		return 0, false
	}
	c.claimed = true
	return c.rec.N, true
}

// needs is the resubscribe policy, on the tap's session present of this
// connection. The initial subscription is made under any policy. s.mu is held.
func (s *session) needs(c *conn) bool {
	switch {
	case len(s.wanted) == 0:
		return false
	case s.fleet.cfg.Fleet.Resubscribe == "always":
		return true
	case s.fleet.cfg.Fleet.Resubscribe == "never" && s.settled:
		return false
	}
	return c.rec.Restored == 0
}

// on reports whether connection n is the live one.
func (s *session) on(n int) bool { return s.liveN.Load() == int64(n) }

// issue numbers the next probe for connection n, which must be live, restored
// and not yet back.
func (s *session) issue(n int) (seq uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cur
	if c == nil || c.rec.N != n || c.rec.Restored == 0 || s.backN.Load() != 0 || s.closing {
		return 0, false
	}
	s.issued++
	c.rec.Probes++
	return s.issued, true
}

// close makes what ends from now on the harness's own doing.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

// flush records the connection that is still open.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil {
		s.cur.record()
	}
}
