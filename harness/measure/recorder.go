package measure

import (
	"math/rand/v2"
	"runtime"
	"sync"
)

// Recorder records from many goroutines at once, without allocation: its
// values are spread over shards, each a histogram behind a lock of its own.
// NewRecorder makes one; it holds about 190 KB a shard and starts nothing.
type Recorder struct {
	shards []shard
	mask   uint32
	swap   sync.Mutex // one interval is cut at a time
	spare  *Hist      // the emptied histogram that the next cut puts in place
}

// shard fills its cache lines, so that neighbours do not slow each other down.
type shard struct {
	mu   sync.Mutex
	hist *Hist
	_    [112]byte
}

// maxShards bounds the memory: more threads than this share.
const maxShards = 16

// NewRecorder makes a recorder with about two shards for each thread.
func NewRecorder(u Unit) *Recorder {
	n := 1
	for n < 2*runtime.GOMAXPROCS(0) && n < maxShards {
		n *= 2
	}
	r := &Recorder{shards: make([]shard, n), mask: uint32(n - 1), spare: NewHist(u)}
	for i := range r.shards {
		r.shards[i].hist = NewHist(u)
	}
	return r
}

// Record counts one value, in the recorder's unit. It is the hot path.
func (r *Recorder) Record(v int64) {
	s := &r.shards[rand.Uint32()&r.mask]
	s.mu.Lock()
	s.hist.Record(v)
	s.mu.Unlock()
}

// Swap ends an interval: it gives all values recorded since the last Swap and
// starts anew. Each value is in exactly one interval.
func (r *Recorder) Swap() *Hist {
	r.swap.Lock()
	defer r.swap.Unlock()
	out := NewHist(r.spare.unit)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.hist, r.spare = r.spare, s.hist
		s.mu.Unlock()
		out.Merge(r.spare) // outside the shard's lock: nobody else has it now
		r.spare.Reset()
	}
	return out
}

// Snapshot copies all values recorded since the last Swap and leaves them in.
func (r *Recorder) Snapshot() *Hist {
	r.swap.Lock()
	defer r.swap.Unlock()
	out := NewHist(r.spare.unit)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		out.Merge(s.hist)
		s.mu.Unlock()
	}
	return out
}
