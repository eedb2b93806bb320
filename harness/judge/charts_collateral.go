package judge

import (
	"slices"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// collateral sums up how long messages took to the clients that no fault names,
// while faults were at work and in the quiet; nil where that was not measured.
func (j *judgement) collateral() *reports.Collateral {
	if len(j.e.latency) == 0 {
		return nil
	}
	c := &reports.Collateral{Clients: j.e.latency[0].Clients, Points: []reports.LatencyPoint{}}
	during, quiet := measure.NewHist(measure.Nanoseconds), measure.NewHist(measure.Nanoseconds)
	windows, connected := j.faultWindows(), j.connectedAt()
	each := (len(j.e.latency) + maxLatencies - 1) / maxLatencies
	for rows := range slices.Chunk(j.e.latency, each) {
		point := measure.NewHist(measure.Nanoseconds)
		for _, l := range rows {
			h, err := measure.DecodeHist(measure.Nanoseconds, l.Values)
			if err != nil {
				j.note("events.jsonl.gz: latency at %s is not readable: %v", show("s", seconds(l.Start)), err)
				continue
			}
			h.AddOverflow(l.Overflow)
			point.Merge(h)
			switch {
			case touched(windows, earliest(l.Start, h), l.End):
				during.Merge(h)
			case l.Start >= connected:
				quiet.Merge(h)
			}
		}
		q := point.Summary(0)
		c.Points = append(c.Points, reports.LatencyPoint{
			Start: seconds(rows[0].Start), End: seconds(rows[len(rows)-1].End), N: q.N, P50: q.P50, P99: q.P99, Max: q.Max,
		})
	}
	c.Fault, c.Quiet = during.Summary(0), quiet.Summary(0)
	return c
}

// earliest is the instant at which the first of a row's messages can have been
// due: one that was due in a storm and came after it is no quiet one.
func earliest(start timeline.Instant, h *measure.Hist) timeline.Instant {
	longest, known := h.Quantile(1)
	if !known { // beyond the histogram's range
		return 0
	}
	return max(0, start-timeline.Instant(longest))
}

type window struct{ from, to timeline.Instant }

func touched(windows []window, from, to timeline.Instant) bool {
	return slices.ContainsFunc(windows, func(w window) bool { return w.from < to && from <= w.to })
}

// faultWindows gives each wave from its first intended instant until nothing of
// it was open any more: its last answer or packet, its last client back or censored,
// what it held let go. A fault without victims has a window of its own.
func (j *judgement) faultWindows() []window {
	var out []window
	for _, w := range j.waves {
		over := w.wave.Start
		for _, a := range w.acted {
			over = max(over, actedUntil(a.Action))
		}
		for _, o := range w.outages {
			over = max(over, o.Until)
		}
		for i := range j.e.frames {
			if f := &j.e.frames[i]; f.Phase == w.wave.Phase && f.Wave == w.wave.Wave {
				over = max(over, f.At)
			}
		}
		out = append(out, window{w.wave.Start, over})
	}
	for i := range j.e.extents {
		if x := &j.e.extents[i]; x.Issued != 0 && x.Skipped == "" {
			out = append(out, window{x.Issued, j.liftedBy(x)})
		}
	}
	return out
}

// liftedBy is when a fault without victims was over: of a mark, whose end nobody
// knows, at once; of another one that was not lifted, at the stop.
func (j *judgement) liftedBy(x *timeline.Extent) timeline.Instant {
	if x.Wave != 0 && x.OK && x.Healed == 0 {
		return j.storm.Stop
	}
	return max(x.Taken, x.Healed)
}

// connectedAt is when the last client was useful for the first time.
func (j *judgement) connectedAt() (at timeline.Instant) {
	for _, cl := range j.storm.Clients {
		at = max(at, j.rules.firstUseful(cl))
	}
	return at
}
