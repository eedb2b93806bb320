package fleet

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The cost of a PUBLISH at the session, without tap, framing and ledger.
func BenchmarkSession(b *testing.B) {
	_, f, s := lone(b, false)
	f.accounts = Accounts{}.filled()
	w := open(b, s, 100, false, false)
	w.subscribe(110, 0, 1)
	topic := []byte(s.wanted[0].Topic)
	p := mqtt.Packet{
		Type: mqtt.PUBLISH, Flags: 2, Size: 100, Topic: topic, Payload: 64,
		Header: mqtt.Header{Kind: mqtt.KindData, Run: testRunID, Stream: 1},
	}
	ack := mqtt.Packet{Type: mqtt.PUBACK, Size: 4}
	at := timeline.Instant(1000)

	b.Run("publish-in", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.ID++
			p.Header.Seq++
			at += 1000
			w.c.Packet(false, &p, at)
		}
	})
	b.Run("publish-out-puback-in", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			p.ID++
			p.Header.Seq++
			at += 1000
			w.c.Packet(true, &p, at)
			ack.ID = p.ID
			w.c.Packet(false, &ack, at)
		}
	})
}
