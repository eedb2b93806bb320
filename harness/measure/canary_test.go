package measure

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const ms = timeline.Instant(time.Millisecond)

// values lists what a histogram holds, in ms.
func values(h *Hist) map[int64]int64 {
	got := map[int64]int64{}
	for _, b := range h.hdr.Distribution() {
		if b.Count > 0 {
			got[(b.To+int64(ms)/2)/int64(ms)] += b.Count
		}
	}
	return got
}

// A stall is not one late tick but every tick that it swallowed.
func TestStallCountsEachTick(t *testing.T) {
	l := newLateness(10 * time.Millisecond)
	l.start(0)
	l.serve(10 * ms)      // on time
	l.serve(20*ms - 1)    // early: nothing is due
	l.serve(520*ms + 100) // ticks 20, 30, … 520
	h := l.cut(521*ms, false)
	got := values(h)
	if h.N() != 52 || got[0] != 2 || got[500] != 1 || got[250] != 1 {
		t.Errorf("%d ticks: %v", h.N(), got)
	}
	if next := l.next(); next != 530*ms {
		t.Errorf("next tick at %d, want 530 ms: the schedule is absolute", next/ms)
	}
}

// At a border, the part of a stall that lies in the phase stays in it.
func TestBorderInsideAStall(t *testing.T) {
	l := newLateness(10 * time.Millisecond)
	l.start(0)
	l.serve(10 * ms)
	first := l.cut(55*ms, true) // ticks 20 to 50 are due and unserved
	if got := values(first); first.N() != 5 || got[35] != 1 || got[5] != 1 || got[0] != 1 {
		t.Errorf("before the border: %v", got)
	}
	l.serve(95 * ms) // the stall ends
	second := l.cut(100*ms, false)
	if got := values(second); second.N() != 4 || got[35] != 1 || got[5] != 1 {
		t.Errorf("after the border: %v", got)
	}
	third := l.cut(130*ms, false) // no border: what is due waits for its goroutine
	if third.N() != 0 {
		t.Errorf("without a border: %v", values(third))
	}
}

// An echo that was on its way at a border is not counted again when it returns.
func TestEchoAcrossABorder(t *testing.T) {
	l := newLateness(50 * time.Millisecond)
	l.start(0)
	if h := l.cut(60*ms, true); h.N() != 1 {
		t.Errorf("before the border %d values, want the one under way", h.N())
	}
	l.serveOne(50*ms, 70*ms)
	if h := l.cut(80*ms, false); h.N() != 0 {
		t.Errorf("the echo was counted twice: %v", values(h))
	}
	l.serveOne(100*ms, 101*ms)
	if h := l.cut(110*ms, false); h.N() != 1 {
		t.Errorf("the next echo: %d values", h.N())
	}
}

func TestStoppedScheduleIsNotLate(t *testing.T) {
	l := newLateness(10 * time.Millisecond)
	if h := l.cut(1000*ms, true); h.N() != 0 {
		t.Errorf("%d ticks before the start", h.N())
	}
	l.start(1000 * ms)
	l.stop()
	l.serve(2000 * ms)
	l.serveOne(1010*ms, 1020*ms)
	if h := l.cut(2000*ms, true); h.N() != 0 {
		t.Errorf("%d ticks after the stop", h.N())
	}
}

// watchCanary runs a canary until it has served n ticks.
func watchCanary(t *testing.T, n int64) *Hist {
	t.Helper()
	clock := timeline.NewClock()
	l := newLateness(canaryEvery)
	l.start(clock.Now())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() { runCanary(ctx, clock, l) })
	total := NewHist(Nanoseconds)
	poll := time.NewTicker(canaryEvery)
	defer poll.Stop()
	for total.N() < n {
		<-poll.C
		total.Merge(l.cut(clock.Now(), false))
	}
	cancel()
	work.Wait()
	return total
}

// spin keeps every processor busy until stop.
func spin(stop *atomic.Bool) *sync.WaitGroup {
	var work sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		work.Go(func() {
			for !stop.Load() {
			}
		})
	}
	return &work
}

// The planted fault: with busy cores the canary comes late. The machine may be
// busy with others too, so idle and busy are compared in pairs, and one clear
// pair of several is enough; a canary that does not see load has none.
func TestBusyCoresRaiseTheCanary(t *testing.T) {
	const ticks, pairs = 40, 6
	var log []int64
	for range pairs {
		idle, _ := watchCanary(t, ticks).Quantile(0.9)
		var stop atomic.Bool
		work := spin(&stop)
		busy, _ := watchCanary(t, ticks).Quantile(0.9)
		stop.Store(true)
		work.Wait()
		if busy > 3*max(idle, 1) {
			// What it means for a phase whose p99 is four times the idle canary's.
			idleS, busyS := float64(idle)/1e9, float64(busy)/1e9
			if f := Fitness(&busyS, ptr(4*idleS)); f != Saturated {
				t.Errorf("canary %v s against %v s: %s, want saturated", busyS, 4*idleS, f)
			}
			return
		}
		log = append(log, idle, busy)
	}
	t.Errorf("busy cores do not show in the canary: p90 idle, busy, idle, … ns: %v", log)
}
