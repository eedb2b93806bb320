package judge

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// spanKey names one wave of one fault.
type spanKey struct {
	kind, phase, fleet string
	wave               int
	mark               int // number of an outside event, each of which is a stretch of its own
}

// spans collects the stretch of each wave of each fault.
type spans map[spanKey]*span

type span struct {
	from, to timeline.Instant
	actions  int
}

func (s spans) add(k spanKey, from, to timeline.Instant, actions int) {
	at := s[k]
	if at == nil {
		at = &span{from: from, to: to}
		s[k] = at
	}
	at.from, at.to = min(at.from, from), max(at.to, to, from)
	at.actions += actions
}

// actedUntil is the last instant at which an action did something: its answer, or
// when what it held was let go.
func actedUntil(a *timeline.Action) timeline.Instant { return max(a.Issued, a.Answered, a.Until) }

// faultSpans lays the faults on the time line. Besides the issued actions there
// are faults without victims, for as long as they lasted, packets that a frame
// fault swallowed, which are no actions of their own, and faults that were planned for a wave and did nothing in it.
func (j *judgement) faultSpans() []reports.FaultSpan {
	all := spans{}
	for _, a := range j.storm.Acted {
		all.add(spanKey{a.Action.Fault, a.Action.Phase, a.Action.Fleet, a.Action.Wave, 0}, a.Action.Intended, actedUntil(a.Action), 1)
	}
	acted := make(map[spanKey]bool, len(all))
	for k := range all {
		acted[k] = true
	}
	for i := range j.e.frames {
		f := &j.e.frames[i]
		if k := (spanKey{f.Fault, f.Phase, f.Fleet, f.Wave, 0}); !acted[k] {
			all.add(k, f.At, f.At, 1)
		}
	}
	for _, x := range j.e.extents {
		if x.Issued == 0 || x.Skipped != "" {
			continue
		}
		k := spanKey{kind: x.Fault, phase: x.Phase, fleet: x.Fleet, wave: x.Wave}
		if x.Wave == 0 {
			k.mark = x.ID
		}
		all.add(k, x.Issued, j.liftedBy(&x), 1)
	}
	for _, w := range j.waves {
		for _, k := range j.planned(w.wave) {
			if all[k] == nil {
				all.add(k, w.wave.Start, w.wave.Start, 0)
			}
		}
	}
	return all.report(maxFaultSpans)
}

// planned names the faults that the plan has for a wave.
func (j *judgement) planned(w timeline.Wave) []spanKey {
	p := j.e.plan.Phase(w.Phase)
	if p == nil {
		return nil
	}
	var keys []spanKey
	for _, pw := range p.Waves {
		if pw.Wave != w.Wave {
			continue
		}
		for _, f := range pw.Faults {
			k := spanKey{f.Kind, w.Phase, f.Fleet, w.Wave, 0}
			if f.Extent && f.Count > 0 { // its record names no fleet: it may act on some clients of one only
				k.fleet = ""
			}
			keys = append(keys, k)
		}
	}
	return keys
}

// report gives the spans in the order in which they began. Where there are more
// than limit, consecutive waves of one fault are drawn as one, under the number
// of the first: no action is left out.
func (s spans) report(limit int) []reports.FaultSpan {
	out := make([]reports.FaultSpan, 0, len(s))
	for k, v := range s {
		out = append(out, reports.FaultSpan{
			Kind: k.kind, Phase: k.phase, Wave: k.wave, Fleet: k.fleet,
			Start: seconds(v.from), End: seconds(v.to), Actions: v.actions,
		})
	}
	slices.SortFunc(out, func(a, b reports.FaultSpan) int {
		return cmp.Or(cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Wave, b.Wave))
	})
	whole := out
	for run := 2; len(out) > limit && run <= 2*len(whole); run *= 2 {
		out = joinSpans(whole, run)
	}
	slices.SortStableFunc(out, func(a, b reports.FaultSpan) int { return cmp.Compare(a.Start, b.Start) })
	return out
}

// joinSpans joins up to run neighbours of one fault, phase and fleet each.
func joinSpans(sorted []reports.FaultSpan, run int) []reports.FaultSpan {
	var out []reports.FaultSpan
	joined := 0
	for _, f := range sorted {
		if n := len(out); n > 0 && joined < run {
			if last := &out[n-1]; last.Kind == f.Kind && last.Phase == f.Phase && last.Fleet == f.Fleet {
				last.Start, last.End = min(last.Start, f.Start), max(last.End, f.End)
				last.Actions += f.Actions
				joined++
				continue
			}
		}
		out, joined = append(out, f), 1
	}
	return out
}
