package timeline

import (
	"errors"
	"testing"
	"time"
)

// Another process's clock, made from the run's, must read what the run's reads.
func TestJoinClockAgrees(t *testing.T) {
	run := NewClock()
	for range 100 {
		other := JoinClock(run.Monotonic())
		if other.Monotonic() != run.Monotonic() {
			t.Fatalf("the base moved from %d to %d", run.Monotonic(), other.Monotonic())
		}
		// Each base is known to half the width of the bracket around its
		// reading of the system clock; preemption inside all tries of one is
		// no disagreement, so the width counts in.
		slack := Instant(run.width+other.width)/2 + 1
		before := run.Now()
		reading := other.Now()
		after := run.Now()
		if err := Bracket(before-slack, reading, after+slack); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBracketCatchesAShiftedClock(t *testing.T) {
	run := NewClock()
	for _, shift := range []time.Duration{-time.Second, time.Second, -time.Hour} {
		other := JoinClock(run.Monotonic() + int64(shift)) // as in another time namespace
		var before, reading, after Instant
		for again := true; again; again = after-before > Instant(time.Second/2) { // while the machine stood still
			before, reading, after = run.Now(), other.Now(), run.Now()
		}
		if err := Bracket(before, reading, after); !errors.Is(err, ErrClocksDiffer) {
			t.Errorf("shifted by %v: %v", shift, err)
		}
	}
	for _, ok := range []Instant{10, 15, 20} {
		if err := Bracket(10, ok, 20); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []Instant{9, 21, 0, -5} {
		if err := Bracket(10, bad, 20); !errors.Is(err, ErrClocksDiffer) {
			t.Errorf("%d inside [10, 20]: %v", bad, err)
		}
	}
}

// 0 means "never": no reading may be it.
func TestZeroIsNeverRead(t *testing.T) {
	c := NewClock()
	for at := -3 * time.Nanosecond; at <= 3; at++ {
		if c.At(c.base.Add(at)) == 0 {
			t.Errorf("0 at %v from the base", at)
		}
	}
	if first := c.At(c.base); first != 1 {
		t.Errorf("the base is instant %d", first)
	}
	last := Instant(0)
	for range 1000 {
		now := NewClock().Now()
		if now <= 0 {
			t.Fatalf("the first reading is %d", now)
		}
		if now = c.Now(); now < last || now == 0 {
			t.Fatalf("%d after %d", now, last)
		}
		last = now
	}
}

func TestClockConverts(t *testing.T) {
	c := NewClock()
	now := time.Now()
	if got := c.Time(c.At(now)); !got.Equal(now) {
		t.Errorf("%v became %v", now, got)
	}
	if got := c.At(now.Add(time.Second)) - c.At(now); got != Instant(time.Second) {
		t.Errorf("a second is %d ns", got)
	}
}

func TestLive(t *testing.T) {
	for _, c := range []struct {
		conn Conn
		want bool
	}{
		{Conn{Connack: 5}, true},
		{Conn{Connack: 10}, true},
		{Conn{Connack: 11}, false},
		{Conn{}, false},
		{Conn{Connack: 5, ConnackCode: 5}, false},
		{Conn{Connack: 5, End: 10}, false},
		{Conn{Connack: 5, End: 11}, true},
	} {
		if got := c.conn.Live(10); got != c.want {
			t.Errorf("%+v live at 10: %v", c.conn, got)
		}
	}
}

func BenchmarkNow(b *testing.B) {
	c := NewClock()
	b.ReportAllocs()
	for b.Loop() {
		c.Now()
	}
}
