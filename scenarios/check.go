package scenarios

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
)

// later is the answer to what belongs to the language and not to this version.
const later = "known, not in this version"

// finding is one leaf of the validator's answer with its place in the tree.
type finding struct {
	*jsonschema.ValidationError
	key, value *yaml.Node
	label      string
	schema     map[string]any
}

// checkSchema holds the tree against the JSON Schema and reports each failure
// at the key or value that is to blame.
func (l *loader) checkSchema(root *yaml.Node) {
	err := l.schema.compiled.Validate(plainJSON(root))
	var ve *jsonschema.ValidationError
	if !errors.As(err, &ve) {
		if err != nil {
			l.fail(root.Line, root.Column, "", "%v", err)
		}
		return
	}
	var found []finding
	for _, leaf := range leaves(ve, nil) {
		key, value := find(root, leaf.InstanceLocation)
		found = append(found, finding{leaf, key, value, l.label(leaf.InstanceLocation), l.schema.lookup(leaf.SchemaURL)})
	}
	// The validator walks maps: in file order, an endless list is cut alike.
	slices.SortStableFunc(found, func(a, b finding) int {
		return cmp.Or(cmp.Compare(a.value.Line, b.value.Line), cmp.Compare(a.value.Column, b.value.Column))
	})
	// Unknown and later keys first: they explain keys that seem missing.
	explained := map[*yaml.Node][]string{}
	rest := found[:0:0]
	for _, f := range found {
		switch k := f.ErrorKind.(type) {
		case *kind.AdditionalProperties:
			explained[f.value] = append(explained[f.value], l.unknownKeys(f, k.Properties)...)
		case *kind.FalseSchema:
			parent := f.InstanceLocation[:max(0, len(f.InstanceLocation)-1)]
			_, mapping := find(root, parent)
			explained[mapping] = append(explained[mapping], "*")
			pos := f.value
			if f.key != nil {
				pos = f.key
			}
			l.bad[f.value] = true
			l.fail(pos.Line, pos.Column, "", "%s: %s", f.label, later)
		default:
			rest = append(rest, f)
		}
	}
	for _, f := range rest {
		l.report(f, explained[f.value])
	}
}

// leaves flattens the validator's tree down to what can be said of one value.
func leaves(e *jsonschema.ValidationError, out []*jsonschema.ValidationError) []*jsonschema.ValidationError {
	switch e.ErrorKind.(type) {
	case *kind.Schema, *kind.Group, *kind.Reference, *kind.AllOf:
		for _, c := range e.Causes {
			out = leaves(c, out)
		}
		return out
	}
	return append(out, e)
}

// label names a value by the end of its path: "timeout", "phases[2]".
func (l *loader) label(path []string) string {
	if len(path) == 0 {
		return l.schema.what()
	}
	last := path[len(path)-1]
	if _, err := strconv.Atoi(last); err == nil && len(path) > 1 {
		return fmt.Sprintf("%s[%s]", path[len(path)-2], last)
	}
	return last
}

func (l *loader) unknownKeys(f finding, names []string) (meant []string) {
	var known []string
	for k := range at(f.schema, "properties") {
		known = append(known, k)
	}
	slices.Sort(known)
	unknown := make(map[string]bool, len(names))
	for _, name := range names {
		unknown[name] = true
	}
	for i := 0; i+1 < len(f.value.Content); i += 2 {
		key := f.value.Content[i]
		if !unknown[key.Value] {
			continue
		}
		hint, kinds := "", ""
		if len(l.errs) < maxErrors {
			hint = suggest(key.Value, known)
		}
		if hint == "" && f.schema["x-kinds"] == true {
			kinds = ", want one of " + strings.Join(known, ", ")
		}
		l.fail(key.Line, key.Column, hint, "unknown key %s in %s%s", quote(key.Value), f.label, kinds)
		meant = append(meant, hint)
	}
	return meant
}

// report words one failure. meant are keys that a mistyped key of the same
// mapping stands for ("*": any), so that they are not reported as missing too.
func (l *loader) report(f finding, meant []string) {
	pos := f.value
	switch k := f.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			if !slices.Contains(meant, name) {
				l.fail(pos.Line, pos.Column, "", "%s needs %s", f.label, name)
			}
		}
	case *kind.DependentRequired:
		if key, _ := entry(f.value, k.Prop); key != nil {
			pos = key
		}
		for _, name := range k.Missing {
			if !slices.Contains(meant, name) {
				l.fail(pos.Line, pos.Column, "", "%s needs %s", k.Prop, name)
			}
		}
	case *kind.OneOf:
		l.oneOf(f, k, meant)
	case *kind.Not:
		pos = l.excluded(f)
		l.fail(pos.Line, pos.Column, "", "%v", f.schema["x-not"])
	case *kind.Enum:
		l.bad[f.value] = true
		l.enum(f, k)
	case *kind.MinProperties, *kind.MaxProperties:
		l.fail(pos.Line, pos.Column, "", "%s: want %v", f.label, f.schema["x-want"])
	case *kind.MinItems:
		l.bad[f.value] = true
		l.fail(pos.Line, pos.Column, "", "%s is empty, want at least %d", f.label, k.Want)
	case *kind.MaxItems:
		l.bad[f.value] = true
		l.fail(pos.Line, pos.Column, "", "%s has %d entries, the limit is %d", f.label, k.Got, k.Want)
	case *kind.MaxLength:
		l.bad[f.value] = true
		l.fail(pos.Line, pos.Column, "", "%s is longer than %d characters", f.label, k.Want)
	default:
		l.bad[f.value] = true
		l.fail(pos.Line, pos.Column, "", "%s is %s, want %s", f.label, show(f.value), want(f))
	}
}

// excluded is the place of the second key in the file of those that exclude
// each other: not: {required: [a, b]}, or anyOf of several such.
func (l *loader) excluded(f finding) *yaml.Node {
	pairs := []any{at(f.schema, "not")}
	if any, has := at(f.schema, "not")["anyOf"].([]any); has {
		pairs = any
	}
	pos := f.value
	for _, pair := range pairs {
		second := f.value
		obj, _ := pair.(map[string]any)
		names := stringList(obj["required"])
		for _, name := range names {
			key, _ := entry(f.value, name)
			if key == nil {
				second = nil
				break
			}
			if after(key, second) {
				second = key
			}
		}
		if second != nil && len(names) > 0 && (pos == f.value || after(pos, second)) {
			pos = second
		}
	}
	return pos
}

// oneOf points at the second of two keys that exclude each other.
func (l *loader) oneOf(f finding, k *kind.OneOf, meant []string) {
	keys := alternatives(f.schema)
	pos := f.value
	if len(k.Subschemas) > 1 && k.Subschemas[1] < len(keys) {
		if key, _ := entry(f.value, keys[k.Subschemas[1]]); key != nil {
			pos = key
		}
	} else if slices.Contains(meant, "*") || slices.ContainsFunc(keys, func(name string) bool { return slices.Contains(meant, name) }) {
		return
	}
	l.fail(pos.Line, pos.Column, "", "%v", f.schema["x-one-of"])
}

// after reports whether a stands behind b in the file.
func after(a, b *yaml.Node) bool {
	return a.Line > b.Line || a.Line == b.Line && a.Column > b.Column
}

// alternatives are the keys of oneOf: [{required: [a]}, {required: [b]}].
func alternatives(schema map[string]any) []string {
	list, _ := schema["oneOf"].([]any)
	var keys []string
	for _, alt := range list {
		obj, _ := alt.(map[string]any)
		keys = append(keys, stringList(obj["required"])...)
	}
	return keys
}

func (l *loader) enum(f finding, k *kind.Enum) {
	pos := f.value
	laterValues, _ := f.schema["x-later"].([]any)
	for _, v := range laterValues {
		if fmt.Sprint(v) == fmt.Sprint(k.Got) {
			l.fail(pos.Line, pos.Column, "", "%s %v: %s", f.label, k.Got, later)
			return
		}
	}
	var names []string
	for _, v := range append(slices.Clone(k.Want), laterValues...) {
		names = append(names, fmt.Sprint(v))
	}
	if hint := suggest(f.value.Value, names); hint != "" {
		l.fail(pos.Line, pos.Column, hint, "%s is %s", f.label, show(f.value))
		return
	}
	var family []string // lost: lost.qos0, lost.qos1, lost.qos2
	for _, name := range names {
		if strings.HasPrefix(name, f.value.Value+".") && f.value.Value != "" {
			family = append(family, name)
		}
	}
	if len(family) > 0 {
		l.fail(pos.Line, pos.Column, "", "%s is %s, want one of %s", f.label, show(f.value), strings.Join(family, ", "))
		return
	}
	l.fail(pos.Line, pos.Column, "", "%s is %s, want %s", f.label, show(f.value), want(f))
}

// want words what a value must be.
func want(f finding) string {
	if text, ok := f.schema["x-want"].(string); ok {
		return text
	}
	switch k := f.ErrorKind.(type) {
	case *kind.Type:
		return "a " + strings.Join(k.Want, " or a ")
	case *kind.Enum:
		var names []string
		for _, v := range k.Want {
			names = append(names, fmt.Sprint(v))
		}
		if len(names) == 1 {
			return names[0]
		}
		return "one of " + strings.Join(names, ", ")
	}
	return "another value"
}

// show names a value of the file in a message.
func show(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.ShortTag() == "!!null":
		return "empty"
	case n.ShortTag() == "!!str":
		return quote(n.Value)
	}
	return n.Value
}

func stringList(v any) []string {
	list, _ := v.([]any)
	var out []string
	for _, item := range list {
		if s, ok := item.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
