//go:build !race

// The race detector makes sync.Pool forget, so that this runs without it.

package mqtt

import "testing"

func TestFeedDoesNotAllocate(t *testing.T) {
	pub, ack := ours(1, 64), AppendPuback(nil, 1)
	n := 0
	emit := func(p *Packet) { n += p.Size }
	var f Framer
	for name, chunks := range map[string][][]byte{
		"whole":          {pub, ack},
		"paho reading":   {pub[:1], pub[1:2], pub[2:], ack[:1], ack[1:2], ack[2:]},
		"header+payload": {pub[:len(pub)-64], pub[len(pub)-64:]},
	} {
		if a := testing.AllocsPerRun(1000, func() {
			for _, c := range chunks {
				_ = f.Feed(c, 1, emit)
			}
		}); a != 0 {
			t.Errorf("%s: %v allocations", name, a)
		}
	}
}
