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
