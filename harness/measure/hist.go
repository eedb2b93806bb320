package measure

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/rebound-mqtt/rebound/reports"
)

// Unit is what a histogram holds, and with it the histogram's range.
type Unit string

// The units.
const (
	// Nanoseconds holds times from 1 µs to 1 h with 3 digits. The smallest
	// bucket is [0, 511] ns and reads back as 0.
	Nanoseconds Unit = "ns"
	// Count holds numbers from 0 to 10,000,000 with 3 digits; up to 2,047 they
	// read back exactly. (In the range of times 1, 3 and 31 would be one value.)
	Count Unit = "count"
)

const digits = 3

// span gives the lowest discernible and the highest recorded value.
func (u Unit) span() (lowest, highest int64) {
	if u == Count {
		return 1, 10_000_000
	}
	return 1_000, 3_600_000_000_000
}

// scale gives how many units make one of the report's: seconds or a count.
func (u Unit) scale() float64 {
	if u == Count {
		return 1
	}
	return 1e9
}

// Hist is an HDR histogram that never refuses a value: what lies outside its
// range is counted as overflow. It is not safe for concurrent use; Recorder is.
// NewHist and DecodeHist make one.
type Hist struct {
	unit            Unit
	lowest, highest int64
	overflow        int64
	hdr             *hdrhistogram.Histogram

	// The values' own sum and maximum: buckets know both only to 3 digits, and
	// times that are all 0 would have a mean of half a bucket. A histogram that
	// came from its encoded form has them no more: rough.
	sum   float64
	max   int64
	rough bool
}

// NewHist makes an empty histogram; one holds about 190 KB.
func NewHist(u Unit) *Hist {
	low, high := u.span()
	return &Hist{unit: u, lowest: low, highest: high, hdr: hdrhistogram.New(low, high, digits)}
}

// Unit of the values.
func (h *Hist) Unit() Unit { return h.unit }

// Record counts one value, in the histogram's unit.
func (h *Hist) Record(v int64) { h.RecordN(v, 1) }

// RecordN counts a value n times; n < 1 counts nothing.
func (h *Hist) RecordN(v, n int64) {
	if n < 1 {
		return
	}
	// Checked here and not left to the library: its errors allocate, and its
	// last bucket reaches beyond the range.
	if v < 0 || v > h.highest || h.hdr.RecordValues(v, n) != nil {
		h.AddOverflow(n)
		return
	}
	h.sum += float64(v) * float64(n)
	h.max = max(h.max, v)
}

// AddOverflow counts n values as outside the range: the encoded form of a
// histogram does not hold them, so their number travels beside it.
func (h *Hist) AddOverflow(n int64) {
	if n > 0 {
		h.overflow = min(h.overflow, math.MaxInt64-n) + n
	}
}

// Merge adds the values and the overflow of o, which must have the same unit;
// o is not changed. A nil o adds nothing.
func (h *Hist) Merge(o *Hist) {
	if o == nil {
		return
	}
	if o.unit != h.unit {
		panic("measure: merge of a histogram of " + string(o.unit) + " into one of " + string(h.unit))
	}
	h.AddOverflow(h.hdr.Merge(o.hdr)) // the library gives the number it dropped
	h.AddOverflow(o.overflow)
	h.sum += o.sum
	h.max = max(h.max, o.max)
	h.rough = h.rough || o.rough
}

// Reset empties the histogram.
func (h *Hist) Reset() {
	h.hdr.Reset()
	h.overflow = 0
	h.sum, h.max, h.rough = 0, 0, false
}

// N is the number of values recorded, those outside the range included.
func (h *Hist) N() int64 {
	n := h.hdr.TotalCount()
	return min(n, math.MaxInt64-h.overflow) + h.overflow
}

// Overflow is how many of the N values lie outside the range.
func (h *Hist) Overflow() int64 { return h.overflow }

// Quantile gives the smallest value with at least the share q (0..1) of all N
// values at or below it, at the histogram's resolution, in its unit. False
// means that it is not known: there are no values, or it falls into the
// overflow, which counts as above all others.
func (h *Hist) Quantile(q float64) (int64, bool) {
	if h.N() == 0 {
		return 0, false
	}
	k := rank(q, h.N())
	if k > h.hdr.TotalCount() {
		return 0, false
	}
	return h.at(k), true
}

// rank is the position, from 1, of the quantile q among n sorted values. The
// library would round to the nearest rank; rounding up agrees with the
// Kaplan-Meier curve of the same values.
func rank(q float64, n int64) int64 {
	k := int64(math.Ceil(q*float64(n) - 1e-9))
	return max(1, min(k, n))
}

// at gives the k-th value of those inside the range, from 1.
func (h *Hist) at(k int64) int64 {
	v := h.hdr.ValueAtPercentile(100 * float64(k) / float64(h.hdr.TotalCount()))
	if v < h.lowest {
		return 0 // below the resolution: the bucket's upper edge would read 511 ns
	}
	if !h.rough {
		v = min(v, h.max) // a bucket's upper edge is no value that was there
	}
	return v
}

// needed is the number of values that a quantile needs for a distribution-free
// 95 % upper bound to be finite: the smallest n with 1 - q^n >= 0.95.
var needed = []struct {
	name string
	n    int64
}{{"p50", 5}, {"p90", 29}, {"p99", 299}, {"p999", 2995}}

// lowN names the quantiles for which n values are too few.
func lowN(n int64) []string {
	if n == 0 {
		return nil // no values: nothing is shown, so nothing is weak
	}
	var low []string
	for _, q := range needed {
		if n < q.n {
			low = append(low, q.name)
		}
	}
	return low
}

// Summary gives the counts and quantiles in the report's terms: seconds, or
// counts; nil for what is not known. Censored clients stand beside the values
// and not in them: where there are any, SurvivalSummary gives the quantiles.
func (h *Hist) Summary(censored int64) reports.Quantile {
	s := reports.Quantile{N: h.N(), Censored: censored, Overflow: h.overflow, LowN: lowN(h.N())}
	s.P50, s.P90, s.P99, s.P999, s.Max = h.value(0.5), h.value(0.9), h.value(0.99), h.value(0.999), h.value(1)
	if h.N() > 0 && h.overflow == 0 {
		mean, most := h.sum/float64(h.N()), float64(h.max)
		if h.rough {
			mean, most = h.hdr.Mean(), float64(h.at(h.hdr.TotalCount()))
		}
		mean, most = mean/h.unit.scale(), most/h.unit.scale()
		s.Mean, s.Max = &mean, &most
	}
	return s
}

func (h *Hist) value(q float64) *float64 {
	v, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	f := float64(v) / h.unit.scale()
	return &f
}
