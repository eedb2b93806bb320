package kernel

import (
	"errors"
	"testing"
)

// TestOneNetem: a second queueing discipline would take the place of the first,
// and the end of either would be the end of both.
func TestOneNetem(t *testing.T) {
	k := &Kernel{missing: map[string]string{}, laid: map[int]string{3: Drop, 4: Netem}, last: 4}
	if _, err := k.Lay(t.Context(), Rule{Kind: Netem}); !errors.Is(err, ErrTaken) {
		t.Errorf("a second one: %v", err)
	}
	delete(k.laid, 4)
	if _, err := k.Lay(t.Context(), Rule{Kind: Netem}); errors.Is(err, ErrTaken) || !errors.Is(err, ErrOutside) {
		t.Errorf("one after it, outside a namespace: %v", err)
	}
}
