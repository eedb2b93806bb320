package scenarios_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestLibrary: each shipped scenario loads under its own name, says what it
// stands for, and keeps its hash: compare matches runs of two versions by it.
func TestLibrary(t *testing.T) {
	schema := testSchema(t)
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	var hashes strings.Builder
	library := scenarios.Library()
	for _, s := range library {
		sc, err := scenarios.Load(s.File(), s.Data, schema)
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if sc.Name != s.Name || s.Summary == "" || sc.Summary != s.Summary {
			t.Errorf("%s: its name is %s, its summary %q", s.Name, sc.Name, sc.Summary)
		}
		if !strings.HasPrefix(string(s.Data), "# ") || !strings.Contains(string(s.Data), "\n# Stands for: ") {
			t.Errorf("%s does not begin with a comment that says what it stands for", s.Name)
		}
		if len(sc.Expect) == 0 {
			t.Errorf("%s expects nothing", s.Name)
		}
		if last := sc.Phases[len(sc.Phases)-1].Until; !last.Drains() {
			t.Errorf("%s does not end with a drain: what is still on its way would be lost", s.Name)
		}
		if !strings.Contains(readme, "\n| `"+s.Name+"` | "+s.Summary+" |\n") {
			t.Errorf("README.md has no row for %s: %s", s.Name, s.Summary)
		}
		fmt.Fprintf(&hashes, "%s %s\n", scenarios.Hash(sc), s.Name)
	}
	if len(library) != 34 {
		t.Errorf("%d shipped scenarios", len(library))
	}
	golden(t, "testdata/hashes.golden", hashes.String())
}

func TestLookup(t *testing.T) {
	if s, err := scenarios.Lookup("kick-all"); err != nil || s.Name != "kick-all" {
		t.Errorf("%v %v", s, err)
	}
	_, err := scenarios.Lookup("kick-al")
	if !errors.Is(err, scenarios.ErrUnknownScenario) || !strings.Contains(err.Error(), `did you mean "kick-all"?`) {
		t.Errorf("%v", err)
	}
	_, err = scenarios.Lookup("nothing-like-it")
	if !errors.Is(err, scenarios.ErrUnknownScenario) || !strings.Contains(err.Error(), "ramp-baseline") {
		t.Errorf("%v", err)
	}
}

func load(t *testing.T, text string) *scenarios.Scenario {
	t.Helper()
	sc, err := scenarios.Load("t.yaml", []byte(text), testSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// TestSecondExclusion: a kind may exclude more pairs of parameters than the one
// of its own "not"; the wording is found inside allOf too.
func TestSecondExclusion(t *testing.T) {
	parts := testParts()
	parts.Faults = append(parts.Faults, scenarios.FaultPart{Name: "snip", Doc: "Snips.", Schema: json.RawMessage(`{
		"type": "object", "x-not": "snip has at most one of a and b", "not": {"required": ["a", "b"]},
		"allOf": [
			{"x-not": "snip has at most one of c and d", "not": {"required": ["c", "d"]}},
			{"x-not": "snip has at most one of e and f", "not": {"required": ["e", "f"]}}
		]}`)})
	schema, err := scenarios.Compose(parts)
	if err != nil {
		t.Fatal(err)
	}
	for pair, want := range map[string]string{
		"a: 1, b: 1": "x.yaml:2:43: snip has at most one of a and b",
		"c: 1, d: 1": "x.yaml:2:43: snip has at most one of c and d",
		"f: 1, e: 1": "x.yaml:2:43: snip has at most one of e and f",
	} {
		_, err := scenarios.Load("x.yaml", []byte("name: x\nphases: [{name: a, faults: [{snip: {"+pair+"}}], for: 1s}]\n"), schema)
		if err == nil || !strings.HasPrefix(err.Error(), want+"\n") || strings.Contains(err.Error(), "<nil>") {
			t.Errorf("%s: %v, want %s", pair, err, want)
		}
	}
}

// TestSchemaDefaults holds the defaults that the schema tells editors against
// those that the loader fills in.
func TestSchemaDefaults(t *testing.T) {
	sc := load(t, "name: x\nfleets: [{name: devices, will: {topic: w}, subscribe: [{topic: \"a/{client}\"}]}]\ntraffic: [{to: devices, topic: \"a/{client}\", each: 1/s}]\nphases: [{name: a, for: 1s}, {name: b, for: 1s, faults: [{close: {}}]}]\nexpect: [{metric: censored, equals: 0}]\n")
	fl, tr := sc.Fleets[0], sc.Traffic[0]
	var doc map[string]any
	if err := json.Unmarshal(testSchema(t).JSON(), &doc); err != nil {
		t.Fatal(err)
	}
	for path, got := range map[string]any{
		"properties.summary":                                           sc.Summary,
		"properties.seed":                                              float64(sc.Seed),
		"properties.clients":                                           float64(sc.Clients),
		"$defs.fleet.properties.client_id":                             fl.ClientID,
		"$defs.fleet.properties.mqtt":                                  "3.1.1",
		"$defs.fleet.properties.session.properties.clean":              fl.Session.Clean,
		"$defs.fleet.properties.session.properties.keep_alive":         fl.Session.KeepAlive.String(),
		"$defs.fleet.properties.reconnect.properties.policy":           fl.Reconnect.Policy,
		"$defs.fleet.properties.reconnect.properties.max":              fl.Reconnect.Max.String(),
		"$defs.fleet.properties.connect.properties.rate":               scenarios.FormatRate(fl.Connect.Rate),
		"$defs.fleet.properties.resubscribe":                           fl.Resubscribe,
		"$defs.fleet.properties.subscribe.items.properties.qos":        float64(fl.Subscribe[0].QoS),
		"$defs.fleet.properties.back":                                  fl.Back,
		"$defs.fleet.properties.will.properties.qos":                   float64(fl.Will.QoS),
		"$defs.fleet.properties.will.properties.retain":                fl.Will.Retain,
		"$defs.traffic.properties.burst":                               float64(scenarios.DefaultBurst),
		"$defs.traffic.properties.retain":                              tr.Retain,
		"$defs.traffic.properties.from":                                tr.From,
		"$defs.traffic.properties.qos":                                 float64(tr.QoS),
		"$defs.traffic.properties.payload":                             fmt.Sprintf("%dB", tr.Payload),
		"$defs.phase.properties.repeat.properties.times":               float64(sc.Phases[1].Repeat.Times),
		"$defs.expectation.properties.on_fail":                         sc.Expect[0].OnFail,
		"$defs.fault.properties.close.properties.after":                time.Duration(0).String(),
		"$defs.fault.properties.close.properties.spread":               time.Duration(0).String(),
		"$defs.fault.properties.close.properties.who.default.share|is": "100%",
	} {
		here, _ := strings.CutSuffix(path, "|is")
		var v any = doc
		keys := strings.Split(here, ".")
		if here == path {
			keys = append(keys, "default")
		}
		for _, k := range keys {
			m, ok := v.(map[string]any)
			if !ok {
				t.Fatalf("%s: nothing at %s", path, k)
			}
			v = m[k]
		}
		if !cmp.Equal(v, got) {
			t.Errorf("%s: the schema says %v, the loader %v", path, v, got)
		}
	}
}

func TestCompose(t *testing.T) {
	a, err := scenarios.SchemaJSON(testParts())
	if err != nil {
		t.Fatal(err)
	}
	b, err := scenarios.SchemaJSON(testParts())
	if err != nil || string(a) != string(b) {
		t.Errorf("equal parts gave other bytes: %v", err)
	}
	if strings.Contains(string(a), "\\u003c") {
		t.Error("the schema is escaped for HTML")
	}
	for name, change := range map[string]func(*scenarios.Parts){
		"no JSON":       func(p *scenarios.Parts) { p.Faults[0].Schema = json.RawMessage("{") },
		"no object":     func(p *scenarios.Parts) { p.Faults[0].Schema = json.RawMessage("true") },
		"no schema":     func(p *scenarios.Parts) { p.Faults[0].Schema = json.RawMessage(`{"type": 5}`) },
		"dangling $ref": func(p *scenarios.Parts) { p.Faults[0].Schema = json.RawMessage(`{"$ref": "#/$defs/none"}`) },
		"twice":         func(p *scenarios.Parts) { p.Faults = append(p.Faults, p.Faults[0]) },
		"no name":       func(p *scenarios.Parts) { p.Faults[0].Name = "" },
	} {
		p := testParts()
		change(&p)
		if _, err := scenarios.Compose(p); !errors.Is(err, scenarios.ErrSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := scenarios.Load("x.yaml", []byte("name: x\n"), scenarios.Schema{}); !errors.Is(err, scenarios.ErrSchema) {
		t.Errorf("an empty schema: %v", err)
	}
}

// TestPolicyParameters: an own policy that joined the harness's table takes base
// and max, at their defaults when they are left out; none takes nothing.
func TestPolicyParameters(t *testing.T) {
	parts := testParts()
	parts.Policies = append(parts.Policies, "own")
	schema, err := scenarios.Compose(parts)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]scenarios.Reconnect{
		"policy: own, base: 2s, max: 5s": {Policy: "own", Base: 2 * time.Second, Max: 5 * time.Second},
		"policy: own":                    {Policy: "own", Base: time.Second, Max: 30 * time.Second},
		"policy: full-jitter, max: 50ms": {Policy: "full-jitter", Base: 50 * time.Millisecond, Max: 50 * time.Millisecond},
		"policy: none":                   {Policy: "none"},
		"max: 5s":                        {Policy: "paho", Max: 5 * time.Second},
	} {
		sc, err := scenarios.Load("x.yaml", []byte("name: x\nfleets: [{name: a, reconnect: {"+text+"}}]\nphases: [{name: a, for: 1s}]\n"), schema)
		if err != nil || sc.Fleets[0].Reconnect != want {
			t.Errorf("%s: %v %v", text, sc, err)
		}
	}
}

func TestSize(t *testing.T) {
	text := []byte("name: x\nphases: [{name: a, for: 1s}]\n" + strings.Repeat("#\n", 1<<19))
	if _, err := scenarios.Load("x.yaml", text, testSchema(t)); err == nil || !strings.Contains(err.Error(), "the limit is 1048576") {
		t.Errorf("%v", err)
	}
	many := "name: x\nphases:\n" + strings.Repeat("  - {name: a, for: 1s}\n", 90) + strings.Repeat("zz: 1\n", 5000)
	_, err := scenarios.Load("x.yaml", []byte(many), testSchema(t))
	var errs scenarios.Errors
	if !errors.As(err, &errs) || len(errs) != 101 || !strings.Contains(errs[100].Error(), "more mistakes") {
		t.Errorf("%d mistakes shown", len(errs))
	}
}

// BenchmarkLoad is the cost of a shipped scenario and of files as large as the
// limit allows that are wrong everywhere: none may take long.
func BenchmarkLoad(b *testing.B) {
	fill := func(unit string) string { return strings.Repeat(unit, (1<<20-200)/len(unit)) }
	keys := func() string {
		var s strings.Builder
		for i := range 80_000 {
			fmt.Fprintf(&s, "k%d: 1\n", i)
		}
		return s.String()
	}
	s, err := scenarios.Lookup("kick-all")
	if err != nil {
		b.Fatal(err)
	}
	for name, text := range map[string]string{
		"kick-all":  string(s.Data),
		"fleets":    "name: x\nfleets:\n" + fill("- {}\n"),
		"phases":    "name: x\nphases:\n" + fill("- {name: a, for: 5}\n"),
		"same-key":  fill("k: 1\n"),
		"keys":      keys(),
		"deep":      fill("["),
		"one-line":  "name: x\nphases: [" + fill("{zz: 1},") + "]\n",
		"long-text": "name: " + fill("x") + "\n",
		"braces":    "name: x\nfleets: [{name: a, client_id: \"" + fill("{") + "\"}]\n",
		"aliases":   "name: &n x\nphases: [" + fill("*n,") + "]\n",
	} {
		schema := testSchema(b)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := scenarios.Load("x.yaml", []byte(text), schema); (err == nil) != (name == "kick-all") {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleLoad() {
	schema, err := scenarios.Compose(scenarios.Parts{
		Policies: []string{"paho"},
		Metrics:  []scenarios.MetricPart{{Name: "connect.p99", Unit: "s"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = scenarios.Load("ramp.yaml", []byte(`name: ramp
phases:
  - {name: connect, until: {conected: 100%}, timeout: 60s}
  - {name: steady, for: 5 seconds}
expect:
  - {metric: connect.p99, below: 1}
`), schema)
	fmt.Println(err)
	// Output:
	// ramp.yaml:3:29: unknown key "conected" in until (did you mean "connected"?)
	//       - {name: connect, until: {conected: 100%}, timeout: 60s}
	//                                 ^
	// ramp.yaml:4:25: for is "5 seconds", want a duration such as 250ms, 5s or 1m30s
	//       - {name: steady, for: 5 seconds}
	//                             ^
	// ramp.yaml:6:34: below is 1, and connect.p99 is a time: write 5s
	//       - {metric: connect.p99, below: 1}
	//                                      ^
}

func ExampleLookup() {
	s, err := scenarios.Lookup("kick-all")
	fmt.Println(s.Summary, err)
	// Output: Every connection is closed at once; the whole fleet comes back. <nil>
}
