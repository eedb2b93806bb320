package ledger

import (
	"slices"
	"testing"
)

// A witness takes the place of another where it says as much and is later.
func TestCovers(t *testing.T) {
	k := func(conn int, place uint64, more ...tx) *track {
		k := &track{first: tx{place, conn}}
		for _, t := range more {
			k.more = &resend{tx: t, before: k.more}
		}
		return k
	}
	for _, c := range []struct {
		name string
		k, o *track
		want bool
	}{
		{"never written, as the PUBREL at QoS 1", k(0, 0), k(0, 0), true},
		{"the same", k(1, 5), k(1, 5), true},
		{"later", k(1, 6), k(1, 5), true},
		{"earlier", k(1, 4), k(1, 5), false},
		{"another connection", k(2, 6), k(1, 5), false},
		{"resent", k(1, 6, tx{7, 2}), k(1, 5), false},
		{"not resent", k(1, 6), k(1, 5, tx{7, 2}), false},
		{"resent, the same", k(1, 6, tx{8, 2}), k(1, 5, tx{8, 2}), true},
		{"resent later", k(1, 6, tx{9, 2}), k(1, 5, tx{8, 2}), true},
		{"resent earlier", k(1, 6, tx{7, 2}), k(1, 5, tx{8, 2}), false},
		{"resent on another connection", k(1, 6, tx{9, 3}), k(1, 5, tx{8, 2}), false},
	} {
		if got := c.k.covers(c.o); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A packet's transmissions are all kept, up to a bound.
func TestTransmissionsAreBounded(t *testing.T) {
	var k track
	for place := uint64(1); place <= 1+maxResends; place++ {
		if !k.wrote(tx{place, 1}) {
			t.Fatalf("transmission %d was not kept", place)
		}
	}
	if k.wrote(tx{2 + maxResends, 1}) {
		t.Error("one more than the bound was kept")
	}
	seen := map[uint64]bool{}
	if k.all(func(t tx) bool { seen[t.place] = true; return true }); len(seen) != 1+maxResends {
		t.Errorf("%d transmissions are kept", len(seen))
	}
}

// Of what was sent on the same connections the last witness is enough.
func TestOneWitnessForEachConnection(t *testing.T) {
	h := newHistory(1)
	for i := uint64(1); i < 20; i += 2 {
		h.exchange(i).read(i)
	}
	if w := h.clients.get("s").current[1].order.witnesses; len(w) > 1 {
		t.Errorf("%d witnesses", len(w))
	}
}

// Final copies out of order are kept up to a bound, and so is the one at the end.
func TestFinalIsBounded(t *testing.T) {
	for _, n := range []uint64{1, maxFinal - 1, maxFinal, maxFinal + 1, maxFinal + 5} {
		h := newHistory(1).exchange(1, 2).read(1, 2)
		for i := range n - 1 {
			h.read(1).exchange(3 + i).read(3 + i)
		}
		h.read(1)
		for r := range h.Accounts() {
			if d := r.Delivery; d != nil && len(d.Final) != min(int(n), maxFinal) {
				t.Errorf("%d final copies out of order, %d kept", n, len(d.Final))
			}
		}
	}
}

// What is owed at the same QoS stays in its account when the grant is lowered
// again: only what was owed at a higher one is not any more.
func TestLoweredAgain(t *testing.T) {
	h := newHistory(2)
	h.Subscribed("s", "t", 1, h.tick())
	h.write(1)
	h.Subscribed("s", "t", 2, h.tick())
	h.write(2)
	h.Subscribed("s", "t", 1, h.tick())
	type part struct{ from, to uint64 }
	var got []part
	for r := range h.Accounts() {
		if d := r.Delivery; d != nil {
			got = append(got, part{d.From, d.To})
		}
	}
	if want := []part{{1, 1}, {0, 0}, {2, 2}}; !slices.Equal(got, want) {
		t.Errorf("owed: %v, want %v", got, want)
	}
}

// Most accounts have nothing strange, and no memory for it.
func TestNothingStrange(t *testing.T) {
	h := newHistory(2).exchange(1, 2).read(1, 2)
	h.Subscribed("s", "t", 2, h.tick())
	h.exchange(3).read(3).sentinel()
	if d := h.clients.get("s").current[1]; d.strange != nil {
		t.Errorf("%+v", d.strange)
	}
}
