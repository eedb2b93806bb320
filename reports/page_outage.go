package reports

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

const (
	maxSeries     = 8    // percentile curves in one chart
	stepsPerHalf  = 5    // points of a percentile curve for each halving of the rest
	leastFraction = 1e-6 // where a percentile curve ends at the latest
)

// outages draws the percentiles and the histograms of the outages, a phase and
// fleet at a time. Without waves it draws the first connects.
func (b *reportPage) outages() error {
	metric, what, title := "outage", "outage", "Outages"
	if len(b.r.Waves) == 0 {
		metric, what, title = "connect", "first connect", "First connects"
	}
	var shown []series
	for _, s := range allSeries(b.r.Histograms) {
		if s.Metric == metric {
			shown = append(shown, s)
		}
	}
	if len(shown) == 0 {
		b.add("outages", title, para("No %s was measured.", what))
		return nil
	}
	x := svg.XY{ID: "percentiles-chart", Title: "Percentiles of the " + what + " times", Desc: "Each curve is a fleet in a phase; the table has the numbers."}
	var rows [][]cell
	var histograms []htmlBlock
	lo, hi, nines := math.Inf(1), 0.0, 1.0
	for i, s := range shown {
		hdr, err := s.merged()
		if err != nil {
			return err
		}
		name := s.Fleet + ", " + s.Phase
		rows = append(rows, percentileRow(s, hdr))
		if i >= maxSeries {
			continue
		}
		curve := percentileCurve(s, hdr)
		curve.Name, curve.Style = name, styled(i)
		for k, v := range curve.Y {
			lo, hi, nines = min(lo, v), max(hi, v), max(nines, -math.Log10(1-curve.X[k]))
		}
		x.Series = append(x.Series, curve)
		histograms = append(histograms, histogramChart(fmt.Sprintf("histogram-%d", i+1), "Histogram of the "+what+"s, "+name, s, hdr))
	}
	x.X = svg.Axis{Label: "share of all of them, censored ones included", Scale: svg.Percentile, Max: 1 - math.Pow(10, -nines), Format: percentText}
	x.Y = svg.Fit("time", seconds, lo, hi)
	if math.IsInf(lo, 1) { // nobody came back
		x.Y = svg.FromZero("time", seconds, b.r.horizon())
	}
	words := fmt.Sprintf("How long the %ss were: a point at 99 %% says that 99 %% of all of them, the censored included, were at or below its time. A curve ends where the clients begin that never came back, or where there are no more values; it is never drawn on past them.", what)
	if slices.ContainsFunc(shown, func(s series) bool { return s.Censored > 0 }) {
		words += " The quantiles at the top and of each wave are estimates (Kaplan–Meier) that count a censored client only as long as it was watched: where clients were hit again before they were back, they may be reached where this curve is not."
	}
	blocks := []htmlBlock{
		para("%s", words),
		chart(x, "Percentiles of the "+what+" times", "s", "percentiles",
			newTable("Percentiles of the "+what+" times, all with the censored included; in brackets: too few clients", 2, []string{"fleet", "phase", "50 %", "90 %", "99 %", "99.9 %", "longest", "n", "censored"}, rows)),
	}
	if more := len(shown) - maxSeries; more > 0 {
		histograms = append(histograms, para("%s of fleets and phases: not drawn, see the table and hgrm/.", plural(int64(more), "more curve")))
	}
	b.add("outages", title, append(blocks, histograms...)...)
	return nil
}

// percentText writes a fraction close to one: 99.9 %.
func percentText(v float64) string {
	digits := max(0, int(math.Ceil(-math.Log10(1-v)-1e-6))-2)
	return fmt.Sprintf("%.*f %%", digits, v*100)
}

// reachedAt is the time at or below which the fraction p of all is, the
// censored and those above the range included; false where it was not reached.
func reachedAt(s series, hdr *hdrhistogram.Histogram, p float64) (float64, bool) {
	all := float64(s.N + s.Overflow + s.Censored)
	rank := max(1, math.Ceil(p*all-1e-9))
	if s.N == 0 || rank > float64(s.N) {
		return 0, false
	}
	// The library rounds a share of what it holds to the nearest rank.
	return float64(hdr.ValueAtQuantile(rank/float64(s.N)*100)) / unitsPer(s.Unit), true
}

// percentileCurve reads a histogram at steps that get finer with each 9.
func percentileCurve(s series, hdr *hdrhistogram.Histogram) svg.Series {
	out := svg.Series{Kind: svg.Line}
	all := float64(s.N + s.Overflow + s.Censored)
	for k := 0; ; k++ {
		rest := math.Pow(2, -float64(k)/stepsPerHalf)
		if rest < leastFraction || rest*all < 0.5 {
			return out
		}
		v, ok := reachedAt(s, hdr, 1-rest)
		if !ok {
			return out
		}
		out.X, out.Y = append(out.X, 1-rest), append(out.Y, v)
	}
}

func percentileRow(s series, hdr *hdrhistogram.Histogram) []cell {
	cells := []string{s.Fleet, s.Phase}
	for _, q := range []struct {
		share float64
		needs int64 // clients behind it, as in Quantile.LowN
	}{{0.5, 5}, {0.9, 29}, {0.99, 299}, {0.999, 2995}} {
		text := "not reached"
		if v, ok := reachedAt(s, hdr, q.share); ok {
			text = seconds(v)
		}
		if s.N+s.Overflow+s.Censored < q.needs {
			text = "(" + text + ")"
		}
		cells = append(cells, text)
	}
	longest := "not reached"
	if s.Censored == 0 && s.Overflow == 0 && s.N > 0 {
		longest = seconds(float64(hdr.Max()) / unitsPer(s.Unit))
	}
	n := commas(s.N)
	if s.Overflow > 0 {
		n += fmt.Sprintf(" + %s above range", commas(s.Overflow))
	}
	return row(append(cells, longest, n, commas(s.Censored))...)
}

// histogramChart is a histogram with a row for those that have no value.
func histogramChart(id, caption string, s series, hdr *hdrhistogram.Histogram) htmlBlock {
	c := svg.Rows{ID: id, Title: caption, Desc: fmt.Sprintf("%s values, %s censored", commas(s.N), commas(s.Censored))}
	var rows [][]cell
	top := 0.0
	for _, bin := range binned(s.Histogram, hdr, s.Censored) {
		style := 1
		if bin.label == notBack || bin.label == aboveRange {
			style = 2
		}
		r := svg.Row{Label: bin.label, Note: commas(bin.n)}
		if bin.n > 0 {
			r.Spans = []svg.Span{{To: float64(bin.n), Style: style, Title: bin.label + ": " + commas(bin.n)}}
		}
		c.Rows = append(c.Rows, r)
		rows = append(rows, row(bin.label, commas(bin.n)))
		top = max(top, float64(bin.n))
	}
	c.X = svg.FromZero("how many", number, top)
	head := "time"
	if s.Unit == unitCount {
		head = "messages lost"
	}
	return rowsChart(c, caption, nil, newTable(caption, 1, []string{head, "how many"}, rows))
}

// latency draws the outages by the instant at which they began, over the
// harness's own lateness: what the harness does shows in what it measures.
func (b *reportPage) latency() error {
	const title = "Latency and the harness"
	if !b.drawn() {
		b.add("latency", title, notHere(), b.harness())
		return nil
	}
	end := b.end()
	x := svg.XY{ID: "latency-chart", Title: "Outages and the harness's own lateness over the run", Height: 340, Bands: b.bands(),
		Desc: "Outages from the shortest to the longest by the instant at which they began, with the canary of the harness below them. Shaded: faults.",
		X:    svg.Axis{Label: "time since the start of the run", Max: end, Format: seconds}}
	var rows [][]cell
	x.Series, rows = b.outageSeries()
	canary := healthLine("canary p99 of the harness", 8, b.charts.Health, func(h HealthPoint) *float64 { return h.CanaryP99 })
	worstCanary := healthLine("canary, longest", 4, b.charts.Health, func(h HealthPoint) *float64 { return h.CanaryMax })
	echo := healthLine("echo p99", 6, b.charts.Health, func(h HealthPoint) *float64 { return h.EchoP99 })
	x.Series = append(x.Series, canary, worstCanary, echo)
	lo, hi := spread(x.Series)
	x.Y = svg.Fit("time", seconds, lo, hi)
	if gone := b.censoredMarks(x.Y.Max); len(gone.X) > 0 {
		x.Series = append(x.Series, gone)
	}
	table := newTable("Outages by the instant at which they began", 0, []string{"from", "to", "ended", "shortest", "median", "longest", "censored"}, rows)
	b.add("latency", title,
		para("The longest and the shortest outage of each stretch of time are kept, so that no spike is lost. What the harness itself was late by stands in the same chart: where its line comes near the outages, they measure the harness."),
		chart(x, "Outages, and the harness's own lateness", "s", "run", table), b.load(end), b.harness())
	return nil
}

// end is the end of the charts over the run.
func (b *reportPage) end() float64 {
	end := b.r.Run.Seconds
	for _, p := range b.r.Phases {
		end = max(end, p.End)
	}
	for _, f := range b.charts.Faults {
		end = max(end, f.End)
	}
	for _, h := range b.charts.Health {
		end = max(end, h.End)
	}
	return end
}

func (b *reportPage) outageSeries() ([]svg.Series, [][]cell) {
	area := svg.Series{Name: "outages, shortest to longest", Style: 1, Kind: svg.Area}
	median := svg.Series{Name: "median of them", Style: 2, Kind: svg.Points}
	var rows [][]cell
	last := math.Inf(-1)
	for _, e := range b.charts.Outages {
		if e.N == 0 && e.Censored == 0 {
			continue
		}
		rows = append(rows, row(seconds(e.Start), seconds(e.End), commas(e.N-e.Censored), known(e.Min, seconds), known(e.Median, seconds), known(e.Max, seconds), commas(e.Censored)))
		if e.Min == nil || e.Max == nil {
			continue
		}
		if e.Start > last+1e-9 && len(area.X) > 0 { // nothing began in between
			area.X, area.Y, area.Low = append(area.X, (last+e.Start)/2), append(area.Y, math.NaN()), append(area.Low, math.NaN())
		}
		area.X, area.Y, area.Low = append(area.X, e.Start, e.End), append(area.Y, *e.Max, *e.Max), append(area.Low, *e.Min, *e.Min)
		last = e.End
		if e.Median != nil {
			median.X, median.Y = append(median.X, (e.Start+e.End)/2), append(median.Y, *e.Median)
		}
	}
	if len(area.X) == 0 {
		return nil, rows
	}
	return []svg.Series{area, median}, rows
}

// censoredMarks stand at the upper end of the chart: they have no time.
func (b *reportPage) censoredMarks(top float64) svg.Series {
	s := svg.Series{Name: "began here, some never ended (at the upper end)", Style: 7, Kind: svg.Points}
	for _, e := range b.charts.Outages {
		if e.Censored > 0 {
			s.X, s.Y = append(s.X, (e.Start+e.End)/2), append(s.Y, top)
		}
	}
	return s
}

// healthLine is one number of the health over the run; unknown is a gap.
func healthLine(name string, style int, points []HealthPoint, get func(HealthPoint) *float64) svg.Series {
	s := svg.Series{Name: name, Style: style, Kind: svg.Line}
	for _, h := range points {
		v := math.NaN()
		if p := get(h); p != nil {
			v = *p
		}
		s.X, s.Y = append(s.X, (h.Start+h.End)/2), append(s.Y, v)
	}
	return s
}

// spread is the least value above 0 and the greatest of all series.
func spread(list []svg.Series) (lo, hi float64) {
	lo = math.Inf(1)
	for _, s := range list {
		for _, vs := range [][]float64{s.Y, s.Low} {
			for _, v := range vs {
				if v > 0 {
					lo = min(lo, v)
				}
				if v > hi {
					hi = v
				}
			}
		}
	}
	if math.IsInf(lo, 1) {
		lo = 0
	}
	return lo, hi
}

// load is what the machine did meanwhile.
func (b *reportPage) load(end float64) htmlBlock {
	points := b.charts.Health
	if len(points) == 0 {
		return para("There are no health samples.")
	}
	x := svg.XY{ID: "load-chart", Title: "CPU and runnable goroutines of the harness over the run", Desc: "Cores in use by the harness and by the broker. Shaded: faults.", Height: 220, Bands: b.bands(),
		X: svg.Axis{Label: "time since the start of the run", Max: end, Format: seconds}}
	x.Series = []svg.Series{
		healthLine("CPU of the harness, cores", 1, points, func(h HealthPoint) *float64 { return h.CPU }),
		healthLine("CPU of the broker, cores", 2, points, func(h HealthPoint) *float64 { return h.BrokerCPU }),
	}
	if cores := b.r.Environment.Cores; cores > 0 {
		x.Series = append(x.Series, svg.Series{Name: "cores of the machine", Style: 8, Kind: svg.Line, X: []float64{0, end}, Y: []float64{float64(cores), float64(cores)}})
	}
	_, hi := spread(x.Series)
	x.Y = svg.FromZero("cores", number, hi)
	var rows [][]cell
	for _, h := range points {
		runnable := "–"
		if h.Runnable != nil {
			runnable = commas(*h.Runnable)
		}
		rows = append(rows, row(seconds(h.Start), seconds(h.End), known(h.CanaryP99, seconds), known(h.CanaryMax, seconds), known(h.EchoP99, seconds),
			known(h.CPU, three), known(h.BrokerCPU, three), runnable, commas(h.Heap>>20)))
	}
	return chart(x, "Cores in use", "", "run", newTable("Health of the harness, the worst of each stretch", 0,
		[]string{"from", "to", "canary p99", "canary max", "echo p99", "CPU cores", "broker cores", "runnable", "heap MiB"}, rows))
}

// harness is the health of the whole run in numbers.
func (b *reportPage) harness() htmlBlock {
	h := b.r.Harness
	rows := [][]cell{
		row(append([]string{"canary"}, h.Canary.cells(seconds, 0)...)...),
		row(append([]string{"echo"}, h.Echo.cells(seconds, 0)...)...),
	}
	text := fmt.Sprintf("The harness was %s. Greatest seen: scheduler latency p99 %s, %s goroutines, %s file descriptors, %s MiB heap; %s of CPU time, %s listen overflows, %s SYN retransmits.",
		strings.TrimLeft(fitCell(h.Fitness).Text, "✓✗!? "), known(h.SchedP99, seconds), commas(h.Goroutines), commas(h.FDs), commas(h.HeapBytes>>20), seconds(h.CPUSeconds), commas(h.ListenDrops), commas(h.SynRetrans))
	return htmlBlock{Text: text, Table: newTable("Lateness of the harness over the whole run", 1, append([]string{"what"}, cellHeads...), rows)}
}
