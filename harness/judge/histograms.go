package judge

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// histKey names one histogram.
type histKey struct {
	fleet, phase, metric string
	wave                 int // 0 = the whole phase
}

// histSet collects histograms by name.
type histSet map[histKey]*histogram

type histogram struct {
	hist       *measure.Hist
	start, end timeline.Instant
}

// in gives the histogram of a name, made when it is first asked for.
func (s histSet) in(k histKey, u measure.Unit, start, end timeline.Instant) *measure.Hist {
	h := s[k]
	if h == nil {
		h = &histogram{hist: measure.NewHist(u), start: start, end: end}
		s[k] = h
	}
	h.start, h.end = min(h.start, start), max(h.end, end)
	return h.hist
}

// histograms fills in the HDR histograms of the run: of each fleet and phase,
// and where a phase has several waves of each wave too.
func (j *judgement) histograms() {
	set := histSet{}
	censored := map[histKey]int{} // outages without a value, by fleet, phase and wave
	perPhase := map[string]int{}
	for _, w := range j.waves {
		perPhase[w.wave.Phase]++
	}
	for _, w := range j.waves {
		numbers := []int{0}
		if perPhase[w.wave.Phase] > 1 {
			numbers = append(numbers, w.wave.Wave)
		}
		for _, n := range numbers {
			j.histWave(set, censored, w, n)
		}
	}
	j.histConnect(set)
	j.histUnscripted(set)
	j.r.Histograms = set.report(censored)
}

// histWave records one wave under a wave number.
func (j *judgement) histWave(set histSet, censored map[histKey]int, w *waveFacts, number int) {
	ns := func(fleet, metric string) *measure.Hist {
		return set.in(histKey{fleet, w.wave.Phase, metric, number}, measure.Nanoseconds, w.wave.Start, w.end)
	}
	for _, a := range w.acted {
		if a.Action.OK && a.Action.Answered != 0 {
			ns(a.Action.Fleet, "answer").Record(int64(a.Action.Answered - a.Action.Issued))
		}
	}
	for _, o := range w.outages {
		for q, carried := range j.sum.carried {
			if carried {
				l := j.sum.loss[o][q]
				set.in(histKey{o.Fleet, w.wave.Phase, fmt.Sprintf("loss.qos%d", q), number}, measure.Count, w.wave.Start, w.end).Record(l.n)
				ns(o.Fleet, fmt.Sprintf("gap.qos%d", q)).Record(l.gap())
			}
		}
		// A wave from which nobody came back has a histogram, too: an empty one,
		// with its censored beside it.
		outage := ns(o.Fleet, "outage")
		if !o.Back() {
			censored[histKey{o.Fleet, w.wave.Phase, "", number}]++
			continue
		}
		outage.Record(int64(o.Until - o.Start))
		for i, name := range PartNames() {
			if name != "close" || o.Parts.ClosedKnown {
				ns(o.Fleet, "waterfall."+name).Record(o.Parts.Values()[i])
			}
		}
	}
}

// histConnect records the first connects, in the phase in which they began.
func (j *judgement) histConnect(set histSet) {
	for _, cl := range j.storm.Clients {
		at := j.rules.firstUseful(cl)
		if at == 0 {
			continue
		}
		c := cl.Conns[0]
		phase, start, end := j.span(c.Dial)
		set.in(histKey{cl.Fleet, phase, "connect", 0}, measure.Nanoseconds, start, end).Record(int64(max(0, at-cmp.Or(c.Intended, c.Dial))))
	}
}

// histUnscripted records the outages that no fault explains.
func (j *judgement) histUnscripted(set histSet) {
	for _, o := range j.storm.Outages {
		if o.Cause == Unscripted && o.Back() {
			phase, start, end := j.span(o.Start)
			set.in(histKey{o.Fleet, phase, "unscripted", 0}, measure.Nanoseconds, start, end).Record(int64(o.Until - o.Start))
		}
	}
}

// span is the phase in which an instant lies, with its start and end. What
// lies before every phase is in "start".
func (j *judgement) span(t timeline.Instant) (name string, start, end timeline.Instant) {
	p, found := j.e.phase(j.e.phaseAt(t))
	if !found {
		return "start", t, t
	}
	return p.Name, p.Start, max(p.Start, p.End)
}

func (s histSet) report(censored map[histKey]int) []reports.Histogram {
	out := make([]reports.Histogram, 0, len(s))
	for k, h := range s {
		missing := 0
		if k.metric == "outage" || strings.HasPrefix(k.metric, "waterfall.") {
			missing = censored[histKey{k.fleet, k.phase, "", k.wave}]
		}
		out = append(out, h.hist.To(reports.Histogram{
			Fleet: k.fleet, Phase: k.phase, Wave: k.wave, Metric: k.metric,
			Start: seconds(h.start), End: seconds(h.end), Censored: int64(missing),
		}))
	}
	slices.SortFunc(out, func(a, b reports.Histogram) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Metric, b.Metric), cmp.Compare(a.Wave, b.Wave))
	})
	return out
}
