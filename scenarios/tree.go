package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Limits of a scenario file. An alias counts as often as it is used, so that a
// small file can't stand for a huge one.
const (
	maxFile  = 1 << 20
	maxNodes = 50_000
	maxDepth = 32
)

// loader carries one Load from the text to the Scenario.
type loader struct {
	file   string
	schema Schema
	errs   Errors
	bad    map[*yaml.Node]bool // values that the schema refused: read as absent
	nodes  int                 // copied so far
	unread bool                // a fault could not be read: whom it acts on is not known
}

func (l *loader) fail(line, column int, hint, format string, args ...any) {
	if len(l.errs) < 10*maxErrors {
		l.errs = append(l.errs, Error{Pos: Pos{l.file, line, column}, Msg: fmt.Sprintf(format, args...), Hint: hint})
	}
}

// parse reads the one document of a file as a plain tree: aliases copied in,
// keys checked. It gives nil when there is nothing to go on with.
func (l *loader) parse(data []byte) *yaml.Node {
	if len(data) > maxFile {
		l.fail(1, 1, "", "the file has %d bytes, the limit is %d", len(data), maxFile)
		return nil
	}
	if line, column, ok := badRune(data); ok {
		l.fail(line, column, "", "the text is not UTF-8, or has a control character")
		return nil
	}
	yl, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults())
	if err != nil {
		l.fail(1, 1, "", "not YAML: %v", err)
		return nil
	}
	var doc yaml.Node
	if err := yl.Load(&doc); err != nil {
		l.failYAML(err)
		return nil
	}
	root := &doc
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		root = doc.Content[0]
	}
	var second yaml.Node
	switch err := yl.Load(&second); {
	case errors.Is(err, io.EOF):
	case err != nil:
		l.failYAML(err)
	default:
		l.fail(second.Line, max(1, second.Column), "", "a second document begins here; a file holds one %s", strings.TrimPrefix(l.schema.what(), "the "))
	}
	return l.plain(root, nil, 0)
}

func (l *loader) failYAML(err error) {
	var le *yaml.LoadError
	switch {
	case errors.Is(err, io.EOF):
		l.fail(1, 1, "", "the file is empty")
	case errors.As(err, &le):
		msg := le.Message
		if le.ContextMsg != "" {
			msg = le.ContextMsg + ": " + msg
		}
		l.fail(max(1, le.Mark.Line), max(1, le.Mark.Column), "", "not YAML: %s", msg)
	default:
		l.fail(1, 1, "", "not YAML: %v", err)
	}
}

// plain copies a tree without aliases, reports what YAML allows and the
// language does not, and leaves those parts out. A nil answer ends the load:
// the tree is too large or too deep. via is the alias that led here.
func (l *loader) plain(n, via *yaml.Node, depth int) *yaml.Node {
	where := n
	if via != nil {
		where = via
	}
	if l.nodes++; l.nodes > maxNodes {
		l.fail(where.Line, where.Column, "", "more than %d values, aliases counted as often as they are used", maxNodes)
		return nil
	}
	if depth > maxDepth {
		l.fail(where.Line, where.Column, "", "nested deeper than %d levels", maxDepth)
		return nil
	}
	if n.Kind == yaml.AliasNode {
		if via == nil {
			via = n
		}
		return l.plain(n.Alias, via, depth+1)
	}
	if n.Style&yaml.TaggedStyle != 0 {
		l.fail(n.Line, n.Column, "", "the tag %s: tags are not part of the language", n.Tag)
	}
	out := &yaml.Node{Kind: n.Kind, Tag: n.ShortTag(), Value: n.Value, Style: n.Style, Line: n.Line, Column: n.Column}
	if n.Kind == yaml.MappingNode {
		return l.plainMapping(n, out, via, depth)
	}
	for _, c := range n.Content {
		item := l.plain(c, via, depth+1)
		if item == nil {
			return nil
		}
		out.Content = append(out.Content, item)
	}
	return out
}

func (l *loader) plainMapping(n, out, via *yaml.Node, depth int) *yaml.Node {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.ShortTag() == "!!merge" {
			l.fail(key.Line, key.Column, "", "merge keys are not part of the language; an alias may stand for a whole value")
			continue
		}
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" {
			l.fail(key.Line, key.Column, "", "a key must be a plain word")
			continue
		}
		if line, twice := first[key.Value]; twice {
			l.fail(key.Line, key.Column, "", "%s is given twice, first on line %d", quote(key.Value), line)
			continue
		}
		first[key.Value] = key.Line
		value := l.plain(n.Content[i+1], via, depth+1)
		if value == nil {
			return nil
		}
		out.Content = append(out.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: key.Value, Line: key.Line, Column: key.Column}, value)
	}
	return out
}

// plainJSON is a tree as the values that the JSON Schema validator knows.
func plainJSON(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = plainJSON(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		s := make([]any, len(n.Content))
		for i, c := range n.Content {
			s[i] = plainJSON(c)
		}
		return s
	}
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool":
		return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
	case "!!int":
		// Decimal only: 0x10 and 1_000 stay text, which the schema refuses.
		if v, err := strconv.ParseInt(n.Value, 10, 64); err == nil {
			return v
		}
		fallthrough
	case "!!float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
			return v
		}
	}
	return n.Value // also what is out of range: the schema then refuses the text
}

// find walks a path of the validator; key is the key node of the last step.
func find(root *yaml.Node, path []string) (key, value *yaml.Node) {
	value = root
	for _, token := range path {
		key = nil
		switch value.Kind {
		case yaml.MappingNode:
			k, v := entry(value, token)
			if v == nil {
				return key, value
			}
			key, value = k, v
		case yaml.SequenceNode:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(value.Content) {
				return key, value
			}
			value = value.Content[i]
		default:
			return key, value
		}
	}
	return key, value
}

// entry finds a key of a mapping and its value; nil if there is none.
func entry(mapping *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i], mapping.Content[i+1]
		}
	}
	return nil, nil
}

// badRune finds the first byte that is no UTF-8 or a control character that
// YAML does not allow; the YAML reader itself gives no position for it.
func badRune(data []byte) (line, column int, found bool) {
	line, column = 1, 1
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size == 1,
			r < 0x20 && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return line, column, true
		case r == '\n':
			line, column = line+1, 0
		}
		i, column = i+size, column+1
	}
	return 0, 0, false
}

// quote shows a value of the file in a message: bounded, on one line.
func quote(s string) string {
	const most = 40
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return strconv.Quote(s)
}
