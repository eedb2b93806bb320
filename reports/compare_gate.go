package reports

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// fewestRuns is how many runs a side any claim about times needs: of three
// against three the smallest p that there is, is 0.10.
const fewestRuns = 4

// decidingRuns is how many runs a side can be worse: the smallest p of five
// against five is 2/252, which times five gated metrics is 0.040.
const decidingRuns = 5

// Least margin, and how often the A/A noise goes into it. Runs that differ by
// more than a thousandfold have no margin that says anything.
const (
	leastMargin  = 0.10
	mostMargin   = 1000
	noiseMargins = 3
)

// gated is the family that decides, the same in each comparison: with a family
// chosen after the runs no p would hold. All are times, and less is better.
// What is censored is in rmta whatever its size.
var gated = []struct {
	name string
	get  pick
}{
	{"rmta", func(r *Report) sample {
		s := plainValue(r.Total.RMTA)
		s.n, s.censored = int64(r.Total.Back), int64(r.Total.Censored)
		return s
	}},
	{"outage.p50", quantilePick("p50", totalOutage)},
	{"outage.p90", quantilePick("p90", totalOutage)},
	{"outage.p99", quantilePick("p99", totalOutage)},
	{"back.p99", quantilePick("p99", func(r *Report) (Quantile, bool) { return r.Total.BackCurve, len(r.Waves) > 0 })},
}

func totalOutage(r *Report) (Quantile, bool) { return r.Total.Outage, len(r.Waves) > 0 }

// gates compares and judges the gated family. Metrics that no run has are not
// in it; Holm's correction counts all the same, for which of them were measured
// is no news before the runs.
func gates(base, next []*Report, o CompareOptions) []Metric {
	out := []Metric{}
	ps := make([]float64, 0, len(gated))
	for _, g := range gated {
		m, ok := compared(name{metric: g.name, unit: "s"}, base, next, o.Alpha, g.get)
		switch {
		case ok:
			out, ps = append(out, m), append(ps, *m.PValue)
		case m.Missing < len(base)+len(next): // one side has it: nothing is known, and it is no longer the same
			out, ps = append(out, m), append(ps, 1)
		}
	}
	for len(ps) < len(gated) {
		ps = append(ps, 1)
	}
	corrected := holm(ps)
	fitness := worstFitness(base, next)
	for i := range out {
		m := &out[i]
		if m.PValue != nil {
			m.Holm = &corrected[i]
		}
		m.Noise, m.Margin = margin(m.raw.base, o.Margin)
		m.Within = cmp.Or(o.Margin, leastMargin)
		m.judge(o.Alpha, fitness)
	}
	return out
}

// margin is the least relative change that matters, and the A/A noise.
func margin(base []float64, fixed float64) (noise *float64, least float64) {
	noise = aaNoise(base)
	switch {
	case fixed > 0:
		return noise, fixed
	case noise == nil:
		return nil, leastMargin
	}
	return noise, min(mostMargin, max(leastMargin, noiseMargins**noise))
}

// maxSplits bounds the splits of A/A; the halves of nine runs are 126.
const maxSplits = 130

// aaNoise is by how much two halves of the same runs differ: the mean, over all
// splits into halves, of the size of the Hodges-Lehmann shift between them,
// relative to the median of the runs. (The median of them is 0 for runs that
// take two values by turns.) nil under four runs or where a run does
// not have a value.
func aaNoise(runs []float64) *float64 {
	mid := middle(runs)
	if len(runs) < fewestRuns || mid <= 0 || slices.ContainsFunc(runs, func(v float64) bool { return math.IsInf(v, 0) }) {
		return nil
	}
	sum, splits := 0.0, halves(len(runs))
	for _, half := range splits {
		a, b := split(runs, half)
		sum += math.Abs(medianOf(differences(a, b))) / mid
	}
	return finite(sum / float64(len(splits)))
}

// halves lists the ways to take half of n things: all of them, or maxSplits
// drawn with a fixed seed where there are more.
func halves(n int) [][]int {
	k := n / 2
	if ways(n, k) > maxSplits {
		rng := rand.New(rand.NewPCG(6, uint64(n)))
		out := make([][]int, maxSplits)
		for i := range out {
			out[i] = rng.Perm(n)[:k]
		}
		return out
	}
	var out [][]int
	var pick func(from int, taken []int)
	pick = func(from int, taken []int) {
		if len(taken) == k {
			out = append(out, slices.Clone(taken))
			return
		}
		for i := from; i < n; i++ {
			pick(i+1, append(taken, i))
		}
	}
	pick(0, nil)
	return out
}

// ways is n over k, as a float: it only has to be compared.
func ways(n, k int) float64 {
	w := 1.0
	for i := range k {
		w *= float64(n-i) / float64(i+1)
	}
	return w
}

// split deals values into those at the given places and the others.
func split[T any](vs []T, at []int) (in, out []T) {
	for i, v := range vs {
		if slices.Contains(at, i) {
			in = append(in, v)
		} else {
			out = append(out, v)
		}
	}
	return in, out
}

// worstFitness is saturated or unknown if the harness of any run is.
func worstFitness(base, next []*Report) string {
	worst := fit
	for _, r := range slices.Concat(base, next) {
		switch f := r.stormFitness(); f {
		case fitSaturated:
			return f
		case fitUnknown:
			worst = f
		}
	}
	return worst
}

// judge sets the verdict of a gated metric, why, and how many runs it needs.
func (m *Metric) judge(alpha float64, fitness string) {
	m.Verdict = Inconclusive
	n := min(len(m.raw.base), len(m.raw.next))
	least, within := m.margin(), m.within()
	s := m.raw.shift
	switch {
	case fitness == fitSaturated:
		m.Verdict, m.Why = Saturated, "the harness was saturated in a run"
	case fitness == fitUnknown:
		m.Why = "the health of the harness is not known in a run"
	case m.Missing > 0:
		m.Why = plural(int64(m.Missing), "run") + " without a value"
	case n < fewestRuns:
		m.Need = decidingRuns
		m.Why = fmt.Sprintf("n = %d and %d", len(m.raw.base), len(m.raw.next))
	case *m.Holm < alpha && s.mid > least:
		m.Verdict = Worse
	case *m.Holm < alpha && s.mid < -least:
		m.Verdict = Better
	case s.coverage >= 1-alpha && s.low >= -within && s.high <= within:
		m.Verdict = Same
		if math.IsInf(middle(m.raw.base), 1) && math.IsInf(middle(m.raw.next), 1) {
			m.Why = "not reached on either side: the same as far as the horizon shows"
		}
	default:
		m.Need = m.runsNeeded(alpha)
		m.Why = "the interval reaches over ± " + percentOf(m.Within)
		if math.Abs(s.mid) > least {
			m.Why = "chance may be behind a shift as large as this"
		}
	}
}

// margin is the margin in the unit of the metric. Of a median that was not
// reached there is no part: any sure shift matters.
func (m *Metric) margin() float64 { return m.ofMiddle(m.Margin) }

// within is how far the interval of a metric that is the same may reach, in the
// unit of the metric. The noise is not in it: runs that differ by half from each
// other do not show that nothing changed.
func (m *Metric) within() float64 { return m.ofMiddle(m.Within) }

func (m *Metric) ofMiddle(relative float64) float64 {
	mid := middle(m.raw.base)
	if math.IsInf(mid, 0) {
		return 0
	}
	return relative * mid
}

// notWorse says that the interval leaves no room for a change for the worse
// that matters.
func (m *Metric) notWorse() bool {
	return m.raw.shift.coverage > 0 && m.raw.shift.high <= m.within()
}

// power is how often the number of runs that a comparison is said to need
// should decide it.
const power = 0.8

// runsNeeded estimates how many runs a side would decide, if the shift is what
// it seems and the spread stays: the interval, and the noise that is in the
// margin, narrow with the root of n. A shift that is too great for the same has
// to clear 0 at the strictest level of the family, and the margin; one that is
// not has to clear what the same is within. 0 = no number would.
func (m *Metric) runsNeeded(alpha float64) int {
	s, n := m.raw.shift, 2/(1/float64(len(m.raw.base))+1/float64(len(m.raw.next)))
	wide := (s.high - s.low) / 2
	if s.coverage == 0 || math.IsInf(wide, 0) || math.IsNaN(wide) {
		return 0 // the horizon cuts the interval, and no number of runs lengthens that
	}
	deviation := wide / normalQuantile(1-(1-s.coverage)/2) // of the shift, at n
	room, level, clear := m.within()-math.Abs(s.mid), alpha, 0.0
	if room < 0 {
		room, level = math.Abs(s.mid), alpha/float64(len(gated))
		clear = n * math.Pow(m.margin()/room, 2)
	}
	if room == 0 {
		return 0
	}
	z := normalQuantile(1-level/2) + normalQuantile(power)
	need := math.Ceil(max(clear, n*math.Pow(z*deviation/room, 2)))
	return int(min(1e6, max(decidingRuns, n+1, need)))
}
