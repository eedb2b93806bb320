package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// verdict merges everything into the verdict of the run and its exit code.
func (j *judgement) verdict() {
	v := reports.Valid
	codes := []int{reports.ExitPass}
	for _, c := range j.r.Checks {
		v = v.Merge(c.Verdict)
		switch {
		case c.Verdict == reports.Unknown:
			codes = append(codes, reports.ExitUnknown)
		case c.Verdict == reports.Invalid && (c.Known == "" || j.strict):
			codes = append(codes, reports.ExitFail)
		}
	}
	for _, x := range j.r.Expectations {
		v = v.Merge(x.Verdict)
		switch {
		case x.Verdict == reports.Unknown:
			codes = append(codes, reports.ExitUnknown)
		case x.Verdict == reports.Invalid && x.OnFail != "warn" && (x.Known == "" || j.strict):
			codes = append(codes, reports.ExitFail)
		}
	}
	if !j.r.Run.Complete {
		v = v.Merge(reports.Unknown)
		codes = append(codes, reports.ExitUnknown)
	}
	if j.r.Run.Interrupted {
		codes = append(codes, reports.ExitInterrupted)
	}
	j.r.Verdict, j.r.ExitCode = v, reports.WorstExit(codes)
}

// warn writes down what a reader should know before the numbers are believed.
func (j *judgement) warn() {
	for _, m := range j.e.missing {
		j.note("%s", m)
	}
	for _, w := range j.waves {
		j.warnSpread(w)
	}
	for _, w := range j.r.Waves {
		if w.Outage.Overflow > 0 {
			j.note("%s wave %d: %d outages are above the range of the histogram", w.Phase, w.Wave, w.Outage.Overflow)
		}
	}
	for _, p := range j.r.Phases {
		switch {
		case j.e.plan.Phase(p.Name) == nil || len(j.e.plan.Phase(p.Name).Waves) == 0:
			// Its fitness stands on the harness line; no outage was measured in it.
		case p.Fitness == measure.Degraded, p.Fitness == measure.Saturated:
			j.note("the harness was %s in phase %s: canary p99 %s, held against %s", p.Fitness, p.Name, showP99(p.Canary), p.Against)
		}
	}
	for _, x := range j.r.Expectations {
		switch {
		case x.Verdict == reports.Invalid && x.OnFail == "warn":
			j.note("%s: measured %s (on_fail: warn)", x.Text, x.Shown)
		case x.Verdict != reports.Unknown && x.Why != "":
			j.note("%s: %s", x.Text, x.Why)
		}
	}
	j.warnDefects()
}

// warnSpread says when actions that the plan wanted close together were issued
// further apart: "at once" with 900 ms of spread says so.
func (j *judgement) warnSpread(w *waveFacts) {
	if len(w.acted) == 0 {
		return
	}
	first, last := w.acted[0].Action.Intended, w.acted[0].Action.Intended
	for _, a := range w.acted {
		first, last = min(first, a.Action.Intended), max(last, a.Action.Intended)
	}
	wanted, reached := last-first, spread(w.acted)
	if reached > wanted+wanted/10+timeline.Instant(50*time.Millisecond) {
		j.note("%s wave %d: planned within %s, issued within %s", w.wave.Phase, w.wave.Wave, show("s", seconds(wanted)), show("s", seconds(reached)))
	}
}
