package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestShipped runs each shipped scenario once, at a small size, with the built
// command: on a broker that keeps the rules, where it can do the faults. What
// this machine can not do is skipped with its reason.
func TestShipped(t *testing.T) {
	if testing.Short() {
		t.Skip("minutes")
	}
	dir := t.TempDir()
	binary := filepath.Join(dir, "rebound")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", binary, "../../cmd/rebound").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	o := options{
		seeds: 1, drivers: []string{"paho"}, target: "mosquitto", clients: 40,
		jobs: 6, // mostly they wait
		out:  filepath.Join(dir, "out"), binary: binary,
	}
	if !mosquittoIsHere() {
		if os.Getenv("CI") == "true" {
			t.Fatal("mosquitto is not installed (CI=true)")
		}
		t.Log("mosquitto is not installed: on the broker of this project, whose known defects count")
		o.target = "child"
	}
	plan, err := matrix(o)
	if err != nil {
		t.Fatal(err)
	}
	outcomes, _, err := runAll(plan, o, t.Output(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(outcomes) != len(scenarios.Library()) {
		t.Errorf("%d scenarios were run, %d are shipped", len(outcomes), len(scenarios.Library()))
	}
	for _, out := range outcomes {
		t.Run(out.scenario, func(t *testing.T) {
			if !summarize([]outcome{out}, 1).sound() {
				text, _ := os.ReadFile(filepath.Join(out.folder(o.out), out.Dir+".txt"))
				t.Errorf("%s\n%s", out.line(), text)
			}
			if why := out.skipped(); why != "" {
				t.Skip("SKIPPED: " + why)
			}
		})
	}
}

func mosquittoIsHere() bool {
	_, err := exec.LookPath("mosquitto")
	_, sbin := os.Stat("/usr/sbin/mosquitto")
	return err == nil || sbin == nil
}

// TestFit: a scenario runs on a target that can do its faults, at the size that
// is asked for or its own.
func TestFit(t *testing.T) {
	for name, want := range map[string]string{
		"kick-all": "mosquitto 40", "broker-restart": "mosquitto 40", "slow-auth": "embedded 40",
		"kick-same-client": "mosquitto 0", "wave-resonance": "embedded 40",
	} {
		clients, target, err := fit(name, options{target: "mosquitto", clients: 40})
		if got := fmt.Sprint(target, " ", clients); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, want)
		}
	}
	if _, target, err := fit("slow-auth", options{target: "tcp://127.0.0.1:1", clients: 1}); err != nil || target != "tcp://127.0.0.1:1" {
		t.Errorf("an address is taken as it is: %s, %v", target, err)
	}
}
