package fleet

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
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
	n        int     // connections so far, those of rivals too
	dials    int     // attempts of the library so far
	cur      *conn   // current attempt of the library; nil between attempts
	rivals   []*conn // open ones
	intended timeline.Instant
	slept    time.Duration // asked for by the reconnect policy since the last dial
	knew     bool          // a CONNACK was accepted
	kept     bool          // the latest accepted CONNECT asked for a kept session: the broker has one
	lost     bool          // an accepted connection was lost and the client is not back
	away     bool          // counted in Fleet.away
	settled  bool          // the initial subscription was complete once
	closing  bool

	granted  []byte // per wanted filter, in this epoch
	complete bool   // all are granted in this epoch

	proof timeline.Instant // a sign of life that was sent later is asked for; 0 = none is

	issued uint64 // last probe number
	floor  uint64 // last probe number before the current attempt: only later ones count

	monitor protocol.Session // of all connections, those of rivals too, numbered by their turns
	turns   int              // so far
	latest  *conn            // opened last
	broken  []protocol.Breach
	report  func(protocol.Breach) // fills broken; made once, not per packet
}

func newSession(f *Fleet, index int) *session {
	s := &session{fleet: f, index: index, id: f.ID(index)}
	s.report = func(b protocol.Breach) { s.broken = append(s.broken, b) }
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

// place finds a filter among the wanted ones; -1 = it is none.
func (s *session) place(filter string) int {
	return slices.IndexFunc(s.wanted, func(w scenarios.Subscription) bool { return w.Topic == filter })
}

// follow has the monitor follow a packet. s.mu is held.
func (s *session) follow(c *conn, out bool, p *mqtt.Packet, at timeline.Instant) (seen protocol.Seen, broken []protocol.Breach) {
	switch {
	case c.turn != 0:
		seen = s.monitor.Packet(c.turn, out, p, at, s.report)
	case out && p.Type == mqtt.CONNECT && c.greeting == nil:
		c.greeting = &mqtt.Packet{Type: p.Type, Flags: p.Flags, Body: slices.Clone(p.Body)}
	default:
		s.turns++
		c.turn = s.turns
		if c.greeting != nil {
			s.monitor.Packet(c.turn, true, c.greeting, c.rec.Connect, s.report)
			c.greeting = nil
		}
		seen = s.monitor.Packet(c.turn, out, p, at, s.report)
	}
	broken = s.broken
	s.broken = nil
	return seen, broken
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
	// A probe is issued only on a live connection, so all that were issued
	// until here are older than the loss.
	s.floor = s.issued
	c := s.open(at)
	c.rec.Backoff, s.slept = int64(s.slept), 0
	if !s.knew {
		c.rec.Intended = s.intended
	}
	s.dials++
	s.cur = c
	return c
}

// rival opens the record of a connection that takes the session over; nil when
// the session is closing.
func (s *session) rival(at timeline.Instant) *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil
	}
	c := s.open(at)
	c.rec.Rival = true
	s.rivals = append(s.rivals, c)
	return c
}

// open opens the record of a connection. s.mu is held.
func (s *session) open(at timeline.Instant) *conn {
	s.n++
	s.latest = &conn{s: s, rec: timeline.Conn{
		Fleet: s.fleet.cfg.Fleet.Name, Client: s.index, ClientID: s.id, N: s.n, Dial: at,
		Clean: s.fleet.cfg.Fleet.Session.Clean,
	}}
	return s.latest
}

// leave takes the counters back when a connection is over. s.mu is held.
func (s *session) leave(c *conn) {
	if c.rec.Rival {
		s.rivals = slices.DeleteFunc(s.rivals, func(r *conn) bool { return r == c })
	}
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
// and not yet back, or asked for a sign of life.
func (s *session) issue(n int) (seq uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cur
	if c == nil || c.rec.N != n || c.rec.Restored == 0 || s.closing {
		return 0, false
	}
	switch {
	case s.backN.Load() == 0:
		c.rec.Probes++
	case s.proof == 0 || c.rec.Alive > s.proof:
		return 0, false
	}
	s.issued = s.fleet.cfg.Prober.probes.next()
	return s.issued, true
}

// prove asks for a sign of life that was sent after an instant, and gives the
// connection that it is asked of; 0 = none, or there is no topic to probe.
func (s *session) prove(after timeline.Instant) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proof = after
	if s.cur == nil || s.probe == "" || s.liveN.Load() == 0 {
		return 0
	}
	return s.cur.rec.N
}

// lives reports whether connection n, not ended, has shown a sign of life since
// an instant: what was sent later was read; without a topic to probe, anything.
func (s *session) lives(n int, since timeline.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.cur == nil || s.cur.rec.N != n || s.liveN.Load() == 0:
		return false
	case s.probe == "":
		return s.cur.rec.LastIn > since
	}
	return s.cur.rec.Alive > since
}

// probeAcked says that the broker has a probe for connection n.
func (s *session) probeAcked(n int, at timeline.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.cur; c != nil && c.rec.N == n && c.rec.ProbeAcked == 0 {
		c.rec.ProbeAcked = at
	}
}

// sleeping notes a sleep that the reconnect policy asked for before a dial.
func (s *session) sleeping(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slept += max(d, 0)
}

// connecting says that the library is about to be asked for a first attempt,
// which no policy delays, and gives the number of its attempts so far.
func (s *session) connecting() (dials int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slept = 0
	return s.dials
}

// attempts is the number of the library's attempts so far, and whether one is
// under way or live.
func (s *session) attempts() (dials int, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dials, s.cur != nil
}

// close makes what ends from now on the harness's own doing.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

// settle tells of the breaches that waited for a later packet to be certain, of
// which there can be none any more.
func (s *session) settle(at timeline.Instant) {
	s.mu.Lock()
	s.monitor.Settle(s.report)
	broken, latest := s.broken, s.latest
	s.broken = nil
	s.mu.Unlock()
	if len(broken) > 0 {
		latest.found(broken, at)
	}
}

// flush records the connection that is still open.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur != nil {
		s.cur.record()
	}
	for _, c := range s.rivals {
		c.record()
	}
}
