package svg

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTicks(t *testing.T) {
	for name, c := range map[string]struct {
		axis Axis
		n    int
		want []float64
	}{
		"from zero":  {FromZero("", nil, 9.7), 5, []float64{0, 2, 4, 6, 8, 10}},
		"decades":    {Fit("", nil, 0.0012, 7), 10, []float64{0.001, 0.01, 0.1, 1, 10}},
		"percentile": {Axis{Scale: Percentile, Max: 0.9991}, 10, []float64{0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999}},
		"around":     {Axis{Min: -1, Max: 1}, 4, []float64{-1, -0.5, 0, 0.5, 1}},
		"no width":   {Axis{Min: 3, Max: 3}, 4, []float64{3}},
	} {
		got := c.axis.ticks(c.n)
		if !slices.EqualFunc(got, c.want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%s: ticks %v, want %v", name, got, c.want)
		}
	}
}

// TestTicksOfAnything: whatever the axis, its ticks are few, in order and on it.
func TestTicksOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lo, hi := rapid.Float64().Draw(t, "lo"), rapid.Float64().Draw(t, "hi")
		n := rapid.IntRange(1, 12).Draw(t, "n")
		for _, a := range []Axis{Fit("", nil, lo, hi), FromZero("", nil, hi), {Min: min(lo, hi), Max: max(lo, hi)}} {
			ticks := a.ticks(n)
			if len(ticks) > 4*n+6 {
				t.Fatalf("%d ticks for %d on %+v", len(ticks), n, a)
			}
			if !slices.IsSorted(ticks) {
				t.Fatalf("out of order: %v", ticks)
			}
			for _, v := range []float64{lo, hi, 0} {
				if at := a.place(v, 10, 20); !(at >= 10 && at <= 20) {
					t.Fatalf("%v stands at %v on %+v", v, at, a)
				}
			}
		}
	})
}

// TestPeaksKeepsEverySpike: of any series the thinned one has the lowest and the
// highest of every part of it that was cut into n, no point that was not there,
// and each gap.
func TestPeaksKeepsEverySpike(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 20).Draw(t, "n")
		size := rapid.IntRange(1, 8*n).Draw(t, "size") // three in four are thinned
		ys := rapid.SliceOfN(rapid.OneOf(rapid.Float64Range(-1e6, 1e6), rapid.Just(math.NaN())), size, size).Draw(t, "y")
		xs := make([]float64, len(ys))
		for i := range xs {
			if i > 0 {
				xs[i] = xs[i-1] + rapid.Float64Range(0.001, 5).Draw(t, "step")
			}
		}
		tx, ty := Peaks(xs, ys, n)
		if len(tx) != len(ty) || len(tx) > max(3*n, 2*n) && len(xs) > 2*n {
			t.Fatalf("%d points for %d stretches", len(tx), n)
		}
		finite := func(v []float64) []float64 {
			return slices.DeleteFunc(slices.Clone(v), math.IsNaN)
		}
		if before, after := finite(ys), finite(ty); len(before) > 0 && (slices.Max(before) != slices.Max(after) || slices.Min(before) != slices.Min(after)) {
			t.Fatalf("the extremes %v–%v became %v–%v", slices.Min(before), slices.Max(before), slices.Min(after), slices.Max(after))
		}
		if slices.ContainsFunc(ys, math.IsNaN) != slices.ContainsFunc(ty, math.IsNaN) {
			t.Fatal("a gap was lost or made")
		}
		if !slices.IsSorted(tx) {
			t.Fatal("out of order")
		}
		for i, x := range tx {
			k := slices.Index(xs, x)
			if k < 0 || ys[k] != ty[i] && !(math.IsNaN(ys[k]) && math.IsNaN(ty[i])) {
				t.Fatalf("(%v, %v) was no point", x, ty[i])
			}
		}
	})
}

// FuzzDraw: any text and numbers give well-formed SVG without NaN.
func FuzzDraw(f *testing.F) {
	f.Add("title", "<b>&\"'", 0.1, 7.0, -1.0, uint8(0))
	f.Add("\x00\x1b", "]]>", math.NaN(), math.Inf(1), 1e308, uint8(3))
	f.Fuzz(func(t *testing.T, id, text string, a, b, c float64, kind uint8) {
		s := Series{Name: text, Style: int(kind%Styles) + 1, Kind: Kind(kind % 4), X: []float64{min(a, b), max(a, b)}, Y: []float64{b, c}, Low: []float64{c, b}}
		xy := XY{ID: "x", Title: text, Desc: text, X: Fit(text, nil, a, b), Y: FromZero(text, nil, c), Series: []Series{s}, Bands: []Band{{a, b, text}, {b, c, text}}}
		rows := Rows{ID: id, Title: text, Desc: text, X: FromZero(text, nil, b), Bands: []Band{{a, b, text}}, Rows: []Row{{Label: text, Note: text, Spans: []Span{{From: a, To: b, Style: 3, Title: text, Text: text}}}}}
		for _, drawn := range []string{xy.Draw(), rows.Draw()} {
			d := xml.NewDecoder(strings.NewReader(drawn))
			for {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%v in %s", err, drawn)
				}
			}
			if strings.Contains(text, "N") || strings.Contains(text, "I") || strings.Contains(id, "N") || strings.Contains(id, "I") {
				continue
			}
			for _, path := range strings.Split(drawn, ` d="`)[1:] {
				if strings.ContainsAny(path[:strings.Index(path, `"`)], "NI") {
					t.Fatalf("a coordinate that is none: %s", path)
				}
			}
		}
	})
}

func TestSwatchHasEachKind(t *testing.T) {
	for _, kind := range []string{"bar", Line.String(), Step.String(), Area.String(), Points.String()} {
		for style := range Styles + 1 {
			if s := Swatch(kind, style); !strings.HasPrefix(s, "<svg") || !strings.HasSuffix(s, "</svg>") {
				t.Errorf("%s %d: %s", kind, style, s)
			}
		}
	}
}

// TestTextsStayApart: the last number of an axis is inside of the drawing, the name
// of the upright axis is above its highest number, and long names that differ at
// their ends differ.
func TestTextsStayApart(t *testing.T) {
	xy := XY{ID: "x", X: Axis{Label: "time", Max: 900, Format: func(v float64) string { return fmt.Sprintf("%v milliseconds", v) }}, Y: Axis{Label: "CONNECTs", Max: 40, Format: func(v float64) string { return fmt.Sprint(v) }}}
	texts := map[string]struct {
		x, y   float64
		anchor string
	}{}
	for _, m := range regexp.MustCompile(`<text class="\w+" x="([^"]+)" y="([^"]+)" text-anchor="(\w+)">([^<]+)</text>`).FindAllStringSubmatch(xy.Draw(), -1) {
		x, errX := strconv.ParseFloat(m[1], 64)
		y, errY := strconv.ParseFloat(m[2], 64)
		if errX != nil || errY != nil {
			t.Fatal(m[0])
		}
		texts[m[4]] = struct {
			x, y   float64
			anchor string
		}{x, y, m[3]}
	}
	if last := texts["900 milliseconds"]; last.anchor != "end" || last.x > width {
		t.Errorf("the last number of the axis: %+v", last)
	}
	if top, label := texts["40"], texts["CONNECTs"]; label.y > top.y-12 || label.y < 10 {
		t.Errorf("the name of the axis at %v, its highest number at %v", label.y, top.y)
	}
	for in, want := range map[string]string{
		"short": "short", "device-in-a-hall-with-a-long-name-000001": "device-i…long-name-000001", "ééééééééééééééééééééééééé1": "éééééééé…ééééééééééééééé1",
	} {
		if got := clipMiddle(in, 25); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}
