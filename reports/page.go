package reports

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed" // the assets of the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// The assets of the page. All of it stands inside the one file that is written.
var (
	//go:embed page/page.tmpl
	pageTemplate string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/page.js
	pageJS string
	//go:embed page/uplot/uPlot.iife.min.js
	uplotJS string
	//go:embed page/uplot/uPlot.min.css
	uplotCSS string
	//go:embed page/uplot/LICENSE
	uplotLicense string
)

// Limits of the page: it stays below 2 MB for 100 waves of 10,000 clients.
// report.json has all.
const (
	maxPageRows  = 200  // rows of a table
	maxPageCell  = 400  // characters
	maxLines     = 12   // waves drawn one by one in one chart
	maxSmall     = 100  // small charts of one kind
	maxRowsChart = 24   // rows of a chart of rows
	maxPoints    = 1200 // points of one series, highest and lowest kept
)

// htmlPage is one page: a head, a list of sections and nothing else.
type htmlPage struct {
	Title, Lang string
	Policy      string // of the Content-Security-Policy
	Style       template.CSS
	Scripts     []template.JS
	Word, Class string // the result in one word, and how it looks
	Lead, Sub   string
	Tiles       []tile
	Notes       []string // what must not be overlooked
	Sections    []pageSection
}

// tile is one headline number.
type tile struct{ Label, Value, Note, Class string }

// pageSection of the page, with an entry in its list of contents.
type pageSection struct {
	ID, Title string
	Blocks    []htmlBlock
}

// htmlBlock is a part of a section: what is set of it, in this order.
type htmlBlock struct {
	Text    string
	Figure  *figure
	Figures []figure // small ones, side by side
	Table   *pageTable
	Folded  *pageTable // behind the figures above it
}

// figure is a chart and the table behind it.
type figure struct {
	ID, Caption string
	SVG         template.HTML
	Legend      []legendEntry
	Data        *plotData // set where a script may take the drawing over
	Table       *pageTable
	Small       bool // one of many, never wider than its place
}

type legendEntry struct {
	Swatch template.HTML
	Name   string
	Series bool // of a series, whose value at the cursor stands beside it
}

// pageTable is a table. Align names its columns as summary.table takes it.
type pageTable struct {
	Caption string
	Align   string
	Head    []string
	Rows    [][]cell
	More    string
}

// cell is text, with a class where it must catch the eye.
type cell struct{ Text, Class string }

// write renders the page. The policy allows exactly the style and the scripts
// that stand in it, by their hashes, and no connection anywhere.
func (p *htmlPage) write(w io.Writer) error {
	style := "\n" + pageCSS + uplotCSS + "\n"
	scripts := []string{"\n/* uPlot 1.6.32\n" + uplotLicense + "*/\n" + uplotJS + "\n", "\n" + pageJS}
	p.Style = template.CSS(style)
	var allowed []string
	for _, s := range scripts {
		p.Scripts = append(p.Scripts, template.JS(s))
		allowed = append(allowed, cspHash(s))
	}
	p.Policy = "default-src 'none'; style-src " + cspHash(style) + "; script-src " + strings.Join(allowed, " ") + "; base-uri 'none'; form-action 'none'"
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	var buf bytes.Buffer
	if err := t.Execute(&buf, p); err != nil {
		return fmt.Errorf("page: %w", err)
	}
	_, err = w.Write(buf.Bytes())
	return err
}

// cspHash is how a Content-Security-Policy names an inline text that it allows.
func cspHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// add makes a section of blocks.
func (p *htmlPage) add(id, title string, blocks ...htmlBlock) {
	p.Sections = append(p.Sections, pageSection{ID: id, Title: title, Blocks: blocks})
}

// para is a block of text.
func para(format string, args ...any) htmlBlock {
	return htmlBlock{Text: fmt.Sprintf(format, args...)}
}

// notHere says that a report has no data for a chart.
func notHere() htmlBlock {
	return para("Not in this report: it was made by a version that did not keep what this chart needs. `rebound report` on its run folder computes it.")
}

// row makes cells of texts. They come from outside: control characters go.
func row(texts ...string) []cell {
	cells := make([]cell, len(texts))
	for i, t := range texts {
		cells[i] = cell{Text: oneLine(t, maxPageCell)}
	}
	return cells
}

// verdictCell is a verdict with a mark of its own, so that it needs no colour.
func verdictCell(v Verdict) cell {
	switch v {
	case Valid:
		return cell{"✓ valid", "good"}
	case Invalid:
		return cell{"✗ invalid", "bad"}
	case NotApplicable:
		return cell{"– not applicable", "none"}
	}
	return cell{"? unknown", "doubt"}
}

// fitCell is a fitness in the same manner.
func fitCell(fitness string) cell {
	switch fitness {
	case "fit":
		return cell{"✓ fit", "good"}
	case "saturated":
		return cell{"✗ saturated", "bad"}
	case "degraded":
		return cell{"! degraded", "doubt"}
	}
	return cell{"? " + oneLine(cmp.Or(fitness, "unknown"), 30), "doubt"}
}

// leftLast makes the last column text.
func (t *pageTable) leftLast() *pageTable {
	t.Align += strings.Repeat("r", max(0, len(t.Head)-1-len(t.Align))) + "l" // the rest as the last
	return t
}

// IsText says that column i is text and no number.
func (t *pageTable) IsText(i int) bool { return !isRight(t.Align, i) }

// newTable cuts a table to what the page may hold, and says so. Its first
// columns are text.
func newTable(caption string, text int, head []string, rows [][]cell) *pageTable {
	t := &pageTable{Caption: caption, Align: strings.Repeat("l", text) + "r", Head: head, Rows: rows}
	if text == len(head) {
		t.Align = "l"
	}
	if more := len(rows) - maxPageRows; more > 0 {
		t.Rows, t.More = rows[:maxPageRows], plural(int64(more), "more row")+": see report.json."
	}
	return t
}

// chart makes a figure of an XY chart; unit says how a script writes its
// values, group which charts move together.
func chart(x svg.XY, caption, unit, group string, t *pageTable) htmlBlock {
	for i, s := range x.Series {
		if s.Kind != svg.Area {
			x.Series[i].X, x.Series[i].Y = svg.Peaks(s.X, s.Y, maxPoints/2)
		}
	}
	f := figure{ID: x.ID, Caption: caption, SVG: template.HTML(x.Draw()), Table: t}
	for _, s := range x.Series {
		entry := swatch(s.Kind.String(), s.Style, s.Name)
		entry.Series = true
		f.Legend = append(f.Legend, entry)
	}
	if len(x.Bands) > 0 {
		f.Legend = append(f.Legend, legendEntry{`<svg class="swatch" viewBox="0 0 28 12" aria-hidden="true"><rect class="band" width="28" height="12"/></svg>`, "fault", false})
	}
	if group != "" {
		f.Data = plot(x, unit, group)
	}
	return htmlBlock{Figure: &f}
}

// rowsChart makes a figure of a chart of rows.
func rowsChart(r svg.Rows, caption string, legend []legendEntry, t *pageTable) htmlBlock {
	return htmlBlock{Figure: &figure{ID: r.ID, Caption: caption, SVG: template.HTML(r.Draw()), Legend: legend, Table: t}}
}

func swatch(kind string, style int, name string) legendEntry {
	return legendEntry{Swatch: template.HTML(svg.Swatch(kind, style)), Name: oneLine(name, 60)}
}

// styled gives the i-th style.
func styled(i int) int { return i%svg.Styles + 1 }

// JSON lets a figure's data stand in a script element.
func (d *plotData) JSON() (template.JS, error) {
	b, err := json.Marshal(d)
	return template.JS(b), err
}

// small1 is one of many small figures.
func small1(x svg.XY, caption string) figure {
	return figure{Small: true, ID: x.ID + "-f", Caption: oneLine(caption, 100), SVG: template.HTML(x.Draw())}
}

// known writes a number that may not be known.
func known(v *float64, s scale) string {
	if v == nil {
		return "–"
	}
	return s(*v)
}
