package svg

import (
	"math"
	"slices"
	"unicode/utf8"
)

// Kind is how a series is drawn.
type Kind int

// The kinds. A Step holds each value until the next; an Area is what lies
// between Low and Y.
const (
	Line Kind = iota
	Step
	Area
	Points
)

// Series is one line, area or set of points. NaN in Y is a gap.
type Series struct {
	Name  string
	Style int // 1 to Styles
	Kind  Kind
	X, Y  []float64 // X in rising order
	Low   []float64 // of an Area
}

// Band is a shaded interval of the X axis.
type Band struct {
	From, To float64
	Label    string
}

// XY is a chart of series over two axes.
type XY struct {
	ID, Title, Desc string
	Height          float64 // 0 = 300
	X, Y            Axis
	Bands           []Band
	Series          []Series
	Small           bool // one of many: no axes, a third as wide
}

const (
	width      = 960.0
	smallWidth = 220.0
	tickLength = 5.0
)

// frame is the inner rectangle of a chart.
type frame struct{ left, top, right, bottom float64 }

// Draw gives the svg element.
func (x XY) Draw() string {
	var c canvas
	h := x.Height
	if h == 0 {
		h = 300
	}
	f := frame{70, 26, width - 16, h - 44}
	if x.Small {
		h = 80
		f = frame{2, 4, smallWidth - 2, h - 4}
		c.open(x.ID, "chart small", x.Title, x.Desc, smallWidth, h)
	} else {
		c.open(x.ID, "chart", x.Title, x.Desc, width, h)
	}
	c.bands(x.X, f, x.Bands)
	if x.Small {
		c.line("axis", f.left, f.bottom, f.right, f.bottom)
	} else {
		c.axes(x.X, x.Y, f)
	}
	for _, s := range x.Series {
		c.series(x.X, x.Y, f, s)
	}
	return c.close()
}

// bands shades intervals. Those that would touch are drawn as one, so that
// their number is bounded by the width.
func (c *canvas) bands(x Axis, f frame, bands []Band) {
	for i := 0; i < len(bands); {
		b := bands[i]
		from, to := x.place(b.From, f.left, f.right), math.Max(x.place(b.To, f.left, f.right), x.place(b.From, f.left, f.right)+1.5)
		label := b.Label
		for i++; i < len(bands); i++ {
			next := x.place(bands[i].From, f.left, f.right)
			if next > to+1 || next < from {
				break
			}
			to, label = math.Max(to, x.place(bands[i].To, f.left, f.right)), label+"; "+bands[i].Label
		}
		c.rect("band", from, f.top, to-from, f.bottom-f.top, clip(label, 120))
	}
}

func (c *canvas) axes(x, y Axis, f frame) {
	for _, v := range y.ticks(int(math.Max(2, (f.bottom-f.top)/45))) {
		at := y.place(v, f.bottom, f.top)
		c.line("grid", f.left, at, f.right, at)
		c.text("tick", "end", f.left-8, at+4, y.text(v))
	}
	c.xAxis(x, f)
	c.text("label", "start", 4, f.top-14, y.Label) // above the text of a tick at the very top
}

func (c *canvas) xAxis(x Axis, f frame) {
	last := math.Inf(-1)
	for _, v := range x.ticks(10) {
		at := x.place(v, f.left, f.right)
		c.line("axis", at, f.bottom, at, f.bottom+tickLength)
		if at-last >= 50 {
			text := x.text(v)
			if half := noteRune / 2 * float64(utf8.RuneCountInString(text)); at+half > width {
				c.text("tick", "end", width, f.bottom+18, text)
			} else {
				c.text("tick", "middle", at, f.bottom+18, text)
			}
			last = at
		}
	}
	c.line("axis", f.left, f.bottom, f.right, f.bottom)
	c.text("label", "end", f.right, f.bottom+36, x.Label)
}

func (c *canvas) series(x, y Axis, f frame, s Series) {
	at := func(i int, v float64) (float64, float64) {
		return x.place(s.X[i], f.left, f.right), y.place(v, f.bottom, f.top)
	}
	if s.Kind == Points {
		for i, v := range s.Y {
			if !math.IsNaN(v) {
				px, py := at(i, v)
				c.mark(s.Style, px, py)
			}
		}
		return
	}
	var d canvas
	for i := 0; i < len(s.Y); {
		if math.IsNaN(s.Y[i]) {
			i++
			continue
		}
		end := i
		for end < len(s.Y) && !math.IsNaN(s.Y[end]) {
			end++
		}
		d.run(s, i, end, at)
		i = end
	}
	if d.Len() == 0 {
		return
	}
	if s.Kind == Area {
		c.printf(`<path class="a s%d f%d" d="%s"/>`, s.Style, s.Style, d.String())
		return
	}
	c.printf(`<path class="l s%d" d="%s"/>`, s.Style, d.String())
}

// run writes the path of values without a gap.
func (c *canvas) run(s Series, from, to int, at func(int, float64) (float64, float64)) {
	for i := from; i < to; i++ {
		x, y := at(i, s.Y[i])
		switch {
		case i == from:
			c.printf("M%s %s", px(x), px(y))
			if to == from+1 && s.Kind != Area { // a lone value shows too
				c.printf("h1")
			}
		case s.Kind == Step:
			c.printf("H%sV%s", px(x), px(y))
		default:
			c.printf("L%s %s", px(x), px(y))
		}
	}
	if s.Kind != Area {
		return
	}
	for i := to - 1; i >= from; i-- {
		x, y := at(i, s.Low[i])
		c.printf("L%s %s", px(x), px(y))
	}
	c.WriteString("z")
}

// Peaks thins a series to at most 3n points: of each of n equal stretches of X
// it keeps the lowest, the highest, and a gap if there is one, so that no spike
// is lost and no gap is closed.
func Peaks(x, y []float64, n int) (tx, ty []float64) {
	if len(x) <= 2*n || n < 1 {
		return x, y
	}
	lo, hi := x[0], x[len(x)-1]
	for i := 0; i < len(x); {
		cell := stretch(x[i], lo, hi, n)
		least, most, gap := -1, -1, -1
		for ; i < len(x) && stretch(x[i], lo, hi, n) == cell; i++ {
			switch {
			case math.IsNaN(y[i]):
				gap = i
				continue
			case least < 0:
				least, most = i, i
			}
			if y[i] < y[least] {
				least = i
			}
			if y[i] > y[most] {
				most = i
			}
		}
		kept := []int{least, most, gap}
		slices.Sort(kept)
		for _, k := range slices.Compact(kept) {
			if k >= 0 {
				tx, ty = append(tx, x[k]), append(ty, y[k])
			}
		}
	}
	return tx, ty
}

func stretch(x, lo, hi float64, n int) int {
	if !(hi > lo) {
		return 0
	}
	return min(n-1, int(float64(n)*(x-lo)/(hi-lo)))
}
