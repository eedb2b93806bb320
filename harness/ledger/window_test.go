package ledger

import (
	"testing"

	"pgregory.net/rapid"
)

func TestWindowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var w window
		want := map[uint64]bool{}
		for range rapid.IntRange(1, 500).Draw(t, "steps") {
			seq := rapid.Uint64Range(1, 300).Draw(t, "seq")
			m := w.find(seq)
			if (m != nil) != want[seq] || m != nil && m.seq != seq {
				t.Fatalf("find(%d) = %v", seq, m)
			}
			if m != nil {
				w.drop(m)
				delete(want, seq)
			} else {
				if got := w.add(seq); got.seq != seq || got.settled {
					t.Fatalf("add(%d) = %v", seq, got)
				}
				want[seq] = true
			}
			if w.len() != len(want) {
				t.Fatalf("%d in the window, want %d", w.len(), len(want))
			}
		}
	})
}

// Neither a message that is never settled, nor one that always is under way,
// nor an outage that is over may hold on to memory.
func TestWindowIsBounded(t *testing.T) {
	var w window
	w.add(1)
	for seq := uint64(2); seq < 100_000; seq++ {
		w.add(seq)
		w.drop(w.find(seq))
	}
	if w.len() != 1 || cap(w.buf) > 8 {
		t.Errorf("one stuck: %d in the window, room for %d", w.len(), cap(w.buf))
	}
	for seq := uint64(100_000); seq < 110_000; seq++ {
		w.add(seq)
	}
	for seq := uint64(100_000); seq < 110_000; seq++ {
		w.drop(w.find(seq))
	}
	if w.len() != 1 || cap(w.buf) > 4*shrink {
		t.Errorf("after an outage: %d in the window, room for %d", w.len(), cap(w.buf))
	}
	w.drop(w.find(1))
	for seq := uint64(200_000); seq < 300_000; seq++ {
		w.add(seq)
		if m := w.find(seq - 2); m != nil {
			w.drop(m)
		}
	}
	if w.len() != 2 || cap(w.buf) > shrink {
		t.Errorf("two under way: %d in the window, room for %d", w.len(), cap(w.buf))
	}
}

// Holes are closed when they are many and more than half, and what leaves at
// the front leaves no hole.
func TestWindowClosesHoles(t *testing.T) {
	for _, c := range []struct {
		size, dropped, want int // dropped behind the first, which stays
	}{
		{100, shrink, 100}, {100, shrink + 1, 100 - shrink - 1},
		{1000, shrink + 1, 1000}, {1000, 500, 1000}, {1000, 501, 499},
	} {
		var w window
		for seq := range uint64(c.size) {
			w.add(seq)
		}
		for seq := range uint64(c.dropped) {
			w.drop(w.find(seq + 1))
		}
		if len(w.buf) != c.want || w.len() != c.size-c.dropped {
			t.Errorf("%d of %d dropped: %d places for %d, want %d", c.dropped, c.size, len(w.buf), w.len(), c.want)
		}
	}
	var w window
	w.add(1)
	w.add(2)
	w.drop(w.find(1))
	if w.head != 1 || w.dead != 0 {
		t.Errorf("the first is gone: head %d, %d holes", w.head, w.dead)
	}
	w.drop(w.find(2))
	if len(w.buf) != 0 || w.head != 0 || w.dead != 0 {
		t.Errorf("both are gone: %d places, head %d, %d holes", len(w.buf), w.head, w.dead)
	}
}

// A full window closes its holes rather than grow, and one that is much too
// large gives its room back.
func TestWindowRoom(t *testing.T) {
	full := window{buf: make([]message, 0, 16)}
	for seq := range uint64(16) {
		full.add(seq)
	}
	for seq := range uint64(9) {
		full.drop(full.find(seq))
	}
	full.add(16)
	if cap(full.buf) != 16 || len(full.buf) != 8 {
		t.Errorf("room for %d, %d of it taken", cap(full.buf), len(full.buf))
	}
	for _, c := range []struct{ room, n, want int }{
		{shrink, 2, shrink}, {2 * shrink, shrink / 2, 2 * shrink}, {2 * shrink, shrink/2 - 1, shrink - 2},
	} {
		w := window{buf: make([]message, 0, c.room)}
		for i := range c.n {
			w.add(uint64(10 * (i + 1)))
		}
		w.add(15) // between two others
		if cap(w.buf) != c.want {
			t.Errorf("%d in room for %d, and one more: room for %d, want %d", c.n, c.room, cap(w.buf), c.want)
		}
	}
	empty := window{buf: make([]message, 0, shrink)}
	empty.drop(empty.add(1))
	if cap(empty.buf) != shrink {
		t.Errorf("empty: room for %d", cap(empty.buf))
	}
}

// The highest comes back after it was settled: it is found again.
func TestWindowTakesTheLastBack(t *testing.T) {
	var w window
	w.add(1)
	w.add(2)
	w.drop(w.find(2))
	w.add(2)
	if m := w.find(2); m == nil || m.seq != 2 || w.len() != 2 {
		t.Errorf("found %+v, %d in the window", m, w.len())
	}
}
