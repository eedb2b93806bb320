package protocol

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// flow feeds the exchanges of a session in its steady state, with ids that go
// round as those of most libraries do.
type flow struct {
	s      Session
	p      mqtt.Packet
	id     uint16
	seq    uint64
	at     timeline.Instant
	failed int
	report func(Breach)
}

func newFlow() *flow {
	f := &flow{}
	f.report = func(Breach) { f.failed++ }
	f.p.Topic = []byte("rb/dev-000001/cmd")
	f.packet(true, mqtt.CONNECT, 0, 0)
	f.p.Body = []byte{0, 0}
	f.packet(false, mqtt.CONNACK, 0, 0)
	return f
}

func (f *flow) packet(out bool, t mqtt.Type, id uint16, qos byte) {
	f.at++
	f.p.Type, f.p.ID, f.p.Flags = t, id, qos<<1
	if t == mqtt.PUBLISH {
		f.p.Header = mqtt.Header{Kind: mqtt.KindData, Stream: 1, Seq: f.seq, Sent: int64(f.at)}
	}
	f.s.Packet(1, out, &f.p, f.at, f.report)
}

func (f *flow) next() {
	f.seq++
	if f.id++; f.id == 0 {
		f.id = 1
	}
}

func (f *flow) qos1(out bool) {
	f.next()
	f.packet(out, mqtt.PUBLISH, f.id, 1)
	f.packet(!out, mqtt.PUBACK, f.id, 0)
}

func (f *flow) qos2(out bool) {
	f.next()
	f.packet(out, mqtt.PUBLISH, f.id, 2)
	f.packet(!out, mqtt.PUBREC, f.id, 0)
	f.packet(out, mqtt.PUBREL, f.id, 1)
	f.packet(!out, mqtt.PUBCOMP, f.id, 0)
}

func TestPacketDoesNotAllocate(t *testing.T) {
	for name, exchange := range map[string]func(*flow){
		"QoS 0":          func(f *flow) { f.packet(true, mqtt.PUBLISH, 0, 0); f.packet(false, mqtt.PUBLISH, 0, 0) },
		"QoS 1 out":      func(f *flow) { f.qos1(true) },
		"QoS 1 in":       func(f *flow) { f.qos1(false) },
		"QoS 2 out":      func(f *flow) { f.qos2(true) },
		"QoS 2 in":       func(f *flow) { f.qos2(false) },
		"PING":           func(f *flow) { f.packet(true, mqtt.PINGREQ, 0, 0); f.packet(false, mqtt.PINGRESP, 0, 0) },
		"many in flight": (*flow).window,
	} {
		f := newFlow()
		exchange(f)
		if a := testing.AllocsPerRun(5_000, func() { exchange(f) }); a != 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
		if f.failed > 0 {
			t.Errorf("%s: %d breaches", name, f.failed)
		}
	}
}

// window has 100 messages in flight at a time.
func (f *flow) window() {
	first := f.id
	for range 100 {
		f.next()
		f.packet(true, mqtt.PUBLISH, f.id, 1)
	}
	for id := first; id != f.id; {
		if id++; id == 0 {
			id = 1
		}
		f.packet(false, mqtt.PUBACK, id, 0)
	}
}

func BenchmarkQoS1(b *testing.B) { bench(b, 2, (*flow).qos1) }
func BenchmarkQoS2(b *testing.B) { bench(b, 4, (*flow).qos2) }

func bench(b *testing.B, packets int, exchange func(*flow, bool)) {
	for _, out := range []bool{true, false} {
		b.Run(map[bool]string{true: "out", false: "in"}[out], func(b *testing.B) {
			f := newFlow()
			b.ReportAllocs()
			for b.Loop() {
				exchange(f, out)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*packets), "ns/packet")
		})
	}
}
