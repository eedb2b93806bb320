package fault

import (
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestSchemas: the language takes each kind as the docs write it, and refuses
// at the right place what it can not mean.
func TestSchemas(t *testing.T) {
	schema, err := scenarios.Compose(scenarios.Parts{Faults: Parts(), Policies: []string{"paho"}, Metrics: []scenarios.MetricPart{{Name: "censored"}}})
	if err != nil {
		t.Fatal(err)
	}
	load := func(fault string) error {
		text := "name: x\nphases:\n  - name: storm\n    for: 1m\n    faults:\n      - " + fault + "\n"
		_, err := scenarios.Load("x.yaml", []byte(text), schema)
		return err
	}
	for _, fault := range []string{
		"close: {who: {share: 10%}, times: 2, every: 1s, jitter: 20%}",
		"swallow: {packet: PUBACK, direction: in, nth: 2, then: close}",
		"swallow: {packet: PUBLISH, direction: out, qos: 2, share: 10%}",
		"cut: {packet: PUBREL, direction: out, side: before, times: 3, every: 5s}",
		"takeover: {who: {count: 5}, times: 100, every: 5ms, hold: 0s}",
		"disconnect: {spread: 1s}",
		"rst: {who: {share: 10%}, times: 2, every: 1s}",
		"rst: {by: broker, spread: 1s}",
		"slow-close: {delay: 3s}",
		"truncate: {packet: PUBLISH, direction: out, bytes: 9}",
		"blackhole: {direction: up, dials: false, for: 2s}",
		"latency: {delay: 80ms, direction: down}",
		"jitter: {up_to: 60ms, spread: 1s, for: 3s}",
		"bandwidth: {per_second: 4KiB}",
		"refuse: {who: {count: 2}, after: 1s, for: 2s}",
		"close: {who: {label: {site: a}, count: 3, seeded: 7}, poisson: 10/s}",
		"takeover: {who: {list: [3, 0, 10-20]}}",
		"keepalive-stop: {who: {count: 2}, spread: 1s, for: 3s}",
		"broker-kill: {}",
		"broker-kill: {after: 1s, for: 10s, persistence: on}",
		"broker-stop: {for: 10s, persistence: off}",
		"broker-restart: {how: stop, down: 50ms, persistence: on}",
		"broker-freeze: {after: 1s, for: 5s}",
		"exec: {inject: [sleep, 1], heal: [kubectl, rollout, undo], env: [KUBECONFIG], timeout: 5s, after: 1s, for: 2s}",
		"nft-drop: {}",
		"nft-reject: {direction: up, for: 2s}",
		"syn-limit: {rate: 50/s, burst: 10}",
		"netem: {delay: 50ms, jitter: 5ms, loss: 1%}",
	} {
		if err := load(fault); err != nil {
			t.Errorf("%s: %v", fault, err)
		}
	}
	for fault, want := range map[string]string{
		"close: {every: 1s}":                                          "x.yaml:6:17: every needs times",
		"close: {spread: 1s, rate: 1/s}":                              "x.yaml:6:29: close has at most one of spread, rate and poisson",
		"cut: {spread: 1s, rate: 1/s}":                                "cut has at most one of spread, rate and poisson",
		"cut: {packet: PUBREL, direction: out}":                       "cut needs side",
		"cut: {packet: PUBRL, direction: out, side: before}":          `did you mean "PUBREL"?`,
		"swallow: {packet: PUBACK}":                                   "swallow needs direction",
		"swallow: {packet: PUBACK, direction: in, nth: 1, share: 1%}": "x.yaml:6:58: swallow has at most one of nth and share",
		"broker-kill: {who: {count: 1}}":                              "unknown key \"who\"",
		"broker-restart: {for: 1s}":                                   "unknown key \"for\"",
		"broker-restart: {how: burn}":                                 "want kill or stop",
		"broker-restart: {persistence: maybe}":                        "want on or off",
		"broker-freeze: {persistence: on}":                            "unknown key \"persistence\"",
		"exec: {heal: [a]}":                                           "exec needs inject",
		"exec: {inject: ls -l}":                                       "want a list of a program and its arguments",
		"exec: {inject: []}":                                          "inject",
		"exec: {inject: [a], env: [A=b]}":                             "want the name of a variable",
		"nft-drop: {direction: in}":                                   "want both, up or down",
		"syn-limit: {burst: 1}":                                       "syn-limit needs rate",
		"netem: {loss: 1%, jitter: 1s}":                               "needs delay",
		"blackhole: {direction: in}":                                  "both, up or down",
		"rst: {by: proxy}":                                            "want client or broker",
		"blackhole: {times: 2}":                                       `unknown key "times"`,
		"latency: {for: 1s}":                                          "latency needs delay",
		"refuse: {spread: 1s}":                                        `unknown key "spread"`,
		"truncate: {packet: PUBLISH}":                                 "truncate needs direction",
		"disconnect: {hold: 1s}":                                      "unknown key \"hold\"",
	} {
		if err := load(fault); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", fault, err, want)
		}
	}
}
