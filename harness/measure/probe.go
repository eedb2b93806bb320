package measure

import (
	"math"
	"runtime/metrics"
	"time"

	"golang.org/x/sys/unix"
)

// The runtime's metrics that a row holds. A name that this runtime does not
// know reads as bad, and its cell stays empty.
const (
	metricSched      = "/sched/latencies:seconds"
	metricPauses     = "/sched/pauses/total/gc:seconds"
	metricGoroutines = "/sched/goroutines:goroutines"
	metricRunnable   = "/sched/goroutines/runnable:goroutines"
	metricHeap       = "/memory/classes/heap/objects:bytes"
)

// namesEvery is how often open files may be counted by name.
const namesEvery = time.Second

// probe reads counters of runtime and kernel and fills a row with what they
// gained since the row before.
type probe struct {
	machine machine
	broker  func() int

	samples       []metrics.Sample
	sched, pauses []uint64 // counts of their buckets, last time
	waits         *Hist

	cpu       int64 // µs
	throttled *int64
	net       map[string]int64
	pid       string
	brokerCPU *float64 // s

	named map[string]namedFDs
}

// namedFDs is a count of open files by name, kept because it is dear.
type namedFDs struct {
	at time.Time
	n  *int64
}

// newProbe takes the first readings.
func newProbe(m machine, broker func() int) *probe {
	p := &probe{machine: m, broker: broker, waits: NewHist(Nanoseconds), named: map[string]namedFDs{}}
	for _, name := range []string{metricSched, metricPauses, metricGoroutines, metricRunnable, metricHeap} {
		p.samples = append(p.samples, metrics.Sample{Name: name})
	}
	p.read(&HealthRow{})
	return p
}

// read fills the row's counters and keeps the readings for the next row.
func (p *probe) read(row *HealthRow) {
	p.readRuntime(row)

	cpu := cpuMicros()
	row.CPU, p.cpu = max(0, cpu-p.cpu), cpu
	throttled := p.machine.throttled()
	row.Throttled, p.throttled = gain(throttled, p.throttled), throttled
	row.FDs = p.fds("self")
	p.readNet(row)
	p.readBroker(row)
}

func (p *probe) readRuntime(row *HealthRow) {
	metrics.Read(p.samples)
	p.waits.Reset()
	for _, s := range p.samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			n := int64(min(s.Value.Uint64(), math.MaxInt64))
			switch s.Name {
			case metricGoroutines:
				row.Goroutines = n
			case metricRunnable:
				row.Runnable = &n
			case metricHeap:
				row.Heap = n
			}
		case metrics.KindFloat64Histogram:
			h := s.Value.Float64Histogram()
			if s.Name == metricSched {
				p.sched = each(h, p.sched, func(ns, n int64) { p.waits.RecordN(ns, n) })
			} else {
				p.pauses = each(h, p.pauses, func(ns, n int64) {
					row.GCPauses += n
					row.GCPauseMax = max(row.GCPauseMax, ns)
				})
			}
		}
	}
	row.Sched, row.SchedOverflow, _ = encoded(p.waits)
}

// each gives the upper edge (ns) and the gain of each bucket that gained since
// before, and returns the counts to compare with the next time: the runtime
// writes into the same memory again.
func each(h *metrics.Float64Histogram, before []uint64, gained func(ns, n int64)) []uint64 {
	if before == nil {
		before = make([]uint64, len(h.Counts))
	}
	for i, n := range h.Counts {
		if i >= len(before) || n <= before[i] {
			continue
		}
		edge := h.Buckets[i+1]
		if math.IsInf(edge, 1) {
			edge = h.Buckets[i]
		}
		gained(int64(max(0, edge*1e9)), int64(n-before[i]))
	}
	return append(before[:0], h.Counts...)
}

// cpuMicros is the CPU time of this process so far, user and system.
func cpuMicros() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return (u.Utime.Nano() + u.Stime.Nano()) / 1000
}

// gain is what a counter gained; nil where either reading is missing. A counter
// that fell was set anew and gained nothing that is known.
func gain(now, before *int64) *int64 {
	if now == nil || before == nil || *now < *before {
		return nil
	}
	return new(*now - *before)
}

func (p *probe) readNet(row *HealthRow) {
	cells := map[string]**int64{
		"ListenOverflows": &row.ListenOverflows,
		"ListenDrops":     &row.ListenDrops,
		"TCPSynRetrans":   &row.SynRetrans,
		"TCPTimeouts":     &row.Timeouts,
		"RetransSegs":     &row.Retrans,
	}
	now := p.machine.netCounters("ListenOverflows", "ListenDrops", "TCPSynRetrans", "TCPTimeouts", "RetransSegs")
	for name, cell := range cells {
		n, ok := now[name]
		before, was := p.net[name]
		if ok && was {
			*cell = gain(&n, &before)
		}
	}
	p.net = now
	row.Sockets, row.TimeWait = p.machine.tcpSockets()
}

// readBroker reads the broker's own process. A new pid is a new process, whose
// CPU time counts from 0.
func (p *probe) readBroker(row *HealthRow) {
	pid := pidOf(p.broker)
	before := p.brokerCPU
	if pid != p.pid {
		before = new(0.0)
	}
	p.pid, p.brokerCPU = pid, nil
	if pid == "" {
		return
	}
	p.brokerCPU = p.machine.cpuOf(pid)
	if p.brokerCPU != nil && before != nil {
		row.BrokerCPU = new(max(0, int64(math.Round((*p.brokerCPU-*before)*1e6))))
	}
	row.BrokerFDs = p.fds(pid)
}

// fds counts a process's open files: at the price of a stat where the kernel
// allows it, else by name and at most once a second.
func (p *probe) fds(pid string) *int64 {
	if n := p.machine.fdsBySize(pid); n != nil {
		return n
	}
	last := p.named[pid]
	if now := time.Now(); now.Sub(last.at) >= namesEvery {
		last = namedFDs{at: now, n: p.machine.fdsByName(pid)}
		p.named[pid] = last
	}
	return last.n
}
