package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

// The table against a map, with ids that collide.
func TestTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab table
		model := map[uint16]uint64{}
		for range 300 {
			id := rapid.Uint16Range(0, 20).Draw(t, "id")*16 + rapid.Uint16Range(0, 1).Draw(t, "more")
			switch op := rapid.IntRange(0, 10).Draw(t, "op"); {
			case op < 6:
				first := rapid.Uint64().Draw(t, "first")
				if e := tab.put(exchange{id: id, stage: published, first: first, epoch: 7, conn: 1}); e.first != first {
					t.Fatalf("put gives %+v", e)
				}
				model[id] = first
			case op < 9:
				tab.remove(id)
				delete(model, id)
			case op < 10:
				tab.fit()
			default:
				tab.epoch(7, 9)
			}
			if tab.n != len(model) {
				t.Fatalf("%d exchanges, want %d", tab.n, len(model))
			}
			if len(tab.slots) > 0 && (tab.n*4 > len(tab.slots)*3 || len(tab.slots)&(len(tab.slots)-1) != 0) {
				t.Fatalf("%d exchanges in %d slots", tab.n, len(tab.slots))
			}
			for i := uint16(0); i < 22*16; i++ {
				e := tab.find(i)
				if first, ok := model[i]; ok != (e != nil) || ok && (e.first != first || e.id != i) {
					t.Fatalf("id %d: found %+v, want %d (%v)", i, e, first, ok)
				}
			}
		}
	})
}

func TestTableKeepsWhatEndedLast(t *testing.T) {
	var tab table
	for id := uint16(1); id <= 20; id++ {
		tab.finish(tab.put(exchange{id: id, stage: published}))
		for old := uint16(1); old <= id; old++ {
			if got, want := tab.find(old) != nil, old+keep > id; got != want {
				t.Fatalf("after %d: %d known = %v", id, old, got)
			}
		}
	}
	// One that lives again is not forgotten, nor is one that ended again before
	// its turn has come again.
	tab.find(13).stage = published
	tab.find(14).stage = published
	tab.finish(tab.find(14))
	for id := uint16(21); id <= 27; id++ {
		tab.finish(tab.put(exchange{id: id, stage: published}))
	}
	if tab.find(13) == nil || tab.find(14) == nil || tab.n != keep+1 {
		t.Errorf("13: %v, 14: %v, %d exchanges", tab.find(13), tab.find(14), tab.n)
	}
	tab.finish(tab.put(exchange{id: 28, stage: published}))
	if tab.find(14) != nil {
		t.Error("14 is still known")
	}
	// An id that ends again and again is one exchange.
	for range 3 * keep {
		tab.finish(tab.find(28))
	}
	if tab.find(28) == nil {
		t.Error("28 is forgotten")
	}
}

func TestTableEpochs(t *testing.T) {
	var tab table
	tab.put(exchange{id: 1, stage: published, epoch: 1, conn: 1})
	tab.put(exchange{id: 2, stage: published, epoch: 2, conn: 2})
	tab.put(exchange{id: 3, stage: published, epoch: 2, conn: 3})
	tab.put(exchange{id: 4, stage: published, epoch: 1, conn: 4})
	tab.epoch(3, 3)
	for id, want := range map[uint16]uint32{1: 0, 2: 2, 3: 3, 4: 3} {
		got := uint32(0)
		if e := tab.find(id); e != nil {
			got = e.epoch
		}
		if got != want {
			t.Errorf("id %d is of epoch %d, want %d", id, got, want)
		}
	}
}

// A table grows once it would be more than three quarters full, not before.
func TestTableTakesRoom(t *testing.T) {
	var tab table
	for _, c := range []struct{ exchanges, slots int }{{1, 16}, {12, 16}, {13, 32}, {24, 32}, {25, 64}, {48, 64}, {49, 128}} {
		for tab.n < c.exchanges {
			tab.put(exchange{id: uint16(tab.n), stage: published})
		}
		if len(tab.slots) != c.slots {
			t.Errorf("%d slots for %d exchanges, want %d", len(tab.slots), tab.n, c.slots)
		}
	}
	if allocs := testing.AllocsPerRun(10, tab.fit); allocs != 0 {
		t.Errorf("%v allocations where the room fits", allocs)
	}
}

func TestTableGivesRoomBack(t *testing.T) {
	var tab table
	for id := range uint16(10_000) {
		tab.put(exchange{id: id, stage: published})
	}
	for id := range uint16(9_990) {
		tab.remove(id)
	}
	if tab.fit(); len(tab.slots) != 32 || tab.n != 10 {
		t.Errorf("%d slots for %d exchanges", len(tab.slots), tab.n)
	}
	tab.remove(9_999)
	tab.fit()
	if tab.fit(); len(tab.slots) != 32 {
		t.Errorf("%d slots for %d exchanges", len(tab.slots), tab.n)
	}
	for id := range uint16(9_993) {
		tab.remove(id)
	}
	if tab.fit(); len(tab.slots) != 32 || tab.n != 6 {
		t.Errorf("%d slots for %d exchanges", len(tab.slots), tab.n)
	}
	for id := range uint16(9_997) {
		tab.remove(id)
	}
	if tab.fit(); len(tab.slots) != room || tab.n != 2 {
		t.Errorf("%d slots for %d exchanges", len(tab.slots), tab.n)
	}
	for id := range uint16(9_999) {
		tab.remove(id)
	}
	if tab.fit(); tab.slots != nil {
		t.Errorf("%d slots for nothing", len(tab.slots))
	}
}
