package measure

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"runtime/metrics"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// rig runs a sampler whose rows arrive on a channel.
type rig struct {
	*Sampler
	phase atomic.Pointer[string]
	rows  chan HealthRow
	end   func() error
}

func newRig(t *testing.T, interval time.Duration) *rig {
	t.Helper()
	r := &rig{rows: make(chan HealthRow, 1000)}
	r.set("connect")
	r.Sampler = NewSampler(Config{
		Clock:    timeline.NewClock(),
		Phase:    func() string { return *r.phase.Load() },
		Interval: interval,
		Broker:   os.Getpid, // stands for the broker's own process
		Write:    func(row HealthRow) error { r.rows <- row; return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	r.end = func() error { cancel(); return <-done }
	return r
}

func (r *rig) set(phase string) { r.phase.Store(&phase) }

func TestSamplerRows(t *testing.T) {
	r := newRig(t, 30*time.Millisecond)
	var rows []HealthRow
	// Three rows in which something is known of everything.
	for whole := 0; whole < 3; {
		row := <-r.rows
		rows = append(rows, row)
		if row.Canary != "" && row.Echo != "" {
			whole++
		}
	}
	if _, ok := r.CanaryP99(); !ok {
		t.Error("no canary p99 for the status line")
	}
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	close(r.rows)
	for row := range r.rows {
		rows = append(rows, row)
	}
	for i, row := range rows {
		if i > 0 && row.Start != rows[i-1].End {
			t.Errorf("row %d starts at %d, the one before ended at %d", i, row.Start, rows[i-1].End)
		}
		if row.Goroutines < 4 || row.Heap <= 0 {
			t.Errorf("row %d: goroutines %d heap %d", i, row.Goroutines, row.Heap)
		}
		if row.Runnable == nil {
			t.Errorf("row %d: this Go knows its runnable goroutines", i)
		}
		if _, err := os.Stat("/proc/self/fd"); err == nil && (row.FDs == nil || *row.FDs < 3 || row.BrokerFDs == nil || row.BrokerCPU == nil) {
			t.Errorf("row %d: fds %v, broker's fds %v and CPU %v", i, row.FDs, row.BrokerFDs, row.BrokerCPU)
		}
	}
	h, err := MergeHealth(rows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if h.Rows != len(rows) || h.Canary.N() < 3 || h.Echo.N() < 3 || h.Sched.N() == 0 || h.CPU == 0 {
		t.Errorf("%d rows, canary %d echo %d sched %d values, CPU %d", h.Rows, h.Canary.N(), h.Echo.N(), h.Sched.N(), h.CPU)
	}
	var file bytes.Buffer
	if err := WriteHealth(&file, rows); err != nil {
		t.Fatal(err)
	}
	if back, err := ReadHealth(&file); err != nil || len(back) != len(rows) {
		t.Errorf("%d of %d rows read back: %v", len(back), len(rows), err)
	}
}

// Rows never straddle phases: Mark closes one at the border.
func TestMarkCutsAtTheBorder(t *testing.T) {
	r := newRig(t, time.Hour)
	for { // Run opens its first row when it is ready
		r.Mark()
		if len(r.rows) > 0 {
			break
		}
		runtime.Gosched()
	}
	for len(r.rows) > 0 {
		<-r.rows
	}
	r.set("storm")
	border := r.cfg.Clock.Now()
	r.Mark()
	after := r.cfg.Clock.Now()
	connect := <-r.rows
	r.set("drain")
	r.Mark()
	storm := <-r.rows
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	drain := <-r.rows
	if connect.Phase != "connect" || storm.Phase != "storm" || drain.Phase != "drain" {
		t.Errorf("phases %q %q %q", connect.Phase, storm.Phase, drain.Phase)
	}
	if connect.End < border || connect.End > after || storm.Start != connect.End || drain.Start != storm.End {
		t.Errorf("borders: %d to %d; rows %d-%d %d-%d %d", border, after, connect.Start, connect.End, storm.Start, storm.End, drain.Start)
	}
	r.Mark() // after the end: nothing
	if len(r.rows) != 0 {
		t.Error("a row after the end")
	}
}

func TestWriteErrorIsReturnedAtTheEnd(t *testing.T) {
	full := errors.New("disk full")
	rows := make(chan struct{}, 1000)
	s := NewSampler(Config{Clock: timeline.NewClock(), Interval: 5 * time.Millisecond, Write: func(HealthRow) error {
		rows <- struct{}{}
		return full
	}})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-rows
	<-rows // it goes on after the first
	cancel()
	if err := <-done; !errors.Is(err, full) {
		t.Errorf("%v, want the error of Write", err)
	}
}

func TestEndedBeforeItBegan(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := NewSampler(Config{Clock: timeline.NewClock()})
	s.Mark()
	if err := s.Run(ctx); err != nil {
		t.Error(err)
	}
}

// A broken echo pair is an error at the end, and no lateness.
func TestBrokenEcho(t *testing.T) {
	clock := timeline.NewClock()
	pair, err := dialEcho(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l := newLateness(time.Millisecond)
	l.start(clock.Now())
	pair.close()
	if err := runEcho(t.Context(), clock, l, pair); err == nil {
		t.Error("no error of a closed pair")
	}
	if h := l.cut(0, false); h.N() != 0 {
		t.Errorf("%d values of a closed pair", h.N())
	}
}

// The runtime's buckets count from the start of the process: a row holds what
// each gained, at its upper edge; the last bucket has none and gives its lower.
func TestBucketGains(t *testing.T) {
	h := &metrics.Float64Histogram{Counts: []uint64{1, 5, 0, 2}, Buckets: []float64{math.Inf(-1), 0, 1e-6, 2e-6, math.Inf(1)}}
	gains := func(before []uint64) (map[int64]int64, []uint64) {
		got := map[int64]int64{}
		after := each(h, before, func(ns, n int64) { got[ns] += n })
		return got, after
	}
	first, seen := gains(nil)
	if diff := cmp.Diff(map[int64]int64{0: 1, 1000: 5, 2000: 2}, first); diff != "" {
		t.Errorf("first (-want +got)\n%s", diff)
	}
	h.Counts[1], h.Counts[2] = 9, 3 // the runtime writes into the same memory
	second, _ := gains(seen)
	if diff := cmp.Diff(map[int64]int64{1000: 4, 2000: 3}, second); diff != "" {
		t.Errorf("second (-want +got)\n%s", diff)
	}
}

func BenchmarkRow(b *testing.B) {
	s := NewSampler(Config{Clock: timeline.NewClock(), Write: func(HealthRow) error { return nil }})
	s.open(true)
	b.ReportAllocs()
	for b.Loop() {
		for i := range int64(100) {
			s.canary.hist.Record(i * 10_007)
		}
		s.cut(false)
	}
}
