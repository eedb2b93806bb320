package reports

import (
	"fmt"
	"math"
)

// Interval is the 95 % interval of a share k of n. For none of n it is
// one-sided and exact: up to 1 − 0.05^(1/n), about 3/n (the rule of three).
// Else it is Wilson's score interval.
func Interval(k, n int64) (low, high float64) {
	switch {
	case n <= 0:
		return 0, 1
	case k <= 0:
		return 0, 1 - math.Pow(0.05, 1/float64(n))
	case k >= n:
		return math.Pow(0.05, 1/float64(n)), 1
	}
	const z = 1.959963984540054 // two-sided 95 %
	share, size := float64(k)/float64(n), float64(n)
	center := (share + z*z/(2*size)) / (1 + z*z/size)
	half := z / (1 + z*z/size) * math.Sqrt(share*(1-share)/size+z*z/(4*size*size))
	return center - half, center + half
}

// rate writes k of n as a share with its interval, so that "none" of a few is
// not read as never: "0 of 812 (< 0.37 %)", "3 of 812 (0.13–1.1 %)".
func rate(k, n int64) string {
	text := commas(k) + " of " + commas(n)
	if n <= 0 {
		return text
	}
	low, high := Interval(k, n)
	if k <= 0 {
		return fmt.Sprintf("%s (< %s %%)", text, share2(high))
	}
	return fmt.Sprintf("%s (%s–%s %%)", text, share2(low), share2(high))
}

// lossRate is the rate of loss among the deliveries that had to arrive and whose
// fate is known: what is undetermined, excused or lost legally bounds nothing.
func (m Messages) lossRate() string {
	return rate(m.Lost, m.Expected-m.LegalLoss-m.Undetermined-m.Scripted)
}

// share2 writes a share as a percentage in two digits.
func share2(v float64) string { return fmt.Sprintf("%.2g", v*100) }
