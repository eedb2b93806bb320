package harness

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestFaultsOverPipe: what ends, cuts and impairs a connection does so over
// memory, with each client library: it is explained, everybody is back in the
// session of before, and no message of QoS 1 is lost.
func TestFaultsOverPipe(t *testing.T) {
	for fault, kind := range map[string]timeline.EndKind{
		"close: {who: {list: [0, 1, 2]}}":                                              timeline.EndEOF,
		"fin: {who: {list: [0, 1, 2]}}":                                                timeline.EndEOF,
		"slow-close: {who: {list: [0, 1, 2]}, delay: 300ms}":                           timeline.EndEOF,
		"cut: {who: {list: [0, 1, 2]}, packet: PUBLISH, direction: in, side: before}":  timeline.EndEOF,
		"truncate: {who: {list: [0, 1, 2]}, packet: PUBLISH, direction: in, bytes: 7}": timeline.EndEOF,
	} {
		for _, driver := range []string{"paho", "strict"} {
			t.Run(driver+"/"+fault, func(t *testing.T) {
				r, dir := play(t, scenario(t, onLinks, "# storm", storm("{"+fault+"}")), PlanOptions{Target: broker.KindPipe, Driver: driver}, Options{})
				clean(t, r)
				if err := shows(t, r, dir, kind); err != nil {
					t.Error(err)
				}
				for _, c := range conns(t, dir)["devices"] {
					if c.SessionPresent != (c.N > 1) || !strings.HasPrefix(c.Local, "client-") {
						t.Errorf("%+v", c)
					}
				}
				if r.Target.Transport != "pipe" || r.Target.Settings["connections"] == "" {
					t.Errorf("target %+v", r.Target)
				}
			})
		}
	}
}

// TestImpairedPipes: what is held or late over memory is ridden out, and a dial
// that is refused is tried again.
func TestImpairedPipes(t *testing.T) {
	r, _ := play(t, scenario(t, onLinks, "# storm", storm(`
    {blackhole: {who: {list: [0]}, for: 800ms}},
    {latency: {who: {list: [1, 2]}, delay: 60ms, for: 1s}},
    {bandwidth: {who: {list: [3]}, per_second: 2KiB, for: 1s}},
    {refuse: {who: {list: [4]}, for: 500ms}}, {fin: {who: {list: [4]}, after: 100ms}}`)), PlanOptions{Target: broker.KindPipe}, Options{})
	clean(t, r)
	if w := r.Waves[0]; w.Hit != 1 || w.Back != 1 || w.RodeOut != 4 {
		t.Errorf("%d hit, %d back, %d rode out", w.Hit, w.Back, w.RodeOut)
	}
}

// TestPipeRefuses: what only a socket, the kernel or a process of the broker's
// own can do is refused by the plan, in words that say which target can.
func TestPipeRefuses(t *testing.T) {
	for fault, others := range map[string]string{
		"rst: {}":            "embedded or --target child or --target tcp://HOST:PORT or --target mosquitto",
		"nft-drop: {}":       "embedded or --target child or --target mosquitto",
		"broker-kill: {}":    "child or --target mosquitto",
		"broker-restart: {}": "child or --target mosquitto",
	} {
		_, err := NewPlan(scenario(t, onLinks, "# storm", storm("{"+fault+"}")), PlanOptions{Tables: DefaultTables(), Target: broker.KindPipe})
		if ExitCode(err) != ExitUsage || !strings.Contains(fmt.Sprint(err), "target pipe can not do this: run it with --target "+others) {
			t.Errorf("%s: %v", fault, err)
		}
	}
}
