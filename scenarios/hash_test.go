package scenarios_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

const hashed = `name: x
fleets: [{name: devices, subscribe: [{topic: "a/{client}"}]}]
traffic: [{to: devices, topic: "a/{client}", each: 1/s}]
phases:
  - {name: connect, until: {connected: 100%}, timeout: 60s}
  - {name: storm, faults: [{close: {spread: 60s}}], until: {back: 100%}, timeout: 60s}
expect: [{metric: outage.p99, below: 5s}]
`

// TestHash: what means the same has the same hash, and nothing else has.
func TestHash(t *testing.T) {
	base := scenarios.Hash(load(t, hashed))
	for name, tc := range map[string]struct {
		old, new string
		same     bool
	}{
		"seed":             {"name: x\n", "name: x\nseed: 9\n", true},
		"summary":          {"name: x\n", "name: x\nsummary: Other words.\n", true},
		"comment":          {"name: x\n", "# why\nname: x\n", true},
		"spelling":         {"spread: 60s", "spread: 1m0s", true},
		"limit spelling":   {"below: 5s", "below: 5000ms", true},
		"default clients":  {"name: x\n", "name: x\nclients: 1000\n", true},
		"default mqtt":     {"{name: devices,", "{name: devices, mqtt: 3.1.1, share: 100%, back: first-message,", true},
		"default params":   {"{spread: 60s}", "{spread: 60s, after: 0s, who: {share: 100.0%}, fleet: devices}", true},
		"default timeouts": {"{back: 100%}, timeout: 60s", "{back: 100%}, timeout: 60s, on_timeout: continue, repeat: {times: 1, every: 9s}", true},
		"default traffic":  {"each: 1/s", "each: 10/10s, payload: 64B, from: control, qos: 0", true},
		"name":             {"name: x\n", "name: y\n", false},
		"clients":          {"name: x\n", "name: x\nclients: 999\n", false},
		"fault parameter":  {"spread: 60s", "spread: 61s", false},
		"one parameter":    {"{spread: 60s}", "{spread: 60s, who: {share: 99%}}", false},
		"no parameter":     {"{spread: 60s}", "{}", false},
		"waves":            {"{back: 100%}, timeout: 60s", "{back: 100%}, timeout: 60s, repeat: {times: 2, every: 9s}", false},
		"on timeout":       {"{back: 100%}, timeout: 60s", "{back: 100%}, timeout: 60s, on_timeout: abort", false},
		"until":            {"{back: 100%}", "{back: 0%}", false},
		"limit":            {"below: 5s", "at_most: 5s", false},
		"fleet":            {"{name: devices,", "{name: devices, session: {clean: true},", false},
		"rate":             {"each: 1/s", "total: 1/s", false},
		"default delivery": {"each: 1/s", "each: 1/s, burst: 1, retain: false", true},
		"burst":            {"each: 1/s", "each: 1/s, burst: 2", false},
		"retain":           {"each: 1/s", "each: 1/s, retain: true", false},
		"while":            {"each: 1/s", "each: 1/s, while: away", false},
		"at a fault":       {"each: 1/s", "at: fault, burst: 1", false},
		"publisher":        {"{to: devices,", "{from: devices, to: devices,", false},
		"policy":           {"{name: devices,", "{name: devices, reconnect: {policy: immediate},", false},
		"will":             {"{name: devices,", "{name: devices, will: {topic: w},", false},
	} {
		text := strings.Replace(hashed, tc.old, tc.new, 1)
		if text == hashed {
			t.Errorf("%s: nothing was changed", name)
			continue
		}
		if same := scenarios.Hash(load(t, text)) == base; same != tc.same {
			t.Errorf("%s: same hash is %v", name, same)
		}
	}
}

// TestHashOfDefaults: a key at its default is as good as left out, inside the
// mappings that have no default themselves too.
func TestHashOfDefaults(t *testing.T) {
	for _, tc := range []struct {
		name, written, other string
		same                 bool
	}{
		{"will defaults", "will: {topic: w}", "will: {topic: w, qos: 0, retain: false}", true},
		{"will topic", "will: {topic: w}", "will: {topic: v}", false},
		{"will qos", "will: {topic: w}", "will: {topic: w, qos: 2}", false},
		{"will retain", "will: {topic: w}", "will: {topic: w, retain: true}", false},
		{"delay spelling", "reconnect: {policy: fixed, delay: 2s}", "reconnect: {policy: fixed, delay: 2000ms}", true},
		{"delay", "reconnect: {policy: fixed, delay: 2s}", "reconnect: {policy: fixed, delay: 3s}", false},
		{"policy", "reconnect: {policy: fixed, delay: 2s}", "reconnect: {policy: immediate}", false},
	} {
		hash := func(key string) string {
			return scenarios.Hash(load(t, strings.Replace(hashed, "{name: devices,", "{name: devices, "+key+",", 1)))
		}
		if same := hash(tc.written) == hash(tc.other); same != tc.same {
			t.Errorf("%s: same hash is %v", tc.name, same)
		}
	}
}

// TestHashOfFaultParameters: a parameter at the default that the kind's schema
// states counts as left out, whatever its type and spelling.
func TestHashOfFaultParameters(t *testing.T) {
	parts := testParts()
	parts.Faults = append(parts.Faults, scenarios.FaultPart{Name: "snip", Doc: "Snips.", Schema: json.RawMessage(`{
		"type": "object", "additionalProperties": false,
		"properties": {
			"fleet": {"$ref": "#/$defs/name"},
			"nth": {"type": "integer", "default": 1},
			"times": {"type": "integer", "default": 10000},
			"jitter": {"$ref": "#/$defs/share", "default": "0%"},
			"hold": {"$ref": "#/$defs/duration", "default": "1s"},
			"side": {"enum": ["before", "after"], "default": "before"},
			"late": {"type": "boolean", "default": false}
		}}`)})
	schema, err := scenarios.Compose(parts)
	if err != nil {
		t.Fatal(err)
	}
	hash := func(params string) string {
		text := "name: x\nfleets: [{name: a, share: 50%}, {name: b, share: 50%}]\nphases: [{name: a, for: 1s, faults: [{snip: " + params + "}]}]\n"
		sc, err := scenarios.Load("x.yaml", []byte(text), schema)
		if err != nil {
			t.Fatal(err)
		}
		return scenarios.Hash(sc)
	}
	base := hash("{}")
	for _, same := range []string{
		"{fleet: a, nth: 1, times: 10000, jitter: 0%, hold: 1s, side: before, late: false}",
		"{nth: 1.0}", "{times: 1e4}", "{jitter: 0.0%}", "{hold: 1000ms}", "{side: 'before'}",
	} {
		if hash(same) != base {
			t.Errorf("%s: another hash", same)
		}
	}
	seen := map[string]string{base: "{}"}
	for _, other := range []string{"{fleet: b}", "{nth: 2}", "{times: 10001}", "{jitter: 1%}", "{hold: 1001ms}", "{side: after}", "{late: true}"} {
		h := hash(other)
		if seen[h] != "" {
			t.Errorf("%s has the hash of %s", other, seen[h])
		}
		seen[h] = other
	}
}
