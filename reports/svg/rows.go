package svg

import "math"

// Span is a stretch of a row.
type Span struct {
	From, To float64
	Style    int // 1 to Styles
	Title    string
	Thin     bool // half as high, for what stands behind or before another
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
	labelWidth = 150.0
	noteWidth  = 170.0
)

// Draw gives the svg element.
func (r Rows) Draw() string {
	var c canvas
	f := frame{labelWidth + 10, 6, width - 16, 6 + rowHeight*float64(len(r.Rows))}
	for _, row := range r.Rows {
		if row.Note != "" {
			f.right = width - noteWidth
		}
	}
	c.open(r.ID, "chart", r.Title, r.Desc, width, f.bottom+44)
	c.bands(r.X, f, r.Bands)
	for _, v := range r.X.ticks(8) {
		at := r.X.place(v, f.left, f.right)
		c.line("grid", at, f.top, at, f.bottom)
	}
	for i, row := range r.Rows {
		top, end := f.top+rowHeight*float64(i), f.left
		c.text("tick", "end", f.left-8, top+16, clip(row.Label, 24))
		for _, s := range row.Spans {
			from, to := r.X.place(s.From, f.left, f.right), r.X.place(s.To, f.left, f.right)
			y, h := top+4, rowHeight-8
			if s.Thin {
				y, h = top+8, rowHeight-16
			}
			if s.To > s.From || s.Title != "" {
				c.rect(class(s.Style), from, y, to-from, h, s.Title)
			}
			end = math.Max(end, to)
		}
		if row.Note != "" {
			c.text("note", "start", end+6, top+16, row.Note)
		}
	}
	c.xAxis(r.X, f)
	return c.close()
}

func class(style int) string { return "b f" + string(rune('0'+style)) }
