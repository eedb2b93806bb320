package netfault

import (
	"net"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// BenchmarkLinks is the cost of a packet in each direction on a connection
// without a fault, and of the deadline that a library sets for it. "none" is
// without the wrapper.
func BenchmarkLinks(b *testing.B) {
	raw := timed{endless{packet: exchange()}}
	wrapped := NewLinks(func() timeline.Instant { return 1 }).Wrap("c", raw)
	soon := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name string
		conn net.Conn
	}{{"none", raw}, {"wrapped", wrapped}} {
		for name, step := range map[string]func([]byte) error{
			"in":       func(buf []byte) error { _, err := c.conn.Read(buf); return err },
			"out":      func(buf []byte) error { _, err := c.conn.Write(buf); return err },
			"deadline": func([]byte) error { return c.conn.SetWriteDeadline(soon) },
		} {
			b.Run(c.name+"/"+name, func(b *testing.B) {
				buf := append([]byte(nil), raw.packet...)
				b.ReportAllocs()
				for b.Loop() {
					if err := step(buf); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

type timed struct{ endless }

func (timed) SetDeadline(time.Time) error      { return nil }
func (timed) SetReadDeadline(time.Time) error  { return nil }
func (timed) SetWriteDeadline(time.Time) error { return nil }

// A connection without a fault allocates nothing for a packet, and its wrapper
// costs far less than the microsecond that a packet may.
func TestLinksCostLittle(t *testing.T) {
	raw := timed{endless{packet: exchange()}}
	c := NewLinks(func() timeline.Instant { return 1 }).Wrap("c", raw)
	buf := make([]byte, 200)
	packet := func() {
		_ = c.SetWriteDeadline(time.Time{})
		_, _ = c.Write(buf)
		_, _ = c.Read(buf)
	}
	if n := testing.AllocsPerRun(1000, packet); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	const rounds = 10_000
	best := time.Hour
	for range 20 { // the best: a machine that stands still is no cost of ours
		began := time.Now()
		for range rounds {
			packet()
		}
		best = min(best, time.Since(began)/rounds)
	}
	if best > time.Microsecond {
		t.Errorf("%s for a packet each way and a deadline", best)
	}
	t.Logf("%s for a packet each way and a deadline", best)
}
