package ledger

import "testing"

// What was read again before its PUBREL is told by the account, and only that:
// a second delivery is none, and neither is the first copy that was seen at all.
func TestReadAgain(t *testing.T) {
	h := newHistory(2).exchange(1, 2, 3, 4).read(1).deliverQ2("s", 1, true).read(2, 2).deliverQ2("s", 3, true)
	var again, delivered Set
	for r := range h.Accounts() {
		if d := r.Delivery; d != nil {
			again, delivered = d.Again, d.Delivered
		}
	}
	if !again.Equal(NewSet(1)) || !delivered.Equal(NewSet(1, 2, 3)) {
		t.Errorf("read again: %v of %v", again, delivered)
	}
}
