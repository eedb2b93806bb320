package reports

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

const shownHerds = 3 // drawn large, one over the other

// outcome is one thing that may become of a victim or an action.
type outcome struct {
	name  string
	style int
	get   func(Wave) int
}

var victimOutcomes = []outcome{
	{"back", 1, func(w Wave) int { return w.Back }},
	{"censored", 2, func(w Wave) int { return w.Censored }},
	{"unaffected", 5, func(w Wave) int { return w.Unaffected }},
	{"absent", 8, func(w Wave) int { return w.Absent }},
}

var actionOutcomes = []outcome{
	{"hit", 1, func(w Wave) int { return w.Hit }},
	{"late hit", 3, func(w Wave) int { return w.LateHit }},
	{"no-op", 8, func(w Wave) int { return w.NoOp }},
	{"missed", 4, func(w Wave) int { return w.Missed }},
	{"no effect", 2, func(w Wave) int { return w.NoEffect }},
	{"failed", 6, func(w Wave) int { return w.Failed }},
	{"rode out", 7, func(w Wave) int { return w.RodeOut }},
}

// outcomes shows what became of each victim and of each action.
func (b *reportPage) outcomes() error {
	if len(b.r.Waves) == 0 {
		return nil
	}
	b.add("outcomes", "Outcomes",
		para("Victims = back + censored + unaffected + absent. Censored clients were not back when their wave's horizon ended, were stopped, or were hit again before they were back; they are never left out."),
		b.outcomeChart("victims-chart", "Victims", victimOutcomes),
		para("What became of each issued action. A hit ended the connection it meant; a late hit ended a newer one; a no-op found the client away already; a missed one came after another end; no effect: answered with success while the connection lived on; rode out: healed before the client noticed."),
		b.outcomeChart("actions-chart", "Actions", actionOutcomes),
		b.calls())
	return nil
}

// outcomeChart stacks outcomes, a row for each wave; of many waves those with
// the least plain outcomes.
func (b *reportPage) outcomeChart(id, caption string, of []outcome) htmlBlock {
	total := func(w Wave) (n int) {
		for _, o := range of {
			n += o.get(w)
		}
		return n
	}
	c := svg.Rows{ID: id, Title: caption + " of each wave by outcome", Desc: "The table has the counts."}
	head := []string{"wave", "all"}
	var legend []legendEntry
	for _, o := range of {
		head, legend = append(head, o.name), append(legend, swatch("bar", o.style, o.name))
	}
	var rows [][]cell
	all, top := waveRows(b), 0
	for _, x := range all {
		cells := []string{x.label, commas(total(x.Wave))}
		for _, o := range of {
			cells = append(cells, commas(o.get(x.Wave)))
		}
		rows = append(rows, row(cells...))
	}
	table := newTable(caption+" by outcome", 1, head, rows)
	shown := slices.DeleteFunc(all, func(x waveRow) bool { return x.Wave.Wave == 0 }) // a sum would dwarf its parts
	if len(shown) > maxRowsChart {
		slices.SortStableFunc(shown, func(x, y waveRow) int { return cmp.Compare(odd(y.Wave), odd(x.Wave)) })
		shown = shown[:maxRowsChart]
		caption += fmt.Sprintf(", the %d waves with the fewest plain hits", maxRowsChart)
	}
	for _, x := range shown {
		r, at := svg.Row{Label: oneLine(x.label, 60)}, 0
		var note string
		for _, o := range of {
			n := o.get(x.Wave)
			if n > 0 {
				r.Spans = append(r.Spans, svg.Span{From: float64(at), To: float64(at + n), Style: o.style, Title: o.name + " " + commas(n)})
			}
			if n > 0 && o.style == 2 {
				note = commas(n) + " " + o.name
			}
			at += n
		}
		r.Note, top = cmp.Or(note, commas(at)), max(top, at)
		c.Rows = append(c.Rows, r)
	}
	c.X = svg.FromZero("clients", number, float64(top))
	return rowsChart(c, caption, legend, table)
}

// odd is how many victims of a wave were not simply hit and back.
func odd(w Wave) int { return w.Victims - w.Back + w.LateHit }

type waveRow struct {
	Wave
	label string
}

// waveRows is each wave with its label, the sum of all at the head.
func waveRows(b *reportPage) []waveRow {
	var out []waveRow
	b.everyWave(func(w Wave, label string) { out = append(out, waveRow{w, label}) })
	slices.SortStableFunc(out, func(x, y waveRow) int { return b2i(x.Wave.Wave != 0) - b2i(y.Wave.Wave != 0) })
	return out
}

// calls is what it took to have the connections closed, where an API did.
func (b *reportPage) calls() htmlBlock {
	var rows [][]cell
	for _, x := range waveRows(b) {
		a := x.API
		if a == nil {
			continue
		}
		rows = append(rows, row(append([]string{x.label, commas(a.Calls), commas(a.Tries), commas(a.Throttled), commas(a.Failed)}, x.Answer.cells(seconds, 0)...)...))
	}
	if len(rows) == 0 {
		return htmlBlock{}
	}
	return htmlBlock{Folded: newTable("Calls of the API that closed the connections, and their answers", 1,
		append([]string{"wave", "calls", "tries", "throttled", "failed"}, cellHeads...), rows)}
}

// herd shows the stampede at the tap, and whether it comes in beats.
func (b *reportPage) herd() error {
	if len(b.r.Waves) == 0 {
		return nil
	}
	const title = "Herd"
	shapes := map[string]HerdShape{}
	for _, h := range b.charts.Herds {
		shapes[phaseWave(h.Phase, h.Wave)] = h
	}
	var rows [][]cell
	for _, x := range waveRows(b) {
		w := x.Wave
		h := shapes[phaseWave(w.Phase, w.Wave)]
		rows = append(rows, row(x.label, commas(w.Herd.Connects), commas(w.Herd.Peak), oneDigit(w.Herd.PeakToMean), fmt.Sprintf("%.2f", w.Herd.Amplification),
			known(h.Fano, three), known(h.Period, seconds), known(h.Correlation, three), cmp.Or(w.Regime, "–")))
	}
	table := newTable("The herd of each wave", 1, []string{"wave", "CONNECTs", "peak per 10 ms", "peak ÷ mean", "CONNECTs per hit", "variance ÷ mean", "period", "autocorrelation", "regime"}, rows)
	words := para("CONNECTs in each 10 ms at the tap, from the first intended instant of the wave. A variance far above the mean says that they come in bursts, a period that the bursts repeat: clients that back off in step. A period stands only where the autocorrelation reaches 0.3. The regime is that of paho's backoff when the wave hit: first, it dials again at once; continual, it sleeps. The 10 ms of the peak are counted from the first CONNECT on, so that it can be higher than the chart.")
	if !b.drawn() {
		b.add("herd", title, words, notHere(), htmlBlock{Table: table})
		return nil
	}
	blocks := []htmlBlock{words}
	if c, ok := b.herdChart(table); ok {
		blocks = append(blocks, c)
	} else {
		blocks = append(blocks, htmlBlock{Table: table})
	}
	if len(b.charts.Herds) > shownHerds {
		blocks = append(blocks, b.smallHerds())
	}
	b.add("herd", title, blocks...)
	return nil
}

// herdChart draws the waves with the highest peaks.
func (b *reportPage) herdChart(table *pageTable) (htmlBlock, bool) {
	list := slices.Clone(b.charts.Herds)
	slices.SortStableFunc(list, func(x, y HerdShape) int { return cmp.Compare(peak(y), peak(x)) })
	list = list[:min(len(list), shownHerds)]
	x := svg.XY{ID: "herd-chart", Title: "CONNECTs in each 10 ms of a wave", Desc: "The table has peak, burstiness and period of each wave."}
	end, top := 0.0, 0
	for i, h := range list {
		s := herdSeries(h, styled(i))
		if len(s.X) == 0 {
			continue
		}
		s.Name = b.waveName(h.Phase, h.Wave)
		if h.Period != nil {
			s.Name += ", repeats each " + seconds(*h.Period)
		}
		x.Series = append(x.Series, s)
		end, top = max(end, s.X[len(s.X)-1]), max(top, peak(h))
	}
	if len(x.Series) == 0 {
		return htmlBlock{}, false
	}
	x.X = svg.FromZero("time since the wave's first intended instant", seconds, end)
	x.Y = svg.FromZero("CONNECTs per 10 ms", number, float64(top))
	caption := "CONNECTs per 10 ms"
	if len(b.charts.Herds) > len(list) {
		caption += fmt.Sprintf(", the %d waves with the highest peaks", len(list))
	}
	return chart(x, caption, "", "herd", table), true
}

// herdSeries ends where the last CONNECT was.
func herdSeries(h HerdShape, style int) svg.Series {
	s := svg.Series{Style: style, Kind: svg.Step}
	last := -1
	for i, n := range h.Counts {
		if n > 0 {
			last = i
		}
	}
	for i, n := range h.Counts[:last+1] {
		s.X, s.Y = append(s.X, float64(i)*h.Width), append(s.Y, float64(n))
	}
	if last >= 0 {
		s.X, s.Y = append(s.X, float64(last+1)*h.Width), append(s.Y, 0)
	}
	return s
}

func peak(h HerdShape) int {
	if len(h.Counts) == 0 {
		return 0
	}
	return slices.Max(h.Counts)
}

// smallHerds is a small chart for each wave, all over the same axes.
func (b *reportPage) smallHerds() htmlBlock {
	end, highest := 0.0, 0
	list := b.charts.Herds[:min(len(b.charts.Herds), maxSmall)]
	for _, h := range list {
		if s := herdSeries(h, 1); len(s.X) > 0 {
			end = max(end, s.X[len(s.X)-1])
		}
		highest = max(highest, peak(h))
	}
	var small []figure
	for i, h := range list {
		s := herdSeries(h, 1)
		top := peak(h)
		for i := range b.r.Waves {
			if w := &b.r.Waves[i]; w.Phase == h.Phase && w.Wave == h.Wave {
				top = w.Herd.Peak // as the table has it
			}
		}
		s.X, s.Y = svg.Peaks(s.X, s.Y, 60)
		label := b.waveName(h.Phase, h.Wave)
		caption := fmt.Sprintf("%s, peak %s", label, commas(top))
		if h.Period != nil {
			caption += ", each " + seconds(*h.Period)
		}
		c := svg.XY{ID: "herd-" + strconv.Itoa(i+1), Title: "CONNECTs per 10 ms, " + label, Desc: caption, X: svg.Axis{Max: end}, Y: svg.Axis{Max: float64(max(highest, 1))}, Series: []svg.Series{s}, Small: true}
		small = append(small, small1(c, caption))
	}
	return htmlBlock{Figures: small}
}

// attempts shows how many dials an outage took.
func (b *reportPage) attempts() error {
	if len(b.r.Waves) == 0 {
		return nil
	}
	const title = "Attempts"
	words := para("How many dials a client made until it was back, %s on average over those that came back; %s clients slept in their backoff.",
		three(b.r.Total.Attempts), commas(b.r.Total.SlowBackoff))
	if !b.drawn() {
		b.add("attempts", title, words, notHere())
		return nil
	}
	c := svg.Rows{ID: "attempts-chart", Title: "Outages by the number of dials", Desc: "The table has the counts."}
	var rows [][]cell
	top := 0
	for _, a := range b.charts.Attempts {
		label := plural(int64(a.Dials), "dial")
		if a.Dials >= 20 {
			label = "20 dials and more"
		}
		r := svg.Row{Label: label, Note: commas(a.Back + a.Censored)}
		if a.Back > 0 {
			r.Spans = append(r.Spans, svg.Span{To: float64(a.Back), Style: 1, Title: "back " + commas(a.Back)})
		}
		if a.Censored > 0 {
			r.Spans = append(r.Spans, svg.Span{From: float64(a.Back), To: float64(a.Back + a.Censored), Style: 2, Title: "censored " + commas(a.Censored)})
			r.Note += ", " + commas(a.Censored) + " censored"
		}
		c.Rows, top = append(c.Rows, r), max(top, a.Back+a.Censored)
		rows = append(rows, row(label, commas(a.Back), commas(a.Censored)))
	}
	if len(rows) == 0 {
		b.add("attempts", title, words)
		return nil
	}
	c.X = svg.FromZero("outages", number, float64(top))
	b.add("attempts", title, words, rowsChart(c, "Dials of an outage", []legendEntry{swatch("bar", 1, "back"), swatch("bar", 2, "censored")},
		newTable("Outages by the number of dials", 1, []string{"dials", "back", "censored"}, rows)))
	return nil
}
