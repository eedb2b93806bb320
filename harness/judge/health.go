package judge

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/reports"
)

// healths fills in the phases with the fitness of the measuring instrument in
// each, and the health of the whole run.
func (j *judgement) healths() {
	for _, p := range j.e.phases {
		h, err := measure.MergeHealth(j.e.health, func(r *measure.HealthRow) bool { return r.Phase == p.Name })
		if err != nil {
			j.note("health.csv %s", inWords(err))
		}
		var canary reports.Quantile
		if h.Rows > 0 {
			canary = h.Canary.Summary(0)
		}
		fitness, against := measure.PhaseFitness(canary.P99, outageOf(j.wavesIn(p.Name, "")), summary(j.connects[p.Name]))
		j.r.Phases = append(j.r.Phases, reports.Phase{
			Name: p.Name, Start: seconds(p.Start), End: seconds(p.End), Reason: p.Reason,
			Fitness: fitness, Canary: canary, Against: against,
		})
	}
	whole, err := measure.MergeHealth(j.e.health, nil)
	if err != nil {
		whole = measure.Health{}
	}
	j.r.Harness = whole.Report(j.overall())
}

// overall is the worst fitness of the phases that time expectations look at;
// without any, of all phases.
func (j *judgement) overall() string {
	looked := map[string]bool{}
	for _, x := range j.e.plan.Expect {
		if m, found := measure.Lookup(x.Metric); found && m.Timed {
			for _, name := range j.phasesOf(m, x.Phase) {
				looked[name] = true
			}
		}
	}
	worst := ""
	for _, p := range j.r.Phases {
		if len(looked) == 0 || looked[p.Name] {
			worst = measure.WorseFitness(worst, p.Fitness)
		}
	}
	if worst == "" {
		return measure.Unknown
	}
	return worst
}

// phasesOf names the phases that a timed metric was measured in.
func (j *judgement) phasesOf(m measure.Metric, phase string) []string {
	var names []string
	switch {
	case phase != "" && m.Scope == measure.ScopeWave:
		return []string{phase}
	case m.Scope == measure.ScopeWave:
		for _, w := range j.waves {
			names = append(names, w.wave.Phase)
		}
	default:
		for _, p := range j.e.phases {
			if len(j.connects[p.Name]) > 0 {
				names = append(names, p.Name)
			}
		}
	}
	return names
}

// wavesIn gives the waves of a phase ("" = all), cut to one fleet ("" = all).
func (j *judgement) wavesIn(phase, fleet string) []*waveFacts {
	var out []*waveFacts
	for _, w := range j.waves {
		if phase != "" && w.wave.Phase != phase {
			continue
		}
		if fleet != "" {
			w = w.of(fleet)
		}
		out = append(out, w)
	}
	return out
}

// of is the wave as one fleet saw it.
func (w *waveFacts) of(fleet string) *waveFacts {
	cut := &waveFacts{wave: w.wave, end: w.end, full: w.full, fleet: fleet}
	for _, a := range w.acted {
		if a.Action.Fleet == fleet {
			cut.acted = append(cut.acted, a)
		}
	}
	for _, o := range w.outages {
		if o.Fleet == fleet {
			cut.outages = append(cut.outages, o)
		}
	}
	return cut
}

// outageOf summarises the outages of some waves.
func outageOf(waves []*waveFacts) reports.Quantile {
	var obs []measure.Obs
	var horizon int64
	for _, w := range waves {
		horizon = max(horizon, w.length())
		for _, o := range w.outages {
			obs = append(obs, measure.Obs{Time: int64(o.Until - o.Start), Back: o.Back()})
		}
	}
	return measure.SurvivalSummary(obs, horizon)
}

func summary(ns []int64) reports.Quantile {
	h := measure.NewHist(measure.Nanoseconds)
	for _, v := range ns {
		h.Record(v)
	}
	return h.Summary(0)
}

// note keeps a warning for the report.
func (j *judgement) note(format string, args ...any) {
	j.r.Warnings = append(j.r.Warnings, fmt.Sprintf(format, args...))
}
