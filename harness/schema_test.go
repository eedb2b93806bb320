package harness

import (
	"bytes"
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files again")

// TestScenarioSchema pins the schema of the language that the tables make: a
// new fault, policy or metric shows in the diff of the golden.
func TestScenarioSchema(t *testing.T) {
	got, err := ScenarioSchema(DefaultTables())
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/scenario.schema.json"
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("the composed schema is not %s; look at the difference and run with -update", golden)
	}
}
