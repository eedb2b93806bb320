package formats

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Each report.json is valid by the schema that the binary publishes: those that
// are judged anew, and that of a run that has just been made.
func TestReportIsValidByTheSchema(t *testing.T) {
	text, err := exec.Command(binary, "schema", "report").Output()
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("report.schema.json", decode(t, text)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, dir string, _ report) {
		doc := decode(t, readFile(t, dir, "report.json"))
		if err := schema.Validate(doc); err != nil {
			t.Error(err)
		}
		doc.(map[string]any)["later"] = true
		if schema.Validate(doc) == nil {
			t.Error("a field that the schema does not know is valid")
		}
	})
	dir := filepath.Join(t.TempDir(), "run")
	if code := rebound(t, "run", "testdata/small.yaml", "--quiet", "--out", dir); code != 0 && code != 3 {
		t.Errorf("exit code %d", code)
	}
	if err := schema.Validate(decode(t, readFile(t, dir, "report.json"))); err != nil {
		t.Errorf("of a run: %v", err)
	}
}

func decode(t *testing.T, text []byte) any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}
