package protocol

import "github.com/rebound-mqtt/rebound/harness/mqtt"

// follow takes the step and says which one it was.
func (ev *event) follow() Seen {
	ev.c.read = ev.c.read || !ev.out
	switch ev.p.Type {
	case mqtt.PUBLISH:
		return ev.followPublish()
	case mqtt.PUBREL:
		return ev.followPubrel()
	case mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP:
		return ev.followAck()
	}
	if ev.known {
		ev.followConn()
	}
	return Seen{}
}

func (ev *event) followPublish() Seen {
	seen := Seen{Step: published.step(ev.out), Unasked: ev.unasked}
	if h := &ev.p.Header; ev.p.HeaderErr == nil {
		seen.Message = Message{h.Kind, h.Stream, h.Seq, ev.at}
	}
	if !ev.out {
		ev.settleRetained()
	}
	if ev.rel == alien { // QoS 0
		return seen
	}
	e, c := ev.e, ev.c
	switch ev.rel {
	case stale:
		seen.Again = e != nil && e.identity == ev.id && (ev.out || ev.id.qos == 2 && e.epoch == c.epoch)
		if !ev.out {
			c.strays.put(ev.p.ID, seen.Message)
		}
		return seen
	case again:
		seen.Again = ev.out || ev.id.qos == 2 && e.stage < released
		ev.repeat()
	default:
		seen.Again = ev.out && !ev.new && (ev.rel != fresh || ev.id.ours() && ev.p.Dup())
		seen.Moved = ev.out && ev.rel == moved
		if ev.out && ev.rel == clash {
			seen.Displaced = e.message()
		}
		ev.begin()
	}
	if ev.out {
		ev.s.newest = max(ev.s.newest, ev.id.given)
	} else {
		c.strays.take(ev.p.ID)
	}
	return seen
}

// begin opens an exchange. What held the id before is forgotten; what it is
// still owed may yet come.
func (ev *event) begin() {
	c, place := ev.c, ev.s.place
	if ev.rel == clash && ev.e.stage != received && (!ev.ours || ev.e.conn == c.n) {
		*ev.owed().of(ev.e.answer())++
	}
	ev.table().put(exchange{
		identity: ev.id, sent: ev.at, since: ev.at, first: place, due: place, epoch: c.epoch,
		born: c.n, conn: c.n, pub: c.n, id: ev.p.ID, stage: published, pubs: 1,
		// With DUP it was sent before, we do not know when. What one of several
		// connections at a time reads was sent before or after what another one
		// reads, and their CONNACKs may be read in another order than they were sent.
		loose: ev.rel != fresh || ev.p.Dup() || !ev.out && (c.n < ev.s.last || ev.s.shared(c)),
		maybe: ev.out && c.epoch < ev.s.epoch, // a newer connection has begun a session: the broker reads no more here
	})
}

// repeat follows a further transmission of a PUBLISH.
func (ev *event) repeat() {
	e, c := ev.e, ev.c
	if ev.resends() {
		mark := &c.resent[side(ev.out)]
		*mark = max(*mark, e.first)
	}
	if e.stage != published || e.conn < c.n {
		e.due = ev.s.place
	}
	switch {
	case ev.lapsed(), e.stage == over: // the receiver begins anew
		e.stage, e.turn = published, 0
	case e.stage == published:
		e.loose = e.loose || e.maybe
		if e.maybe {
			e.pubs = 0 // of those that are certain
		}
		*ev.owed().of(e.answer())++
	case ev.ours || e.stage == released:
		*ev.owed().of(mqtt.PUBREC)++ // it has its PUBREC and gets one more
	}
	e.sent, e.conn, e.pub, e.epoch, e.maybe = ev.at, c.n, c.n, c.epoch, false
	e.pubs = min(e.pubs+1, 2)
}

func (ev *event) followPubrel() Seen {
	e, c := ev.e, ev.c
	seen := Seen{Step: released.step(ev.out)}
	switch {
	case ev.rel == fresh:
		ev.table().put(exchange{
			identity: identity{qos: 2}, first: ev.s.place, born: c.n, conn: c.n, rel: c.n, epoch: c.epoch,
			id: ev.p.ID, stage: released, rels: 1, loose: true,
		})
		return Seen{}
	case e == nil, e.qos != 2:
		return Seen{}
	case ev.rel == stale:
		if ev.ours && e.stage == received && ev.readOnly() {
			e.maybe = true
		}
		seen.Message = e.message()
		return seen
	}
	if ev.releases() {
		mark := &c.released[side(ev.out)]
		*mark = max(*mark, e.turn)
	}
	if e.stage == released && !ev.lapsed() {
		*ev.owed().of(e.answer())++
	}
	if e.pubs == 0 {
		seen.Step = None
	}
	seen.Message = e.message()
	e.stage, e.conn, e.rel, e.epoch, e.maybe = released, c.n, c.n, c.epoch, false
	e.rels = min(e.rels+1, 2)
	return seen
}

// ackStep is the step that an acknowledgement takes.
func ackStep(t mqtt.Type, ours bool) Step {
	switch {
	case !ours && t == mqtt.PUBCOMP:
		return Ended
	case !ours:
		return Answered
	case t == mqtt.PUBACK:
		return Acked
	case t == mqtt.PUBREC:
		return Received
	}
	return Completed
}

func (ev *event) followAck() Seen {
	e := ev.e
	seen := Seen{}
	if e != nil && ev.rel != alien && e.pubs > 0 {
		seen = Seen{Step: ackStep(ev.p.Type, ev.ours), Message: e.message()}
	}
	switch ev.rel {
	case alien:
		if e != nil && ev.p.Type == mqtt.PUBREC {
			e.turn = 0 // the sender may go by this one
		}
	case extra:
		if !ev.repeats() {
			*ev.owed().of(ev.p.Type)--
		}
		if e == nil || ev.p.Type != mqtt.PUBREC || e.stage < received || e.stage == over {
			return Seen{}
		}
		e.conn, e.rec, e.turn = ev.c.n, ev.c.n, 0
	case answers:
		ev.acknowledge()
	case stale:
		if !ev.ours {
			return ev.followStray(seen)
		}
		if e != nil && ev.p.Type != mqtt.PUBREC && ev.readOnly() {
			ev.table().finish(e)
		}
	}
	return seen
}

// followStray follows an acknowledgement that the client writes on a connection
// that is not the latest: it answers what was read there, before the latest one
// went on with the exchange or after.
func (ev *event) followStray(seen Seen) Seen {
	p := ev.p
	e := ev.table().find(p.ID)
	if m, ok := ev.c.strays.take(p.ID); ok {
		seen = Seen{Step: Answered, Message: m}
	}
	if e == nil || seen.Step == None || e.stage != published || e.answer() != p.Type || !e.message().same(seen.Message) {
		return seen
	}
	if e.parted = true; p.Type == mqtt.PUBACK {
		ev.table().finish(e)
	} else {
		e.stage, e.rec, e.turn = received, ev.c.n, 0
	}
	return seen
}

// readOnly reports whether of an exchange newer connections have read
// something and written nothing, as a rival does: for the client, which may
// still be on this one, it goes on here, and its id is free when it is over.
func (ev *event) readOnly() bool { return max(ev.e.pub, ev.e.rel) <= ev.c.n }

// acknowledge takes an exchange on to its next stage, or ends it.
func (ev *event) acknowledge() {
	e, c := ev.e, ev.c
	if ev.inTurn() {
		mark := c.acks(ev.p.Type)
		*mark = max(*mark, e.due)
	}
	e.conn, e.maybe, e.due = c.n, false, 0
	switch {
	case ev.p.Type != mqtt.PUBREC:
		ev.table().finish(e)
	case e.stage == received: // which of the two the sender goes by is not known
		e.turn = 0
	default:
		e.stage, e.rec, e.turn = received, c.n, ev.s.place
	}
}

// acks is the mark of the order of the PUBACKs or PUBRECs that the client writes.
func (c *conn) acks(t mqtt.Type) *uint64 {
	if t == mqtt.PUBACK {
		return &c.puback
	}
	return &c.pubrec
}

// resends reports whether the packet is the first PUBLISH of this connection
// for a message whose place in the order of sending is known from an earlier
// one. What is repeated later on the same connection has no order to keep:
// 1, 2, 3, 2, 3 is legal.
func (ev *event) resends() bool {
	e := ev.e
	return ev.rel == again && e.pub < ev.c.n && !e.loose && !e.maybe && !ev.late()
}

// resent reports whether the PUBLISH certainly was written after an earlier
// one. Of connections that overlap, as in a takeover, nothing says which one the
// broker took first: what one of them reads it may have been sent before what
// the other has read already.
func (ev *event) resent() bool {
	e := ev.e
	return ev.out || e.pub == ev.c.n || e.since < ev.c.began
}

// late reports whether the packet is a PUBLISH after its PUBREL.
func (ev *event) late() bool {
	return ev.rel == again && ev.e.qos == 2 && ev.e.stage >= released
}

// inTurn reports whether the client's acknowledgement answers a PUBLISH with a
// known place on this connection. A PUBREC may be said again at any time.
func (ev *event) inTurn() bool {
	e := ev.e
	return ev.rel == answers && !ev.ours && e.conn == ev.c.n && e.due > 0 && ev.p.Type != mqtt.PUBCOMP
}

// releases reports whether the packet is the first PUBREL of this connection
// for a message whose PUBREC has a known place.
func (ev *event) releases() bool {
	e := ev.e
	return ev.rel == answers && e.turn > 0 && e.rel < ev.c.n && !e.maybe && !ev.lapsed()
}

// followConn follows the packets that belong to the connection.
func (ev *event) followConn() {
	s, c, p := ev.s, ev.c, ev.p
	switch {
	case ev.out && p.Type == mqtt.CONNECT:
		info, _ := p.Connect() // the flags are read whatever the level
		c.began = ev.at
		if c.connected = true; info.Clean {
			c.clean, c.fence = true, c.n
		}
	case ev.out && p.Type == mqtt.SUBSCRIBE:
		filters, _ := p.Subscribe()
		c.asked = append(c.asked, asked{id: p.ID, filters: filters})
		c.subscribed, s.retained, s.granted = true, true, 0
	case ev.out && p.Type == mqtt.UNSUBSCRIBE:
		c.asked = append(c.asked, asked{id: p.ID, unsub: true})
	case ev.out && p.Type == mqtt.DISCONNECT:
		c.disconnected = true
	case !ev.out && p.Type == mqtt.CONNACK && !c.accepted:
		c.accepted = true
		if present, code, err := p.Connack(); err == nil && code == 0 {
			s.connected(c, present && !c.clean)
			c.since = ev.at
		}
	case !ev.out && p.Type == mqtt.SUBACK:
		if c.asked.take(p.ID, false) {
			s.granted = ev.at
		}
	case !ev.out && p.Type == mqtt.UNSUBACK:
		c.asked.take(p.ID, true)
	}
}

// connected begins a connection, and with it an epoch if the broker kept
// nothing. Newer connections whose CONNACK came first are of that epoch too.
func (s *Session) connected(c *conn, kept bool) {
	if !kept {
		s.epoch++
		s.ours.epoch(s.epoch, c.n)
		s.theirs.epoch(s.epoch, c.n)
		s.owed, s.retained = owed{}, c.subscribed
		if c.clean {
			s.clean = max(s.clean, c.n)
		}
		for i := range s.conns {
			if d := &s.conns[i]; d.n > c.n {
				d.epoch, d.fence = s.epoch, max(d.fence, s.clean+1)
			}
		}
	}
	c.epoch = s.epoch
	s.ours.fit()
	s.theirs.fit()
}

// settleRetained notes that no retained message of a SUBSCRIBE can be under
// way any more: a message that was sent after the SUBACK has come, and the
// broker had queued the retained ones before it.
func (ev *event) settleRetained() {
	s, p := ev.s, ev.p
	if s.retained && s.granted != 0 && p.HeaderErr == nil && !p.Retain() && p.Header.Sent > int64(s.granted) {
		s.retained = false
	}
}

// side is the index of a direction: 1 = out.
func side(out bool) int {
	if out {
		return 1
	}
	return 0
}
