package reports

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxParts is how many changed parts the text shows.
const maxParts = 15

// WriteText writes a comparison for people: versions first, then the verdict,
// then what it rests on.
func WriteText(w io.Writer, c Comparison) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "rebound compare · %s · %s\n\n", plain(c.Scenario), plural(int64(c.Clients), "client"))
	columns(&b, [][]string{
		{"", "old", "new"},
		{"rebound", c.Base.Rebound, c.Next.Rebound},
		{"broker", c.Base.Broker, c.Next.Broker},
		{"driver", c.Base.Driver, c.Next.Driver},
		{"runs", commas(c.Base.Runs), commas(c.Next.Runs)},
		{"seeds", c.Base.Seeds, c.Next.Seeds},
	})
	fmt.Fprintf(&b, "\n%s\n", c.verdict())
	section(&b, "not comparable", c.Refused)
	section(&b, "unfinished", c.Unknown)
	section(&b, "differences that may explain the rest", c.Warnings)
	if len(c.Rules) > 0 {
		b.WriteString("\nexact rules: a rise from 0 is worse\n")
		rows := [][]string{{"", "old", "new", ""}}
		for _, r := range c.Rules {
			rows = append(rows, []string{r.Name, commas(r.Base), commas(r.Next), r.word()})
		}
		columns(&b, rows)
	}
	changes(&b, "totals", c.Totals, len(c.Totals))
	if len(c.Flipped) > 0 {
		b.WriteString("\nexpectations that flipped\n")
		for _, f := range c.Flipped {
			fmt.Fprintf(&b, "  %s → %s   %s   (%s → %s)\n", f.From, f.To, plain(f.Text), plain(f.Base), plain(f.Next))
		}
	}
	changes(&b, "phases and waterfall parts, greatest change first", c.Parts, maxParts)
	_, err := w.Write(b.Bytes())
	return err
}

// word says what a rule makes of its counts.
func (r Rule) word() string {
	switch {
	case r.Worse:
		return "WORSE"
	case r.Known != "" && r.Next > r.Base:
		return "known defect of the target (" + plain(r.Known) + "): no verdict"
	case r.Next > r.Base:
		return "rose, but not from 0: no verdict"
	case r.Next < r.Base:
		return "fell"
	}
	return "same"
}

// verdict is the answer in one line.
func (c Comparison) verdict() string {
	switch c.ExitCode() {
	case ExitUsage:
		return "REFUSED    the two sides did not run the same thing"
	case ExitUnknown:
		return "UNKNOWN    a run did not finish"
	case ExitWorse:
		var broken []string
		for _, r := range c.Rules {
			if r.Worse {
				broken = append(broken, fmt.Sprintf("%s 0 → %s", r.Name, commas(r.Next)))
			}
		}
		return "WORSE      " + strings.Join(broken, ", ") + "\ntimes      " + c.Times
	}
	return "NO WORSE   by the exact rules\ntimes      " + c.Times
}

func section(b *bytes.Buffer, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	for _, l := range lines {
		fmt.Fprintf(b, "  %s\n", plain(l))
	}
}

func changes(b *bytes.Buffer, title string, cs []Change, limit int) {
	if len(cs) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s\n", title)
	rows := [][]string{{"", "old", "new", "change"}}
	for _, c := range cs[:min(len(cs), limit)] {
		rows = append(rows, []string{strings.TrimSpace(c.Where + "  " + c.What), c.Base, c.Next, c.Delta})
	}
	columns(b, rows)
	if left := len(cs) - limit; left > 0 {
		fmt.Fprintf(b, "  … %d more\n", left)
	}
}

// columns writes rows in columns, each as wide as its widest cell.
func columns(b *bytes.Buffer, rows [][]string) {
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
			cells = append(cells, padRight(plain(cell), width[i]))
		}
		b.WriteString("  " + strings.TrimRight(strings.Join(cells, "   "), " ") + "\n")
	}
}
