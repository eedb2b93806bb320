package judge

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// herdStep is the width over which CONNECTs are counted.
const herdStep = timeline.Instant(10 * time.Millisecond)

// herdShapes draws the stampede of each wave. Of more than maxHerds waves those
// with the highest peaks are drawn.
func herdShapes(waves []*waveFacts, connects []timeline.Instant) []reports.HerdShape {
	bins := min(maxHerdBins, maxHerdTotal/max(1, min(len(waves), maxHerds)))
	out := make([]reports.HerdShape, 0, len(waves))
	for _, w := range waves {
		out = append(out, herdShape(w, between(connects, w.wave.Start, w.end), bins))
	}
	if len(out) <= maxHerds {
		return out
	}
	peaks := make([]int, len(out))
	for i, h := range out {
		peaks[i] = peakOf(h)
	}
	slices.SortFunc(peaks, func(a, b int) int { return cmp.Compare(b, a) })
	least := peaks[maxHerds-1]
	above := 0
	for above < maxHerds && peaks[above] > least {
		above++
	}
	equal := maxHerds - above // of those with just this peak, the first ones
	return slices.DeleteFunc(out, func(h reports.HerdShape) bool {
		if p := peakOf(h); p != least {
			return p < least
		}
		equal--
		return equal < 0
	})
}

func peakOf(h reports.HerdShape) int {
	if len(h.Counts) == 0 {
		return 0
	}
	return slices.Max(h.Counts)
}

// herdShape draws one wave in at most so many bins, from its first intended
// instant to its last CONNECT.
func herdShape(w *waveFacts, connects []timeline.Instant, bins int) reports.HerdShape {
	h := reports.HerdShape{Phase: w.wave.Phase, Wave: w.wave.Wave, Width: seconds(herdStep), Counts: []int{}}
	if len(connects) == 0 {
		return h
	}
	counts := sparse(connects, w.wave.Start)
	steps := counts[len(counts)-1].at + 1
	joined := (steps + bins - 1) / bins
	h.Width *= float64(joined)
	h.Counts = make([]int, (steps+joined-1)/joined)
	for _, c := range counts {
		at := &h.Counts[c.at/joined]
		*at = max(*at, c.n)
	}
	h.Fano = fano(counts)
	// Below 1 the CONNECTs are more even than chance: they follow the even spacing
	// of the faults, and whatever beat that has is no herd.
	if h.Fano != nil && *h.Fano > 1 {
		h.Period, h.Correlation = period(counts)
	}
	return h
}

// herdCount is how many CONNECTs fell into one step of 10 ms.
type herdCount struct{ at, n int }

// sparse counts sorted instants by step from a start; steps without any are
// left out, for most of a wave is quiet.
func sparse(at []timeline.Instant, start timeline.Instant) []herdCount {
	var out []herdCount
	for _, t := range at {
		step := int((t - start) / herdStep)
		if n := len(out); n > 0 && out[n-1].at == step {
			out[n-1].n++
			continue
		}
		out = append(out, herdCount{step, 1})
	}
	return out
}

// moments gives number, mean and sum of squared deviations of the counts from
// the first CONNECT to the last, quiet steps included.
func moments(counts []herdCount) (steps int, mean, squares float64) {
	steps = counts[len(counts)-1].at - counts[0].at + 1
	var sum, square float64
	for _, c := range counts {
		sum += float64(c.n)
		square += float64(c.n) * float64(c.n)
	}
	mean = sum / float64(steps)
	return steps, mean, square - float64(steps)*mean*mean
}

// fano is variance over mean: 1 for arrivals that know nothing of each other,
// more for a herd. nil = the CONNECTs are within one step.
func fano(counts []herdCount) *float64 {
	steps, mean, squares := moments(counts)
	if steps < 2 {
		return nil
	}
	return new(max(0, squares/float64(steps)/mean))
}

const (
	leastHerd   = 10      // CONNECTs: with three of them, two equal gaps would be a rhythm
	leastPeak   = 0.3     // of the autocorrelation
	noisePeaks  = 4       // peaks that chance makes are below this many times 1/sqrt(steps)
	longestHerd = 1 << 13 // steps, 82 s: what comes later is not looked at
)

// period gives the lag of the strongest peak of the autocorrelation of the
// counts, and its height; nil where none stands out of what chance makes. Clients
// whose backoff is in step dial again all at once, and show so.
func period(counts []herdCount) (seconds, height *float64) {
	for counts[len(counts)-1].at-counts[0].at >= longestHerd {
		counts = counts[:len(counts)-1]
	}
	r, total := autocorrelation(counts)
	if total < leastHerd {
		return nil, nil
	}
	steps := counts[len(counts)-1].at - counts[0].at + 1
	best, apart := 0, false
	for k := 1; k+1 < len(r); k++ {
		apart = apart || r[k] < 0 // before, it is the flank of lag 0
		if apart && r[k] > r[k-1] && r[k] >= r[k+1] && (best == 0 || r[k] > r[best]) {
			best = k
		}
	}
	if best == 0 || r[best] < max(leastPeak, noisePeaks/math.Sqrt(float64(steps))) {
		return nil, nil
	}
	return new(float64(best) * float64(herdStep) / 1e9), new(r[best])
}

// autocorrelation gives the sample autocorrelation of the counts at the lags
// from 0 to half their length (Box and Jenkins' estimator: it divides by the
// whole variance, so that lags with little overlap weigh little), and the number
// of CONNECTs.
func autocorrelation(counts []herdCount) (r []float64, total int) {
	steps, mean, squares := moments(counts)
	cum := make([]float64, steps+1) // cum[k] is the sum of the first k steps
	for _, c := range counts {
		total += c.n
		cum[c.at-counts[0].at+1] = float64(c.n)
	}
	for k := range steps {
		cum[k+1] += cum[k]
	}
	if squares <= 0 {
		return nil, total
	}
	r = make([]float64, steps/2+1)
	for i, a := range counts {
		for _, b := range counts[i:] {
			if b.at-a.at >= len(r) {
				break
			}
			r[b.at-a.at] += float64(a.n) * float64(b.n)
		}
	}
	for k := range r {
		both := cum[steps-k] + cum[steps] - cum[k] // sums of the two shifted series
		r[k] = (r[k] - mean*both + float64(steps-k)*mean*mean) / squares
	}
	return r, total
}
