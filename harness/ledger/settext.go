package ledger

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxSetText is the longest text of a set that is read, in bytes.
const MaxSetText = 256 << 20

// ErrSetText says that a text is not the text of a set.
var ErrSetText = errors.New("not a set of sequence numbers")

// String gives the text form: "1-100,103", and "" for the empty set.
func (s Set) String() string { return string(s.appendText(nil)) }

// MarshalText gives the text form.
func (s Set) MarshalText() ([]byte, error) { return s.appendText([]byte{}), nil }

func (s Set) appendText(b []byte) []byte {
	for i := range s.size() {
		sp := s.at(i)
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendUint(b, sp.lo, 10)
		if sp.hi > sp.lo {
			b = append(b, '-')
			b = strconv.AppendUint(b, sp.hi, 10)
		}
	}
	return b
}

// UnmarshalText reads the text form.
func (s *Set) UnmarshalText(text []byte) error {
	set, err := ParseSet(string(text))
	if err != nil {
		return err
	}
	*s = set
	return nil
}

// ParseSet reads the text form. It is strict: each set has exactly one text, so
// intervals that are out of order, touch, overlap or are written in another
// way are refused.
func ParseSet(text string) (Set, error) {
	if text == "" {
		return Set{}, nil
	}
	if len(text) > MaxSetText {
		return Set{}, fmt.Errorf("%w: %d bytes", ErrSetText, len(text))
	}
	var s Set
	for part := range strings.SplitSeq(text, ",") {
		sp, ok := parseSpan(part)
		if !ok {
			return Set{}, fmt.Errorf("%w: %.50q", ErrSetText, part)
		}
		if !s.IsZero() && (sp.lo <= s.hi || sp.lo-1 == s.hi) {
			return Set{}, fmt.Errorf("%w: %q is out of order or touches the interval before it", ErrSetText, part)
		}
		s.push(sp)
	}
	return s, nil
}

func parseSpan(part string) (span, bool) {
	from, to, ranged := strings.Cut(part, "-")
	lo, ok := parseNumber(from)
	if !ranged || !ok {
		return span{lo, lo}, ok
	}
	hi, ok := parseNumber(to)
	return span{lo, hi}, ok && lo < hi
}

func parseNumber(text string) (uint64, bool) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || text[0] == '+' || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	return n, true
}
