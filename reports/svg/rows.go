package svg

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Span is a stretch of a row.
type Span struct {
	From, To float64
	Style    int // 1 to Styles; 0 for what is not known
	Title    string
	Text     string // written on it where it has room
	Thin     bool   // half as high, for what stands behind or before another
}

// Row is one line of a chart of rows: a label, its spans in the order in which
// they are drawn, and a note at the end of the last one.
type Row struct {
	Label string
	Spans []Span
	Note  string
}

// Rows is a chart of horizontal spans: bars, stacks, or intervals of time.
type Rows struct {
	ID, Title, Desc string
	X               Axis
	Bands           []Band
	Rows            []Row
}

const (
	rowHeight  = 24.0
	labelWidth = 172.0 // of 22 wide runes
	noteRune   = 6.8   // of a note, on average
	textRune   = 7.6   // of a text on a span
	longNote   = 46    // runes
)

// Draw gives the svg element.
func (r Rows) Draw() string {
	var c canvas
	f := frame{labelWidth + 10, 6, width - 16, 6 + rowHeight*float64(len(r.Rows))}
	for _, row := range r.Rows {
		f.right = math.Min(f.right, width-20-noteRune*float64(utf8.RuneCountInString(clip(row.Note, longNote))))
	}
	c.open(r.ID, "chart", r.Title, r.Desc, width, f.bottom+44)
	c.bands(r.X, f, r.Bands)
	for _, v := range r.X.ticks(8) {
		at := r.X.place(v, f.left, f.right)
		c.line("grid", at, f.top, at, f.bottom)
	}
	for i, row := range r.Rows {
		top, end := f.top+rowHeight*float64(i), f.left
		c.text("tick", "end", f.left-8, top+16, clipMiddle(row.Label, 22))
		for _, s := range row.Spans {
			from, to := r.X.place(s.From, f.left, f.right), r.X.place(s.To, f.left, f.right)
			y, h := top+4, rowHeight-8
			if s.Thin {
				y, h = top+8, rowHeight-16
			}
			if s.To > s.From || s.Title != "" {
				c.rect(class(s.Style, to-from), from, y, math.Max(to-from, 2), h, s.Title)
			}
			if n := utf8.RuneCountInString(s.Text); n > 0 && to-from > 8+textRune*float64(n) {
				c.text("on", "middle", (from+to)/2, top+16, s.Text)
			}
			end = math.Max(end, to)
		}
		if row.Note != "" {
			c.text("note", "start", end+6, top+16, clip(row.Note, longNote))
		}
	}
	c.xAxis(r.X, f)
	return c.close()
}

// class of a span: its fill, and the pattern that tells it without its colour.
// One that is too narrow for a pattern has its colour alone and no edge.
func class(style int, w float64) string {
	if w < 3 {
		return fmt.Sprintf("n f%d", style)
	}
	return fmt.Sprintf("b f%d", style)
}
