package measure

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/reports"
)

// Health is what several health rows say together. The quantiles are those of
// all values, exact to the histograms, and no means of means.
type Health struct {
	Rows                int
	Canary, Echo, Sched *Hist // ns
	Goroutines          int64 // most
	FDs                 int64 // most; 0 = not known
	Heap                int64 // most, bytes
	CPU                 int64 // µs
	Throttled           int64 // µs
	GCPauseMax          int64 // ns
	ListenOverflows     int64
	SynRetrans          int64
}

// MergeHealth merges the rows that keep names; nil keeps all.
func MergeHealth(rows []HealthRow, keep func(*HealthRow) bool) (Health, error) {
	h := Health{Canary: NewHist(Nanoseconds), Echo: NewHist(Nanoseconds), Sched: NewHist(Nanoseconds)}
	for i := range rows {
		r := &rows[i]
		if keep != nil && !keep(r) {
			continue
		}
		for _, part := range []struct {
			name     string
			into     *Hist
			v2       string
			overflow int64
		}{
			{"canary_v2", h.Canary, r.Canary, r.CanaryOverflow},
			{"echo_v2", h.Echo, r.Echo, r.EchoOverflow},
			{"sched_v2", h.Sched, r.Sched, r.SchedOverflow},
		} {
			if part.v2 == "" {
				continue // not sampled
			}
			values, err := DecodeHist(Nanoseconds, part.v2)
			if err != nil {
				return Health{}, fmt.Errorf("health row at %d ns: %s: %w", r.Start, part.name, err)
			}
			values.AddOverflow(part.overflow)
			part.into.Merge(values)
		}
		h.add(r)
	}
	return h, nil
}

func (h *Health) add(r *HealthRow) {
	h.Rows++
	h.Goroutines = max(h.Goroutines, r.Goroutines)
	h.FDs = max(h.FDs, known(r.FDs))
	h.Heap = max(h.Heap, r.Heap)
	h.GCPauseMax = max(h.GCPauseMax, r.GCPauseMax)
	h.CPU += r.CPU
	h.Throttled += known(r.Throttled)
	h.ListenOverflows += known(r.ListenOverflows)
	h.SynRetrans += known(r.SynRetrans)
}

func known(v *int64) int64 {
	if v == nil {
		return 0
	}
	return *v
}

// Report gives the health in the report's terms, with the fitness that the
// caller has judged. Without a row it says that the health is missing.
func (h Health) Report(fitness string) reports.Harness {
	if h.Rows == 0 {
		return reports.Harness{Fitness: fitness, MissingHealth: true}
	}
	return reports.Harness{
		Fitness:     fitness,
		Canary:      h.Canary.Summary(0),
		Echo:        h.Echo.Summary(0),
		SchedP99:    h.Sched.Summary(0).P99,
		Goroutines:  h.Goroutines,
		FDs:         h.FDs,
		HeapBytes:   h.Heap,
		CPUSeconds:  float64(h.CPU) / 1e6,
		ListenDrops: h.ListenOverflows,
		SynRetrans:  h.SynRetrans,
	}
}
