package protocol

import (
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// packetID: [MQTT-2.3.1-1] not 0; [MQTT-2.3.1-2] and, of the broker,
// [MQTT-2.3.1-4] currently unused; [MQTT-2.3.1-3], [MQTT-4.4.0-1] the original
// one in a resend.
func packetID(ev *event) {
	p, c := ev.p, ev.c
	if p.Type != mqtt.PUBLISH {
		if ev.out {
			requestID(ev)
		}
		return
	}
	switch {
	case ev.rel == alien: // QoS 0
	case p.ID == 0:
		ev.breach(ev.publisher(), "PUBLISH with packet id 0")
	case ev.rel == clash:
		ev.breach(ev.publisher(), "new message under id %d, which is in use by another one", p.ID)
	case ev.rel == moved:
		ev.breach(ev.publisher(), "message sent again under id %d, its own is another", p.ID)
	case ev.rel == fresh && ev.out && c.asked.uses(p.ID):
		ev.breach(ev.publisher(), "new message under id %d, which a SUBSCRIBE or UNSUBSCRIBE has in use", p.ID)
	}
}

// requestID: SUBSCRIBE and UNSUBSCRIBE share their ids with what the client
// publishes.
func requestID(ev *event) {
	p, c := ev.p, ev.c
	e := ev.s.ours.find(p.ID)
	switch {
	case p.ID == 0:
		ev.breach(timeline.ChargeClient, "%v with packet id 0", p.Type)
	case c.asked.uses(p.ID):
		ev.breach(timeline.ChargeClient, "%v with id %d, which another request has in use", p.Type, p.ID)
	case e != nil && e.stage != over && !e.maybe && e.epoch == c.epoch && e.conn <= c.n && e.conn >= c.fence:
		ev.breach(timeline.ChargeClient, "%v with id %d, which a PUBLISH has in use", p.Type, p.ID)
	}
}

// publishAfterPubrel: the sender "MUST NOT re-send the PUBLISH once it has sent
// the corresponding PUBREL" [MQTT-4.3.3-1].
func publishAfterPubrel(ev *event) {
	if ev.late() {
		ev.breach(ev.publisher(), "PUBLISH %d sent again after its PUBREL", ev.p.ID)
	}
}

// dupFlag: [MQTT-3.3.1-1] 1 on a resend; 0 on a first transmission
// [MQTT-4.3.2-1], [MQTT-4.3.3-1], and at QoS 0 [MQTT-3.3.1-2]; the broker's DUP says whether its own PUBLISH is a resend [MQTT-3.3.1-3]. That a
// DUP of the broker is wrong is only sure when the message is younger than the
// connection: an earlier copy may have been lost on its way.
func dupFlag(ev *event) {
	p, e, dup := ev.p, ev.e, ev.p.Dup()
	switch {
	case p.QoS() == 0 && dup:
		ev.breach(ev.publisher(), "DUP=1 at QoS 0")
	case ev.rel == again && !dup && !e.maybe && !ev.late() && ev.resent():
		ev.breach(ev.publisher(), "DUP=0 on a resend of PUBLISH %d", p.ID)
	case ev.rel == fresh && ev.new && dup:
		// A library may count it as an attempt that it took the message on.
		when := "on this connection"
		if ev.c.since == 0 || ev.id.given < ev.c.since {
			when = "before this connection"
		}
		ev.breach(ev.publisher(), "DUP=1 on the first transmission of PUBLISH %d, given %s", p.ID, when)
	case ev.rel == fresh && !ev.out && dup && ev.id.ours() && ev.c.since > 0 && ev.id.given > ev.c.since:
		ev.warn(ev.publisher(), "DUP=1 on PUBLISH %d, a message sent after this connection began and not read before", p.ID)
	}
}

// resendAfterClean: "State data associated with this Session MUST NOT be reused
// in any subsequent Session" [MQTT-3.1.2-6].
func resendAfterClean(ev *event) {
	if ev.rel == revived {
		ev.breach(timeline.ChargePublisher, "%v %d of a session that was discarded", ev.p.Type, ev.p.ID)
	}
}

// resendOrder: [MQTT-4.6.0-1] PUBLISH, [MQTT-4.6.0-4] PUBREL; by
// [MQTT-4.6.0-6] the broker keeps them on each ordered topic, so it is judged
// topic by topic. Acknowledgements of the client, [MQTT-4.6.0-2] and
// [MQTT-4.6.0-3], harm nobody: a warning.
func resendOrder(ev *event) {
	e, c := ev.e, ev.c
	switch {
	case ev.p.Type == mqtt.PUBLISH:
		if ev.resends() && e.first < c.resent[side(ev.out)] && (ev.out || ev.overtaken(func(f *exchange) bool {
			return f.pub == c.n && f.born < c.n && !f.loose && f.first > e.first
		})) {
			ev.breach(ev.publisher(), "PUBLISH %d resent after one that was first sent later", ev.p.ID)
		}
	case ev.p.Type == mqtt.PUBREL:
		if e != nil && ev.releases() && e.turn < c.released[side(ev.out)] && (ev.out || ev.overtaken(func(f *exchange) bool {
			return f.rel == c.n && f.turn > e.turn
		})) {
			ev.breach(ev.publisher(), "PUBREL %d sent after one whose PUBREC came later", ev.p.ID)
		}
	case ev.inTurn() && e.due < *c.acks(ev.p.Type):
		ev.warn(timeline.ChargeSubscriber, "%v %d written after that of a PUBLISH that came later", ev.p.Type, ev.p.ID)
	}
}

// overtaken reports whether another exchange on the same topic is as asked.
func (ev *event) overtaken(by func(*exchange) bool) bool {
	t := ev.table()
	for i := range t.slots {
		if f := &t.slots[i]; f.stage != free && f != ev.e && f.topic == ev.e.topic && f.epoch == ev.e.epoch && by(f) {
			return true
		}
	}
	return false
}

// resendTiming: MQTT 5.0 allows a resend on a reconnect and "at no other time"
// [5.0 MQTT-4.4.0-1]. MQTT 3.1.1 leaves it free.
func resendTiming(ev *event) {
	if e := ev.e; ev.s.Level >= 5 && ev.rel == again && e.pub == ev.c.n && e.stage == published && !e.maybe {
		ev.breach(ev.publisher(), "PUBLISH %d sent again on the same connection", ev.p.ID)
	}
}

// retainedOnResume: RETAIN is 1 when a message is sent "as a result of a new
// subscription" [MQTT-3.3.1-8] and 0 on an established one [MQTT-3.3.1-9]. A
// message that is resent keeps its flag. MQTT 5.0 has retain-as-published.
func retainedOnResume(ev *event) {
	p, s := ev.p, ev.s
	if ev.out || !p.Retain() || ev.c.subscribed || s.Level >= 5 || ev.rel == again || ev.rel == stale || p.QoS() > 0 && p.Dup() {
		return
	}
	const text = "RETAIN=1 on %q without a SUBSCRIBE on this connection"
	if s.retained { // an earlier connection may have ended before its retained messages came
		ev.warn(timeline.ChargeBroker, text+"; that of an earlier one may not be answered in full", p.Topic)
		return
	}
	ev.unasked = true
	ev.breach(timeline.ChargeBroker, text, p.Topic)
}

// unknownAck: an acknowledgement has the id of the packet that it answers
// [MQTT-2.3.1-6], [MQTT-2.3.1-7]. A PUBREL of an unknown id is legal, one that
// comes before any PUBREC is not [MQTT-4.3.3-1].
func unknownAck(ev *event) {
	p := ev.p
	switch {
	case p.Type == mqtt.PUBREL:
		if ev.rel == early {
			ev.breach(ev.publisher(), "PUBREL %d before a PUBREC", p.ID)
		}
	case p.Type == mqtt.UNSUBACK:
		if !ev.out && ev.c.asked.index(p.ID, true) < 0 {
			ev.breach(timeline.ChargeBroker, "UNSUBACK %d for no UNSUBSCRIBE", p.ID)
		}
	case ev.rel != alien:
	case ev.out && ev.e != nil && ev.e.stage == over:
		ev.breach(timeline.ChargeSubscriber, "%v %d written again", p.Type, p.ID)
	case ev.out:
		ev.breach(timeline.ChargeSubscriber, "%v %d written and nothing read that it answers", p.Type, p.ID)
	default:
		ev.breach(timeline.ChargeBroker, "%v %d read and nothing written that it answers", p.Type, p.ID)
	}
}

// suback: the SUBACK has the id of its SUBSCRIBE [MQTT-3.8.4-2], a code for
// each filter [MQTT-3.8.4-5] in their order [MQTT-3.9.3-1], and no code but
// 0, 1, 2 and 0x80 [MQTT-3.9.3-2]. The broker may refuse and may grant less;
// that breaks what was asked for and is reported all the same.
func suback(ev *event) {
	if ev.out {
		return
	}
	p := ev.p
	i := ev.c.asked.index(p.ID, false)
	if i < 0 {
		ev.breach(timeline.ChargeBroker, "unasked: SUBACK %d for no SUBSCRIBE", p.ID)
		return
	}
	filters := ev.c.asked[i].filters
	codes, err := p.Suback()
	if err != nil || len(codes) != len(filters) {
		ev.breach(timeline.ChargeBroker, "count: %d codes for %d filters", len(codes), len(filters))
		return
	}
	for i, f := range filters {
		switch code := codes[i]; {
		case code == f.QoS:
		case code >= 0x80 && (code == 0x80 || ev.s.Level >= 5):
			ev.breach(timeline.ChargeBroker, "refused: %q with code 0x%02x", f.Topic, code)
		case code > 2:
			ev.breach(timeline.ChargeBroker, "reserved: %q with code 0x%02x", f.Topic, code)
		case code < f.QoS:
			ev.breach(timeline.ChargeBroker, "downgraded: %q from QoS %d to %d", f.Topic, f.QoS, code)
		default:
			ev.breach(timeline.ChargeBroker, "raised: %q from QoS %d to %d", f.Topic, f.QoS, code)
		}
	}
}

// firstPacket: [MQTT-3.2.0-1].
func firstPacket(ev *event) {
	switch {
	case ev.out:
	case !ev.c.read && ev.p.Type != mqtt.CONNACK:
		ev.breach(timeline.ChargeBroker, "first packet is %v", ev.p.Type)
	case ev.c.accepted && ev.p.Type == mqtt.CONNACK:
		ev.breach(timeline.ChargeBroker, "second CONNACK")
	}
}

var (
	fromBoth   = acks | on(mqtt.PUBLISH, mqtt.PUBREL)
	fromClient = fromBoth | on(mqtt.CONNECT, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE, mqtt.PINGREQ, mqtt.DISCONNECT)
	fromBroker = fromBoth | on(mqtt.CONNACK, mqtt.SUBACK, mqtt.UNSUBACK, mqtt.PINGRESP)
)

// serverPacket: the direction of flow of table 2.1; CONNECT is the client's
// first packet [MQTT-3.1.0-1] and comes once [MQTT-3.1.0-2], DISCONNECT its
// last one [MQTT-3.14.4-2]; QoS 3 does not exist [MQTT-3.3.1-4].
func serverPacket(ev *event) {
	p, c := ev.p, ev.c
	allowed := fromBroker
	if ev.out {
		allowed = fromClient
	} else if ev.s.Level >= 5 {
		allowed |= on(mqtt.DISCONNECT)
	}
	switch {
	case allowed&on(p.Type) == 0:
		ev.breach(ev.writer(), "%v is not for this side to send", p.Type)
	case p.Type == mqtt.PUBLISH && p.QoS() == 3:
		ev.breach(ev.writer(), "PUBLISH with QoS 3")
	case !ev.out:
	case c.connected && p.Type == mqtt.CONNECT:
		ev.breach(timeline.ChargeClient, "second CONNECT")
	case !c.connected && p.Type != mqtt.CONNECT:
		ev.breach(timeline.ChargeClient, "%v before CONNECT", p.Type)
	case c.disconnected:
		// The connection is being closed: the socket may refuse it.
		ev.s.held = held{c.n, p.Type, p.ID, ev.finding(timeline.ChargeClient, false, "%v after DISCONNECT", p.Type)}
	}
}
