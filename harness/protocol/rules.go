package protocol

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Rule is one row of the table of rules.
type Rule struct {
	Name      string
	Doc       string          // what it demands, in a sentence
	Statement string          // ids of the standard, 3.1.1 first
	Charge    timeline.Charge // whom a breach charges, where the packet's direction does not decide
}

// row is a rule with its check, which is asked for packets of certain types
// before the packet takes its step.
type row struct {
	Rule
	types types
	check func(*event)
}

// types is a set of packet types.
type types uint32

func on(ts ...mqtt.Type) (set types) {
	for _, t := range ts {
		set |= 1 << t
	}
	return set
}

const anyType types = 1<<32 - 1

var acks = on(mqtt.PUBACK, mqtt.PUBREC, mqtt.PUBCOMP)

// table of the rules. A new one is a row here and a function.
var rules = [...]row{
	{Rule{Name: "packet-id",
		Doc:       "A new packet has an id that is not in use and is not 0; a resend has the id of the original.",
		Statement: "[MQTT-2.3.1-1], [MQTT-2.3.1-2], [MQTT-2.3.1-3], [MQTT-2.3.1-4], [MQTT-4.4.0-1]",
	}, on(mqtt.PUBLISH, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE), packetID},
	{Rule{Name: "publish-after-pubrel",
		Doc:       "A PUBLISH is not sent again once its PUBREL was sent.",
		Statement: "[MQTT-4.3.3-1], [5.0 MQTT-4.3.3-6]",
	}, on(mqtt.PUBLISH), publishAfterPubrel},
	{Rule{Name: "dup-flag",
		Doc:       "DUP is 0 on the first transmission and at QoS 0, and 1 on each further one.",
		Statement: "[MQTT-3.3.1-1], [MQTT-3.3.1-2], [MQTT-3.3.1-3], [MQTT-4.3.2-1], [MQTT-4.3.3-1]",
	}, on(mqtt.PUBLISH), dupFlag},
	{Rule{Name: "resend-after-clean",
		Doc:       "State of a session is not used in a later one: a clean session begins without.",
		Statement: "[MQTT-3.1.2-6], [5.0 MQTT-3.1.2-4], [5.0 MQTT-3.2.2-5]", Charge: timeline.ChargePublisher,
	}, on(mqtt.PUBLISH, mqtt.PUBREL), resendAfterClean},
	{Rule{Name: "resend-order",
		Doc:       "PUBLISH is resent in the order of the first transmissions, PUBREL goes in the order of the PUBRECs; acknowledgements go in the order of what they acknowledge.",
		Statement: "[MQTT-4.6.0-1], [MQTT-4.6.0-2], [MQTT-4.6.0-3], [MQTT-4.6.0-4], [MQTT-4.6.0-6]",
	}, on(mqtt.PUBLISH, mqtt.PUBREL, mqtt.PUBACK, mqtt.PUBREC), resendOrder},
	{Rule{Name: "resend-timing",
		Doc:       "MQTT 5.0: a PUBLISH is sent again only on a new connection.",
		Statement: "[5.0 MQTT-4.4.0-1]",
	}, on(mqtt.PUBLISH), resendTiming},
	{Rule{Name: "retained-on-resume",
		Doc:       "RETAIN is 1 only on what a new subscription brings, so not on a connection without a SUBSCRIBE.",
		Statement: "[MQTT-3.3.1-6], [MQTT-3.3.1-8], [MQTT-3.3.1-9]", Charge: timeline.ChargeBroker,
	}, on(mqtt.PUBLISH), retainedOnResume},
	{Rule{Name: "unknown-ack",
		Doc:       "An acknowledgement answers a packet that was sent and has no answer yet.",
		Statement: "[MQTT-2.3.1-6], [MQTT-2.3.1-7], [MQTT-4.3.2-2], [MQTT-4.3.3-1], [MQTT-4.3.3-2]",
	}, acks | on(mqtt.PUBREL, mqtt.UNSUBACK), unknownAck},
	{Rule{Name: "suback",
		Doc:       "A SUBACK answers one SUBSCRIBE with one code for each of its filters; here each filter is to be granted as asked.",
		Statement: "[MQTT-3.8.4-2], [MQTT-3.8.4-5], [MQTT-3.9.3-1], [MQTT-3.9.3-2]", Charge: timeline.ChargeBroker,
	}, on(mqtt.SUBACK), suback},
	{Rule{Name: "first-packet",
		Doc:       "The first packet from the broker is a CONNACK, and the only one.",
		Statement: "[MQTT-3.2.0-1]", Charge: timeline.ChargeBroker,
	}, anyType, firstPacket},
	{Rule{Name: "server-packet",
		Doc:       "Each side sends only what is its to send: no packet of the other side, none before CONNECT or after DISCONNECT, no QoS 3.",
		Statement: "[MQTT-3.1.0-1], [MQTT-3.1.0-2], [MQTT-3.3.1-4], [MQTT-3.14.4-2]",
	}, anyType, serverPacket},
}

// Rules is the table of rules that packets can break.
func Rules() []Rule {
	rs := make([]Rule, len(rules))
	for i := range rules {
		rs[i] = rules[i].Rule
	}
	return rs
}

// judge asks the rules that look at packets of this type.
func (ev *event) judge() {
	bit := types(1) << (ev.p.Type & 31)
	for i := range rules {
		if r := &rules[i]; r.types&bit != 0 {
			ev.rule = &r.Rule
			r.check(ev)
		}
	}
}

// breach reports the rule that is being asked.
func (ev *event) breach(charge timeline.Charge, format string, args ...any) {
	ev.report(ev.finding(charge, false, format, args...))
}

func (ev *event) warn(charge timeline.Charge, format string, args ...any) {
	ev.report(ev.finding(charge, true, format, args...))
}

func (ev *event) finding(charge timeline.Charge, warn bool, format string, args ...any) Breach {
	b := Breach{Rule: ev.rule.Name, Charge: charge, Warn: warn, PacketID: ev.p.ID, Detail: fmt.Sprintf(format, args...)}
	switch {
	case ev.p.Type == mqtt.PUBLISH && ev.p.HeaderErr == nil:
		b.Stream, b.Seq = ev.p.Header.Stream, ev.p.Header.Seq
	case ev.e != nil && ev.e.ours():
		b.Stream, b.Seq = ev.e.stream, ev.e.seq
	}
	return b
}

// publisher is whom a packet of the sender of a message charges.
func (ev *event) publisher() timeline.Charge {
	if ev.out {
		return timeline.ChargePublisher
	}
	return timeline.ChargeBroker
}

// writer is whom a packet charges that is part of no exchange.
func (ev *event) writer() timeline.Charge {
	if ev.out {
		return timeline.ChargeClient
	}
	return timeline.ChargeBroker
}
