package reports

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// writeCompareHTML writes a comparison as one page that needs no network and no
// script: the verdict, its tables, and each curve of both sides over each other
// with the difference between them.
func writeCompareHTML(w io.Writer, c Comparison) error {
	words := c.page()
	p := pageOf(words, "compare · "+c.Scenario, outcomeClass(c.Verdict))
	p.Tiles = c.tiles()
	p.add("verdict", "Verdict", verdictBlocks(words)...)
	if len(c.Gates) > 0 {
		p.add("gates", "Gated metrics", c.forest(), htmlBlock{Table: lastSecond(wordTable(c.gateBlock()))})
	}
	for _, b := range words.blocks {
		if b.title != c.gateBlock().title {
			p.addWords(b)
		}
	}
	for i, o := range c.Overlays {
		p.add(fmt.Sprintf("curve-%d", i+1), o.title(), o.charts(fmt.Sprintf("overlay-%d", i+1))...)
	}
	return p.write(w)
}

// writeSelfHTML writes a self-check as a page.
func writeSelfHTML(w io.Writer, s SelfCheck) error {
	words := s.page()
	p := pageOf(words, "self-check · "+s.Scenario, outcomeClass(Outcome(strings.ToLower(words.word))))
	p.add("verdict", "What these runs can show", verdictBlocks(words)...)
	for _, b := range words.blocks {
		p.addWords(b)
	}
	return p.write(w)
}

// pageOf is the head of a page of words.
func pageOf(words page, lead, class string) *htmlPage {
	return &htmlPage{Title: oneLine(words.word+" · "+words.title, 120), Word: words.word, Class: class, Lead: oneLine(lead, 120), Sub: oneLine(words.title, maxPageCell)}
}

func outcomeClass(o Outcome) string {
	switch o {
	case Better, Same:
		return "good"
	case Worse, Refused:
		return "bad"
	}
	return "doubt"
}

// verdictBlocks are why, and what was compared.
func verdictBlocks(words page) []htmlBlock {
	var out []htmlBlock
	for _, l := range words.lines {
		out = append(out, para("%s", oneLine(l, maxPageCell)))
	}
	t := &pageTable{Caption: "What was compared", Align: "l", Head: words.head}
	for _, r := range words.facts {
		t.Rows = append(t.Rows, row(r...))
	}
	return append(out, htmlBlock{Table: t})
}

// addWords makes a section of a block of words.
func (p *htmlPage) addWords(b block) {
	var out []htmlBlock
	for _, l := range b.lines {
		out = append(out, para("%s", oneLine(l, maxPageCell)))
	}
	if len(b.rows) > 0 {
		out = append(out, htmlBlock{Table: wordTable(b)})
	} else if b.note != "" {
		out = append([]htmlBlock{para("%s", b.note)}, out...)
	}
	title := strings.ToUpper(b.title[:1]) + b.title[1:]
	p.add(fmt.Sprintf("part-%d", len(p.Sections)+1), title, out...)
}

// wordTable is the table of a block; a last column that begins with an outcome
// shows it.
func wordTable(b block) *pageTable {
	t := &pageTable{Caption: strings.TrimPrefix(b.title+": "+b.note, ": "), Align: b.align, Head: b.head}
	for _, r := range b.rows {
		cells := row(r...)
		last := &cells[len(cells)-1]
		switch word, _, _ := strings.Cut(last.Text, ":"); Outcome(word) {
		case Worse:
			*last = cell{"✗ " + last.Text, "bad"}
		case Better, Same:
			*last = cell{"✓ " + last.Text, "good"}
		case Inconclusive, Saturated, Unfinished:
			*last = cell{"? " + last.Text, "doubt"}
		}
		t.Rows = append(t.Rows, cells)
	}
	return t
}

// lastSecond moves the last column of a wide table to the second place, where
// it is seen.
func lastSecond(t *pageTable) *pageTable {
	n := len(t.Head) - 1
	t.Head = slices.Insert(slices.Clone(t.Head[:n]), 1, t.Head[n])
	t.Align = "ll" + strings.Repeat("r", n-1)
	for i, cells := range t.Rows {
		t.Rows[i] = slices.Insert(slices.Clone(cells[:n]), 1, cells[n])
	}
	return t
}

// tiles are the gated metrics at a glance.
func (c Comparison) tiles() []tile {
	var out []tile
	for _, m := range c.Gates {
		note := "old " + m.median(m.raw.base, m.BaseMid)
		if m.Relative != nil {
			note += fmt.Sprintf(", %+.1f %%", *m.Relative*100)
		}
		out = append(out, tile{m.Name, m.median(m.raw.next, m.NextMid), note + ", " + string(m.Verdict), outcomeClass(m.Verdict)})
	}
	return out
}

// forest draws the shift of each gated metric with its interval over its
// margin, all relative to the old median.
func (c Comparison) forest() htmlBlock {
	const most = 3.0 // beyond + 300 % the size says nothing more
	f := svg.Rows{ID: "forest-chart", Title: "Shift of each gated metric against its margin", Desc: "The table has the numbers."}
	var legend []legendEntry
	reach := 0.1
	for _, m := range c.Gates {
		for _, v := range []*float64{m.part(m.ShiftLow), m.part(m.ShiftHigh), m.Relative, &m.Margin} {
			if v != nil {
				reach = max(reach, math.Abs(*v))
			}
		}
	}
	reach = min(reach*1.1, most)
	for _, m := range c.Gates {
		r := svg.Row{Label: m.Name, Note: string(m.Verdict), Spans: []svg.Span{{From: -m.Margin, To: m.Margin, Style: 0, Title: "margin ± " + percentOf(m.Margin)}}}
		if m.Coverage > 0 {
			lo, hi := -reach, reach // unbounded
			if v := m.part(m.ShiftLow); v != nil {
				lo = max(*v, -reach)
			}
			if v := m.part(m.ShiftHigh); v != nil {
				hi = min(*v, reach)
			}
			r.Spans = append(r.Spans, svg.Span{From: lo, To: hi, Style: 1, Thin: true, Title: fmt.Sprintf("%.1f %% interval of the shift", m.Coverage*100)})
		}
		if m.Relative != nil {
			at := min(max(*m.Relative, -reach), reach)
			r.Spans = append(r.Spans, svg.Span{From: at - reach/300, To: at + reach/300, Style: 2, Title: fmt.Sprintf("shift %+.1f %%", *m.Relative*100)})
		}
		f.Rows = append(f.Rows, r)
	}
	legend = append(legend, swatch("bar", 0, "margin: changes that are neither worse nor better"), swatch("bar", 1, "interval of the shift"), swatch("bar", 2, "shift"))
	f.X = svg.Axis{Label: "change of the new side, relative to the old median; right is worse", Min: -reach, Max: reach, Format: func(v float64) string { return fmt.Sprintf("%+.0f %%", v*100) }}
	return rowsChart(f, "Shift of each gated metric against its margin", legend, nil)
}

// part is a shift relative to the old median, nil where either is not known.
func (m Metric) part(v *float64) *float64 {
	if v == nil || m.BaseMid == nil || *m.BaseMid == 0 {
		return nil
	}
	return new(*v / *m.BaseMid)
}

func (o Overlay) title() string {
	where := o.Phase
	if o.Wave > 0 {
		where += fmt.Sprintf(" %d", o.Wave)
	}
	if o.Fleet != "" {
		where += ", " + o.Fleet
	}
	if o.Curve == "outage" {
		return "Outage percentiles, " + oneLine(where, 60)
	}
	return "Recovery, " + oneLine(where, 60)
}

// charts are the curves of both sides, and the difference below them.
func (o Overlay) charts(id string) []htmlBlock {
	place, value, unit := seconds, func(v float64) string { return three(v*100) + " %" }, "%"
	xs, x := o.X, svg.FromZero("time since the wave's first intended instant", seconds, last(o.X))
	if o.Curve == "outage" {
		place, value, unit = func(v float64) string { return number(v) + " %" }, seconds, "s"
		xs = make([]float64, 0, len(o.X))
		for _, v := range o.X {
			xs = append(xs, v/100)
		}
		x = svg.Axis{Label: "share of those that came back", Scale: svg.Percentile, Max: 0.999, Format: percentText}
	}
	both := svg.XY{ID: id, Title: o.title(), Desc: "Old and new, the median of the runs of each side between the least and the greatest.", X: x,
		Series: append(o.Base.series(xs, "old", 1, x), o.Next.series(xs, "new", 2, x)...)}
	lo, hi := spread(both.Series)
	both.Y = svg.Fit("time", seconds, lo, hi)
	if o.Curve != "outage" {
		both.Y = shareAxis("back")
	}
	diff := svg.XY{ID: id + "-difference", Title: o.title() + ", difference", Desc: "New less old at each place, with its interval where there are runs enough for one.", Height: 180, X: x,
		Series: append(o.Diff.series(xs, "new − old", 4, x), svg.Series{Name: "no difference", Style: 8, Kind: svg.Line, X: []float64{x.Min, x.Max}, Y: []float64{0, 0}})}
	diff.Y = around("new − old", value, diff.Series)
	words := "The middle line of a side is the median of its runs, its area goes from the least to the greatest of them."
	if o.Gap != nil {
		words += " The largest gap is at " + place(*o.Gap) + "."
	}
	return []htmlBlock{para("%s", words), chart(both, "Old and new", unit, id, o.table(place, value)), chart(diff, "Difference, new less old", unit, id, nil)}
}

func last(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	return vs[len(vs)-1]
}

// series are a band and its middle line, as far as the axis goes. An unknown
// place is a gap.
func (b Band) series(xs []float64, name string, style int, x svg.Axis) []svg.Series {
	area := svg.Series{Name: name + ", all runs", Style: style, Kind: svg.Area}
	mid := svg.Series{Name: name, Style: style, Kind: svg.Line}
	number := func(vs []*float64, i int) float64 {
		if i >= len(vs) || vs[i] == nil {
			return math.NaN()
		}
		return *vs[i]
	}
	some := false
	for i, at := range xs {
		if at > x.Max*(1+1e-9) {
			break
		}
		lo, hi := number(b.Low, i), number(b.High, i)
		if math.IsNaN(lo) || math.IsNaN(hi) {
			lo, hi = math.NaN(), math.NaN()
		} else {
			some = true
		}
		area.X, area.Y, area.Low = append(area.X, at), append(area.Y, hi), append(area.Low, lo)
		mid.X, mid.Y = append(mid.X, at), append(mid.Y, number(b.Mid, i))
	}
	if name == "new − old" {
		area.Name = "its interval"
	}
	if !some {
		return []svg.Series{mid}
	}
	return []svg.Series{area, mid}
}

// around is an axis over all values and 0.
func around(label string, format func(float64) string, list []svg.Series) svg.Axis {
	lo, hi := 0.0, 0.0
	for _, s := range list {
		for _, vs := range [][]float64{s.Y, s.Low} {
			for _, v := range vs {
				if !math.IsNaN(v) {
					lo, hi = min(lo, v), max(hi, v)
				}
			}
		}
	}
	if lo == hi {
		hi = 1e-3
	}
	pad := (hi - lo) / 20
	return svg.Axis{Label: label, Min: lo - pad, Max: hi + pad, Format: format}
}

// table is the overlay in numbers, at most twenty places of it.
func (o Overlay) table(place, value scale) *pageTable {
	step := (len(o.X) + 19) / 20
	var rows [][]cell
	at := func(vs []*float64, i int) string {
		if i >= len(vs) {
			return "–"
		}
		return known(vs[i], value)
	}
	for i := 0; i < len(o.X); i += step {
		rows = append(rows, row(place(o.X[i]), at(o.Base.Low, i), at(o.Base.Mid, i), at(o.Base.High, i), at(o.Next.Low, i), at(o.Next.Mid, i), at(o.Next.High, i),
			at(o.Diff.Low, i), at(o.Diff.Mid, i), at(o.Diff.High, i)))
	}
	return newTable(o.title(), 0, []string{"at", "old, least", "old", "old, greatest", "new, least", "new", "new, greatest", "difference from", "difference", "difference to"}, rows)
}
