package reports

import (
	"cmp"
	"math"
	"slices"
)

// maxMetrics bounds the list of parts; the clearest stay.
const maxMetrics = 400

// totals are the numbers of the whole run beside the gated ones.
func totals(base, next []*Report, alpha float64) []Metric {
	connect := func(r *Report) (Quantile, bool) { return r.Connect.Latency, true }
	canary := func(r *Report) (Quantile, bool) { return r.Harness.Canary, true }
	storm := func(get func(*Report) float64) pick {
		return func(r *Report) sample {
			if len(r.Waves) == 0 {
				return sample{}
			}
			return plainValue(finite(get(r)))
		}
	}
	out := []Metric{}
	for _, t := range []struct {
		name, unit string
		get        pick
	}{
		{"outage.max", "s", quantilePick("max", totalOutage)},
		{"connect.p50", "s", quantilePick("p50", connect)},
		{"connect.p99", "s", quantilePick("p99", connect)},
		{"canary.p99", "s", quantilePick("p99", canary)},
		{"amplification", "", storm(func(r *Report) float64 { return r.Total.Herd.Amplification })},
		{"peak_per_10ms", "", storm(func(r *Report) float64 { return float64(r.Total.Herd.Peak) })},
		{"attempts_per_back", "", storm(func(r *Report) float64 { return r.Total.Attempts })},
		{"censored", "", storm(func(r *Report) float64 { return float64(r.Total.Censored) })},
		{"unaffected", "", storm(func(r *Report) float64 { return float64(r.Total.Unaffected) })},
		{"absent", "", storm(func(r *Report) float64 { return float64(r.Total.Absent) })},
		{"lost.qos0", "", countOf(func(r *Report) int64 { return sumMessages(r, 0, func(m Messages) int64 { return m.Lost }) })},
		{"duplicated", "", countOf(func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Duplicated }) })},
		{"missed_slots", "", countOf(func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Missed }) })},
	} {
		if m, ok := compared(name{metric: t.name, unit: t.unit}, base, next, alpha, t.get); ok {
			out = append(out, m)
		}
	}
	return out
}

// parts are the numbers of phases, waves and fleets, the clearest first. A part
// that did not change, or that one side does not have, is left out.
func parts(base, next []*Report, alpha float64) []Metric {
	out := []Metric{}
	add := func(is name, get pick) {
		m, ok := compared(is, base, next, alpha, get)
		if ok && slices.ContainsFunc(differences(m.raw.base, m.raw.next), func(d float64) bool { return d != 0 }) {
			out = append(out, m)
		}
	}
	first := base[0]
	for _, p := range first.Phases {
		add(name{metric: "length", unit: "s", phase: p.Name}, func(r *Report) sample { return plainValue(phaseLength(r, p.Name)) })
		switch first.wavesOf(p.Name) {
		case 0:
		case 1:
			waveParts(add, p.Name, first.firstWave(p.Name), false)
		default:
			for _, w := range first.Waves {
				if w.Phase == p.Name {
					waveParts(add, p.Name, w.Wave, true)
				}
			}
			histParts(add, p.Name, "")
		}
		if fleets := first.fleetsIn(p.Name); len(fleets) > 1 {
			for _, f := range fleets {
				histParts(add, p.Name, f)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Metric) int { return clearer(a, b, alpha) })
	return out[:min(len(out), maxMetrics)]
}

// clearer sorts parts: those that chance does not explain go first, then times,
// then the greater shift: of a waterfall the part that grew by 30 ms explains
// more than the one that grew from 1 ms to 2 ms.
func clearer(a, b Metric, alpha float64) int {
	order := func(m Metric) (chance, count int, size float64) {
		if m.PValue == nil || *m.PValue >= alpha {
			chance = 1
		}
		if m.Unit != "s" {
			count = 1
		}
		return chance, count, -math.Abs(m.raw.shift.mid)
	}
	ac, au, as := order(a)
	bc, bu, bs := order(b)
	return cmp.Or(cmp.Compare(ac, bc), cmp.Compare(au, bu), cmp.Compare(as, bs))
}

type adder func(is name, get pick)

// waveParts adds the numbers of one wave. The only wave of a phase is named as
// the phase.
func waveParts(add adder, phase string, wave int, several bool) {
	of := func(metric, unit string) name {
		is := name{metric: metric, unit: unit, phase: phase}
		if several {
			is.wave = wave
		}
		return is
	}
	dist := func(get func(Wave) (Quantile, bool)) func(*Report) (Quantile, bool) {
		return func(r *Report) (Quantile, bool) {
			w, ok := r.wave(phase, wave)
			if !ok {
				return Quantile{}, false
			}
			return get(w)
		}
	}
	value := func(get func(Wave) *float64) pick {
		return func(r *Report) sample {
			w, ok := r.wave(phase, wave)
			if !ok {
				return sample{}
			}
			return plainValue(get(w))
		}
	}
	add(of("rmta", "s"), value(func(w Wave) *float64 { return w.RMTA }))
	for _, q := range []string{"p50", "p90", "p99"} {
		add(of("outage."+q, "s"), quantilePick(q, dist(func(w Wave) (Quantile, bool) { return w.Outage, true })))
	}
	for _, part := range waterfallParts {
		add(of("waterfall."+part+".p50", "s"), quantilePick("p50", dist(func(w Wave) (Quantile, bool) {
			q, ok := w.Waterfall[part]
			return q, ok
		})))
	}
	add(of("answer.p50", "s"), quantilePick("p50", dist(func(w Wave) (Quantile, bool) { return w.Answer, true })))
	add(of("amplification", ""), value(func(w Wave) *float64 { return finite(w.Herd.Amplification) }))
	add(of("peak_per_10ms", ""), value(func(w Wave) *float64 { return finite(float64(w.Herd.Peak)) }))
}

// histParts adds the outage and the waterfall of all waves of a phase together,
// of one fleet or ("") of all, out of the histograms.
func histParts(add adder, phase, fleet string) {
	metrics := []string{"outage"}
	for _, part := range waterfallParts {
		metrics = append(metrics, "waterfall."+part)
	}
	for _, metric := range metrics {
		for _, q := range []string{"p50", "p99"} {
			if q == "p99" && metric != "outage" {
				continue
			}
			add(name{metric: metric + "." + q, unit: "s", phase: phase, fleet: fleet}, func(r *Report) sample {
				return r.histSample(phase, fleet, metric, q)
			})
		}
	}
}

// needed is how many values a quantile needs to be more than its greatest one.
var needed = map[string]int64{"p99": 299}

var fractions = map[string]float64{"p50": 0.50, "p99": 0.99}

// histSample is one quantile out of the histograms of a phase. Censored outages
// count as longer than all that ended; the parts of a waterfall are of those
// that ended. A histogram that cannot be read is as good as none.
func (r *Report) histSample(phase, fleet, metric, q string) sample {
	var whole []Histogram
	for _, h := range r.Histograms {
		if h.Phase == phase && h.Metric == metric && h.Wave == 0 && (fleet == "" || h.Fleet == fleet) {
			whole = append(whole, h)
		}
	}
	if len(whole) == 0 {
		return sample{}
	}
	hdr, err := series{Histogram: whole[0], parts: whole}.merged()
	if err != nil {
		return sample{}
	}
	s := sample{n: hdr.TotalCount(), known: true}
	for _, h := range whole {
		s.censored += h.Censored
	}
	s.low = s.n+s.censored < needed[q]
	if s.n == 0 && s.censored == 0 {
		return sample{}
	}
	at := fractions[q]
	if metric == "outage" {
		at *= float64(s.n+s.censored) / float64(max(1, s.n))
	}
	if s.n > 0 && at <= 1 {
		s.value = finite(float64(hdr.ValueAtQuantile(100*at)) / 1e9)
	}
	return s
}

// fleetsIn names the fleets with outages in a phase.
func (r *Report) fleetsIn(phase string) []string {
	var out []string
	for _, h := range r.Histograms {
		if h.Phase == phase && h.Metric == "outage" && !slices.Contains(out, h.Fleet) {
			out = append(out, h.Fleet)
		}
	}
	return out
}

func (r *Report) wave(phase string, number int) (Wave, bool) {
	for _, w := range r.Waves {
		if w.Phase == phase && w.Wave == number {
			return w, true
		}
	}
	return Wave{}, false
}

// firstWave is the number of the first wave of a phase.
func (r *Report) firstWave(phase string) int {
	for _, w := range r.Waves {
		if w.Phase == phase {
			return w.Wave
		}
	}
	return 0
}

func phaseLength(r *Report, phase string) *float64 {
	for _, p := range r.Phases {
		if p.Name == phase {
			return finite(p.End - p.Start)
		}
	}
	return nil
}
