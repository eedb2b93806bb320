package svg

import (
	"math"
	"slices"
	"strconv"
)

// Scale is how an axis spreads its values.
type Scale int

// The scales. Percentile takes fractions of a whole and gives each further 9
// (90 %, 99 %, 99.9 %) the same width.
const (
	Linear Scale = iota
	Log
	Percentile
)

// Axis of a chart. Values outside of [Min, Max] are drawn at its ends.
type Axis struct {
	Label    string
	Scale    Scale
	Min, Max float64 // Log: both above 0; Percentile: fractions below 1
	Format   func(float64) string
}

// place gives v its place between from and to.
func (a Axis) place(v, from, to float64) float64 {
	lo, hi, x := a.warp(a.Min), a.warp(a.Max), a.warp(math.Min(math.Max(v, a.Min), a.Max))
	if !(hi > lo) {
		return from
	}
	return from + (to-from)*((x/2-lo/2)/(hi/2-lo/2)) // halves: the whole may be more than a number can hold
}

func (a Axis) warp(v float64) float64 {
	switch a.Scale {
	case Log:
		return math.Log10(math.Max(v, math.SmallestNonzeroFloat64))
	case Percentile:
		return -math.Log10(math.Max(1-v, 1e-12))
	}
	return v
}

// ticks are round values of the axis, about n of them.
func (a Axis) ticks(n int) []float64 {
	var out []float64
	add := func(v float64) {
		slack := (a.Max - a.Min) * 1e-9
		if v >= a.Min-slack && v <= a.Max+slack && (len(out) == 0 || v != out[len(out)-1]) {
			out = append(out, v)
		}
	}
	switch a.Scale {
	case Percentile:
		for _, p := range []float64{0, 0.5, 0.75, 0.95} {
			add(p)
		}
		for k := 1; k <= 9; k++ {
			add(1 - math.Pow(10, -float64(k)))
		}
		slices.Sort(out)
	case Log:
		decades := math.Log10(a.Max / a.Min)
		steps := []float64{1}
		if decades <= float64(n)/3 {
			steps = []float64{1, 2, 5}
		}
		skip := math.Max(1, math.Ceil(decades/float64(n)))
		k := math.Floor(math.Log10(a.Min))
		for range n + 2 {
			for _, m := range steps {
				add(m * math.Pow(10, k))
			}
			k += skip
		}
	default:
		step := niceStep((a.Max - a.Min) / float64(n))
		if !(step > 0) || math.IsInf(step, 0) {
			return []float64{a.Min}
		}
		// Counted, for so far from 0 that k+1 is k the loop would never end.
		k := math.Ceil(a.Min/step - 1e-9)
		for range 2*n + 2 {
			add(k * step)
			k++
		}
	}
	return out
}

// text writes a tick.
func (a Axis) text(v float64) string {
	if a.Format == nil {
		return strconv.FormatFloat(v, 'g', 6, 64)
	}
	return a.Format(v)
}

// greatest keeps the steps of an axis away from what numbers can hold.
const greatest = 1e300

// Fit is an axis over the values from lo to hi: logarithmic where they span
// more than a factor of twenty and are above 0, else from 0.
func Fit(label string, format func(float64) string, lo, hi float64) Axis {
	if lo = math.Max(lo, hi*1e-9); lo > 0 && hi/lo > 20 && hi < greatest {
		return Axis{Label: label, Scale: Log, Min: floorNice(lo), Max: ceilNice(hi), Format: format}
	}
	return FromZero(label, format, hi)
}

// FromZero is a linear axis from 0 to a round value at or above hi.
func FromZero(label string, format func(float64) string, hi float64) Axis {
	switch {
	case !(hi > 0):
		hi = 1
	case hi > greatest:
		hi = greatest
	}
	step := niceStep(hi / 10)
	return Axis{Label: label, Max: math.Ceil(hi/step-1e-9) * step, Format: format}
}

// niceStep is the least of 1, 2, 5 × 10^k that is not below v.
func niceStep(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return ceilNice(v)
}

func ceilNice(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

func floorNice(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
	for _, m := range []float64{5, 2} {
		if m*p <= v*(1+1e-9) {
			return m * p
		}
	}
	return p
}
