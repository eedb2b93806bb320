package netfault

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

func TestExchanges(t *testing.T) {
	f := func(x *exchanges, out, passed bool, b []byte) mqtt.Header {
		var h mqtt.Header
		if err := new(mqtt.Framer).Feed(b, 0, func(p *mqtt.Packet) { h = x.follow(out, passed, p) }); err != nil {
			t.Fatal(err)
		}
		return h
	}
	var x exchanges
	f(&x, true, true, publish(1, 7, ours(1), 48))
	f(&x, false, true, publish(2, 7, ours(2), 48))
	for name, tc := range map[string]struct {
		out  bool
		kind mqtt.Type
		want uint64
	}{
		"PUBREC in is of what was sent":  {false, mqtt.PUBREC, 1},
		"PUBREL out is of what was sent": {true, mqtt.PUBREL, 1},
		"PUBREC out is of what was got":  {true, mqtt.PUBREC, 2},
		"PUBREL in is of what was got":   {false, mqtt.PUBREL, 2},
		"SUBACK is of no message":        {false, mqtt.SUBACK, 0},
	} {
		if h := f(&x, tc.out, true, packet(tc.kind)); h.Seq != tc.want {
			t.Errorf("%s: message %d, want %d", name, h.Seq, tc.want)
		}
	}
	// An id that another's message uses now stands for ours no more.
	f(&x, true, true, mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: 7, QoS: 1}))
	if h := f(&x, false, true, packet(mqtt.PUBACK)); h != (mqtt.Header{}) {
		t.Errorf("%+v", h)
	}
	// The end of an exchange that the peer may not know of is remembered, and
	// what is remembered is bounded.
	f(&x, true, true, packet(mqtt.PUBCOMP))
	if h := f(&x, false, true, packet(mqtt.PUBREL)); h.Seq != 2 {
		t.Errorf("%+v", h)
	}
	// One that ends again and again drives out no other.
	f(&x, false, true, publish(2, 8, ours(5), 48))
	f(&x, true, true, mqtt.AppendPubcomp(nil, 8))
	for range 2 * len(x.got.over) {
		f(&x, true, true, packet(mqtt.PUBCOMP))
	}
	if h := f(&x, false, true, mqtt.AppendPubrel(nil, 8)); h.Seq != 5 {
		t.Errorf("%+v", h)
	}
	for id := range 1000 {
		f(&x, false, true, publish(2, uint16(id+100), ours(3), 48))
		f(&x, true, true, mqtt.AppendPubcomp(nil, uint16(id+100)))
	}
	if n := len(x.got.messages); n != len(x.got.over) {
		t.Errorf("%d exchanges are remembered, want %d", n, len(x.got.over))
	}
	if h := f(&x, false, true, packet(mqtt.PUBREL)); h != (mqtt.Header{}) {
		t.Errorf("%+v", h)
	}
	// A swallowed PUBACK ends nothing.
	f(&x, false, true, publish(1, 7, ours(4), 48))
	f(&x, true, false, packet(mqtt.PUBACK))
	if x.got.messages[7].over {
		t.Error("a swallowed PUBACK ended an exchange")
	}
}
