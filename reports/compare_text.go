package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// CompareFormat is one way to write a Comparison.
type CompareFormat struct {
	Name  string // as --format takes it
	Doc   string // one line
	Write func(io.Writer, Comparison) error
}

// CompareFormats is the table of formats; the first one is the default.
func CompareFormats() []CompareFormat {
	return []CompareFormat{
		{"text", "tables for a terminal", writeCompareText},
		{"json", "all of it, versioned", writeCompareJSON},
		{"md", "Markdown for CI pages and pull requests, at most 64 KiB", writeCompareMarkdown},
	}
}

// writeCompareJSON writes the whole comparison; equal ones give equal bytes.
func writeCompareJSON(w io.Writer, c Comparison) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(c); err != nil {
		return fmt.Errorf("write comparison: %w", err)
	}
	return nil
}

// writeCompareText writes a comparison for people: versions first, then the
// verdict, then what it rests on.
func writeCompareText(w io.Writer, c Comparison) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "rebound compare · %s · %s\n\n", plain(c.Scenario), plural(int64(c.Clients), "client"))
	columns(&b, append([][]string{{"", "old", "new"}}, c.versions()...), "l")
	word, lines := c.headline()
	b.WriteString("\n")
	for i, l := range lines {
		if i > 0 {
			word = ""
		}
		fmt.Fprintf(&b, "%s %s\n", padRight(word, 12), plain(l))
	}
	if len(lines) == 0 {
		b.WriteString(word + "\n")
	}
	for _, bl := range c.blocks() {
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

// writeCompareMarkdown writes the same as the text, as a page of a CI service shows it.
func writeCompareMarkdown(w io.Writer, c Comparison) error {
	s := &summary{r: &Report{}}
	word, lines := c.headline()
	s.printf("# %s · %s\n\n", word, md(c.Scenario))
	for _, l := range lines {
		s.printf("- %s\n", md(l))
	}
	s.printf("\n")
	s.table("lll", []string{"", "old", "new"}, escaped(c.versions()))
	for _, bl := range c.blocks() {
		s.printf("## %s\n\n", md(bl.title))
		if bl.note != "" {
			s.printf("%s\n\n", md(bl.note))
		}
		for _, l := range bl.lines {
			s.printf("- %s\n", md(l))
		}
		if len(bl.lines) > 0 {
			s.printf("\n")
		}
		if len(bl.rows) > 0 {
			s.table(bl.align, bl.head, escaped(bl.rows))
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
