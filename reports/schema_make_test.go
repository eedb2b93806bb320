package reports

import (
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// A schema of JSON, in the making.
type object map[string]any

// schemaMaker turns the types of a Report into a JSON Schema, with their
// comments as its descriptions.
type schemaMaker struct {
	t    *testing.T
	docs map[string]string // by Type and Type.Field
	defs object
}

func makeSchema(t *testing.T) object {
	m := &schemaMaker{t: t, docs: typeDocs(t), defs: object{}}
	root := m.structure(reflect.TypeFor[Report]())
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = "urn:rebound:report:1"
	root["title"] = "report.json of Rebound"
	root["properties"].(object)["schema_version"] = object{"const": SchemaVersion}
	root["$defs"] = m.defs
	return root
}

// enums are the words that a field can hold, where they are few and fixed.
var enums = map[string][]any{
	"Verdict":            {Valid, Invalid, Unknown, NotApplicable},
	"Phase.Fitness":      {"fit", "degraded", "saturated", "unknown"},
	"Harness.Fitness":    {"fit", "degraded", "saturated", "unknown"},
	"Expectation.Op":     {"below", "at_most", "at_least", "above", "equals"},
	"Expectation.OnFail": {"fail", "warn", "abort"},
	"Histogram.Unit":     {unitNS, unitCount},
	"Abilities.MaxQoS":   {0, 1, 2},
	"Messages.QoS":       {0, 1, 2},
	"Loss.QoS":           {0, 1, 2},
	"LossWindow.QoS":     {0, 1, 2},
}

// structure is the schema of a struct: each field required but those that may be
// left out, and no other.
func (m *schemaMaker) structure(t reflect.Type) object {
	properties, required := object{}, []any{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "-" {
			continue
		}
		optional := options == "omitempty"
		if name == "" || options != "" && !optional {
			m.t.Fatalf("%s.%s: no plain JSON name", t.Name(), f.Name)
		}
		key := t.Name() + "." + f.Name
		s := m.schema(f.Type, !optional)
		if words := enums[key]; words != nil {
			s = object{"enum": words}
		}
		if doc := m.docs[key]; doc != "" {
			s["description"] = doc
		}
		properties[name] = s
		if !optional {
			required = append(required, name)
		}
	}
	s := object{"type": "object", "additionalProperties": false, "properties": properties, "required": required}
	if doc := m.docs[t.Name()]; doc != "" {
		s["description"] = doc
	}
	return s
}

// schema is the schema of a type. A pointer is null where the field must stand.
func (m *schemaMaker) schema(t reflect.Type, nullable bool) object {
	if words := enums[t.Name()]; words != nil {
		return object{"enum": words}
	}
	switch t.Kind() {
	case reflect.Pointer:
		s := m.schema(t.Elem(), false)
		if nullable {
			s = object{"anyOf": []any{s, object{"type": "null"}}}
		}
		return s
	case reflect.Struct:
		if m.defs[t.Name()] == nil {
			m.defs[t.Name()] = object{} // for a type within itself
			m.defs[t.Name()] = m.structure(t)
		}
		return object{"$ref": "#/$defs/" + t.Name()}
	case reflect.Slice:
		return object{"type": "array", "items": m.schema(t.Elem(), false)}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": m.schema(t.Elem(), false)}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64, reflect.Uint32, reflect.Uint64: // counts: there is no negative one
		return object{"type": "integer", "minimum": 0}
	}
	m.t.Fatalf("no schema for %s", t)
	return nil
}

// typeDocs reads the comments of the package's structs and their fields.
func typeDocs(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for _, name := range names {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			d, ok := n.(*ast.GenDecl)
			if !ok {
				return true
			}
			for _, spec := range d.Specs {
				s, ok := spec.(*ast.TypeSpec)
				if !ok {
					continue
				}
				docs[s.Name.Name] = oneParagraph(d.Doc.Text())
				if fields, ok := s.Type.(*ast.StructType); ok {
					for _, f := range fields.Fields.List {
						for _, id := range f.Names {
							docs[s.Name.Name+"."+id.Name] = oneParagraph(f.Comment.Text())
						}
					}
				}
			}
			return false
		})
	}
	return docs
}

func oneParagraph(text string) string {
	var p comment.Parser
	pr := comment.Printer{TextWidth: -1}
	return strings.TrimSpace(string(pr.Text(p.Parse(text))))
}
