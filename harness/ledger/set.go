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
type Set struct{ spans []span }

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

// Add adds n and reports whether it is new.
func (s *Set) Add(n uint64) bool {
	k := len(s.spans)
	if k == 0 {
		s.spans = append(s.spans, span{n, n})
		return true
	}
	switch last := &s.spans[k-1]; {
	case n > last.hi && n-1 == last.hi:
		last.hi = n
		return true
	case n > last.hi:
		s.spans = append(s.spans, span{n, n})
		return true
	case n >= last.lo:
		return false
	}
	i := s.search(n)
	if s.spans[i].lo <= n {
		return false
	}
	left := i > 0 && s.spans[i-1].hi == n-1 // n > 0, or nothing would be left of it
	right := s.spans[i].lo-1 == n
	switch {
	case left && right:
		s.spans[i-1].hi = s.spans[i].hi
		s.spans = slices.Delete(s.spans, i, i+1)
	case left:
		s.spans[i-1].hi = n
	case right:
		s.spans[i].lo = n
	default:
		s.spans = slices.Insert(s.spans, i, span{n, n})
	}
	return true
}

// Remove takes n out and reports whether it was in.
func (s *Set) Remove(n uint64) bool {
	if !s.Contains(n) {
		return false
	}
	i := s.search(n)
	switch sp := &s.spans[i]; {
	case sp.lo == sp.hi:
		s.spans = slices.Delete(s.spans, i, i+1)
	case sp.lo == n:
		sp.lo++
	case sp.hi == n:
		sp.hi--
	default:
		s.spans = slices.Insert(s.spans, i, span{sp.lo, n - 1})
		s.spans[i+1].lo = n + 1
	}
	return true
}

// clear empties the set and keeps its room.
func (s *Set) clear() { s.spans = s.spans[:0] }

// AddRange adds lo to hi, both included; nothing if lo > hi.
func (s *Set) AddRange(lo, hi uint64) {
	if lo > hi {
		return
	}
	*s = s.Union(Set{spans: []span{{lo, hi}}})
}

// search finds the first span that ends at or after n.
func (s Set) search(n uint64) int {
	return sort.Search(len(s.spans), func(i int) bool { return s.spans[i].hi >= n })
}

// Contains reports whether n is in the set.
func (s Set) Contains(n uint64) bool {
	k := len(s.spans)
	if k == 0 || n > s.spans[k-1].hi {
		return false
	}
	if n >= s.spans[k-1].lo {
		return true
	}
	return s.spans[s.search(n)].lo <= n
}

// Len counts the numbers; what int64 does not hold reads as its maximum.
func (s Set) Len() int64 { return s.count(0, math.MaxUint64) }

// count counts the numbers from lo to hi, both included.
func (s Set) count(lo, hi uint64) int64 {
	var n uint64
	for i := s.search(lo); i < len(s.spans) && s.spans[i].lo <= hi; i++ {
		width := min(hi, s.spans[i].hi) - max(lo, s.spans[i].lo)
		if width >= math.MaxInt64-n {
			return math.MaxInt64
		}
		n += width + 1
	}
	return int64(n)
}

// IsZero reports whether the set is empty.
func (s Set) IsZero() bool { return len(s.spans) == 0 }

// Min is the lowest number, 0 if there is none.
func (s Set) Min() uint64 {
	if s.IsZero() {
		return 0
	}
	return s.spans[0].lo
}

// Max is the highest number, 0 if there is none.
func (s Set) Max() uint64 {
	if s.IsZero() {
		return 0
	}
	return s.spans[len(s.spans)-1].hi
}

// Equal reports whether both hold the same numbers.
func (s Set) Equal(o Set) bool { return slices.Equal(s.spans, o.spans) }

// Clone gives a copy that shares no memory.
func (s Set) Clone() Set { return Set{spans: slices.Clone(s.spans)} }

// Within gives the numbers from lo to hi, both included.
func (s Set) Within(lo, hi uint64) Set {
	if lo > hi {
		return Set{}
	}
	return s.Intersect(Set{spans: []span{{lo, hi}}})
}

// Intersect gives the numbers that are in both.
func (s Set) Intersect(o Set) Set {
	var out Set
	a, b := s.spans, o.spans
	for len(a) > 0 && len(b) > 0 {
		if lo, hi := max(a[0].lo, b[0].lo), min(a[0].hi, b[0].hi); lo <= hi {
			out.spans = append(out.spans, span{lo, hi})
		}
		if a[0].hi < b[0].hi {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// Minus gives the numbers of s that are not in o.
func (s Set) Minus(o Set) Set {
	var out Set
	b := o.spans
	for _, sp := range s.spans {
		for len(b) > 0 && b[0].hi < sp.lo {
			b = b[1:]
		}
		rest := true
		for i := 0; rest && i < len(b) && b[i].lo <= sp.hi; i++ {
			if b[i].lo > sp.lo {
				out.spans = append(out.spans, span{sp.lo, b[i].lo - 1})
			}
			if rest = b[i].hi < sp.hi; rest {
				sp.lo = b[i].hi + 1
			}
		}
		if rest {
			out.spans = append(out.spans, sp)
		}
	}
	return out
}

// Union gives the numbers that are in either.
func (s Set) Union(o Set) Set {
	var out Set
	a, b := s.spans, o.spans
	for len(a) > 0 || len(b) > 0 {
		var next span
		if len(b) == 0 || len(a) > 0 && a[0].lo <= b[0].lo {
			next, a = a[0], a[1:]
		} else {
			next, b = b[0], b[1:]
		}
		k := len(out.spans)
		// next.lo-1 can not wrap: at 0 the first condition holds already.
		if k > 0 && (next.lo <= out.spans[k-1].hi || next.lo-1 == out.spans[k-1].hi) {
			out.spans[k-1].hi = max(out.spans[k-1].hi, next.hi)
			continue
		}
		out.spans = append(out.spans, next)
	}
	return out
}

// All gives the numbers in order.
func (s Set) All() iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, sp := range s.spans {
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
