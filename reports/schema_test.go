package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// TestSchemaIsThatOfTheTypes pins the published schema: a new or changed field
// of a Report shows in the diff of the file.
func TestSchemaIsThatOfTheTypes(t *testing.T) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(makeSchema(t)); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("report.schema.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(b.Bytes(), Schema()) {
		t.Error("report.schema.json is not that of the types: run with -update and look at the difference")
	}
}

// compiled is the published schema, by a validator that is not ours.
func compiled(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("report.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t testing.TB, s *jsonschema.Schema, report []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(report))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestReportsAreValidByTheSchema(t *testing.T) {
	s := compiled(t)
	for name, r := range fixtures(t) {
		if err := validate(t, s, encode(t, r)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without any list: none may turn null.
	bare := healthy()
	bare.Charts = &Charts{Herds: []HerdShape{{}}, Worst: []ClientOutage{{}}, Collateral: &Collateral{}}
	if err := validate(t, s, encode(t, bare)); err != nil {
		t.Errorf("bare: %v", err)
	}
	// With every field set.
	full := &Report{}
	populate(reflect.ValueOf(full).Elem(), "")
	if err := validate(t, s, encode(t, full)); err != nil {
		t.Errorf("full: %v", err)
	}
	// The goldens, those that judge made of real evidence among them.
	n := 0
	for _, pattern := range []string{"testdata/*/report.json", "../harness/judge/testdata/report.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, s, b); err != nil {
				t.Errorf("%s: %v", file, err)
			}
			n++
		}
	}
	if n < 5 {
		t.Errorf("%d goldens", n)
	}
}

// populate sets all fields of a value, lists and maps of one entry.
func populate(v reflect.Value, key string) {
	if words := enums[v.Type().Name()]; words != nil {
		v.Set(reflect.ValueOf(words[0]))
		return
	}
	if words := enums[key]; words != nil && v.Kind() == reflect.String {
		v.SetString(words[0].(string))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		populate(v.Elem(), "")
	case reflect.Struct:
		for i := range v.NumField() {
			populate(v.Field(i), v.Type().Name()+"."+v.Type().Field(i).Name)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		populate(v.Index(0), "")
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		populate(value, "")
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint32, reflect.Uint64:
		v.SetUint(1)
	default:
		panic(fmt.Sprintf("no value for %s", v.Type()))
	}
}

// What is not a report must fail by the schema, wherever it is wrong.
func TestSchemaRefuses(t *testing.T) {
	s := compiled(t)
	first := func(v any) map[string]any { return v.([]any)[0].(map[string]any) }
	for name, break_ := range map[string]func(r map[string]any){
		"unknown field":              func(r map[string]any) { r["later"] = 1 },
		"unknown field of a wave":    func(r map[string]any) { first(r["waves"])["later"] = 1 },
		"unknown field of a total":   func(r map[string]any) { r["total"].(map[string]any)["outage"].(map[string]any)["p95"] = 1 },
		"missing field":              func(r map[string]any) { delete(r, "verdict") },
		"missing field of a balance": func(r map[string]any) { delete(first(r["messages"]), "lost") },
		"null list":                  func(r map[string]any) { r["checks"] = nil },
		"another version":            func(r map[string]any) { r["schema_version"] = 2 },
		"odd verdict":                func(r map[string]any) { r["verdict"] = "good" },
		"negative count":             func(r map[string]any) { first(r["messages"])["lost"] = -1 },
		"half a client":              func(r map[string]any) { first(r["waves"])["back"] = 0.5 },
		"time as text":               func(r map[string]any) { first(r["waves"])["rmta_seconds"] = "150 ms" },
	} {
		t.Run(name, func(t *testing.T) {
			var r map[string]any
			if err := json.Unmarshal(encode(t, fail(t)), &r); err != nil {
				t.Fatal(err)
			}
			break_(r)
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if validate(t, s, b) == nil {
				t.Error("it is valid")
			}
		})
	}
}
