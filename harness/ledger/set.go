package ledger

import (
	"iter"
	"math"
	"slices"
	"sort"
)

// Set is a set of sequence numbers, kept as sorted intervals that neither
// overlap nor touch. Its size is the number of gaps, not of numbers; adding the
// number after the highest one costs O(1) and no allocation. The zero Set is
// empty. Copies share memory: Clone before a copy is changed.
//
// The highest interval lies in the Set itself: it is the one that a message
// changes, and mostly the only one, so that no message follows a pointer.
type Set struct {
	// The highest interval goes from ^notLo to hi. In the zero Set its end is
	// below its beginning: there is none.
	notLo, hi uint64
	below     *[]span // the other ones; nil as long as there were none
}

// span holds lo to hi, both included.
type span struct{ lo, hi uint64 }

// NewSet gives the set of the numbers.
func NewSet(numbers ...uint64) Set {
	var s Set
	for _, n := range numbers {
		s.Add(n)
	}
	return s
}

// lo is where the highest interval begins.
func (s *Set) lo() uint64 { return ^s.notLo }

// size is the number of intervals.
func (s *Set) size() int {
	switch {
	case s.IsZero():
		return 0
	case s.below == nil:
		return 1
	}
	return len(*s.below) + 1
}

// at gives an interval, 0 is the lowest. There must be one.
func (s *Set) at(i int) span {
	if s.below != nil && i < len(*s.below) {
		return (*s.below)[i]
	}
	return span{s.lo(), s.hi}
}

// push adds an interval above all others.
func (s *Set) push(sp span) {
	if !s.IsZero() {
		if s.below == nil {
			s.below = new([]span)
		}
		*s.below = append(*s.below, span{s.lo(), s.hi})
	}
	s.notLo, s.hi = ^sp.lo, sp.hi
}

// edit changes the intervals as one slice.
func (s *Set) edit(change func([]span) []span) {
	if s.below == nil {
		s.below = new([]span)
	}
	spans := change(append(*s.below, span{s.lo(), s.hi}))
	s.notLo, s.hi, *s.below = 0, 0, spans[:0]
	if k := len(spans); k > 0 {
		s.notLo, s.hi, *s.below = ^spans[k-1].lo, spans[k-1].hi, spans[:k-1]
	}
}

// Add adds n and reports whether it is new.
func (s *Set) Add(n uint64) bool {
	if n > s.hi && n-1 == s.hi && !s.IsZero() {
		s.hi = n
		return true
	}
	return s.insert(n)
}

// insert is Add of a number that is not next to the highest one.
func (s *Set) insert(n uint64) bool {
	switch {
	case s.IsZero() || n > s.hi:
		s.push(span{n, n})
		return true
	case n >= s.lo():
		return false
	}
	i := s.search(n)
	next := s.at(i)
	if next.lo <= n {
		return false
	}
	left := i > 0 && s.at(i-1).hi == n-1 // n > 0, or nothing would be left of it
	right := next.lo-1 == n
	s.edit(func(spans []span) []span {
		switch {
		case left && right:
			spans[i-1].hi = next.hi
			return slices.Delete(spans, i, i+1)
		case left:
			spans[i-1].hi = n
		case right:
			spans[i].lo = n
		default:
			return slices.Insert(spans, i, span{n, n})
		}
		return spans
	})
	return true
}

// Remove takes n out and reports whether it was in.
func (s *Set) Remove(n uint64) bool {
	if !s.Contains(n) {
		return false
	}
	i := s.search(n)
	s.edit(func(spans []span) []span {
		switch sp := &spans[i]; {
		case sp.lo == sp.hi:
			return slices.Delete(spans, i, i+1)
		case sp.lo == n:
			sp.lo++
		case sp.hi == n:
			sp.hi--
		default:
			spans = slices.Insert(spans, i, span{sp.lo, n - 1})
			spans[i+1].lo = n + 1
		}
		return spans
	})
	return true
}

// clear empties the set and keeps its room.
func (s *Set) clear() {
	s.notLo, s.hi = 0, 0
	if s.below != nil {
		*s.below = (*s.below)[:0]
	}
}

// AddRange adds lo to hi, both included; nothing if lo > hi.
func (s *Set) AddRange(lo, hi uint64) {
	if lo > hi {
		return
	}
	*s = s.Union(Set{notLo: ^lo, hi: hi})
}

// search finds the first interval that ends at or after n.
func (s *Set) search(n uint64) int {
	return sort.Search(s.size(), func(i int) bool { return s.at(i).hi >= n })
}

// Contains reports whether n is in the set.
func (s Set) Contains(n uint64) bool {
	if n >= s.lo() {
		return n <= s.hi
	}
	return s.lower(n)
}

// lower is Contains for what is below the highest interval.
func (s *Set) lower(n uint64) bool { return s.below != nil && s.at(s.search(n)).lo <= n }

// Len counts the numbers; what int64 does not hold reads as its maximum.
func (s Set) Len() int64 { return s.count(0, math.MaxUint64) }

// count counts the numbers from lo to hi, both included.
func (s Set) count(lo, hi uint64) int64 {
	var n uint64
	for i := s.search(lo); i < s.size() && s.at(i).lo <= hi; i++ {
		width := min(hi, s.at(i).hi) - max(lo, s.at(i).lo)
		if width >= math.MaxInt64-n {
			return math.MaxInt64
		}
		n += width + 1
	}
	return int64(n)
}

// IsZero reports whether the set is empty.
func (s Set) IsZero() bool { return s.lo() > s.hi }

// Min is the lowest number, 0 if there is none.
func (s Set) Min() uint64 {
	if s.IsZero() {
		return 0
	}
	return s.at(0).lo
}

// Max is the highest number, 0 if there is none.
func (s Set) Max() uint64 { return s.hi }

// Equal reports whether both hold the same numbers.
func (s Set) Equal(o Set) bool {
	same := s.size() == o.size()
	for i := 0; same && i < s.size(); i++ {
		same = s.at(i) == o.at(i)
	}
	return same
}

// Clone gives a copy that shares no memory.
func (s Set) Clone() Set {
	c := Set{notLo: s.notLo, hi: s.hi}
	if s.size() > 1 {
		below := slices.Clone(*s.below)
		c.below = &below
	}
	return c
}

// Within gives the numbers from lo to hi, both included.
func (s Set) Within(lo, hi uint64) Set {
	if lo > hi {
		return Set{}
	}
	return s.Intersect(Set{notLo: ^lo, hi: hi})
}

// Intersect gives the numbers that are in both.
func (s Set) Intersect(o Set) Set {
	var out Set
	for i, j := 0, 0; i < s.size() && j < o.size(); {
		a, b := s.at(i), o.at(j)
		if lo, hi := max(a.lo, b.lo), min(a.hi, b.hi); lo <= hi {
			out.push(span{lo, hi})
		}
		if a.hi < b.hi {
			i++
		} else {
			j++
		}
	}
	return out
}

// Minus gives the numbers of s that are not in o.
func (s Set) Minus(o Set) Set {
	var out Set
	j := 0
	for i := range s.size() {
		sp := s.at(i)
		for j < o.size() && o.at(j).hi < sp.lo {
			j++
		}
		rest := true
		for k := j; rest && k < o.size() && o.at(k).lo <= sp.hi; k++ {
			b := o.at(k)
			if b.lo > sp.lo {
				out.push(span{sp.lo, b.lo - 1})
			}
			if rest = b.hi < sp.hi; rest {
				sp.lo = b.hi + 1
			}
		}
		if rest {
			out.push(sp)
		}
	}
	return out
}

// Union gives the numbers that are in either.
func (s Set) Union(o Set) Set {
	var out Set
	for i, j := 0, 0; i < s.size() || j < o.size(); {
		var next span
		if j == o.size() || i < s.size() && s.at(i).lo <= o.at(j).lo {
			next = s.at(i)
			i++
		} else {
			next = o.at(j)
			j++
		}
		// next.lo-1 can not wrap: at 0 the first condition holds already.
		if !out.IsZero() && (next.lo <= out.hi || next.lo-1 == out.hi) {
			out.hi = max(out.hi, next.hi)
			continue
		}
		out.push(next)
	}
	return out
}

// All gives the numbers in order.
func (s Set) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for i := range s.size() {
			sp := s.at(i)
			for n := sp.lo; ; n++ {
				if !yield(n) {
					return
				}
				if n == sp.hi { // not n <= hi: hi may be the highest there is
					break
				}
			}
		}
	}
}
