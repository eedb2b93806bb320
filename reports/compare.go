package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// CompareOptions are what the user decides about a comparison.
type CompareOptions struct {
	Alpha   float64  // level of the family of gated metrics; 0 = 0.05
	Margin  float64  // least relative change that matters; 0 = max(10 %, 3 × A/A noise), for each metric
	Allow   []string // traits that may differ, by name: see AllowNames
	Require bool     // inconclusive ends with exit 3
}

const defaultAlpha = 0.05

// Compare holds new runs against old ones of the same scenario.
func Compare(base, next []*Report, o CompareOptions) Comparison {
	o.Alpha = cmp.Or(o.Alpha, defaultAlpha)
	c := Comparison{
		SchemaVersion: CompareSchema, Alpha: o.Alpha, Confidence: 1 - o.Alpha,
		Base: sideOf(base), Next: sideOf(next),
		Refused: []Differ{}, Allowed: []Differ{}, Warnings: []string{}, Rules: []Rule{},
		Gates: []Metric{}, Parts: []Metric{}, Totals: []Metric{}, Flipped: []Flip{}, Overlays: []Overlay{},
	}
	if len(base) == 0 || len(next) == 0 {
		c.Refused = append(c.Refused, Differ{Name: "runs", Line: "runs", Base: commas(len(base)), Next: commas(len(next))})
		return c.concluded(o)
	}
	c.Scenario, c.Clients = base[0].Run.Scenario, base[0].Run.Clients
	c.Refused, c.Allowed = mismatches(base, next, o.Allow)
	if len(c.Refused) > 0 {
		return c.concluded(o)
	}
	c.Warnings = warnings(base, next)
	c.Rules = exactRules(base, next)
	c.Gates = gates(base, next, o)
	c.Totals = totals(base, next, o.Alpha)
	c.Parts = parts(base, next, o.Alpha)
	c.Flipped = flips(base, next)
	c.Overlays = overlays(base, next, o.Alpha)
	return c.concluded(o)
}

// concluded sets the verdict of the whole from all that is filled in.
func (c Comparison) concluded(o CompareOptions) Comparison {
	c.Verdict, c.Why = c.judge()
	switch c.Verdict {
	case Refused:
		c.ExitCode = ExitUsage
	case Unfinished, Saturated:
		c.ExitCode = ExitUnknown
	case Worse:
		c.ExitCode = ExitWorse
	case Inconclusive:
		for _, m := range c.Gates {
			c.NeedRuns = max(c.NeedRuns, m.Need)
		}
		if o.Require {
			c.ExitCode = ExitUnknown
		}
	}
	return c
}

// judge gives the outcome of the whole, and why. Nothing is claimed over runs
// that cannot bear it: refused, unfinished and saturated go before worse.
func (c Comparison) judge() (Outcome, []string) {
	if len(c.Refused) > 0 {
		return Refused, []string{"the two sides did not run the same thing"}
	}
	if why := append(c.Base.unfinished("old "), c.Next.unfinished("new ")...); len(why) > 0 {
		return Unfinished, why
	}
	if why := append(c.Base.saturated("old "), c.Next.saturated("new ")...); len(why) > 0 {
		return Saturated, why
	}
	return c.weigh()
}

// nameOf says which run it is: in a set its number is that of its folder.
func (s Side) nameOf(i int) string {
	return fmt.Sprintf("run %d of %d (%s, seed %d)", i+1, len(s.Each), s.Each[i].ID, s.Each[i].Seed)
}

// unfinished says which runs of a side did not finish.
func (s Side) unfinished(name string) (why []string) {
	for i, r := range s.Each {
		if r.Ended != finished {
			why = append(why, fmt.Sprintf("%s%s: %s", name, s.nameOf(i), r.Ended))
		}
	}
	return why
}

// saturated says in which runs of a side the harness was.
func (s Side) saturated(name string) (why []string) {
	for i, r := range s.Each {
		if r.Fitness == fitSaturated {
			why = append(why, fmt.Sprintf("%s%s: saturated: the harness's own lateness is in its times, and may be behind its counts", name, s.nameOf(i)))
		}
	}
	return why
}

// weigh joins the exact rules and the gated metrics. One that is worse makes
// the whole worse. Better needs one that is, and none that may be worse by more
// than the same may be; same needs all of them.
func (c Comparison) weigh() (Outcome, []string) {
	is, why := c.weighed()
	if is != Worse {
		why = append(why, c.risen()...)
	}
	return is, why
}

// risen says which counts rose where no exact rule decides: no verdict but worse
// may hide them.
func (c Comparison) risen() (out []string) {
	for _, r := range c.Rules {
		if old, now := r.Base-r.BaseKnown, r.Next-r.NextKnown; old > 0 && float64(now)*float64(c.Base.Runs) > float64(old)*float64(c.Next.Runs) {
			out = append(out, fmt.Sprintf("%s %s → %s: it rose, and not from 0, so that no rule decides", r.Name, commas(old), commas(now)))
		}
	}
	return out
}

func (c Comparison) weighed() (Outcome, []string) {
	by := map[Outcome][]string{}
	for _, r := range c.Rules {
		if r.Worse {
			by[Worse] = append(by[Worse], fmt.Sprintf("%s 0 → %s", r.Name, commas(r.Next-r.NextKnown)))
		}
	}
	mayBeWorse := false
	for _, m := range c.Gates {
		by[m.Verdict] = append(by[m.Verdict], m.sentence())
		mayBeWorse = mayBeWorse || m.Verdict == Inconclusive && !m.notWorse()
	}
	switch {
	case len(by[Worse]) > 0:
		return Worse, by[Worse]
	case len(c.Gates) == 0:
		return Inconclusive, []string{"no outage was measured on both sides: only the exact rules speak"}
	case len(by[Better]) > 0 && !mayBeWorse:
		return Better, by[Better]
	case len(by[Inconclusive]) == 0:
		return Same, by[Same]
	}
	return Inconclusive, c.open()
}

// open says why the metrics that are inconclusive are: once for all of which
// the reason is the same.
func (c Comparison) open() []string {
	var order []string
	names := map[string][]string{}
	for _, m := range c.Gates {
		if m.Verdict == Inconclusive {
			if names[m.Why] == nil {
				order = append(order, m.Why)
			}
			names[m.Why] = append(names[m.Why], m.Name)
		}
	}
	var out []string
	for _, why := range order {
		out = append(out, strings.Join(names[why], ", ")+": "+why)
	}
	return out
}

func sideOf(reports []*Report) Side {
	s := Side{
		Runs:    len(reports),
		Rebound: each(reports, func(r *Report) string { return r.Rebound }),
		Broker:  each(reports, func(r *Report) string { return r.Target.Broker + " " + r.Target.Version + " " + r.Target.Kind }),
		Driver:  each(reports, func(r *Report) string { return r.Driver.Name + " " + r.Driver.Version }),
		Seeds:   each(reports, func(r *Report) string { return fmt.Sprint(r.Run.Seed) }),
		Each:    []SideRun{},
	}
	for _, r := range reports {
		s.Each = append(s.Each, SideRun{ID: r.Run.ID, Seed: r.Run.Seed, Ended: r.ended(), Fitness: r.stormFitness()})
		s.Counts.Victims += r.Total.Victims
		s.Counts.Back += r.Total.Back
		s.Counts.Censored += r.Total.Censored
		s.Counts.Unaffected += r.Total.Unaffected
		s.Counts.Absent += r.Total.Absent
	}
	return s
}

const finished = "finished"

func (r *Report) ended() string {
	switch {
	case r.Run.Interrupted:
		return "interrupted"
	case !r.Run.Complete:
		return "incomplete"
	case r.Run.Aborted != "":
		return "aborted"
	}
	return finished
}

const (
	fit          = "fit"
	fitDegraded  = "degraded"
	fitSaturated = "saturated"
	fitUnknown   = "unknown"
)

// stormFitness is the worst fitness of the phases with waves, for it is their
// outages that are compared: a connect that takes 2 ms may saturate the harness
// and says nothing of a storm that takes a second. Without waves it is that of
// the whole run.
func (r *Report) stormFitness() string {
	order := []string{fit, fitDegraded, fitUnknown, fitSaturated}
	worst := -1
	for _, p := range r.Phases {
		if r.wavesOf(p.Name) > 0 {
			at := slices.Index(order, p.Fitness)
			if at < 0 {
				at = slices.Index(order, fitUnknown)
			}
			worst = max(worst, at)
		}
	}
	if worst >= 0 {
		return order[worst]
	}
	return cmp.Or(r.Harness.Fitness, fitUnknown)
}
