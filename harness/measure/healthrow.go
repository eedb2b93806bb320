package measure

import (
	"fmt"
	"strconv"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// HealthRow is one sample of the harness's own health: what happened from
// Start to End, inside one phase. A nil field could not be read on this host.
type HealthRow struct {
	Phase      string // may be empty before the first phase
	Start, End timeline.Instant

	Canary, Echo, Sched                         string // V2 histograms of ns (DecodeHist)
	CanaryOverflow, EchoOverflow, SchedOverflow int64
	CanaryP99, EchoP99                          *int64 // ns, for the reader of the file; nil without values

	Goroutines int64
	Runnable   *int64
	GCPauses   int64
	GCPauseMax int64 // ns
	CPU        int64 // µs
	Throttled  *int64
	FDs        *int64
	Heap       int64 // bytes

	ListenOverflows, ListenDrops, SynRetrans, Timeouts, Retrans *int64
	Sockets, TimeWait                                           *int64

	BrokerCPU, BrokerFDs *int64
}

// HealthColumn is one column of health.csv.
type HealthColumn struct {
	Name, Doc string
	get       func(*HealthRow) string
	set       func(*HealthRow, string) error
}

// HealthColumns gives the columns of health.csv in their order. All numbers are
// whole and not negative; an empty cell is not known. "in this row" means the
// difference between the row's end and its start.
func HealthColumns() []HealthColumn {
	return []HealthColumn{
		phaseColumn("phase", "phase of the run; rows do not straddle phases", func(r *HealthRow) *string { return &r.Phase }),
		instant("start_ns", "start of the row, ns from the base of the run", func(r *HealthRow) *timeline.Instant { return &r.Start }),
		instant("end_ns", "end of the row, ns from the base of the run", func(r *HealthRow) *timeline.Instant { return &r.End }),
		whole("goroutines", "goroutines at the end of the row", func(r *HealthRow) *int64 { return &r.Goroutines }),
		optional("runnable", "goroutines that waited for a thread at the end of the row", func(r *HealthRow) **int64 { return &r.Runnable }),
		whole("gc_pauses", "stops of the world by the garbage collector in this row", func(r *HealthRow) *int64 { return &r.GCPauses }),
		whole("gc_pause_max_ns", "longest of them, as the upper edge of the runtime's bucket", func(r *HealthRow) *int64 { return &r.GCPauseMax }),
		whole("cpu_us", "CPU time, user and system, of the harness's process in this row, µs", func(r *HealthRow) *int64 { return &r.CPU }),
		optional("throttled_us", "time that the cgroup was kept from the CPU in this row, µs", func(r *HealthRow) **int64 { return &r.Throttled }),
		optional("fds", "open file descriptors of the harness's process", func(r *HealthRow) **int64 { return &r.FDs }),
		whole("heap_bytes", "bytes of live and not yet swept objects", func(r *HealthRow) *int64 { return &r.Heap }),
		optional("listen_overflows", "ListenOverflows in this row: accept queues of this network namespace that were full", func(r *HealthRow) **int64 { return &r.ListenOverflows }),
		optional("listen_drops", "ListenDrops in this row: connections dropped on their way in", func(r *HealthRow) **int64 { return &r.ListenDrops }),
		optional("syn_retransmits", "TCPSynRetrans in this row: SYN and SYN+ACK sent again", func(r *HealthRow) **int64 { return &r.SynRetrans }),
		optional("tcp_timeouts", "TCPTimeouts in this row: retransmission timers that fired", func(r *HealthRow) **int64 { return &r.Timeouts }),
		optional("retransmitted_segments", "RetransSegs in this row: all segments sent again", func(r *HealthRow) **int64 { return &r.Retrans }),
		optional("tcp_sockets", "TCP sockets in use in this network namespace", func(r *HealthRow) **int64 { return &r.Sockets }),
		optional("tcp_time_wait", "ports held by TIME_WAIT in this network namespace", func(r *HealthRow) **int64 { return &r.TimeWait }),
		optional("broker_cpu_us", "CPU time of the broker's own process in this row, µs, by ticks of 10 ms", func(r *HealthRow) **int64 { return &r.BrokerCPU }),
		optional("broker_fds", "open file descriptors of the broker's own process", func(r *HealthRow) **int64 { return &r.BrokerFDs }),
		optional("canary_p99_ns", "p99 of canary_v2, for the reader of this file", func(r *HealthRow) **int64 { return &r.CanaryP99 }),
		optional("echo_p99_ns", "p99 of echo_v2, for the reader of this file", func(r *HealthRow) **int64 { return &r.EchoP99 }),
		whole("canary_overflow", "canary values outside the histogram's range", func(r *HealthRow) *int64 { return &r.CanaryOverflow }),
		whole("echo_overflow", "echo values outside the histogram's range", func(r *HealthRow) *int64 { return &r.EchoOverflow }),
		whole("sched_overflow", "scheduler latencies outside the histogram's range", func(r *HealthRow) *int64 { return &r.SchedOverflow }),
		histogram("canary_v2", "lateness of a goroutine due every 10 ms: HdrHistogram V2, ns", func(r *HealthRow) *string { return &r.Canary }),
		histogram("echo_v2", "16 bytes over a loopback TCP pair and back, every 50 ms, from the instant each was due: HdrHistogram V2, ns", func(r *HealthRow) *string { return &r.Echo }),
		histogram("sched_v2", "time that goroutines waited for a thread (the runtime samples 1 in 8), by the upper edge of its buckets: HdrHistogram V2, ns", func(r *HealthRow) *string { return &r.Sched }),
	}
}

func whole(name, doc string, at func(*HealthRow) *int64) HealthColumn {
	return HealthColumn{name, doc,
		func(r *HealthRow) string { return strconv.FormatInt(*at(r), 10) },
		func(r *HealthRow, s string) (err error) { *at(r), err = natural(s); return err }}
}

func instant(name, doc string, at func(*HealthRow) *timeline.Instant) HealthColumn {
	return HealthColumn{name, doc,
		func(r *HealthRow) string { return strconv.FormatInt(int64(*at(r)), 10) },
		func(r *HealthRow, s string) error {
			n, err := natural(s)
			*at(r) = timeline.Instant(n)
			return err
		}}
}

func optional(name, doc string, at func(*HealthRow) **int64) HealthColumn {
	return HealthColumn{name, doc,
		func(r *HealthRow) string {
			if *at(r) == nil {
				return ""
			}
			return strconv.FormatInt(**at(r), 10)
		},
		func(r *HealthRow, s string) error {
			if s == "" {
				*at(r) = nil
				return nil
			}
			n, err := natural(s)
			*at(r) = &n
			return err
		}}
}

func phaseColumn(name, doc string, at func(*HealthRow) *string) HealthColumn {
	return HealthColumn{name, doc,
		func(r *HealthRow) string { return *at(r) },
		func(r *HealthRow, s string) error {
			*at(r) = s
			return plain(s, 128, "._-")
		}}
}

func histogram(name, doc string, at func(*HealthRow) *string) HealthColumn {
	return HealthColumn{name, doc,
		func(r *HealthRow) string { return *at(r) },
		func(r *HealthRow, s string) error {
			*at(r) = s
			return plain(s, maxEncoded, "+/=")
		}}
}

// natural reads a whole number from 0, written in the one usual way.
func natural(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != s {
		return 0, fmt.Errorf("%q is no whole number from 0", cut(s))
	}
	return n, nil
}

// plain refuses what could break the file: all but letters, digits and more.
func plain(s string, limit int, more string) error {
	if len(s) > limit {
		return fmt.Errorf("%d characters, more than %d", len(s), limit)
	}
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		for i := 0; !letter && i < len(more); i++ {
			letter = c == more[i]
		}
		if !letter {
			return fmt.Errorf("%q has a character other than letters, digits and %s", cut(s), more)
		}
	}
	return nil
}

// cut shortens a text for an error message.
func cut(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}
