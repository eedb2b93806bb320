package browser

import (
	"fmt"
	"io"
	"testing"

	"github.com/rebound-mqtt/rebound/internal/samples"
	"github.com/rebound-mqtt/rebound/reports"
)

// sides are n runs a side, the new ones slower by a factor.
func sides(t *testing.T, n int, slower float64) (base, next []*reports.Report) {
	t.Helper()
	for i := range n {
		for _, side := range []struct {
			list *[]*reports.Report
			slow float64
		}{{&base, 1}, {&next, slower}} {
			r, err := samples.Storm(samples.Size{Clients: 320, Waves: 2, Seed: i, Slow: side.slow})
			if err != nil {
				t.Fatal(err)
			}
			*side.list = append(*side.list, r)
		}
	}
	return base, next
}

func comparison(t *testing.T, base, next []*reports.Report) string {
	t.Helper()
	c := reports.Compare(base, next, reports.CompareOptions{})
	for _, f := range reports.CompareFormats() {
		if f.Name == "html" {
			return writePage(t, func(w io.Writer) error { return f.Write(w, c) })
		}
	}
	t.Fatal("compare has no format html")
	return ""
}

func TestCompare(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	path := comparison(t, base, next)
	for theme, dark := range themes {
		t.Run(theme, func(t *testing.T) {
			p := open(t, path, look{dark: dark})
			p.allDrawn(6)
			p.js(`{ for (const d of document.querySelectorAll("details")) d.open = true; 0 }`, nil)
			p.check()
			p.quiet()
		})
	}
}

// TestCompareZoom: the difference follows the curves above it.
func TestCompareZoom(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	p := open(t, comparison(t, base, next), look{height: 1400})
	p.everyChart()
	before := p.span("overlay-2")
	b := p.plotBox("overlay-2")
	p.drag(b, 0.1, 0.35)
	p.until(fmt.Sprintf(`(v => v[1] - v[0] < %v)(document.querySelector("#overlay-2-difference .plot").dataset.x.split(" ").map(Number))`, before*0.26))
	if other := p.span("overlay-3"); other == p.span("overlay-2") {
		t.Errorf("another curve moved, too: %v", other)
	}
	p.quiet()
}

func TestCompareWithoutScript(t *testing.T) {
	base, next := sides(t, 5, 1.5)
	p := open(t, comparison(t, base, next), look{noScript: true})
	var all, shown int
	p.js(`document.querySelectorAll("svg.chart").length`, &all)
	p.js(`[...document.querySelectorAll("svg.chart")].filter(s => { const b = s.getBoundingClientRect(); return b.width > 100 && b.height > 30; }).length`, &shown)
	if all < 7 || shown != all {
		t.Errorf("%d of %d drawings are shown", shown, all)
	}
	p.quiet()
}

func TestCompareHostile(t *testing.T) {
	r, err := samples.Hostile()
	if err != nil {
		t.Fatal(err)
	}
	p := open(t, comparison(t, []*reports.Report{r}, []*reports.Report{r}), look{})
	p.everyChart()
	var hacked int
	p.js(`"hacked" in document.documentElement.dataset ? 1 : document.images.length`, &hacked)
	if hacked > 0 {
		t.Error("a text from outside ran")
	}
	p.quiet()
}
