package fleet

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// then is what is left to tell once the session's lock is released. The tap
// reports a packet before its bytes go on, and here it is told before the tap
// goes on: so the accounts hear of a cause before its effect can be seen.
type then struct {
	seen   protocol.Seen
	broken []protocol.Breach

	asked      []mqtt.Filter // SUBSCRIBE
	dropped    []string      // UNSUBSCRIBE
	connected  bool          // CONNACK 0
	present    bool          // with the session that this run knows
	subscribed []timeline.Sub
	probe      bool // the client has to be probed
}

// tellSent passes on what a packet from client to broker meant.
func (c *conn) tellSent(p *mqtt.Packet, t *then, at timeline.Instant) {
	f, id, n := c.s.fleet, c.s.id, c.rec.N
	if t.broken != nil {
		c.found(t.broken, at)
	}
	for i := range t.asked {
		f.accounts.Deliveries.Asked(id, t.asked[i].Topic, t.asked[i].QoS, at)
	}
	for _, filter := range t.dropped {
		f.accounts.Deliveries.Unsubscribed(id, filter, at)
	}
	if p.Type == mqtt.PUBLISH {
		c.tellPublish(p, &t.seen, at)
		return
	}
	m := &t.seen.Message
	if m.Kind != mqtt.KindData {
		return
	}
	switch t.seen.Step {
	case protocol.Released:
		f.accounts.Publications.Released(m.Stream, m.Seq, n, at)
	case protocol.Answered:
		f.accounts.Deliveries.Answered(id, m.Stream, m.Seq, n, at)
	}
}

// tellPublish accounts for a PUBLISH that is about to be written.
func (c *conn) tellPublish(p *mqtt.Packet, seen *protocol.Seen, at timeline.Instant) {
	if p.HeaderErr != nil {
		return
	}
	a, h := &c.s.fleet.accounts, &p.Header
	if d := &seen.Displaced; d.Kind == mqtt.KindData {
		a.Publications.Displaced(d.Stream, d.Seq)
	}
	switch h.Kind {
	case mqtt.KindData:
		a.Publications.Attempted(h.Stream, h.Seq, c.rec.N, timeline.Instant(h.Intended), at)
		if seen.Moved {
			a.Publications.Moved(h.Stream, h.Seq)
		}
	case mqtt.KindSentinel:
		a.Sentinels.Sentinel(h.Stream, at, 0)
	}
}

// tellReceived passes on what a packet from broker to client meant.
func (c *conn) tellReceived(p *mqtt.Packet, t *then, at timeline.Instant) {
	f := c.s.fleet
	if t.broken != nil {
		c.found(t.broken, at)
	}
	if p.Type == mqtt.PUBLISH {
		c.deliver(p, t.seen, at)
		return
	}
	if t.connected {
		f.accounts.Sessions.Connected(c.s.id, c.rec.N, t.present, at)
	}
	for i := range t.subscribed {
		f.accounts.Deliveries.Subscribed(c.s.id, t.subscribed[i].Filter, t.subscribed[i].Granted, at)
	}
	m := &t.seen.Message
	switch t.seen.Step {
	case protocol.Acked, protocol.Received:
		c.acked(m, at)
	case protocol.Completed:
		if m.Kind == mqtt.KindData {
			f.accounts.Publications.Completed(m.Stream, m.Seq, at)
		}
	}
	if t.probe {
		f.cfg.Prober.restored(c.s, c.rec.N)
	}
}

// acked accounts for a message that the broker took over: PUBACK or PUBREC.
func (c *conn) acked(m *protocol.Message, at timeline.Instant) {
	f := c.s.fleet
	switch m.Kind {
	case mqtt.KindData:
		f.accounts.Publications.Acked(m.Stream, m.Seq, at)
	case mqtt.KindSentinel:
		f.accounts.Sentinels.Sentinel(m.Stream, m.Sent, at)
	case mqtt.KindProbe:
		f.probes.acked(m.Seq, at)
	}
}

// deliver accounts for a PUBLISH that was read.
func (c *conn) deliver(p *mqtt.Packet, seen protocol.Seen, at timeline.Instant) {
	f, id := c.s.fleet, c.s.id
	f.heard(at)
	switch {
	case p.HeaderErr != nil:
		f.accounts.Deliveries.Corrupt(id, p.Topic, at)
	case p.Header.Kind == mqtt.KindSentinel:
		f.accounts.Sentinels.SentinelDelivered(id, p.Header.Stream, at)
	case p.Header.Kind == mqtt.KindWill && f.cfg.Wills != nil:
		f.cfg.Wills(p, at)
	case p.Header.Kind == mqtt.KindData:
		f.accounts.Deliveries.Delivered(id, mqtt.Delivery{
			Header: p.Header, Topic: p.Topic, QoS: p.QoS(), DUP: p.Dup(),
			Retain: p.Retain() && !seen.Unasked, Again: seen.Again, Conn: c.rec.N,
		}, at)
	}
}
