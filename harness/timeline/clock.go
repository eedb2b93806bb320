package timeline

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// ErrClocksDiffer says that a child process does not read the same
// CLOCK_MONOTONIC (it lives in another time namespace), so that its instants
// can not be compared with ours.
var ErrClocksDiffer = errors.New("the processes do not share a monotonic clock")

// Clock gives the instants of one run. Reading it costs one time.Now.
type Clock struct {
	base   time.Time     // of this process
	offset int64         // ns from the run's base to this process's base
	mono   int64         // CLOCK_MONOTONIC at the run's base, ns
	width  time.Duration // of the bracket around the pair: the base is known to half of it
}

// NewClock starts a run's clock: its base is now.
func NewClock() *Clock {
	base, mono, width := readPair()
	// Instant 0 means "never", so the first reading must not be 0.
	return &Clock{base: base, offset: 1, mono: mono - 1, width: width}
}

// JoinClock gives a clock with the base of another process's clock on the same
// host, from that clock's Monotonic value.
func JoinClock(mono int64) *Clock {
	base, here, width := readPair()
	return &Clock{base: base, offset: here - mono, mono: mono, width: width}
}

// Now is the current instant, never 0.
func (c *Clock) Now() Instant { return c.instant(time.Since(c.base)) }

// At converts a time of this process, which must carry a monotonic reading. It
// is never 0; a time before the base is negative.
func (c *Clock) At(t time.Time) Instant { return c.instant(t.Sub(c.base)) }

// instant keeps 0 for "never": the one nanosecond that would be 0 is put off.
func (c *Clock) instant(d time.Duration) Instant {
	if i := Instant(int64(d) + c.offset); i != 0 {
		return i
	}
	return 1
}

// Time converts an instant to a time of this process.
func (c *Clock) Time(i Instant) time.Time { return c.base.Add(time.Duration(int64(i) - c.offset)) }

// Monotonic is CLOCK_MONOTONIC at the base, for JoinClock in another process.
func (c *Clock) Monotonic() int64 { return c.mono }

// Bracket checks that a reading of another process, taken between before and
// after on this clock, really lies between them.
func Bracket(before, reading, after Instant) error {
	if reading < before || reading > after {
		return fmt.Errorf("%w: its reading %d lies outside [%d, %d]", ErrClocksDiffer, reading, before, after)
	}
	return nil
}

// readPair reads time.Now and CLOCK_MONOTONIC as one instant: it brackets the
// system call (about 350 ns) and keeps the tightest of a few tries.
func readPair() (base time.Time, mono int64, width time.Duration) {
	width = 1 << 62
	for range 5 {
		before := time.Now()
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return before, before.UnixNano(), 0 // no such clock: the wall clock must do
		}
		after := time.Now()
		if w := after.Sub(before); w < width {
			width, base, mono = w, before.Add(w/2), ts.Nano()
		}
	}
	return base, mono, width
}
