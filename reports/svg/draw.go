package svg

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Styles is how many styles there are, from 1.
const Styles = 9

// escape makes any text safe in an element or an attribute: also what XML has
// no way to say.
func escape(s string) string {
	return html.EscapeString(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError))))
}

// canvas writes elements.
type canvas struct{ strings.Builder }

func (c *canvas) printf(format string, args ...any) { fmt.Fprintf(c, format, args...) }

// open begins the element. Title and description are what a screen reader says
// in its place.
func (c *canvas) open(id, class, title, desc string, w, h float64) {
	id = escape(id)
	c.printf(`<svg class="%s" role="img" viewBox="0 0 %s %s" aria-labelledby="%s-t %s-d"><title id="%s-t">%s</title><desc id="%s-d">%s</desc>`,
		class, px(w), px(h), id, id, id, escape(title), id, escape(desc))
}

func (c *canvas) close() string {
	c.WriteString("</svg>")
	return c.String()
}

func (c *canvas) text(class, anchor string, x, y float64, s string) {
	c.printf(`<text class="%s" x="%s" y="%s" text-anchor="%s">%s</text>`, class, px(x), px(y), anchor, escape(s))
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	c.printf(`<path class="%s" d="M%s %sL%s %s"/>`, class, px(x1), px(y1), px(x2), px(y2))
}

// rect draws a rectangle that shows however thin it is, with a text for the pointer.
func (c *canvas) rect(class string, x, y, w, h float64, title string) {
	c.printf(`<rect class="%s" x="%s" y="%s" width="%s" height="%s"`, class, px(x), px(y), px(math.Max(w, 1)), px(math.Max(h, 1)))
	if title == "" {
		c.WriteString("/>")
		return
	}
	c.printf("><title>%s</title></rect>", escape(title))
}

// mark draws a point whose shape tells the style without its colour.
func (c *canvas) mark(style int, x, y float64) {
	const r = 4.0
	class := fmt.Sprintf("m s%d f%d", style, style)
	switch style % 4 {
	case 1:
		c.printf(`<circle class="%s" cx="%s" cy="%s" r="%s"/>`, class, px(x), px(y), px(r-0.5))
	case 2:
		c.printf(`<path class="%s x" d="M%s %sl8 8m0 -8l-8 8"/>`, class, px(x-r), px(y-r))
	case 3:
		c.printf(`<path class="%s" d="M%s %sl4.5 8h-9z"/>`, class, px(x), px(y-r-0.5))
	default:
		c.printf(`<path class="%s" d="M%s %sl4.5 4.5l-4.5 4.5l-4.5 -4.5z"/>`, class, px(x), px(y-r-0.5))
	}
}

// px writes a coordinate to a tenth of a unit.
func px(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64)
}

// clip shortens s to n runes.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}

// clipMiddle shortens s to n runes from within: names that are made alike differ
// at their ends.
func clipMiddle(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	head := n / 3
	return string(r[:head]) + "…" + string(r[len(r)-(n-1-head):])
}

// String names a kind of drawing, as Swatch takes it.
func (k Kind) String() string { return [...]string{"line", "step", "area", "points"}[k] }

// Swatch draws the sample of a style for a legend; "bar" is the kind of spans.
func Swatch(kind string, style int) string {
	var c canvas
	c.WriteString(`<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true">`)
	switch kind {
	case "points":
		c.mark(style, 14, 6)
	case "line", "step":
		c.printf(`<path class="l s%d" d="M1 6H27"/>`, style)
	case "area":
		c.printf(`<rect class="a s%d f%d" x="1" y="1" width="26" height="10"/>`, style, style)
	default:
		c.printf(`<rect class="%s" x="1" y="0.5" width="26" height="11"/>`, class(style, 26))
	}
	return c.close()
}
