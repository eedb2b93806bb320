package wire

import (
	"net"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// nobody observes, so that a benchmark shows the tap alone.
type nobody struct{ packets int }

func (n *nobody) Packet(bool, *mqtt.Packet, timeline.Instant) { n.packets++ }
func (n *nobody) Unsent(*mqtt.Packet)                         {}
func (n *nobody) End(timeline.End)                            {}

// endless reads and writes the same packet without a system call.
func endless(packet []byte) net.Conn {
	off := 0
	return &script{
		write: func(b []byte) (int, error) { return len(b), nil },
		read: func(b []byte) (int, error) {
			n := copy(b, packet[off:])
			off = (off + n) % len(packet)
			return n, nil
		},
	}
}

func payload64() []byte {
	payload := make([]byte, 64)
	mqtt.PutPayload(payload, mqtt.Header{Kind: mqtt.KindData, Seq: 1})
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: "rb/dev-7-000001/cmd", ID: 9, QoS: 1, Payload: payload})
}

// onePacket moves one packet: written whole, or read as paho reads.
func onePacket(tb testing.TB, c net.Conn, out bool, packet, buf []byte) {
	var err error
	if out {
		_, err = c.Write(packet)
	} else {
		for _, b := range [][]byte{buf[:1], buf[1:2], buf[2:len(packet)]} {
			if _, err = c.Read(b); err != nil {
				break
			}
		}
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkTap(b *testing.B) {
	packet, buf := payload64(), make([]byte, 256)
	clock := timeline.NewClock()
	for _, way := range []string{"out", "in"} {
		for _, on := range []string{"bare", "tapped"} {
			b.Run(way+"/"+on, func(b *testing.B) {
				c, n := endless(packet), &nobody{}
				if on == "tapped" {
					c = Tap(c, clock.Now, n)
				}
				b.ReportAllocs()
				for b.Loop() {
					onePacket(b, c, way == "out", packet, buf)
				}
				if on == "tapped" && n.packets < b.N {
					b.Fatalf("%d packets of %d", n.packets, b.N)
				}
			})
		}
	}
}

// Over loopback TCP, to see what the tap is of a real write and read.
func BenchmarkTCP(b *testing.B) {
	packet, buf := payload64(), make([]byte, 256)
	clock := timeline.NewClock()
	for _, on := range []string{"bare", "tapped"} {
		b.Run("echo/"+on, func(b *testing.B) {
			raw, peer := tcpPair(b)
			c := net.Conn(raw)
			if on == "tapped" {
				c = Tap(c, clock.Now, &nobody{})
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for b := make([]byte, 256); ; {
					n, err := peer.Read(b)
					if err != nil {
						return
					}
					if _, err := peer.Write(b[:n]); err != nil {
						return
					}
				}
			}()
			b.ReportAllocs()
			for b.Loop() {
				onePacket(b, c, true, packet, buf)
				onePacket(b, c, false, packet, buf)
			}
			c.Close()
			<-done
		})
	}
}
