package scenarios_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestLoadTarget(t *testing.T) {
	data, err := os.ReadFile("testdata/target/good.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := scenarios.LoadTarget("good.yaml", data)
	want := &scenarios.Target{
		Name: "staging", Addresses: []string{"tcp://127.0.0.1:1883", "tcp://[::1]:1884"},
		Auth:   &scenarios.Auth{Username: "rb", PasswordEnv: "RB_PASSWORD"},
		Limits: scenarios.TargetLimits{Queued: 1000, SessionExpiry: 2 * time.Hour, Persistence: "sync", RedeliveryWait: 10 * time.Second},
		Defects: []scenarios.Defect{{
			Check: "reordered", Condition: "stored-before-resume", Doc: "Kept messages come in random order.",
			Reference: "docs/track-record.md#mochi-offline-order", Versions: "1.2, 1.3",
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(scenarios.Pos{})); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	data, err = os.ReadFile("testdata/target/command.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err = scenarios.LoadTarget("command.yaml", data)
	want = &scenarios.Target{
		Name: "own", Command: []string{"mosquitto", "-c", "{config}", ""}, Config: "listener {port} {host}\npersistence_location {dir}/\n",
		Env: []string{"BROKER_HOME"}, Version: "2.0.11", ReadyTimeout: 30 * time.Second, StopTimeout: 500 * time.Millisecond,
		Limits: scenarios.TargetLimits{Persistence: "lazy"},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(scenarios.Pos{})); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	least, err := scenarios.LoadTarget("x.yaml", []byte("{name: a, addresses: [tcp://h:1]}"))
	if diff := cmp.Diff(&scenarios.Target{Name: "a", Addresses: []string{"tcp://h:1"}, Limits: scenarios.TargetLimits{Persistence: "unknown"}}, least); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

// TestBadTarget holds the message, line and column of every mistake.
func TestBadTarget(t *testing.T) {
	for _, name := range []string{"bad", "bad-command"} {
		data, err := os.ReadFile("testdata/target/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		got, err := scenarios.LoadTarget(name+".yaml", data)
		var errs scenarios.Errors
		if got != nil || !errors.As(err, &errs) {
			t.Fatalf("%v, %v", got, err)
		}
		golden(t, "testdata/target/"+name+".golden", err.Error()+"\n")
	}
	for text, want := range map[string]string{
		"":                         "x.yaml:1:1: the file is empty",
		"[]":                       "x.yaml:1:1: the target is a list, want a mapping of name, addresses or command, and more",
		"name: a":                  "x.yaml:1:1: a target has exactly one of addresses and command",
		"{name: a, addresses: []}": "x.yaml:1:22: addresses is empty, want at least 1",
		"{name: a, command: []}":   "x.yaml:1:20: command is empty, want at least 1",
		"{name: a, command: [b]}":  "x.yaml:1:11: neither command nor config has {port}",
		"{name: a, addresses: [tcp://h:1]}\n---\n{}": "x.yaml:2:1: a second document begins here; a file holds one target",
	} {
		if _, err := scenarios.LoadTarget("x.yaml", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

// FuzzLoadTarget: no panic; either a target or mistakes.
func FuzzLoadTarget(f *testing.F) {
	for _, name := range []string{"good", "bad", "command", "bad-command"} {
		data, err := os.ReadFile("testdata/target/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := scenarios.LoadTarget("f.yaml", data)
		if (got == nil) == (err == nil) {
			t.Fatalf("target %v, error %v", got, err)
		}
		if got != nil && (got.Name == "" || (len(got.Addresses) == 0) == (len(got.Command) == 0) || !scenarios.IsTarget(data)) {
			t.Fatalf("%+v", got)
		}
	})
}
