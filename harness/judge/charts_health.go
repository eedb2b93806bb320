package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// healthPoints draws the samples of the harness's health as at most limit
// points, each the worst of as many neighbours: a mean would hide the stall that
// the chart is there to show.
func healthPoints(rows []measure.HealthRow, limit int) []reports.HealthPoint {
	each := max(1, (len(rows)+limit-1)/limit)
	out := make([]reports.HealthPoint, 0, min(len(rows), limit))
	for i := range rows {
		if i%each == 0 {
			out = append(out, reports.HealthPoint{Start: seconds(rows[i].Start)})
		}
		addHealth(&out[len(out)-1], &rows[i])
	}
	return out
}

// leastRate is the shortest row that a rate is taken from: the broker's CPU
// time comes in ticks of 10 ms, which in a row of 5 ms would be two cores.
const leastRate = timeline.Instant(100 * time.Millisecond)

func addHealth(p *reports.HealthPoint, r *measure.HealthRow) {
	p.End = seconds(r.End)
	p.Heap = max(p.Heap, r.Heap)
	worse(&p.CanaryP99, timeOf(r.CanaryP99))
	worse(&p.EchoP99, timeOf(r.EchoP99))
	worse(&p.CanaryMax, latest(r))
	worse(&p.Runnable, r.Runnable)
	if length := r.End - r.Start; length >= leastRate {
		worse(&p.CPU, cores(&r.CPU, length))
		worse(&p.BrokerCPU, cores(r.BrokerCPU, length))
	}
}

// worse keeps the greater of two values; nil = not known.
func worse[T int64 | float64](into **T, v *T) {
	if v != nil && (*into == nil || **into < *v) {
		*into = v
	}
}

// latest is the greatest lateness of the canary in a row; nil where there is
// none, or where it is beyond the histogram's range or not readable.
func latest(r *measure.HealthRow) *float64 {
	h, err := measure.DecodeHist(measure.Nanoseconds, r.Canary)
	if err != nil {
		return nil
	}
	h.AddOverflow(r.CanaryOverflow)
	ns, known := h.Quantile(1)
	if !known {
		return nil
	}
	return timeOf(&ns)
}

// timeOf gives nanoseconds in seconds.
func timeOf(ns *int64) *float64 {
	if ns == nil {
		return nil
	}
	return new(float64(*ns) / 1e9)
}

// cores gives CPU time, in µs, as the number of cores that it kept busy.
func cores(us *int64, length timeline.Instant) *float64 {
	if us == nil {
		return nil
	}
	return new(float64(*us) * 1e3 / float64(length))
}
