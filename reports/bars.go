package reports

import (
	"fmt"
	"math"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// barWidth is the length of the longest bar, in characters.
const barWidth = 40

// The rows of what has no value.
const (
	aboveRange = "above range"
	notBack    = "not back"
)

// bin is one row of a text histogram.
type bin struct {
	label string
	n     int64
	to    float64 // values below it that no bin before took; unused for what has no value
}

// bars draws a text histogram of a time or count histogram. censored clients
// have no value and get a row of their own at the end.
func bars(h Histogram, hdr *hdrhistogram.Histogram, censored int64) string {
	if hdr.TotalCount() == 0 && censored == 0 {
		return "no values (n=0)\n"
	}
	return drawBins(binned(h, hdr, censored))
}

// binned counts a histogram into the rows of its drawing, without empty rows
// at both ends.
func binned(h Histogram, hdr *hdrhistogram.Histogram, censored int64) []bin {
	var bins []bin
	switch {
	case hdr.TotalCount() == 0:
	case h.Unit == unitCount:
		bins = countBins(float64(hdr.Max()))
	default:
		bins = timeBins(float64(hdr.Min())/1e9, float64(hdr.Max())/1e9)
	}
	for _, b := range hdr.Distribution() {
		if b.Count == 0 {
			continue
		}
		mid := float64(b.From+(b.To-b.From)/2) / unitsPer(h.Unit)
		i := 0
		for i < len(bins)-1 && mid >= bins[i].to {
			i++
		}
		bins[i].n += b.Count
	}
	if h.Overflow > 0 {
		bins = append(bins, bin{label: aboveRange, n: h.Overflow})
	}
	if censored > 0 {
		bins = append(bins, bin{label: notBack, n: censored})
	}
	for len(bins) > 0 && bins[0].n == 0 {
		bins = bins[1:]
	}
	for len(bins) > 0 && bins[len(bins)-1].n == 0 {
		bins = bins[:len(bins)-1]
	}
	return bins
}

func unitsPer(unit string) float64 {
	if unit == unitCount {
		return 1
	}
	return 1e9
}

// countBins gives 0, 1, 2, 3 and 4 rows of their own, then rows of 1-2-5 steps.
func countBins(top float64) []bin {
	var bins []bin
	for v := 0.0; v < 5 && v <= top; v++ {
		bins = append(bins, bin{label: number(v), to: v + 1})
	}
	from := 5.0
	for from <= top {
		to := nextNice(from)
		bins = append(bins, bin{label: number(from) + " – " + number(to-1), to: to})
		from = to
	}
	return bins
}

// timeBins cuts [lo, hi] seconds into about ten equal steps, or into 1-2-5
// steps where it spans more than a factor of twenty.
func timeBins(lo, hi float64) []bin {
	const least = 1e-6 // the lower end of a time histogram
	var bins []bin
	if lo < least {
		bins = append(bins, bin{label: "< 1 µs", to: least})
		lo = least
	}
	if hi < least {
		return bins
	}
	if hi/lo > 20 {
		for from := nicePower(lo); from <= hi; from = nextNice(from) {
			to := nextNice(from)
			bins = append(bins, bin{label: seconds(from) + " – " + seconds(to), to: to})
		}
		return bins
	}
	step := niceStep(max(hi-lo, hi/1000) / 10)
	unit, name := 1.0, "s"
	if hi < 1e-3 {
		unit, name = 1e-6, "µs"
	} else if hi < 1 {
		unit, name = 1e-3, "ms"
	}
	digits := max(0, int(math.Ceil(-math.Log10(step/unit)-1e-9)))
	for k := math.Floor(lo/step + 1e-9); k*step <= hi; k++ {
		from, to := k*step, (k+1)*step
		bins = append(bins, bin{label: fmt.Sprintf("%.*f – %.*f %s", digits, from/unit, digits, to/unit, name), to: to})
	}
	return bins
}

// niceStep is the least of 1, 2, 5 × 10^k that is not below v.
func niceStep(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5, 10} {
		if m*p >= v*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// nicePower is the greatest of 1, 2, 5 × 10^k that is not above v.
func nicePower(v float64) float64 {
	p := math.Pow(10, math.Floor(math.Log10(v)+1e-9))
	for _, m := range []float64{5, 2} {
		if m*p <= v*(1+1e-9) {
			return m * p
		}
	}
	return p
}

// nextNice is the one after v in the row 1, 2, 5, 10, 20, …
func nextNice(v float64) float64 { return niceStep(v * 1.5) }

// drawBins draws the rows.
func drawBins(bins []bin) string {
	var top int64
	label, count := 0, 0
	for _, b := range bins {
		top = max(top, b.n)
		label = max(label, len([]rune(b.label)))
		count = max(count, len(commas(b.n)))
	}
	var sb strings.Builder
	for _, b := range bins {
		row := padLeft(b.label, label) + " │ " + padLeft(commas(b.n), count) + " " + bar(b.n, top)
		sb.WriteString(strings.TrimRight(row, " ") + "\n")
	}
	return sb.String()
}

// bar draws n of top in eighths of a character; what is there always shows.
func bar(n, top int64) string {
	if n <= 0 || top <= 0 {
		return ""
	}
	eighths := max(1, int(math.Round(float64(n)/float64(top)*barWidth*8)))
	s := strings.Repeat("█", eighths/8)
	if rest := eighths % 8; rest > 0 {
		s += string([]rune("▏▎▍▌▋▊▉")[rest-1])
	}
	return s
}
