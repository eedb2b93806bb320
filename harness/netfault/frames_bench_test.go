package netfault

import (
	"net"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// endless is a connection that reads one packet over and over and takes all
// that is written.
type endless struct {
	net.Conn
	packet []byte
}

func (e endless) Read(b []byte) (int, error)  { return copy(b, e.packet), nil }
func (e endless) Write(b []byte) (int, error) { return len(b), nil }

func exchange() []byte {
	b := publish(1, 7, ours(1), 64)
	return append(b, packet(mqtt.PUBACK)...)
}

// busy is a wrapped connection, with or without a rule that never acts.
func busy(rule bool) (c net.Conn, bytes []byte) {
	f, b := NewFrames(func() timeline.Instant { return 1 }), exchange()
	if rule {
		f.Arm("c", Rule{Packet: mqtt.PUBACK, Act: Swallow, Nth: 1 << 60})
		f.Arm("c", Rule{Packet: mqtt.PUBACK, Out: true, Act: Swallow, Nth: 1 << 60})
	}
	return f.Wrap("c", 1, endless{packet: b}), b
}

// BenchmarkFrames is the cost of one packet in each direction: half of them are
// PUBLISH with 64 bytes of payload, half are PUBACK. "none" is without the
// wrapper.
func BenchmarkFrames(b *testing.B) {
	bare, _ := busy(false)
	bare = bare.(*framed).conn
	armed, bytes := busy(true)
	unarmed, _ := busy(false)
	for name, c := range map[string]net.Conn{"none": bare, "no-rule": unarmed, "rule": armed} {
		for dir, step := range map[string]func([]byte) (int, error){"in": c.Read, "out": c.Write} {
			b.Run(name+"/"+dir, func(b *testing.B) {
				buf := append([]byte(nil), bytes...)
				b.ReportAllocs()
				for range b.N / 2 { // two packets
					if _, err := step(buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
