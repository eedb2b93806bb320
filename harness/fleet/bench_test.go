package fleet

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
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

// The cost of a message in the traffic engine, from its slot on, with a library
// that takes everything at once.
func BenchmarkTraffic(b *testing.B) {
	for _, bb := range []struct {
		name  string
		from  string
		n     int
		burst int
	}{
		{"control", ControlFleet, 2, 1},
		{"fleet-5000", "a", 5000, 1},
		{"fleet-5000-burst-10", "a", 5000, 10},
	} {
		b.Run(bb.name, func(b *testing.B) {
			item := scenarios.Traffic{From: bb.from, To: "b", Topic: "x/{client}", QoS: 1, Each: 1, Burst: bb.burst, Payload: 64}
			r := newRig(b, between(5000, bb.n, item))
			r.driver.publish = func(fakeMessage) error { return nil }
			it := r.traffic.items[0]
			b.ReportAllocs()
			b.ResetTimer()
			// As the timetable does, in rounds of what a wake-up finds.
			for k := 0; k < b.N; k += 64 * bb.burst {
				now := r.clock.Now()
				for range 64 {
					l := it.lanes[it.k%int64(len(it.lanes))]
					it.k++
					l.publisher.push(slot{lane: l, due: now})
				}
				r.traffic.pool.wait()
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
