package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// CompareFormat is one way to write a Comparison, and a SelfCheck.
type CompareFormat struct {
	Name  string // as --format takes it
	Doc   string // one line
	Write func(io.Writer, Comparison) error
	Self  func(io.Writer, SelfCheck) error // nil = there is none
}

// CompareFormats is the table of formats; the first one is the default.
func CompareFormats() []CompareFormat {
	return []CompareFormat{
		{"text", "tables for a terminal",
			func(w io.Writer, c Comparison) error { return c.page().writeText(w) },
			func(w io.Writer, s SelfCheck) error { return s.page().writeText(w) }},
		{"json", "all of it, versioned",
			func(w io.Writer, c Comparison) error { return writeIndented(w, c) },
			func(w io.Writer, s SelfCheck) error { return writeIndented(w, s) }},
		{"md", "Markdown for CI pages and pull requests, at most 64 KiB",
			func(w io.Writer, c Comparison) error { return c.page().writeMarkdown(w) },
			func(w io.Writer, s SelfCheck) error { return s.page().writeMarkdown(w) }},
		{"html", "one page with every curve of both sides over each other: no network, no script needed", writeCompareHTML, writeSelfHTML},
	}
}

// writeIndented writes v as JSON; equal values give equal bytes.
func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// writeText lays a page out for a terminal.
func (p page) writeText(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", plain(p.title))
	columns(&b, append([][]string{p.head}, p.facts...), "l")
	b.WriteString("\n")
	for i, l := range p.lines {
		word := ""
		if i == 0 {
			word = p.word
		}
		fmt.Fprintf(&b, "%s %s\n", padRight(word, 12), plain(l))
	}
	for _, bl := range p.blocks {
		title := bl.title
		if bl.note != "" {
			title += " (" + bl.note + ")"
		}
		fmt.Fprintf(&b, "\n%s\n", plain(title))
		for _, l := range bl.lines {
			fmt.Fprintf(&b, "  %s\n", plain(l))
		}
		if len(bl.rows) > 0 {
			columns(&b, append([][]string{bl.head}, bl.rows...), bl.align)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// columns writes rows in columns, each as wide as its widest cell.
func columns(b *bytes.Buffer, rows [][]string, align string) {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], utf8.RuneCountInString(plain(cell)))
		}
	}
	for _, row := range rows {
		var cells []string
		for i, cell := range row {
			if isRight(align, i) {
				cells = append(cells, padLeft(plain(cell), width[i]))
			} else {
				cells = append(cells, padRight(plain(cell), width[i]))
			}
		}
		b.WriteString("  " + strings.TrimRight(strings.Join(cells, "   "), " ") + "\n")
	}
}

// writeMarkdown lays a page out for CI pages.
func (p page) writeMarkdown(w io.Writer) error {
	s := &summary{r: &Report{}}
	s.printf("# %s · %s\n\n", p.word, md(p.title))
	for _, l := range p.lines {
		s.printf("- %s\n", md(l))
	}
	s.printf("\n")
	s.table("l", p.head, escaped(p.facts))
	for _, b := range p.blocks {
		s.printf("## %s\n\n", md(b.title))
		if b.note != "" {
			s.printf("%s\n\n", md(b.note))
		}
		for _, l := range b.lines {
			s.printf("- %s\n", md(l))
		}
		if len(b.lines) > 0 {
			s.printf("\n")
		}
		if len(b.rows) > 0 {
			s.table(b.align, b.head, escaped(b.rows))
		}
	}
	_, err := w.Write(cut(bytes.TrimSuffix(s.buf.Bytes(), []byte("\n"))))
	return err
}

// escaped makes cells safe for Markdown.
func escaped(rows [][]string) [][]string {
	var out [][]string
	for _, row := range rows {
		var cells []string
		for _, cell := range row {
			cells = append(cells, md(cell))
		}
		out = append(out, cells)
	}
	return out
}
