package fleet

import (
	"net"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Tap is what the tap under a connection reports to. Its calls come from the
// library's reader and writer goroutines and may interleave.
type Tap interface {
	// Packet: out, before any byte that completes the packet is given to the
	// socket, at = before the write of its first byte; in, after the read of
	// its last byte. The packet is valid during the call only.
	Packet(out bool, p *mqtt.Packet, at timeline.Instant)
	// Unsent: an out packet that was reported and whose last byte the socket
	// did not take.
	Unsent(p *mqtt.Packet)
	// End: once, how the connection ended.
	End(timeline.End)
}

// conn is the observer of one connection attempt. Its fields are guarded by
// the session's lock. What comes after End still reaches the accounts, but no
// longer the record, which is written by then.
type conn struct {
	s   *session
	rec timeline.Conn
	// turn is its number for the monitor, which has to know in which order the
	// broker took connections. That is the order of its CONNACKs, and when a rival
	// and the client connect at the same time not that of the dials, nor of the
	// CONNECTs. So the CONNECT is kept until another packet follows; 0 = none has.
	turn     int
	greeting *mqtt.Packet
	ring     ring             // nil = not known
	done     bool             // ended
	claimed  bool             // somebody subscribes on it
	pending  map[uint16][]int // SUBSCRIBEs by packet id: indexes of rec.Subs
}

// Rival reports whether the fault takeover made the connection, and not the
// client's library.
func (c *conn) Rival() bool { return c.rec.Rival }

// current reports whether c speaks for the session. s.mu is held.
func (c *conn) current() bool { return !c.done && c.s.cur == c }

// record hands a copy of the record over. s.mu is held, which keeps the
// records of one connection in order.
func (c *conn) record() {
	rec := c.rec
	rec.Subs = slices.Clone(rec.Subs)
	c.s.fleet.cfg.Record(rec)
}

// dialed notes that the transport is connected.
func (c *conn) dialed(at timeline.Instant, tapped net.Conn, local, remote string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.rec.Dialed, c.rec.Local, c.rec.Remote = at, local, remote
	c.ring, _ = tapped.(ring)
}

// dialFailed ends an attempt that never was a connection.
func (c *conn) dialFailed(at timeline.Instant, err error) {
	c.End(timeline.End{At: at, Kind: timeline.EndDial, Err: plain(err)})
}

// Packet implements Tap.
func (c *conn) Packet(out bool, p *mqtt.Packet, at timeline.Instant) {
	if out {
		c.sent(p, at)
	} else {
		c.received(p, at)
	}
}

// sent handles a packet from client to broker.
func (c *conn) sent(p *mqtt.Packet, at timeline.Instant) {
	s := c.s
	var t then
	s.mu.Lock()
	if !c.done {
		c.countOut(p, at)
	}
	t.seen, t.broken = s.follow(c, true, p, at)
	switch p.Type {
	case mqtt.SUBSCRIBE:
		c.subscribing(p, at, &t)
	case mqtt.UNSUBSCRIBE:
		c.unsubscribing(p, &t)
	}
	s.mu.Unlock()
	c.tellSent(p, &t, at)
}

// countOut keeps the record of what the client writes. s.mu is held.
func (c *conn) countOut(p *mqtt.Packet, at timeline.Instant) {
	c.silence(at)
	c.rec.LastOut = at
	c.rec.PacketsOut++
	switch p.Type {
	case mqtt.CONNECT:
		c.rec.Connect = at
		if info, err := p.Connect(); err == nil {
			c.rec.Clean, c.rec.KeepAlive, c.rec.Will = info.Clean, info.KeepAlive, info.WillTopic != ""
		}
	case mqtt.PINGREQ:
		c.rec.PingReqs++
	case mqtt.DISCONNECT:
		if c.rec.Disconnect == "" {
			c.rec.Disconnect = "out"
		}
	}
}

// silence measures the gap from the last packet to the broker until at.
func (c *conn) silence(at timeline.Instant) {
	if c.rec.LastOut != 0 {
		c.rec.MaxOutGap = max(c.rec.MaxOutGap, int64(at-c.rec.LastOut))
	}
}

// subscribing notes the filters that are asked for. s.mu is held.
func (c *conn) subscribing(p *mqtt.Packet, at timeline.Instant, t *then) {
	filters, err := p.Subscribe()
	if err != nil {
		return
	}
	t.asked = filters
	if c.done {
		return
	}
	asked := make([]int, 0, len(filters))
	for _, f := range filters {
		i := c.sub(f.Topic)
		sent := at
		if old := &c.rec.Subs[i]; old.Sent != 0 && old.Acked == 0 {
			sent = old.Sent // asked again for want of an answer
		}
		c.rec.Subs[i] = timeline.Sub{Filter: f.Topic, QoS: f.QoS, Sent: sent}
		asked = append(asked, i)
	}
	if c.pending == nil {
		c.pending = map[uint16][]int{}
	}
	c.pending[p.ID] = asked
}

// unsubscribing notes the filters that are given up: they are not restored by
// a later resume. s.mu is held.
func (c *conn) unsubscribing(p *mqtt.Packet, t *then) {
	filters, err := p.Unsubscribe()
	if err != nil {
		return
	}
	t.dropped = filters
	for _, filter := range filters {
		if w := c.s.place(filter); w >= 0 {
			c.s.granted[w], c.s.complete = notGranted, false
		}
	}
}

// sub finds the filter's place in the record. The library sends filters in any
// order; the record keeps the scenario's. s.mu is held.
func (c *conn) sub(filter string) int {
	if c.rec.Subs == nil {
		for _, w := range c.s.wanted {
			c.rec.Subs = append(c.rec.Subs, timeline.Sub{Filter: w.Topic, QoS: w.QoS})
		}
	}
	i := slices.IndexFunc(c.rec.Subs, func(s timeline.Sub) bool { return s.Filter == filter })
	if i < 0 {
		i = len(c.rec.Subs)
		c.rec.Subs = append(c.rec.Subs, timeline.Sub{Filter: filter})
	}
	return i
}

// received handles a packet from broker to client.
func (c *conn) received(p *mqtt.Packet, at timeline.Instant) {
	s := c.s
	var t then
	s.mu.Lock()
	if !c.done {
		c.countIn(p, at)
	}
	t.seen, t.broken = s.follow(c, false, p, at)
	switch p.Type {
	case mqtt.CONNACK:
		c.connack(p, at, &t)
	case mqtt.PUBLISH:
		if p.HeaderErr == nil && p.Header.Kind == mqtt.KindProbe {
			c.probed(p, at)
		}
	case mqtt.SUBACK:
		c.suback(p, at, &t)
	}
	s.mu.Unlock()
	c.tellReceived(p, &t, at)
}

// countIn keeps the record of what the client reads. s.mu is held.
func (c *conn) countIn(p *mqtt.Packet, at timeline.Instant) {
	c.rec.LastIn = at
	c.rec.PacketsIn++
	switch p.Type {
	case mqtt.PUBLISH:
		c.rec.LastPub = at
		if p.HeaderErr == nil && p.Header.Run == c.s.fleet.cfg.RunID {
			c.rec.Alive = max(c.rec.Alive, timeline.Instant(p.Header.Sent))
		}
	case mqtt.PINGRESP:
		c.rec.PingResps++
	case mqtt.DISCONNECT: // a server of 3.1.1 must not send one; some do
		if c.rec.Disconnect == "" {
			c.rec.Disconnect = "in"
		}
	}
}

// connack handles the broker's answer to CONNECT. That to a rival counts for
// the session's epoch, and for nothing of what the client itself is doing.
// s.mu is held.
func (c *conn) connack(p *mqtt.Packet, at timeline.Instant, t *then) {
	s := c.s
	present, code, err := p.Connack()
	if err != nil || c.rec.Connack != 0 || !c.current() && (!c.rec.Rival || c.done) {
		return
	}
	c.rec.Connack, c.rec.ConnackCode, c.rec.SessionPresent = at, code, present
	if code != 0 {
		return
	}
	c.rec.SessionWanted = s.kept && !c.rec.Clean
	t.connected, t.present = true, present && c.rec.SessionWanted
	if !t.present {
		s.forget()
	}
	s.kept = !c.rec.Clean
	if c.rec.Rival {
		return
	}
	s.knew = true
	s.liveN.Store(int64(c.rec.N))
	s.fleet.accepted.Add(1)
	if s.back == scenarios.BackConnack {
		s.isBack(c)
	}
	if s.complete {
		for i, w := range s.wanted {
			c.rec.Subs = append(c.rec.Subs, timeline.Sub{Filter: w.Topic, QoS: w.QoS, Granted: s.granted[i], Restored: true})
		}
		t.probe = s.restored(c, at)
	}
	s.fleet.signal()
}

// suback handles the broker's answer to a SUBSCRIBE. s.mu is held.
func (c *conn) suback(p *mqtt.Packet, at timeline.Instant, t *then) {
	s := c.s
	codes, err := p.Suback()
	asked, ok := c.pending[p.ID]
	if err != nil || !ok || len(codes) != len(asked) || !c.current() {
		return
	}
	delete(c.pending, p.ID)
	for i, code := range codes {
		sub := &c.rec.Subs[asked[i]]
		sub.Acked, sub.Granted = at, code
		w := s.place(sub.Filter)
		if w < 0 {
			continue
		}
		if s.granted[w] != code {
			t.subscribed = append(t.subscribed, *sub)
		}
		s.granted[w] = code
	}
	s.complete = !slices.ContainsFunc(s.granted, func(g byte) bool { return g >= subackRefused })
	if s.complete && c.rec.Restored == 0 && s.liveN.Load() != 0 {
		t.probe = s.restored(c, at)
	}
}

// probed handles a probe. Only those numbered after the loss count: an older
// one may have waited in the broker and proves nothing. s.mu is held.
func (c *conn) probed(p *mqtt.Packet, at timeline.Instant) {
	s := c.s
	if !c.current() || c.rec.FirstMessage != 0 || p.Header.Run != s.fleet.cfg.RunID ||
		p.Header.Seq <= s.floor || string(p.Topic) != s.probe {
		return
	}
	c.rec.FirstMessage = at
	if s.back == scenarios.BackFirstMessage && s.backN.Load() == 0 {
		s.isBack(c)
	}
}

// Unsent implements Tap: the packet was counted and did not leave.
func (c *conn) Unsent(p *mqtt.Packet) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.monitor.Unsent(c.turn, p)
	if c.done {
		return
	}
	c.rec.PacketsOut--
	switch p.Type {
	case mqtt.PINGREQ:
		c.rec.PingReqs--
	case mqtt.DISCONNECT:
		if c.rec.Disconnect == "out" {
			c.rec.Disconnect = ""
		}
	}
}

// End implements Tap.
func (c *conn) End(e timeline.End) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.done {
		return
	}
	c.silence(e.At)
	c.rec.End, c.rec.EndKind, c.rec.EndErr = e.At, e.Kind, e.Err
	c.rec.PartialIn, c.rec.PartialOut, c.rec.Last = e.PartialIn, e.PartialOut, e.Last
	c.rec.Scripted = s.closing
	s.monitor.End(c.turn, e.At)
	s.leave(c)
	c.done = true
	c.record()
}
