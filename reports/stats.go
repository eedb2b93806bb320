package reports

import (
	"cmp"
	"math"
	"slices"
	"sync"
)

// The statistics of compare. Samples hold one value a run; +Inf stands for a
// quantile that was not reached by the horizon: it ranks above all that were.

// exactRuns is how many runs of both sides together get the exact distribution;
// above, the normal approximation is closer to it than any run is to the next.
const exactRuns = 100

// uNull is the distribution of the Mann-Whitney statistic of the first sample
// when both samples come from one population: given the values that there are,
// each way to deal them out is as likely as any other. tail[u] = P(2U <= u).
type uNull struct {
	n, m int
	tail []float64
}

// newUNull takes the ranks of both samples together, doubled, so that the mean
// ranks of ties are whole numbers. n of them belong to the first sample.
func newUNull(n int, doubled []int) uNull {
	m := len(doubled) - n
	ways := make([][]float64, n+1) // ways[k][s]: choices of k ranks with the sum s
	total := 0
	for _, r := range doubled {
		total += r
	}
	for k := range ways {
		ways[k] = make([]float64, total+1)
	}
	ways[0][0] = 1
	sum := 0
	for i, r := range doubled {
		sum += r
		for k := min(i+1, n); k >= 1; k-- {
			for s := sum; s >= r; s-- {
				ways[k][s] += ways[k-1][s-r]
			}
		}
	}
	d := uNull{n: n, m: m, tail: make([]float64, 2*n*m+1)}
	all, least := 0.0, n*(n+1) // the doubled sum of the n lowest ranks
	for u := range d.tail {
		if s := u + least; s <= total {
			all += ways[n][s]
		}
		d.tail[u] = all
	}
	for u := range d.tail {
		d.tail[u] /= all
	}
	return d
}

// atMost is P(2U <= u).
func (d uNull) atMost(u int) float64 {
	if u < 0 {
		return 0
	}
	return d.tail[min(u, len(d.tail)-1)]
}

var untied sync.Map // [2]int -> uNull

// untiedNull is the distribution without ties, which depends on the sizes alone.
func untiedNull(n, m int) uNull {
	if d, ok := untied.Load([2]int{n, m}); ok {
		return d.(uNull)
	}
	ranks := make([]int, n+m)
	for i := range ranks {
		ranks[i] = 2 * (i + 1)
	}
	d := newUNull(n, ranks)
	untied.Store([2]int{n, m}, d)
	return d
}

// doubledRanks gives each value's rank among all of both samples, doubled, ties
// at their mean; and the sizes of the groups of equal values.
func doubledRanks(a, b []float64) (ra, rb, ties []int) {
	all := slices.Concat(a, b)
	slices.Sort(all)
	rank := func(v float64) int {
		lo, _ := slices.BinarySearch(all, v)
		hi := lo
		for hi < len(all) && all[hi] == v {
			hi++
		}
		return lo + 1 + hi // twice the mean of lo+1 … hi
	}
	for _, v := range a {
		ra = append(ra, rank(v))
	}
	for _, v := range b {
		rb = append(rb, rank(v))
	}
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j] == all[i] {
			j++
		}
		ties = append(ties, j-i)
		i = j
	}
	return ra, rb, ties
}

// mannWhitney is the p of the two-sided Mann-Whitney test that a and b come from
// one population: twice the smaller tail, at most 1. It is exact, ties included,
// up to exactRuns values. NaN without values.
//
// Mann, Whitney (1947): On a test of whether one of two random variables is
// stochastically larger than the other. Ties: Klotz (1966).
func mannWhitney(a, b []float64) float64 {
	n, m := len(a), len(b)
	if n == 0 || m == 0 {
		return math.NaN()
	}
	ra, rb, ties := doubledRanks(a, b)
	u := -n * (n + 1)
	for _, r := range ra {
		u += r
	}
	if len(ties) == 1 {
		return 1
	}
	if n+m > exactRuns {
		return normalP(float64(u)/2, n, m, ties)
	}
	var d uNull
	if len(ties) == n+m {
		d = untiedNull(n, m)
	} else {
		d = newUNull(n, append(ra, rb...))
	}
	return min(1, 2*min(d.atMost(u), 1-d.atMost(u-1)))
}

// normalP is the normal approximation with corrections for ties and continuity.
func normalP(u float64, n, m int, ties []int) float64 {
	all, tied := float64(n+m), 0.0
	for _, t := range ties {
		tied += float64(t*t*t - t)
	}
	sigma := math.Sqrt(float64(n*m) / 12 * (all + 1 - tied/(all*(all-1))))
	z := max(0, math.Abs(u-float64(n*m)/2)-0.5) / sigma
	return math.Erfc(z / math.Sqrt2)
}

// shift is the Hodges-Lehmann estimate of how much b is above a, with its
// interval. An infinite limit is not bounded by so few runs, or lies beyond the
// horizon. Coverage 0: too few runs for any interval.
type shift struct {
	mid, low, high float64
	coverage       float64
}

// hodgesLehmann is the median of all differences b - a. Its interval is made of
// order statistics of them: the greatest k with P(U <= k) <= alpha/2 leaves k+1
// of them out at each end but the innermost, so it holds at any shape of the
// distributions as long as one is the other, shifted. Ties make it wider, never
// narrower, than it says.
//
// Hodges, Lehmann (1963): Estimates of location based on rank tests.
func hodgesLehmann(a, b []float64, alpha float64) shift {
	d := differences(a, b)
	s := shift{mid: medianOf(d), low: math.Inf(-1), high: math.Inf(1)}
	k, coverage := cutOff(len(a), len(b), alpha)
	if k >= 0 && len(d) > 0 {
		s.low, s.high, s.coverage = d[k], d[len(d)-1-k], coverage
	}
	return s
}

// cutOff is the greatest k with P(U <= k) <= alpha/2, and what it leaves in the
// middle: 1 - 2 P(U <= k). It is -1 for samples too small for any.
func cutOff(n, m int, alpha float64) (k int, coverage float64) {
	if n+m > exactRuns {
		sigma := math.Sqrt(float64(n*m) * float64(n+m+1) / 12)
		return int(float64(n*m)/2-0.5-normalQuantile(1-alpha/2)*sigma) - 1, 1 - alpha
	}
	null := untiedNull(n, m)
	k = -1
	for null.atMost(2*(k+1)) <= alpha/2 {
		k++
	}
	return k, 1 - 2*null.atMost(2*k)
}

// differences gives each b - a, sorted. Two that were not reached differ by
// nothing that is known.
func differences(a, b []float64) []float64 {
	d := make([]float64, 0, len(a)*len(b))
	for _, y := range b {
		for _, x := range a {
			if x == y {
				d = append(d, 0)
			} else {
				d = append(d, y-x)
			}
		}
	}
	slices.Sort(d)
	return d
}

// medianOf gives the middle of sorted values; NaN of none.
func medianOf(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	lo, hi := sorted[(n-1)/2], sorted[n/2]
	if lo == hi {
		return lo
	}
	if math.IsInf(lo, -1) && math.IsInf(hi, 1) {
		return 0
	}
	return lo + (hi-lo)/2
}

// middle is the median of values in any order.
func middle(vs []float64) float64 { return medianOf(slices.Sorted(slices.Values(vs))) }

// cliffDelta is how much more often a value of b is above one of a than below:
// from -1 to 1, 0 for samples that are alike. Cliff (1993): Dominance statistics.
func cliffDelta(a, b []float64) float64 {
	n := 0
	for _, d := range differences(a, b) {
		switch {
		case d > 0:
			n++
		case d < 0:
			n--
		}
	}
	return float64(n) / float64(len(a)*len(b))
}

// holm corrects the p of one family for being many, by Holm's step-down rule:
// that any of them is below alpha by chance alone has a probability of at most
// alpha. Holm (1979): A simple sequentially rejective multiple test procedure.
func holm(ps []float64) []float64 {
	order := make([]int, len(ps))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return cmp.Compare(ps[i], ps[j]) })
	out, worst := make([]float64, len(ps)), 0.0
	for place, i := range order {
		worst = max(worst, min(1, ps[i]*float64(len(ps)-place)))
		out[i] = worst
	}
	return out
}

// normalQuantile is the value that a standard normal variable stays below with
// probability p.
func normalQuantile(p float64) float64 { return math.Sqrt2 * math.Erfinv(2*p-1) }
