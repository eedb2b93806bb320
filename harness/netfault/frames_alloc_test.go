//go:build !race

// The race detector makes sync.Pool forget, so that this runs without it.

package netfault

import "testing"

func TestFramesDoNotAllocate(t *testing.T) {
	for name, rule := range map[string]bool{"without a rule": false, "with rules": true} {
		c, b := busy(rule)
		buf := make([]byte, len(b))
		if n := testing.AllocsPerRun(1000, func() {
			copy(buf, b)
			_, _ = c.Write(buf)
			_, _ = c.Write(buf[:30]) // in two writes
			_, _ = c.Write(buf[30:])
			_, _ = c.Read(buf)
		}); n != 0 {
			t.Errorf("%s: %v allocations for six packets", name, n)
		}
	}
}
