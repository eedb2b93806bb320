package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

const worstWaves = 5 // drawn one by one where there are too many waves to draw all

// recovery draws the share that is back over the time since each wave began.
func (b *reportPage) recovery() error {
	const title = "Recovery"
	waves := b.r.Waves
	if len(waves) == 0 {
		b.add("recovery", title, para("No wave of faults: there is nothing to recover from."))
		return nil
	}
	x := svg.XY{ID: "recovery-chart", Title: "Share of the hit clients that is back, over time", Desc: b.recoveryWords(),
		X: svg.FromZero("time since the wave's first intended instant", seconds, curveEnd(waves)), Y: shareAxis("back")}
	shown, rest := waves, false
	if len(waves) > maxLines {
		shown, rest = worst(waves, worstWaves), true
		x.Series = append(x.Series, curveRange(waves, x.X.Max))
	}
	for i, w := range shown {
		label := b.r.waveLabel(w)
		x.Series = append(x.Series, curveOf(w, label, styled(i), x.X.Max))
		if c := censorings(w, x.X.Max); len(c.X) > 0 {
			c.Name, c.Style = label+", censored here", styled(i)
			x.Series = append(x.Series, c)
		}
	}
	var rows [][]cell
	b.everyWave(func(w Wave, label string) {
		if w.Wave == 0 {
			return
		}
		rows = append(rows, row(append([]string{label, commas(w.Victims), commas(w.Back), w.rmta()}, w.BackCurve.cells(seconds, w.Horizon)...)...))
	})
	table := newTable("Time until a share of the hit clients is back, from the wave's first intended instant", 1,
		append([]string{"wave", "victims", "back", "mean time away"}, cellHeads...), rows)
	words := "The share of the hit clients that is back, from the first intended instant of each wave (Kaplan–Meier). A curve that ends below 100 % has clients that never came back within the horizon; each mark is where clients were censored, at the right edge for all that is behind it."
	if rest {
		words += fmt.Sprintf(" With %s waves the five with the longest mean time away are drawn one by one, over the range of all waves; each wave has its own small chart below.", commas(len(waves)))
	}
	blocks := []htmlBlock{para("%s", words), chart(x, "Recovery curve of each wave", "%", "recovery", table)}
	if rest {
		blocks = append(blocks, b.smallCurves(x.X.Max))
	}
	b.add("recovery", title, blocks...)
	return nil
}

func (b *reportPage) recoveryWords() string {
	t := b.r.Total
	return fmt.Sprintf("%s of %s victims came back, %s were censored. The table below the chart has the times.", commas(t.Back), commas(t.Victims), commas(t.Censored))
}

func shareAxis(what string) svg.Axis {
	return svg.Axis{Label: "share " + what, Max: 1, Format: func(v float64) string { return number(math.Round(v*100)) + " %" }}
}

// curveEnd leaves the last return in sight: the horizon may be far behind it.
func curveEnd(waves []Wave) float64 {
	last, horizon := 0.0, 0.0
	for _, w := range waves {
		back := 0.0
		for _, p := range w.Curve {
			if p.Back > back {
				last, back = max(last, p.Seconds), p.Back
			}
		}
		horizon = max(horizon, w.Horizon)
	}
	if last == 0 {
		return horizon
	}
	return min(last*1.2, max(horizon, last))
}

// curveOf is the curve of one wave, from none back and to the end of the chart.
func curveOf(w Wave, name string, style int, end float64) svg.Series {
	s := svg.Series{Name: name, Style: style, Kind: svg.Step, X: []float64{0}, Y: []float64{0}}
	for _, p := range w.Curve {
		if p.Seconds <= end {
			s.X, s.Y = append(s.X, p.Seconds), append(s.Y, p.Back)
		}
	}
	if last := len(s.X) - 1; s.X[last] < end {
		s.X, s.Y = append(s.X, end), append(s.Y, s.Y[last])
	}
	return s
}

// censorings are the places of a curve where clients were censored; those
// behind the end of the chart stand at its end.
func censorings(w Wave, end float64) svg.Series {
	s := svg.Series{Kind: svg.Points}
	before, back := 0, 0.0
	add := func(at, back float64) {
		if at = min(at, end); len(s.X) == 0 || at > s.X[len(s.X)-1] {
			s.X, s.Y = append(s.X, at), append(s.Y, back)
		}
	}
	for _, p := range w.Curve {
		if p.Censored > before {
			add(p.Seconds, p.Back)
		}
		before, back = max(before, p.Censored), p.Back
	}
	if w.Censored > before {
		add(w.Horizon, back)
	}
	return s
}

// curveRange is what lies between the lowest and the highest of many curves.
func curveRange(waves []Wave, end float64) svg.Series {
	const steps = 240
	s := svg.Series{Name: "all waves, from the slowest to the fastest", Style: 8, Kind: svg.Area}
	for i := 0; i <= steps; i++ {
		at := end * float64(i) / steps
		lo, hi := 1.0, 0.0
		for _, w := range waves {
			v := backAt(w.Curve, at)
			lo, hi = min(lo, v), max(hi, v)
		}
		s.X, s.Y, s.Low = append(s.X, at), append(s.Y, hi), append(s.Low, lo)
	}
	return s
}

// worst gives the n waves with the longest mean time away, unknown ones first,
// in the order in which they ran.
func worst(waves []Wave, n int) []Wave {
	away := func(w Wave) float64 {
		if w.RMTA == nil {
			return math.Inf(1)
		}
		return *w.RMTA
	}
	order := make([]int, len(waves))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(away(waves[b]), away(waves[a])) })
	order = order[:min(n, len(order))]
	slices.Sort(order)
	var out []Wave
	for _, i := range order {
		out = append(out, waves[i])
	}
	return out
}

// smallCurves is a small chart for each wave, all over the same axes.
func (b *reportPage) smallCurves(end float64) htmlBlock {
	var small []figure
	for i, w := range b.r.Waves[:min(len(b.r.Waves), maxSmall)] {
		label := b.r.waveLabel(w)
		s := curveOf(w, label, 1, end)
		s.X, s.Y = svg.Peaks(s.X, s.Y, 100)
		c := svg.XY{ID: "recovery-" + strconv.Itoa(i+1), Title: "Recovery, " + label, Desc: fmt.Sprintf("%s back, %s censored", commas(w.Back), commas(w.Censored)),
			X: svg.Axis{Max: end}, Y: shareAxis(""), Series: []svg.Series{s}, Small: true}
		caption := label + ", " + w.BackCurve.text("p99", seconds, w.Horizon) + " to 99 %"
		if w.Censored > 0 {
			caption += ", " + commas(w.Censored) + " censored"
		}
		small = append(small, small1(c, caption))
	}
	return htmlBlock{Figures: small}
}

// waterfall shows in which part of the way back the time goes.
func (b *reportPage) waterfall() error {
	if len(b.r.Waves) == 0 {
		return nil
	}
	parts := svg.Rows{ID: "waterfall-chart", Title: "Waterfall of an outage, part by part", Desc: "Medians: " + medians(b.r.Total.Waterfall), X: svg.Axis{}}
	end, at := 0.0, 0.0
	for i, name := range waterfallParts {
		q, ok := b.r.Total.Waterfall[name]
		median := q.get("p50")
		if !ok || median == nil {
			continue
		}
		r := svg.Row{Label: partName(name), Note: "median " + q.text("p50", seconds, 0) + " · p99 " + q.text("p99", seconds, b.r.horizon())}
		if high := q.get("p99"); high != nil && *high > 0 {
			r.Spans = append(r.Spans, svg.Span{From: at, To: at + *high, Style: styled(i), Thin: true, Title: "p99 of " + partName(name)})
			end = max(end, at+*high)
		}
		if *median > 0 {
			r.Spans = append(r.Spans, svg.Span{From: at, To: at + *median, Style: styled(i), Title: "median of " + partName(name)})
		}
		at += *median
		end = max(end, at)
		parts.Rows = append(parts.Rows, r)
	}
	parts.X = svg.FromZero("time, each part drawn from where the medians before it end", seconds, end)
	var rows [][]cell
	b.everyWave(func(w Wave, label string) {
		for _, name := range waterfallParts {
			if q, ok := w.Waterfall[name]; ok {
				rows = append(rows, row(append([]string{label, partName(name)}, q.cells(seconds, w.Horizon)...)...))
			}
		}
	})
	// The whole first: a long table is cut at its end.
	slices.SortStableFunc(rows, func(a, b []cell) int { return b2i(a[0].Text != "all waves") - b2i(b[0].Text != "all waves") })
	blocks := []htmlBlock{
		para("Where the time goes between the intended instant of a fault and the client being back. Thick bars are medians, thin ones go to the 99th percentile. Medians of parts do not add up to the median of the whole; for each single client the parts add up exactly. Backoff is the client's own choice and no score of the broker."),
		rowsChart(parts, "Parts of an outage, all waves", nil, newTable("Parts of the outages", 2, append([]string{"wave", "part"}, cellHeads...), rows)),
	}
	b.add("waterfall", "Waterfall", append(blocks, b.worstClients()...)...)
	return nil
}

func partName(part string) string {
	if part == "first_message" {
		return "first message"
	}
	return part
}

// worstClients draws the longest outages, each with its own parts.
func (b *reportPage) worstClients() []htmlBlock {
	if !b.drawn() {
		return []htmlBlock{notHere()}
	}
	list := b.charts.Worst[:min(len(b.charts.Worst), 20)]
	if len(list) == 0 {
		return nil
	}
	c := svg.Rows{ID: "worst-chart", Title: "The longest outages, client by client", Desc: "Each bar is one outage with its parts in the order in which they passed."}
	head := []string{"client", "fleet", "phase", "ended", "began", "outage", "dials"}
	for _, name := range waterfallParts {
		head = append(head, partName(name))
	}
	var rows [][]cell
	end := 0.0
	for _, o := range list {
		r := svg.Row{Label: oneLine(o.Client, 1000), Note: seconds(o.Seconds)}
		ended := "back"
		if o.Censored {
			ended = "censored"
			r.Note = "> " + seconds(o.Seconds) + ", not back"
		}
		cells := []string{o.Client, o.Fleet, b.waveName(o.Phase, o.Wave), ended, seconds(o.Start), seconds(o.Seconds), commas(o.Dials)}
		at := 0.0
		for i, name := range waterfallParts {
			v := o.Parts[name]
			if v > 0 {
				r.Spans = append(r.Spans, svg.Span{From: at, To: at + v, Style: styled(i), Title: partName(name) + " " + seconds(v)})
			}
			at += v
			cells = append(cells, seconds(v))
		}
		if o.Censored && o.Seconds > at {
			r.Spans = append(r.Spans, svg.Span{From: at, To: o.Seconds, Style: 0, Thin: true, Title: "away until the end of watching"})
		}
		end = max(end, at, o.Seconds)
		c.Rows, rows = append(c.Rows, r), append(rows, row(cells...))
	}
	c.X = svg.FromZero("time since the intended instant of the fault", seconds, end)
	return []htmlBlock{rowsChart(c, "The longest outages, censored ones first", append(partLegend(), swatch("bar", 0, "away until the end of watching")), newTable("The longest outages", 4, head, rows))}
}

// waveName names a wave as its phase does everywhere else on the page.
func (b *reportPage) waveName(phase string, wave int) string {
	if phase == "" {
		return phaseWave(phase, wave)
	}
	return b.r.waveLabel(Wave{Phase: phase, Wave: wave})
}

// phaseWave is the key of a wave.
func phaseWave(phase string, wave int) string {
	if phase == "" {
		return "unscripted"
	}
	return fmt.Sprintf("%s %d", phase, wave)
}

func partLegend() []legendEntry {
	var out []legendEntry
	for i, name := range waterfallParts {
		out = append(out, swatch("bar", styled(i), partName(name)))
	}
	return out
}
