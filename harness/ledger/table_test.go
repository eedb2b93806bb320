package ledger

import (
	"math"
	"testing"
)

// Each id has a place of its own, whichever of its bits are set.
func TestStreamTable(t *testing.T) {
	ids := []uint32{0, 1, 1<<10 - 1, 1 << 10, 2 << 10, 3<<10 + 5, 1<<21 - 1, 1 << 21, 2<<21 + 4<<10 + 6, math.MaxUint32}
	var table streamTable
	for _, id := range ids {
		if table.get(id) != nil {
			t.Errorf("%d was there before it was added", id)
		}
		if !table.add(&stream{id: id}) || table.add(&stream{id: id}) {
			t.Errorf("%d: not added just once", id)
		}
	}
	for i, id := range ids {
		if st := table.get(id); st == nil || st.id != id || table.all()[i] != st {
			t.Errorf("%d: found %+v", id, st)
		}
	}
	if table.get(7<<21) != nil || table.get(7<<10) != nil || table.get(7) != nil || len(table.all()) != len(ids) {
		t.Error("more is there than was added")
	}
}
