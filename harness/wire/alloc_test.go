//go:build !race

// The race detector makes sync.Pool forget, so that this runs without it.

package wire

import (
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestTapDoesNotAllocate(t *testing.T) {
	packet, buf := payload64(), make([]byte, 256)
	c := Tap(endless(packet), func() timeline.Instant { return timeline.Instant(time.Second) }, &nobody{})
	if n := testing.AllocsPerRun(1000, func() {
		onePacket(t, c, true, packet, buf)
		onePacket(t, c, true, packet[:30], buf) // in two writes
		onePacket(t, c, true, packet[30:], buf)
		onePacket(t, c, false, packet, buf)
	}); n != 0 {
		t.Errorf("%v allocations for four packets", n)
	}
}
