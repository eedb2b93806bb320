//go:build !race

package fleet

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// A message costs no allocation between the tap and the accounts, in any of
// its exchanges.
func TestMessagesDoNotAllocate(t *testing.T) {
	_, f, s := lone(t, false)
	f.accounts = Accounts{}.filled()
	w := open(t, s, 100, false, false)
	w.subscribe(110, 0, 1)
	topic := []byte(s.wanted[0].Topic)
	at := timeline.Instant(1000)
	var seq uint64
	var p mqtt.Packet // used again and again, as the Framer does
	packet := func(out bool, typ mqtt.Type, flags byte, id uint16) {
		p = mqtt.Packet{Type: typ, Flags: flags, ID: id, Size: 100}
		if typ == mqtt.PUBLISH {
			p.Topic, p.Payload = topic, 64
			p.Header = mqtt.Header{Kind: mqtt.KindData, Run: testRunID, Stream: 1, Seq: seq}
		}
		at += 1000
		w.c.Packet(out, &p, at)
	}
	for name, exchange := range map[string]func(id uint16){
		"QoS 0 in":  func(uint16) { packet(false, mqtt.PUBLISH, 0, 0) },
		"QoS 0 out": func(uint16) { packet(true, mqtt.PUBLISH, 0, 0) },
		"QoS 1 in": func(id uint16) {
			packet(false, mqtt.PUBLISH, 2, id)
			packet(true, mqtt.PUBACK, 0, id)
		},
		"QoS 1 out": func(id uint16) {
			packet(true, mqtt.PUBLISH, 2, id)
			packet(false, mqtt.PUBACK, 0, id)
		},
		"QoS 2 in": func(id uint16) {
			packet(false, mqtt.PUBLISH, 4, id)
			packet(true, mqtt.PUBREC, 0, id)
			packet(false, mqtt.PUBREL, 2, id)
			packet(true, mqtt.PUBCOMP, 0, id)
		},
		"QoS 2 out": func(id uint16) {
			packet(true, mqtt.PUBLISH, 4, id)
			packet(false, mqtt.PUBREC, 0, id)
			packet(true, mqtt.PUBREL, 2, id)
			packet(false, mqtt.PUBCOMP, 0, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			// A few ids over and over: what is in flight stays small.
			if n := testing.AllocsPerRun(1000, func() { seq++; exchange(uint16(seq%16 + 1)) }); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}
