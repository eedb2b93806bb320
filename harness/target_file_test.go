package harness

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const hush = "not-for-anybody"

// guard lets in one user only.
type guard struct{ mochi.HookBase }

func (*guard) ID() string { return "guard" }

func (*guard) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (*guard) OnConnectAuthenticate(_ *mochi.Client, p packets.Packet) bool {
	return string(p.Connect.Username) == "rb" && string(p.Connect.Password) == hush
}

func (*guard) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// guarded starts a broker that lets in one user only, on two listeners.
func guarded(t *testing.T) []string {
	t.Helper()
	s := mochi.New(&mochi.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(guard), nil); err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for _, id := range []string{"a", "b"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.AddListener(listeners.NewNet(id, l)); err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, "tcp://"+l.Addr().String())
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return addresses
}

// targetFile writes a target file of the addresses.
func targetFile(t *testing.T, addresses []string, more string) *scenarios.Target {
	t.Helper()
	path := filepath.Join(t.TempDir(), "target.yaml")
	text := "name: guarded\naddresses: [\"" + strings.Join(addresses, `", "`) + "\"]\n" + more
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, _, err := LoadTarget(path)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestTargetFile: each client logs in, on each listener, with each driver; the
// file's promises are the run's; the password is nowhere in its folder.
func TestTargetFile(t *testing.T) {
	addresses := guarded(t)
	t.Setenv("RB_TEST_PASSWORD", hush)
	file := targetFile(t, addresses, `auth: {username: rb, password_env: RB_TEST_PASSWORD}
limits: {queued: 77, session_expiry: 2h, persistence: sync, redelivery_wait: 1s}
known_defects:
  - {check: reordered, condition: stored-before-resume, doc: Kept messages come in random order., reference: "https://example.org/42"}
`)
	with := strings.NewReplacer("close: {fleet: devices, who: {share: 100%}, spread: 200ms}", "close: {who: {count: 20}}}, {takeover: {who: {count: 5}, after: 300ms}")
	for _, driver := range []string{"paho", "strict"} {
		t.Run(driver, func(t *testing.T) {
			sc := scenario(t, strings.ReplaceAll(with.Replace(quick), "{metric: victims, equals: 40}", "{metric: connected, equals: 100%}"))
			r, dir := play(t, sc, PlanOptions{TargetFile: file, Kick: CloserFIN, Driver: driver}, Options{TargetFile: file})
			if got := reasons(r); !strings.HasSuffix(got, "storm until, drain until") {
				t.Errorf("%s", got)
			}
			a := r.Target.Abilities
			if r.Target.Settings["target"] != "guarded" || a.Queued != 77 || a.Persistence != "sync" || a.RedeliveryWait != 1 ||
				r.Target.Settings["session_expiry"] != "2h0m0s" || len(a.KnownDefects) != 1 {
				t.Errorf("%+v", r.Target)
			}
			plan, err := os.ReadFile(filepath.Join(dir, "plan.yaml"))
			if err != nil || !strings.Contains(string(plan), "quiet: 2s") {
				t.Errorf("the drain does not wait for the redelivery: %v", err)
			}
			found := 0
			err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				found++
				text, err := os.ReadFile(path)
				if strings.HasSuffix(path, ".gz") {
					text, err = exec.Command("gzip", "-dc", path).Output()
				}
				if strings.Contains(string(text), hush) {
					t.Errorf("%s has the password", path)
				}
				return err
			})
			if err != nil || found < 10 {
				t.Errorf("%d files, %v", found, err)
			}
		})
	}
}

// TestTargetFileTrouble covers what ends a run before it begins.
func TestTargetFileTrouble(t *testing.T) {
	addresses := guarded(t)
	for name, c := range map[string]struct {
		more string
		want error
		says string
	}{
		"no login":       {"", target.ErrUnreachable, "not authorized"},
		"wrong password": {"auth: {username: rb, password_env: RB_TEST_WRONG}\n", target.ErrUnreachable, "not authorized"},
		"not set":        {"auth: {username: rb, password_env: RB_TEST_NONE}\n", ErrUsage, "RB_TEST_NONE, which holds its password, is not set"},
		"no file":        {"auth: {username: rb, password_file: /none/such}\n", ErrUsage, "no such password file"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("RB_TEST_WRONG", "x")
			file := targetFile(t, addresses, c.more)
			plan, err := NewPlan(scenario(t, quick), PlanOptions{Tables: DefaultTables(), TargetFile: file, Kick: CloserFIN})
			if err != nil {
				t.Fatal(err)
			}
			_, err = Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: filepath.Join(t.TempDir(), "run"), TargetFile: file})
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
	path := filepath.Join(t.TempDir(), "t.yaml")
	text := "name: x\naddresses: [\"tcp://h:1\"]\nknown_defects: [{check: reorderd, condition: at-night, doc: d, reference: r}]\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := LoadTarget(path); !errors.Is(err, scenarios.ErrInvalid) || !strings.Contains(err.Error(), `t.yaml:3:25: no check is named "reorderd"`) ||
		!strings.Contains(err.Error(), `t.yaml:3:46: no condition of known defects is named "at-night", want one of acknowledged-`) {
		t.Errorf("%v", err)
	}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(hush+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	login, err := Login(targetFile(t, addresses, "auth: {username: rb, password_file: "+secret+"}\n"))
	if err != nil || string(login.Password) != hush || strings.Contains(login.String(), hush) {
		t.Errorf("%v %v", login, err)
	}
}

// design is the example of the language's design, whole but for what is known
// and not in this version.
func design(t *testing.T, replace ...string) *scenarios.Scenario {
	t.Helper()
	text, err := os.ReadFile("testdata/design.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer(replace...).Replace(string(text))
	if len(replace) > 0 && changed == string(text) {
		t.Errorf("nothing is replaced: %q", replace)
	}
	return scenario(t, changed)
}

// TestDesign: what the design shows is parsed and planned, and so is each
// alternative that it names.
func TestDesign(t *testing.T) {
	plan := func(name string, replace ...string) {
		t.Helper()
		if _, err := NewPlan(design(t, replace...), PlanOptions{Tables: DefaultTables()}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	plan("as it is")
	for _, c := range []struct {
		old string
		new []string
	}{
		{"policy: paho, max: 30s", []string{"policy: immediate", "policy: fixed, delay: 1s", "policy: exponential", "policy: full-jitter", "policy: decorrelated", "policy: none"}},
		{"resubscribe: when-absent", []string{"resubscribe: always", "resubscribe: never"}},
		{"back: first-message", []string{"back: connack", "back: subscribed"}},
		{"who: {share: 100%}", []string{"who: {count: 3}", "who: {label: {site: a}}", "who: {list: [0, 5, 10-20]}", "who: {share: 10%, seeded: 7}"}},
		{"spread: 0s", []string{"spread: 5s", "rate: 500/s", "poisson: 500/s", "after: 2s"}},
		{"until: {back: 100%}", []string{"until: {back: 10}", "until: {count: {kicks: 10}}", "until: {connected: 100%}"}},
		{"until: {quiet: 2s}", []string{"until: {drained: true}"}},
		{"repeat: {times: 1, every: 30s}", []string{"repeat: {times: 3, every: 30s}"}},
		{"timeout: 60s\n    repeat", []string{"timeout: 60s\n    on_timeout: abort\n    repeat", "timeout: 60s\n    on_timeout: continue\n    repeat"}},
		{"each: 1/s, payload: 64B", []string{"total: 10/s", "each: 1/s, burst: 4", "each: 1/s, while: away", "at: fault, burst: 4"}},
		{"{metric: censored, equals: 0}", []string{"{metric: censored, equals: 0, on_fail: abort}", "{metric: censored, equals: 0, on_fail: warn}"}},
	} {
		for _, now := range c.new {
			plan(now, c.old, now)
		}
	}
}

// TestBuiltRun: a scenario that is written in Go runs like one in a file.
func TestBuiltRun(t *testing.T) {
	sc := scenarios.New("built")
	sc.Clients = 20
	f := scenarios.NewFleet("devices", 1, scenarios.Subscription{Topic: "rb/{client}/cmd", QoS: 1})
	f.Connect.Rate, f.Labels = 1000, map[string]map[string]float64{"site": {"a": 0.5, "b": 0.5}}
	sc.Fleets = []scenarios.Fleet{f}
	sc.Traffic = []scenarios.Traffic{scenarios.NewTraffic("devices", "rb/{client}/cmd", 1, 5)}
	sc.Phases = []scenarios.Phase{
		{Name: "connect", Until: scenarios.Connected(1), Timeout: controlWait},
		{Name: "storm", Until: scenarios.Back(1), Timeout: controlWait, Faults: []scenarios.FaultSpec{
			scenarios.NewFault("close", scenarios.Params{"who": scenarios.Params{"label": scenarios.Params{"site": "a"}}}),
		}},
		{Name: "drain", Until: &scenarios.Until{Drained: true}, Timeout: controlWait},
	}
	sc.Expect = []scenarios.Expectation{{Metric: "victims", Equals: &scenarios.Limit{Text: "10"}}}
	whole, text, err := BuildScenario(sc, DefaultTables())
	if err != nil {
		t.Fatal(err)
	}
	r, dir := play(t, whole, PlanOptions{}, Options{Scenario: text})
	if r.ExitCode != ExitPass || r.Total.Back != 10 {
		t.Errorf("exit %d, %+v", r.ExitCode, r.Expectations)
	}
	again, _, err := LoadScenario(filepath.Join(dir, "scenario.yaml"), DefaultTables())
	if err != nil || scenarios.Hash(again) != scenarios.Hash(whole) {
		t.Errorf("the folder's scenario is another one: %v", err)
	}
}
