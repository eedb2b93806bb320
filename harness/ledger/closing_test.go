package ledger

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestMissingLineIsMissed: a file of accounts from which a line was taken is
// not whole, wherever the line stood.
func TestMissingLineIsMissed(t *testing.T) {
	var b strings.Builder
	records := []Record{{Stream: &StreamAccount{ID: 1}}, {Delivery: &DeliveryAccount{Stream: 1, Client: "a"}}, {Stray: &Stray{Client: "a", Why: "x"}}}
	if err := WriteAccounts(&b, slices.Values(records)); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(b.String(), "\n"), "\n")
	if got, err := ReadAccounts(strings.NewReader(b.String())); err != nil || len(got) != len(records) {
		t.Fatalf("whole: %d records, %v", len(got), err)
	}
	for i := range lines {
		cut := strings.Join(slices.Delete(slices.Clone(lines), i, i+1), "")
		if !strings.HasSuffix(cut, "\n") {
			cut += "\n"
		}
		_, err := ReadAccounts(strings.NewReader(cut))
		if want := timeline.ErrCorrupt; i < len(records) && !errors.Is(err, want) {
			t.Errorf("without line %d: %v", i+1, err)
		}
		if i == len(records) && !errors.Is(err, timeline.ErrTruncated) {
			t.Errorf("without the closing line: %v", err)
		}
	}
	if _, err := ReadAccounts(strings.NewReader(b.String() + lines[0])); !errors.Is(err, timeline.ErrCorrupt) {
		t.Errorf("a record after the closing one: %v", err)
	}
}
