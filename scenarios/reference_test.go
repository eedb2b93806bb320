package scenarios_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// sections are the headings of docs/scenarios.md and the mapping of the schema
// that each has a table of.
var sections = map[string]string{
	"## The scenario": "",
	"## fleets":       "$defs.fleet",
	"### session":     "$defs.fleet.properties.session",
	"### reconnect":   "$defs.fleet.properties.reconnect",
	"### connect":     "$defs.fleet.properties.connect",
	"### subscribe":   "$defs.fleet.properties.subscribe.items",
	"### will":        "$defs.fleet.properties.will",
	"## traffic":      "$defs.traffic",
	"## phases":       "$defs.phase",
	"### until":       "$defs.phase.properties.until",
	"### repeat":      "$defs.phase.properties.repeat",
	"### walk":        "$defs.phase.properties.walk",
	"### faults":      "$defs.fault.properties.close",
	"#### who":        "$defs.who",
	"## expect":       "$defs.expectation",
}

// TestReferencePage holds docs/scenarios.md against the schema: every key of
// every mapping has a row with its default, and no row is of another key.
func TestReferencePage(t *testing.T) {
	text, err := os.ReadFile("../docs/scenarios.md")
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(testSchema(t).JSON(), &schema); err != nil {
		t.Fatal(err)
	}
	for heading, path := range sections {
		for _, why := range differences(rows(string(text), heading), properties(schema, path)) {
			t.Errorf("docs/scenarios.md, %s: %s", heading, why)
		}
	}
	targets, err := scenarios.TargetSchemaJSON()
	if err != nil {
		t.Fatal(err)
	}
	var target map[string]any
	if err := json.Unmarshal(targets, &target); err != nil {
		t.Fatal(err)
	}
	for heading, path := range map[string]string{
		"## Target files": "", "### auth": "properties.auth", "### limits": "properties.limits", "### known_defects": "properties.known_defects.items",
	} {
		for _, why := range differences(rows(string(text), heading), properties(target, path)) {
			t.Errorf("docs/scenarios.md, %s: %s", heading, why)
		}
	}
	common := maps.Clone(properties(schema, "$defs.fault.properties.close"))
	maps.DeleteFunc(common, func(_ string, v any) bool { p, _ := v.(map[string]any); return p["$ref"] == "#/$defs/later" })
	for kind := range properties(schema, "$defs.fault") {
		own := maps.Clone(properties(schema, "$defs.fault.properties."+kind))
		victims := own["who"] != nil // a fault without them has another rate, if it has one
		maps.DeleteFunc(own, func(key string, _ any) bool {
			return common[key] != nil && (victims || key == "fleet" || key == "after")
		})
		for _, why := range differences(rows(string(text), "#### "+kind), own) {
			t.Errorf("docs/scenarios.md, %s: %s", kind, why)
		}
	}
}

// TestReferencePageCanFail shows that the rule above can fail.
func TestReferencePageCanFail(t *testing.T) {
	table := rows("## a\n| key | type | default |\n|---|---|---|\n| `x` | t | `1` |\n| `y` | t | none |\n## b\n| `z` | t | `1` |\n", "## a")
	for _, tt := range []struct {
		properties string
		want       int
	}{
		{`{"x": {"default": 1}, "y": {}}`, 0},
		{`{"x": {"default": 2}, "y": {}}`, 1},
		{`{"x": {}, "y": {}}`, 1},
		{`{"x": {"default": 1}, "y": {"default": "s"}}`, 1},
		{`{"x": {"default": 1}}`, 1},
		{`{"x": {"default": 1}, "y": {}, "z": {"default": 1}}`, 1},
		{`{"x": {"default": 1}, "y": {}, "z": {"$ref": "#/$defs/later"}}`, 0},
		{`{}`, 2},
	} {
		var p map[string]any
		if err := json.Unmarshal([]byte(tt.properties), &p); err != nil {
			t.Fatal(err)
		}
		if got := differences(table, p); len(got) != tt.want {
			t.Errorf("%s: %q", tt.properties, got)
		}
	}
}

// rows gives the default cell of each key in the first table below a heading.
func rows(page, heading string) map[string]string {
	_, section, _ := strings.Cut("\n"+page, "\n"+heading+"\n")
	section, _, _ = strings.Cut(section, "\n#")
	out := map[string]string{}
	inside := false
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch {
		case strings.TrimSpace(cells[0]) == "key":
			inside = true
		case !strings.HasPrefix(line, "|") && inside:
			return out
		case inside && len(cells) > 2 && !strings.HasPrefix(line, "|---"):
			out[strings.Trim(cells[0], " `")] = strings.TrimSpace(cells[2])
		}
	}
	return out
}

func properties(schema map[string]any, path string) map[string]any {
	for _, key := range strings.Split(path, ".") {
		if key != "" {
			schema, _ = schema[key].(map[string]any)
		}
	}
	p, _ := schema["properties"].(map[string]any)
	return p
}

func differences(table map[string]string, properties map[string]any) []string {
	var out []string
	for key, v := range properties {
		p, _ := v.(map[string]any)
		if p["$ref"] == "#/$defs/later" {
			continue
		}
		cell, found := table[key]
		want := "" // no one value
		switch def := p["default"].(type) {
		case nil, map[string]any: // in words
		case string:
			want = "`" + def + "`"
			if def == "" {
				want = "`\"\"`"
			}
		default:
			want = fmt.Sprintf("`%v`", def)
		}
		switch {
		case !found:
			out = append(out, "no row for "+key)
		case want != "" && cell != want, want == "" && strings.HasPrefix(cell, "`") && strings.Count(cell, "`") == 2:
			out = append(out, fmt.Sprintf("%s: the default is %s, the schema's %s", key, cell, want))
		}
	}
	for key := range table {
		if p, known := properties[key].(map[string]any); !known || p["$ref"] == "#/$defs/later" {
			out = append(out, "a row for "+key+", which is no key")
		}
	}
	slices.Sort(out)
	return out
}
