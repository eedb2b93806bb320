package harness

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const commandMosquitto = `name: own-mosquitto
command: [/bin/sh, -c, 'PATH=$PATH:/usr/sbin:/usr/local/sbin; exec mosquitto -c "$0"', "{config}"]
config: |
  user root
  listener {port} {host}
  allow_anonymous true
  set_tcp_nodelay true
  max_queued_messages 100000
  max_inflight_messages 0
  persistence true
  persistence_location {dir}/
limits: {queued: 100000, persistence: lazy}
version: "9.9"
`

// commandFile reads the text of a target file.
func commandFile(t *testing.T, text string) *scenarios.Target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, _, err := LoadTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// commandPlay plays a scenario on the command of a target file.
func commandPlay(t *testing.T, sc *scenarios.Scenario, text, endpoint string) (*reports.Report, string) {
	t.Helper()
	file := commandFile(t, text)
	plan, err := NewPlan(sc, PlanOptions{Tables: DefaultTables(), TargetFile: file, Driver: "strict", Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return pbRun(t, plan, Options{Tables: DefaultTables(), TargetFile: file, Endpoint: endpoint, Version: "test"})
}

// TestTargetCommand: the command of a target file is a broker like any other
// that the run starts: its connections are closed from this side, and it says
// what its file does.
func TestTargetCommand(t *testing.T) {
	t.Parallel()
	pbNeedMosquitto(t)
	r, dir := commandPlay(t, scenario(t, quick), commandMosquitto, "")
	if r.ExitCode != ExitPass || r.Total.Victims != 40 || r.Total.Back != 40 {
		t.Errorf("exit %d, %+v", r.ExitCode, r.Expectations)
	}
	a := r.Target
	if a.Kind != broker.KindCommand || a.Broker != "own-mosquitto" || a.Version != "9.9" || a.Closer != CloserFIN ||
		a.Settings["target"] != "own-mosquitto" || a.Settings["program"] != "sh" || a.Abilities.Persistence != "lazy" || a.Abilities.Queued != 100_000 {
		t.Errorf("%+v", a)
	}
	for name, want := range map[string]string{"broker.log": "mosquitto version", "target.yaml": "program: sh", "plan.yaml": "target: command"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s: %v: %s", name, err, text)
		}
		if name == "target.yaml" && strings.Contains(string(text), "listener") {
			t.Errorf("%s has the configuration", name)
		}
	}
}

// TestTargetCommandBrokerFaults: what is done to the process of a broker is done
// to any command.
func TestTargetCommandBrokerFaults(t *testing.T) {
	t.Parallel()
	pbNeedMosquitto(t)
	for _, c := range []bfCase{
		{"broker-kill: {for: 400ms}", false, false, "killed at"},
		{"broker-restart: {down: 400ms}", false, false, "killed at"},
		{"broker-restart: {how: stop, down: 400ms, persistence: on}", false, true, "stopped at"},
		{"broker-freeze: {for: 700ms}", true, true, "frozen at"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel()
			file := commandFile(t, commandMosquitto)
			plan, err := NewPlan(scenario(t, strings.ReplaceAll(bfText, "FAULT", "{"+c.fault+"}")),
				PlanOptions{Tables: DefaultTables(), TargetFile: file, Driver: "strict"})
			if err != nil {
				t.Fatal(err)
			}
			var pids []int
			r, dir := pbRun(t, plan, Options{
				Tables: DefaultTables(), TargetFile: file, Version: "test", OnPID: func(pid int) { pids = append(pids, pid) },
			})
			c.check(t, r, dir, pids)
		})
	}
}

// TestTargetCommandPersistence: what is to be kept over a restart, a file must
// promise; a restart without it needs no promise.
func TestTargetCommandPersistence(t *testing.T) {
	file := commandFile(t, strings.ReplaceAll(commandMosquitto, "persistence: lazy", "persistence: unknown"))
	for params, says := range map[string]string{
		"{}":                 "",
		"{persistence: on}":  "limits: {persistence: lazy} or sync",
		"{persistence: off}": "",
	} {
		sc := scenario(t, strings.ReplaceAll(bfText, "FAULT", "{broker-restart: "+params+"}"))
		_, err := NewPlan(sc, PlanOptions{Tables: DefaultTables(), TargetFile: file})
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v", params, err)
		}
	}
	gate := scenario(t, strings.ReplaceAll(bfText, "FAULT", "{reject-auth: {share: 10%, for: 100ms}}"))
	if _, err := NewPlan(gate, PlanOptions{Tables: DefaultTables(), TargetFile: file}); err == nil ||
		!strings.Contains(err.Error(), "target command can not do this: run it with --target embedded or ") {
		t.Errorf("%v", err)
	}
	tables := DefaultTables().With(file)
	for _, c := range []struct{ endpoint, kick, says string }{
		{"", "", ""}, {"", "fin", ""}, {"http://127.0.0.1:80", "", ""},
		{"http://127.0.0.1:80", "fin", "exclude"}, {"nowhere", "", "http://HOST:PORT"}, {"", "rst", "only fin"},
	} {
		err := tables.CheckTarget(TargetName(file), c.endpoint, c.kick)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if err := DefaultTables().CheckTarget(broker.KindCommand, "", ""); !errors.Is(err, ErrUsage) {
		t.Errorf("a command without a file: %v", err)
	}
}

// TestTargetCommandTrouble covers what ends a run before it begins: it leaves
// nothing in its folder.
func TestTargetCommandTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want error
		code int
		says string
	}{
		"ends at once": {`command: [sh, -c, "echo no licence for {port}; exit 3"]`, target.ErrUnreachable, ExitUnreachable, `it printed "no licence for `},
		"never ready":  {"command: [sh, -c, \"echo loading; sleep 1000\", \"{port}\"]\nready_timeout: 300ms", target.ErrUnreachable, ExitUnreachable, "not ready within 300ms"},
		"no variable":  {"command: [sleep, \"{port}\"]\nenv: [NO_SUCH_VARIABLE_OF_A_TEST]", ErrUsage, ExitUsage, "NO_SUCH_VARIABLE_OF_A_TEST"},
		"no program":   {`command: [/none/such, "{port}"]`, broker.ErrNoProgram, ExitFailedRun, "/none/such"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := commandFile(t, "name: x\n"+c.text+"\n")
			plan, err := NewPlan(scenario(t, quick), PlanOptions{Tables: DefaultTables(), TargetFile: file})
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(t.TempDir(), "run")
			_, err = Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: dir, TargetFile: file})
			if !errors.Is(err, c.want) || ExitCode(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Errorf("exit %d: %v", ExitCode(err), err)
			}
			if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
				t.Errorf("left behind: %v", entries)
			}
		})
	}
}

// TestTargetCommandOwnBroker: rebound broker is a command, too, and its endpoint
// closes connections where the user names it.
func TestTargetCommandOwnBroker(t *testing.T) {
	t.Parallel()
	exe := filepath.Join(t.TempDir(), "rebound")
	if out, err := exec.Command("go", "build", "-o", exe, "../cmd/rebound").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // a port that was free just now
	if err != nil {
		t.Fatal(err)
	}
	endpoint := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	text := "name: double\ncommand: [" + exe + `, broker, --host, "{host}", --port, "{port}", --store, "{dir}/store", --endpoint, ` + endpoint + "]\n" +
		"limits: {queued: 8192, persistence: lazy}\nversion: " + strconv.Quote(mochi.Version) + "\nknown_defects: " + knownOfMochi(t) + "\n"
	r, _ := commandPlay(t, scenario(t, quick), text, "http://"+endpoint)
	if r.ExitCode != ExitPass || r.Total.Back != 40 || r.Target.Closer != CloserAPI {
		t.Errorf("exit %d, closed by %s, %+v", r.ExitCode, r.Target.Closer, r.Expectations)
	}
	r, _ = commandPlay(t, scenario(t, strings.ReplaceAll(bfText, "FAULT", "{broker-restart: {how: stop, down: 300ms, persistence: on}}")), text, "")
	onlyInvalid(t, r)
	if r.ExitCode != ExitPass || r.Waves[0].Back != 12 || !kept(r) || r.Target.Closer != CloserFIN {
		t.Errorf("exit %d, closed by %s, %+v", r.ExitCode, r.Target.Closer, r.Waves[0])
	}
}

// knownOfMochi is what a target file of mochi says of its known defects: those of
// the target child, which is the same broker.
func knownOfMochi(t *testing.T) string {
	t.Helper()
	row, err := DefaultTables().target(broker.KindChild)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(row.Abilities.KnownDefects) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
