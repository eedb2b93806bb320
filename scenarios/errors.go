package scenarios

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The errors of this package.
var (
	// ErrInvalid is what every Errors value is (errors.Is).
	ErrInvalid = errors.New("invalid scenario")
	// ErrUnknownScenario says that no scenario of that name is shipped.
	ErrUnknownScenario = errors.New("no such shipped scenario")
	// ErrPlan says that a plan.yaml can't be read or written.
	ErrPlan = errors.New("invalid plan")
	// ErrSchema says that the parts do not make a JSON Schema.
	ErrSchema = errors.New("invalid scenario schema")
)

// maxErrors is how many mistakes of one file are shown; more than this is one
// mistake repeated, or no scenario at all.
const maxErrors = 100

// Error is one mistake in a scenario file.
type Error struct {
	Pos  Pos
	Msg  string
	Hint string // the name that was probably meant; "" = no idea
	Line string // the source line, for the excerpt; "" = not known
}

// Error renders file:line:col: message, with the source line and a caret
// below where the line is known.
func (e Error) Error() string {
	var b strings.Builder
	if p := e.Pos.String(); p != "" {
		b.WriteString(p + ": ")
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (did you mean %q?)", e.Hint)
	}
	if line, caret, ok := excerpt(e.Line, e.Pos.Column); ok {
		fmt.Fprintf(&b, "\n    %s\n    %s", line, caret)
	}
	return b.String()
}

// String renders file:line:col, as far as it is known.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Errors is every mistake of one file, in the order of the file.
type Errors []Error

// Error renders all mistakes, one after the other.
func (e Errors) Error() string {
	parts := make([]string, len(e))
	for i := range e {
		parts[i] = e[i].Error()
	}
	return strings.Join(parts, "\n")
}

// Is makes every Errors an ErrInvalid.
func (e Errors) Is(target error) bool { return target == ErrInvalid }

// WithSource gives the errors that have none their source line.
func (e Errors) WithSource(data []byte) Errors {
	lines := sourceLines(data)
	out := slices.Clone(e)
	for i := range out {
		if n := out[i].Pos.Line; out[i].Line == "" && n >= 1 && n <= len(lines) {
			out[i].Line = lines[n-1]
		}
	}
	return out
}

// err is nil when there is no mistake, so that no typed nil escapes.
func (e Errors) err() error {
	if len(e) == 0 {
		return nil
	}
	return e
}

// finish sorts by position, drops repetitions and cuts an endless list.
func (e Errors) finish(file string, data []byte) Errors {
	// What is missing at the end is missing behind the last text.
	lines := sourceLines(bytes.TrimRight(data, "\r\n"))
	for i := range e {
		if p := &e[i].Pos; p.Line > len(lines) {
			p.Line, p.Column = len(lines), utf8.RuneCountInString(lines[len(lines)-1])+1
		}
	}
	slices.SortStableFunc(e, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column), cmp.Compare(a.Msg, b.Msg))
	})
	e = slices.CompactFunc(e, func(a, b Error) bool { return a.Pos == b.Pos && a.Msg == b.Msg })
	if more := len(e) - maxErrors; more > 0 {
		e = append(e[:maxErrors:maxErrors], Error{Pos: Pos{File: file}, Msg: fmt.Sprintf("and %d more mistakes", more)})
	}
	return e.WithSource(data)
}

// lineBreaks are what YAML takes for the end of a line.
var lineBreaks = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n")

func sourceLines(data []byte) []string {
	return strings.Split(lineBreaks.Replace(string(data)), "\n")
}

// excerpt is a source line, or a window of a long one, and the caret below the
// column (counted in runes from 1). Tabs stay tabs on both lines, so that the
// caret lands right at any tab width.
func excerpt(line string, column int) (text, caret string, ok bool) {
	const window = 110
	runes := []rune(line)
	if line == "" || column < 1 || column > len(runes)+1 {
		return "", "", false
	}
	at := column - 1
	start := 0
	if at > window*2/3 {
		start = at - window/2
	}
	end := min(len(runes), start+window)
	var t, c strings.Builder
	for i, r := range runes[start:end] {
		switch {
		case r == '\t':
		case !unicode.IsPrint(r):
			r = '\uFFFD'
		}
		t.WriteRune(r)
		if start+i < at {
			if r != '\t' {
				r = ' '
			}
			c.WriteRune(r)
		}
	}
	return t.String(), c.String() + "^", true
}

// suggest finds the candidate that a mistyped name was probably meant to be.
func suggest(name string, candidates []string) string {
	if len(name) > 40 {
		return ""
	}
	best, bestDistance := "", max(1, len(name)/3)+1
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		// At least one letter must be right, or "3" would be meant as "0".
		if d := distance(strings.ToLower(name), strings.ToLower(c)); c != name && d < bestDistance && d < len(name) {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of letters to insert, drop, change or swap with the
// next one.
func distance(a, b string) int {
	x, y := []rune(a), []rune(b)
	var before []int
	prev := make([]int, len(y)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(x); i++ {
		row := make([]int, len(y)+1)
		row[0] = i
		for j := 1; j <= len(y); j++ {
			change := prev[j-1]
			if x[i-1] != y[j-1] {
				change++
			}
			row[j] = min(change, prev[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(y)]
}
