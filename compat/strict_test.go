package compat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
)

// strictly reads a JSON object that has each field of a struct and no other.
func strictly(body []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	again, err := json.Marshal(into)
	if err != nil {
		return err
	}
	var got, want map[string]json.RawMessage
	if err := json.Unmarshal(body, &got); err != nil {
		return err
	}
	if err := json.Unmarshal(again, &want); err != nil {
		return err
	}
	if g, w := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(g, w) {
		return fmt.Errorf("it has the fields %q, want %q", g, w)
	}
	return nil
}

// missing ends a test for which something installable is not there: skipped on
// a developer's machine, failed in CI.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not installed in CI: %s", what)
	}
	t.Skipf("SKIPPED, not installed: %s", what)
}
