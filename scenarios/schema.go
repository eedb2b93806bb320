package scenarios

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

//go:embed scenario.schema.json
var baseSchema []byte

// schemaID names the language; the number changes with a breaking change.
const schemaID = "urn:rebound:scenario:1"

// Parts are what the harness's tables add to the language.
type Parts struct {
	Faults   []FaultPart
	Policies []string // reconnect policies that this version has
	Metrics  []MetricPart
}

// FaultPart is one kind of fault. Schema is the JSON Schema of its parameters
// (an object); it may refer to #/$defs of the base schema, such as
// #/$defs/duration, and to #/$defs/later for a parameter that is known but not
// in this version. A parameter named fleet always names a fleet.
type FaultPart struct {
	Name   string
	Doc    string
	Schema json.RawMessage
}

// MetricPart is a metric that expectations may name.
type MetricPart struct {
	Name string
	Unit string // "s" = a time, "%" = a share, "" = a count or ratio
	Live bool   // counted while the run goes on, and never falls: on_fail abort may watch it
}

// Schema is the composed language: the JSON Schema and the names it knows.
type Schema struct {
	json     []byte
	raw      map[string]any // the same, for x- annotations
	compiled *jsonschema.Schema
	units    map[string]string // of metrics
	live     []string          // metrics that on_fail abort may watch
}

// Compose makes the schema of the language from its parts.
func Compose(parts Parts) (Schema, error) {
	raw, err := compose(parts)
	if err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	s, err := compile(raw, schemaID)
	if err != nil {
		return Schema{}, err
	}
	s.units = make(map[string]string, len(parts.Metrics))
	for _, m := range parts.Metrics {
		s.units[m.Name] = m.Unit
		if m.Live {
			s.live = append(s.live, m.Name)
		}
	}
	return s, nil
}

// compile makes a schema of its JSON.
func compile(raw map[string]any, id string) (Schema, error) {
	c := jsonschema.NewCompiler()
	if err := c.AddResource(id, raw); err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	compiled, err := c.Compile(id)
	if err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	text, err := indentJSON(raw)
	if err != nil {
		return Schema{}, fmt.Errorf("%w: %w", ErrSchema, err)
	}
	return Schema{json: text, raw: raw, compiled: compiled}, nil
}

// what names the whole file in messages: the scenario, the target.
func (s Schema) what() string {
	if text, ok := s.raw["x-label"].(string); ok {
		return text
	}
	return "the scenario"
}

// SchemaJSON is the composed schema as text for editors: keys sorted, equal
// for equal parts.
func SchemaJSON(parts Parts) ([]byte, error) {
	s, err := Compose(parts)
	if err != nil {
		return nil, err
	}
	return s.JSON(), nil
}

// JSON is the schema as text.
func (s Schema) JSON() []byte { return bytes.Clone(s.json) }

// compose fills the slots of the base schema.
func compose(parts Parts) (map[string]any, error) {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(baseSchema))
	if err != nil {
		return nil, err
	}
	root, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the base schema is no object")
	}
	kinds := map[string]any{}
	for _, f := range parts.Faults {
		params, err := jsonschema.UnmarshalJSON(bytes.NewReader(f.Schema))
		if err != nil {
			return nil, fmt.Errorf("fault %s: %w", f.Name, err)
		}
		obj, ok := params.(map[string]any)
		if _, twice := kinds[f.Name]; twice || !ok || f.Name == "" {
			return nil, fmt.Errorf("fault %q: named twice, without a name, or its schema is no object", f.Name)
		}
		obj["description"] = f.Doc
		kinds[f.Name] = obj
	}
	at(root, "$defs", "fault")["properties"] = kinds

	names := make([]any, len(parts.Policies))
	for i, p := range parts.Policies {
		names[i] = p
	}
	at(root, "$defs", "policy")["enum"] = names

	metrics := make([]any, len(parts.Metrics))
	for i, m := range parts.Metrics {
		metrics[i] = m.Name
	}
	at(root, "$defs", "metric")["enum"] = metrics
	return root, nil
}

// at finds an object below root; a fresh one if there is none.
func at(root map[string]any, path ...string) map[string]any {
	for _, key := range path {
		next, ok := root[key].(map[string]any)
		if !ok {
			return map[string]any{}
		}
		root = next
	}
	return root
}

// lookup finds the schema at a location that the validator reports,
// urn:rebound:scenario:1#/$defs/share; an empty one for a boolean schema.
func (s Schema) lookup(location string) map[string]any {
	_, pointer, _ := strings.Cut(location, "#")
	var here any = s.raw
	for _, token := range strings.Split(strings.TrimPrefix(pointer, "/"), "/") {
		if token == "" {
			continue
		}
		token = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
		switch h := here.(type) {
		case map[string]any:
			here = h[token]
		case []any: // of allOf
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(h) {
				return map[string]any{}
			}
			here = h[i]
		default:
			return map[string]any{}
		}
	}
	obj, _ := here.(map[string]any)
	return obj
}

func indentJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
