package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// commas writes a whole number with a comma at each thousand.
func commas[T ~int | ~int64 | ~uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	if uint64(n) > math.MaxInt64 && n > 0 {
		s = strconv.FormatUint(uint64(n), 10)
	}
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// three writes v with three significant digits, or with all of its whole ones
// where they are more. Zeros at the end of a fraction are left out.
func three(v float64) string {
	a := math.Abs(v)
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "unknown"
	case a >= math.MaxInt64/2:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case a >= 99.95:
		return commas(int64(math.Round(v)))
	case a >= 9.995:
		return trim(strconv.FormatFloat(v, 'f', 1, 64))
	}
	return trim(strconv.FormatFloat(v, 'f', 2, 64))
}

func trim(s string) string { return strings.TrimSuffix(strings.TrimRight(s, "0"), ".") }

// seconds writes a time for people: 812 µs, 2.1 ms, 161 ms, 1.24 s, 12 s.
// Three significant digits, as many as the histograms hold.
func seconds(s float64) string {
	a := math.Abs(s)
	switch {
	case s == 0:
		return "0 s"
	case a < 0.9995e-3:
		return three(s*1e6) + " µs"
	case a < 0.9995:
		return three(s*1e3) + " ms"
	}
	return three(s) + " s"
}

// roundSeconds writes a time that someone chose, such as a horizon: 60 s.
func roundSeconds(s float64) string {
	if s == math.Trunc(s) && math.Abs(s) < 1e15 {
		return commas(int64(s)) + " s"
	}
	return seconds(s)
}

// number writes a count or a mean of counts.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e15 {
		return commas(int64(v))
	}
	return three(v)
}

// percent writes a signed relative change from a to b, "" where it has none.
func percent(a, b float64) string {
	if a == 0 || a == b {
		return ""
	}
	return fmt.Sprintf("%+.1f %%", (b-a)/math.Abs(a)*100)
}

// plural writes "1 client", "2,000 clients".
func plural(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return commas(n) + " " + what + "s"
}

// plain makes a string from outside safe for one line of a terminal: no
// control characters, no change of writing direction.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\r' || r == '\t':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError:
			return '?'
		}
		return r
	}, s)
}

// clip shortens s to n runes, with an ellipsis for what is left out.
func clip(s string, n int) string {
	runes, end := 0, 0
	for at := range s {
		switch runes++; runes {
		case n:
			end = at
		case n + 1:
			return s[:end] + "…"
		}
	}
	return s
}

// oneLine makes a string from outside safe for one line, and no longer than n runes.
func oneLine(s string, n int) string { return plain(clip(s, n)) }

// padRight and padLeft fill s with spaces to n runes.
func padRight(s string, n int) string {
	return s + strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s)))
}

func padLeft(s string, n int) string {
	return strings.Repeat(" ", max(0, n-utf8.RuneCountInString(s))) + s
}

// ink colours text for a terminal, or leaves it alone.
type ink bool

func (i ink) paint(code, s string) string {
	if !i || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (i ink) red(s string) string    { return i.paint("31", s) }
func (i ink) yellow(s string) string { return i.paint("33", s) }
func (i ink) grey(s string) string   { return i.paint("90", s) }
func (i ink) bold(s string) string   { return i.paint("1", s) }

// redIf is red when bad, and the plain text when not.
func (i ink) redIf(bad bool, s string) string {
	if bad {
		return i.red(s)
	}
	return s
}
