package scenarios

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Fields reads one mapping of a scenario file key by key: the second, typed
// step of the strict decode. A key that is absent reads as its default, and so
// does a wrong value, which is reported once with its position. The kinds of
// faults read their parameters with it.
type Fields struct {
	file string
	node *yaml.Node // nil reads as an empty mapping
	keys map[string]*yaml.Node
	vals map[string]*yaml.Node
	read map[string]bool
	bad  map[*yaml.Node]bool // already reported by the schema
	errs *Errors
}

// Fields gives the parameters of a fault as written.
func (s FaultSpec) Fields() *Fields {
	f := newFields(s.Pos.File, s.Params, map[*yaml.Node]bool{}, &Errors{})
	if s.Params == nil {
		f.node = &yaml.Node{Line: s.Pos.Line, Column: s.Pos.Column}
	}
	return f
}

func newFields(file string, node *yaml.Node, bad map[*yaml.Node]bool, errs *Errors) *Fields {
	f := &Fields{file: file, node: node, bad: bad, errs: errs,
		keys: map[string]*yaml.Node{}, vals: map[string]*yaml.Node{}, read: map[string]bool{}}
	if node == nil || node.Kind != yaml.MappingNode {
		return f
	}
	for i := 0; i+1 < len(node.Content); i += 2 {
		f.keys[node.Content[i].Value], f.vals[node.Content[i].Value] = node.Content[i], node.Content[i+1]
	}
	return f
}

// Err is every mistake so far, as Errors, a key that nothing has read among
// them; nil if there is none.
func (f *Fields) Err() error {
	errs := slices.Clone(*f.errs)
	for _, name := range slices.Sorted(maps.Keys(f.vals)) {
		if k := f.keys[name]; !f.read[name] {
			errs = append(errs, Error{Pos: Pos{f.file, k.Line, k.Column}, Msg: fmt.Sprintf("unknown key %s", quote(name))})
		}
	}
	return errs.err()
}

// Has reports whether the mapping has a key.
func (f *Fields) Has(key string) bool { return f.vals[key] != nil }

// Fail reports a mistake at the value of a key; at the mapping itself if the
// key is absent.
func (f *Fields) Fail(key, format string, args ...any) { f.hint(key, "", format, args...) }

// refuse reports a mistake and has the value read as absent from now on, so
// that it is reported once.
func (f *Fields) refuse(key, format string, args ...any) {
	f.Fail(key, format, args...)
	if n := f.vals[key]; n != nil {
		f.bad[n] = true
	}
}

// at gives the place of a key itself, for a mistake in its name.
func (f *Fields) at(key string) *Fields { return newFields(f.file, f.keys[key], f.bad, f.errs) }

// pos is the place of the value of a key.
func (f *Fields) pos(key string) Pos {
	if n := f.vals[key]; n != nil {
		return Pos{f.file, n.Line, n.Column}
	}
	return Pos{File: f.file}
}

func (f *Fields) hint(key, hint, format string, args ...any) {
	n := f.vals[key]
	if n == nil {
		n = f.node
	}
	pos := Pos{File: f.file}
	if n != nil {
		pos.Line, pos.Column = n.Line, n.Column
	}
	if len(*f.errs) < 10*maxErrors {
		*f.errs = append(*f.errs, Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
}

// value gives the node of a key, nil if it is absent or already refused.
func (f *Fields) value(key string) *yaml.Node {
	f.read[key] = true
	n := f.vals[key]
	if n == nil || f.bad[n] {
		return nil
	}
	return n
}

// ok reports whether a key has a value that was not refused.
func (f *Fields) ok(key string) bool { return f.vals[key] != nil && !f.bad[f.vals[key]] }

// Text reads a text.
func (f *Fields) Text(key, def string) string {
	return scalar(f, key, def, func(s string) (string, error) { return s, nil })
}

// Texts reads a list of texts; an absent one reads as empty.
func (f *Fields) Texts(key string) []string {
	n := f.value(key)
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		f.refuse(key, "%s: want a list", key)
		return nil
	}
	texts := make([]string, len(n.Content))
	for i, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			f.refuse(key, "%s: want a list of texts", key)
			return nil
		}
		texts[i] = c.Value
	}
	return texts
}

// Duration reads a duration such as 250ms or 5s.
func (f *Fields) Duration(key string, def time.Duration) time.Duration {
	return scalar(f, key, def, parseDuration)
}

// Share reads a share such as 95% as a fraction.
func (f *Fields) Share(key string, def float64) float64 { return scalar(f, key, def, parseShare) }

// Rate reads a rate such as 500/s as a number per second.
func (f *Fields) Rate(key string, def float64) float64 { return scalar(f, key, def, parseRate) }

// Bytes reads a size such as 64B.
func (f *Fields) Bytes(key string, def int) int { return scalar(f, key, def, parseBytes) }

// Count reads a whole number from 0.
func (f *Fields) Count(key string, def int) int {
	return scalar(f, key, def, func(s string) (int, error) {
		v, err := strconv.ParseFloat(s, 64) // 1e3 is a whole number too
		if err != nil || v != float64(int(v)) || v < 0 || v > 1<<53 {
			return 0, fmt.Errorf("want a whole number from 0")
		}
		return int(v), nil
	})
}

// reached reads a share of clients, or a number of them; nil and 0 if the key
// is absent.
func (f *Fields) reached(key string) (share *float64, count int) {
	switch {
	case !f.ok(key):
	case numberForm.MatchString(f.vals[key].Value):
		return nil, f.Count(key, 0)
	default:
		v := f.Share(key, 0)
		return &v, 0
	}
	return nil, 0
}

// Bool reads true or false.
func (f *Fields) Bool(key string, def bool) bool { return scalar(f, key, def, strconv.ParseBool) }

// Sub reads a mapping; an absent one reads as empty.
func (f *Fields) Sub(key string) *Fields {
	n := f.value(key)
	if n != nil && n.Kind != yaml.MappingNode {
		f.refuse(key, "%s: want a mapping", key)
		n = nil
	}
	if n == nil {
		sub := newFields(f.file, nil, f.bad, f.errs)
		sub.node = f.node // positions of what is missing
		return sub
	}
	return newFields(f.file, n, f.bad, f.errs)
}

// Keys gives the keys of the mapping in the order of the file.
func (f *Fields) Keys() []string {
	return slices.SortedFunc(maps.Keys(f.keys), func(a, b string) int {
		x, y := f.keys[a], f.keys[b]
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Column, y.Column))
	})
}

// Numbers reads a list of whole numbers from 0 to below n and of ranges of them
// such as 10-20, as written; each may be named once.
func (f *Fields) Numbers(key string, n int) []int {
	list := f.value(key)
	if list == nil {
		return nil
	}
	if list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		f.refuse(key, "%s: want a list such as [0, 5, 10-20]", key)
		return nil
	}
	var out []int
	seen := make(map[int]bool)
	for _, c := range list.Content {
		item := newFields(f.file, c, f.bad, f.errs)
		first, last, isRange := strings.Cut(c.Value, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		switch {
		case c.Kind != yaml.ScalarNode || err1 != nil || err2 != nil:
			item.Fail("", "%s: %s: want a whole number from 0 or a range such as 10-20", key, show(c))
			continue
		case from > to:
			item.Fail("", "%s: the range %s is empty", key, c.Value)
			continue
		case to >= n:
			item.Fail("", "%s: %s is out of range: there are %d, counted from 0", key, c.Value, n)
			continue
		}
		for i := from; i <= to; i++ {
			if seen[i] {
				item.Fail("", "%s: %d is there twice", key, i)
				break
			}
			seen[i] = true
			out = append(out, i)
		}
	}
	return out
}

// list reads a list of mappings.
func (f *Fields) list(key string) []*Fields {
	n := f.value(key)
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	out := make([]*Fields, len(n.Content))
	for i, c := range n.Content {
		out[i] = newFields(f.file, c, f.bad, f.errs)
	}
	return out
}

// texts reads a list of texts; each is the node of its Fields.
func (f *Fields) texts(key string) []*Fields {
	return slices.DeleteFunc(f.list(key), func(item *Fields) bool { return f.bad[item.node] })
}

// scalar reads one scalar; parse words what it wants.
func scalar[T any](f *Fields, key string, def T, parse func(string) (T, error)) T {
	n := f.value(key)
	if n == nil {
		return def
	}
	if n.Kind != yaml.ScalarNode {
		f.refuse(key, "%s: want one value", key)
		return def
	}
	v, err := parse(n.Value)
	if err != nil {
		f.refuse(key, "%s is %s: %v", key, quote(n.Value), err)
		return def
	}
	return v
}
