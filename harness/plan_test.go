package harness

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func planText(t *testing.T, sc *scenarios.Scenario, seed uint64, clients int) string {
	t.Helper()
	var p *scenarios.Plan
	var err error
	for _, target := range []string{"embedded", "child", "mosquitto"} { // one that can do what the scenario needs
		if p, err = NewPlan(sc, PlanOptions{Tables: DefaultTables(), Target: target, Seed: &seed, Clients: clients}); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := scenarios.WritePlan(&b, p, true); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestSameSeedSamePlan covers every shipped scenario, victims included.
func TestSameSeedSamePlan(t *testing.T) {
	for _, s := range scenarios.Library() {
		sc, _, err := LoadScenario(s.Name, DefaultTables())
		if err != nil {
			t.Fatal(err)
		}
		first := planText(t, sc, 7, 300)
		if planText(t, sc, 7, 300) != first {
			t.Errorf("%s: seed 7 gave two plans", s.Name)
		}
		if planText(t, sc, 8, 300) == first {
			t.Errorf("%s: seeds 7 and 8 gave the same plan", s.Name)
		}
	}
}

func TestPlanFleetsAddUp(t *testing.T) {
	for _, shares := range [][]float64{{1}, {0.3, 0.7}, {1. / 3, 1. / 3, 1. / 3}, {0.999, 0.001}, {0.001, 0.999}} {
		for _, clients := range []int{len(shares), 7, 100, 1001} {
			var fleets []scenarios.Fleet
			for _, s := range shares {
				fleets = append(fleets, scenarios.Fleet{Share: s})
			}
			got, err := planFleets(fleets, clients)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			for i, f := range got {
				sum += f.Clients
				if f.Clients < 1 || float64(f.Clients) > shares[i]*float64(clients)+2 {
					t.Errorf("%v of %d: fleet %d has %d", shares, clients, i, f.Clients)
				}
			}
			if sum != clients {
				t.Errorf("%v of %d adds up to %d", shares, clients, sum)
			}
		}
	}
	if _, err := planFleets(make([]scenarios.Fleet, 3), 2); !errors.Is(err, ErrUsage) {
		t.Errorf("2 clients for 3 fleets: %v", err)
	}
}

func TestHorizonIsCutAtTheNextWave(t *testing.T) {
	ph := scenarios.Phase{Until: &scenarios.Until{}, Timeout: time.Minute, Repeat: scenarios.Repeat{Times: 3, Every: 10 * time.Second}}
	for k, want := range []time.Duration{10 * time.Second, 10 * time.Second, time.Minute} {
		if got, shortest := horizons(ph, steps(ph, 1), k); got != want || shortest != want {
			t.Errorf("wave %d: %s, at least %s, want %s", k+1, got, shortest, want)
		}
	}
}

func TestCheckTarget(t *testing.T) {
	for _, c := range []struct{ target, endpoint, kick, says string }{
		{"embedded", "", "", ""},
		{"child", "", "fin", ""},
		{"tcp://127.0.0.1:1883", "", "fin", ""},
		{"tcp://127.0.0.1:1883", "http://127.0.0.1:80", "", ""},
		{"tcp://127.0.0.1:1883", "", "", "--close-endpoint URL"},
		{"tcp://127.0.0.1:1883", "", "", "--kick fin"},
		{"tcp://127.0.0.1:1883", "http://127.0.0.1:80", "fin", "exclude"},
		{"tcp://127.0.0.1:1883", "127.0.0.1:80", "", "http://HOST:PORT"},
		{"embedded", "http://127.0.0.1:80", "", "for an address"},
		{"embedded", "", "rst", "only fin"},
		{"address", "", "", "want embedded, pipe, child, mosquitto or tcp://HOST:PORT, or a target file"},
		{"tls://127.0.0.1:8883", "", "fin", "known, not in this version"},
		{"mqtt://127.0.0.1:1883", "", "fin", "want tcp://"},
		{"tcp://:1883", "", "fin", "want tcp://"},
		{"tcp://127.0.0.1", "", "fin", "want tcp://"},
		{"tcp://127.0.0.1:0", "", "fin", "no port"},
		{"tcp://u:p@127.0.0.1:1883", "", "fin", "nothing else"},
	} {
		err := DefaultTables().CheckTarget(c.target, c.endpoint, c.kick)
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || ExitCode(err) != ExitUsage) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestPlanRefuses covers what the loader can not see: it needs the fleets'
// sizes and the waves.
func TestPlanRefuses(t *testing.T) {
	for name, c := range map[string]struct{ old, now, says string }{
		"victims due after the horizon":                {"spread: 200ms", "spread: 1h", "is watched for 20s only"},
		"victims due in the next wave":                 {"until: {back: 100%}", "repeat: {times: 2, every: 100ms}\n    until: {back: 100%}", "is watched for 100ms only"},
		"victims of the last wave due after the phase": {"until: {back: 100%}\n    timeout: 20s", "for: 5s\n    repeat: {times: 2, every: 4900ms}", "is watched for 100ms only"},
		"waves after the phase":                        {"until: {back: 100%}\n    timeout: 20s", "for: 1s\n    repeat: {times: 3, every: 2s}", "wave 2 would begin at 2s"},
		"a drain before the storm":                     {"{name: steady, for: 500ms}", "{name: steady, until: {quiet: 300ms}, timeout: 5s}", "only be the last phase"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewPlan(scenario(t, quick, c.old, c.now), PlanOptions{Tables: DefaultTables()})
			if err == nil || !strings.Contains(err.Error(), c.says) || ExitCode(err) != ExitUsage {
				t.Errorf("exit %d: %v", ExitCode(err), err)
			}
		})
	}
}
