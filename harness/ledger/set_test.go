package ledger

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestSetText(t *testing.T) {
	for _, text := range []string{"", "0", "7", "1-100,103", "0-1,3,5-9", "18446744073709551615", "0-18446744073709551615"} {
		s, err := ParseSet(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if got := s.String(); got != text {
			t.Errorf("%q reads back as %q", text, got)
		}
	}
	for _, text := range []string{
		" ", ",", "1,", ",1", "-", "1-", "-1", "1-1", "2-1", "1-2-3", "01", "+1", "1,2", "1-3,4", "1-3,3", "1-3,2", "5,3",
		"18446744073709551616", "1 ", "a", "1;2", "0x1", "1_0",
	} {
		if s, err := ParseSet(text); !errors.Is(err, ErrSetText) {
			t.Errorf("%q was read as %v, %v", text, s, err)
		}
	}
}

func TestSetJSON(t *testing.T) {
	type holder struct {
		A Set `json:"a"`
		B Set `json:"b,omitzero"`
	}
	b, err := json.Marshal(holder{A: NewSet(1, 2, 3, 5)})
	if err != nil || string(b) != `{"a":"1-3,5"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var h holder
	if err := json.Unmarshal([]byte(`{"a":"","b":"2-4"}`), &h); err != nil || !h.A.IsZero() || h.B.Len() != 3 {
		t.Fatalf("%+v, %v", h, err)
	}
	if err := json.Unmarshal([]byte(`{"a":"3,1"}`), &h); !errors.Is(err, ErrSetText) {
		t.Fatalf("a set out of order was read: %v", err)
	}
}

func TestSetEdges(t *testing.T) {
	var s Set
	s.AddRange(0, math.MaxUint64)
	if s.Len() != math.MaxInt64 || !s.Contains(0) || !s.Contains(math.MaxUint64) {
		t.Errorf("the full set has %d numbers", s.Len())
	}
	if got := s.Minus(NewSet(0, math.MaxUint64)).String(); got != "1-18446744073709551614" {
		t.Error(got)
	}
	var half Set // the first size that int64 does not hold
	half.AddRange(0, math.MaxInt64)
	if n := half.Len(); n != math.MaxInt64 {
		t.Errorf("half of all numbers are %d", n)
	}
	parts := NewSet(0, 1, 2)
	parts.AddRange(10, math.MaxInt64+10)
	if n := parts.Len(); n != math.MaxInt64 {
		t.Errorf("half of all numbers, and three, are %d", n)
	}
	s = NewSet(math.MaxUint64, 0, 1, math.MaxUint64-1)
	if got := s.String(); got != "0-1,18446744073709551614-18446744073709551615" {
		t.Error(got)
	}
	if n := len(slices.Collect(s.All())); n != 4 {
		t.Errorf("%d numbers", n)
	}
	s.AddRange(5, 4)
	if s.Len() != 4 || s.Min() != 0 || s.Max() != math.MaxUint64 {
		t.Error(s)
	}
	c := s.Clone()
	c.Add(100)
	if s.Contains(100) || !s.Union(NewSet(100)).Equal(c) {
		t.Error("a clone shares memory")
	}
	for n := range s.All() {
		if n > 0 {
			break
		}
	}
}

func TestSetModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOf(rapid.Uint64Range(0, 60))
		build := func(label string) (Set, map[uint64]bool) {
			var s Set
			model := map[uint64]bool{}
			for _, n := range numbers.Draw(t, label) {
				if s.Add(n) == model[n] {
					t.Fatalf("Add(%d) tells wrongly whether it is new", n)
				}
				model[n] = true
			}
			lo := rapid.Uint64Range(0, 60).Draw(t, "lo")
			hi := rapid.Uint64Range(0, 60).Draw(t, "hi")
			s.AddRange(lo, hi)
			for n := lo; n <= hi; n++ {
				model[n] = true
			}
			for _, n := range numbers.Draw(t, label+" removed") {
				if s.Remove(n) != model[n] {
					t.Fatalf("Remove(%d) tells wrongly whether it was in", n)
				}
				delete(model, n)
			}
			return s, model
		}
		same := func(what string, s Set, model map[uint64]bool) {
			want := slices.Sorted(maps.Keys(model))
			if got := slices.Collect(s.All()); !slices.Equal(got, want) {
				t.Fatalf("%s: %v, want %v", what, got, want)
			}
			if s.Len() != int64(len(want)) {
				t.Fatalf("%s: Len %d, want %d", what, s.Len(), len(want))
			}
			if back, err := ParseSet(s.String()); err != nil || !back.Equal(s) {
				t.Fatalf("%s: %q does not read back: %v", what, s, err)
			}
		}
		a, am := build("a")
		b, bm := build("b")
		same("a", a, am)
		union, both, minus, within := maps.Clone(am), map[uint64]bool{}, map[uint64]bool{}, map[uint64]bool{}
		maps.Copy(union, bm)
		for n := range am {
			both[n] = bm[n]
			minus[n] = !bm[n]
			within[n] = n >= 10 && n <= 40
		}
		for _, m := range []map[uint64]bool{both, minus, within} {
			maps.DeleteFunc(m, func(_ uint64, in bool) bool { return !in })
		}
		same("union", a.Union(b), union)
		same("intersect", a.Intersect(b), both)
		same("minus", a.Minus(b), minus)
		same("within", a.Within(10, 40), within)
		if a.count(10, 40) != int64(len(within)) {
			t.Fatalf("count(10, 40) = %d", a.count(10, 40))
		}
		for n := range uint64(62) {
			if a.Contains(n) != am[n] {
				t.Fatalf("Contains(%d) = %v", n, a.Contains(n))
			}
		}
	})
}

func TestSetAppendsWithoutAllocation(t *testing.T) {
	s := NewSet(1)
	n := uint64(1)
	if allocs := testing.AllocsPerRun(1000, func() { n++; s.Add(n) }); allocs != 0 {
		t.Errorf("%v allocations for the next number", allocs)
	}
}

func FuzzParseSet(f *testing.F) {
	for _, text := range []string{"", "1-100,103", "0-18446744073709551615", "3,1", "1,2", "1--2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSet(text)
		if err != nil {
			return
		}
		if s.String() != text {
			t.Errorf("%q reads back as %q", text, s)
		}
		if !s.Minus(s).IsZero() || !s.Union(s).Equal(s) || !s.Intersect(s).Equal(s) || s.Len() < 0 {
			t.Errorf("%q does not compute", text)
		}
	})
}
