package harness

import (
	"context"
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// quick is kick-all in small: seconds become tenths.
const quick = `
name: quick
summary: A small fleet, closed at once.
clients: 40
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}, {topic: "rb/{client}/tick", qos: 0}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 2/s}
  - {from: control, to: devices, topic: "rb/{client}/tick", qos: 0, each: 5/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 500ms}
  - name: storm
    faults: [{close: {fleet: devices, who: {share: 100%}, spread: 200ms}}]
    until: {back: 100%}
    timeout: 20s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: censored, equals: 0}
  - {metric: victims, equals: 40}
`

// scenario loads a scenario text with replacements.
func scenario(t *testing.T, text string, replace ...string) *scenarios.Scenario {
	t.Helper()
	path := filepath.Join(t.TempDir(), "scenario.yaml")
	if err := os.WriteFile(path, []byte(strings.NewReplacer(replace...).Replace(text)), 0o600); err != nil {
		t.Fatal(err)
	}
	sc, _, err := LoadScenario(path, DefaultTables())
	if err != nil {
		t.Fatal(err)
	}
	return sc
}

// play plans and runs a scenario into a fresh folder, with the reports written.
func play(t *testing.T, sc *scenarios.Scenario, po PlanOptions, o Options) (*reports.Report, string) {
	t.Helper()
	po.Tables, o.Tables = DefaultTables(), DefaultTables()
	plan, err := NewPlan(sc, po)
	if err != nil {
		t.Fatal(err)
	}
	o.Dir = filepath.Join(t.TempDir(), "run")
	o.Version = "test"
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := Run(ctx, plan, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := reports.WriteAll(o.Dir, r); err != nil {
		t.Fatal(err)
	}
	for _, w := range append(r.Waves, r.Total) {
		if w.Victims != w.Back+w.Censored+w.Unaffected+w.Absent {
			t.Errorf("wave %d: %d victims ≠ %d back + %d censored + %d unaffected + %d absent",
				w.Wave, w.Victims, w.Back, w.Censored, w.Unaffected, w.Absent)
		}
	}
	return r, o.Dir
}

// verdicts gives the checks by name.
func verdicts(r *reports.Report) map[string]reports.Verdict {
	out := map[string]reports.Verdict{}
	for _, c := range r.Checks {
		out[c.Name] = c.Verdict
	}
	return out
}

// onlyInvalid says that exactly the named checks are invalid. A true defect of
// the broker (docs/track-record.md) may show beside the planted fault on a busy
// machine; it is marked, and not what these tests look for.
func onlyInvalid(t *testing.T, r *reports.Report, names ...string) {
	t.Helper()
	want := map[string]bool{}
	for _, n := range names {
		want[n] = true
	}
	for _, c := range r.Checks {
		if (c.Verdict == reports.Invalid && c.Known == "") != want[c.Name] {
			t.Errorf("check %s is %s: %s", c.Name, c.Verdict, c.Detail)
		}
	}
}

// losses reads losses.csv and counts its rows by verdict.
func losses(t *testing.T, dir string) map[string]int {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "losses.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for _, row := range rows[1:] {
		out[row[0]]++
	}
	return out
}

func TestRunOnEachTarget(t *testing.T) {
	for _, kind := range []string{"embedded", "pipe", "child"} {
		t.Run(kind, func(t *testing.T) {
			r, dir := play(t, scenario(t, quick), PlanOptions{Target: kind}, Options{})
			if r.ExitCode != ExitPass {
				t.Errorf("exit %d: %+v", r.ExitCode, r.Checks)
			}
			onlyInvalid(t, r)
			if w := r.Total; w.Back != 40 || w.Hit != 40 || w.Outage.N != 40 {
				t.Errorf("wave: %+v", w)
			}
			if p := r.Total.Waterfall["close"]; p.N != 40 {
				t.Errorf("the broker's close instants are known for %d of 40 clients", p.N)
			}
			for _, m := range r.Messages {
				if m.Attempted == 0 || m.Balance != "" {
					t.Errorf("QoS %d: %+v", m.QoS, m)
				}
			}
			again, err := Judge(dir, false)
			if err != nil {
				t.Fatal(err)
			}
			same(t, dir, again)
			addsUp(t, dir, 40)
		})
	}
}

// same checks that a report judged again is the one on disk, byte for byte.
func same(t *testing.T, dir string, r *reports.Report) {
	t.Helper()
	var b strings.Builder
	if err := reports.WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(old) {
		t.Error("judged again, report.json differs")
	}
}

// TestKickByFIN runs against a plain address without an endpoint.
func TestKickByFIN(t *testing.T) {
	b, err := StartTarget(t.Context(), "embedded", TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own
	r, _ := play(t, scenario(t, quick, "qos: 1, each", "qos: 0, each"), PlanOptions{Target: b.Info().Addresses[0], Kick: CloserFIN}, Options{})
	if r.Target.Closer != CloserFIN || r.Total.Back != 40 || r.ExitCode != ExitPass {
		t.Errorf("closer %s, wave %+v, exit %d %+v", r.Target.Closer, r.Total, r.ExitCode, r.Checks)
	}
}

// Both have no traffic of QoS 1: an address has no known defects that would
// excuse what mochi loses.

// TestKickByForeignEndpoint drives the endpoint of a broker that is not ours:
// its close instants are not comparable and stay unknown.
func TestKickByForeignEndpoint(t *testing.T) {
	b, err := StartTarget(t.Context(), "embedded", TargetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own
	info := b.Info()
	r, _ := play(t, scenario(t, quick, "qos: 1, each", "qos: 0, each"), PlanOptions{Target: info.Addresses[0], Endpoint: info.Endpoint}, Options{Endpoint: info.Endpoint})
	if r.Total.Back != 40 || r.ExitCode != ExitPass {
		t.Errorf("wave %+v, exit %d %+v", r.Total, r.ExitCode, r.Checks)
	}
	if n := r.Total.Waterfall["close"].N; n != 0 {
		t.Errorf("%d close instants of another process's clock were believed", n)
	}
}

// TestWavesOverlap kicks again while clients are away or just back: outcomes
// add up, and the second regime is not called first.
func TestWavesOverlap(t *testing.T) {
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "repeat: {times: 4, every: 300ms}\n    until: {back: 100%}\n    timeout: 20s",
		"{metric: victims, equals: 40}", "{metric: victims, equals: 160}", "  - {metric: censored, equals: 0}\n", "")
	r, dir := play(t, sc, PlanOptions{}, Options{})
	addsUp(t, dir, 41)
	if len(r.Waves) != 4 || r.Waves[0].Regime != "first" || r.Waves[1].Regime == "first" {
		t.Errorf("regimes: %+v", r.Waves)
	}
	if w := r.Total; w.Victims != 160 || w.Hit+w.LateHit+w.NoOp+w.Missed+w.NoEffect+w.Failed != 160 {
		t.Errorf("outcomes do not add up to 160: %+v", w)
	}
}

// TestContinualRegime loses each client twice within paho's six seconds: the
// second time its library sleeps before it dials, and the wave says so.
func TestContinualRegime(t *testing.T) {
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "repeat: {times: 2, every: 2s}\n    until: {back: 100%}\n    timeout: 20s",
		"{metric: victims, equals: 40}", "{metric: victims, equals: 80}")
	r, _ := play(t, sc, PlanOptions{}, Options{})
	if r.ExitCode != ExitPass {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Checks)
	}
	first, second := r.Waves[0], r.Waves[1]
	if first.Regime != "first" || first.SlowBackoff != 0 || second.Regime != "continual" || second.SlowBackoff != 40 {
		t.Errorf("regimes %s and %s, slept %d and %d", first.Regime, second.Regime, first.SlowBackoff, second.SlowBackoff)
	}
}

func TestInterrupted(t *testing.T) {
	stop := make(chan struct{})
	stopped := false
	o := Options{Stop: stop, OnStatus: func(s Status) {
		if s.Phase == "steady" && !stopped {
			stopped = true
			close(stop)
		}
	}}
	r, dir := play(t, scenario(t, quick, "for: 500ms", "for: 60s"), PlanOptions{}, o)
	if r.ExitCode != ExitInterrupted || !r.Run.Interrupted {
		t.Errorf("exit %d, interrupted %v", r.ExitCode, r.Run.Interrupted)
	}
	if r.Total.Victims != 0 {
		t.Errorf("%d kicks after the interrupt", r.Total.Victims)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.json")); err != nil {
		t.Error(err)
	}
}

func TestAbortedBeforeAnyFault(t *testing.T) {
	// Nobody listens to the clients: their transport is cut at once.
	o := Options{WrapConn: cutDevices}
	r, _ := play(t, scenario(t, quick, "timeout: 20s}\n  - {name: steady", "timeout: 500ms}\n  - {name: steady"), PlanOptions{}, o)
	if r.ExitCode != ExitUnknown || r.Run.Aborted == "" || verdicts(r)["assumptions"] != reports.Unknown {
		t.Errorf("exit %d, aborted %q, %+v", r.ExitCode, r.Run.Aborted, r.Checks)
	}
}

func TestUnreachable(t *testing.T) {
	plan, err := NewPlan(scenario(t, quick), PlanOptions{Tables: DefaultTables(), Target: "tcp://127.0.0.1:1", Kick: CloserFIN})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	_, err = Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: dir})
	if left, rerr := os.ReadDir(dir); rerr != nil || len(left) > 0 {
		t.Errorf("the folder is not free for another try: %v %v", left, rerr)
	}
	if !errors.Is(err, target.ErrUnreachable) || ExitCode(err) != ExitUnreachable || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
}

func TestFolderNotEmpty(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	plan, err := NewPlan(scenario(t, quick), PlanOptions{Tables: DefaultTables()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: dir})
	if !errors.Is(err, ErrFolderNotEmpty) || ExitCode(err) != ExitUsage {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
}

func TestFits(t *testing.T) {
	for _, c := range []struct {
		clients int
		target  string
		fds     uint64
		ports   int
		ok      bool
		says    string
	}{
		{9000, "embedded", 20000, 28232, true, ""},
		{30_000, "pipe", 20000, 28232, true, ""},
		{1, "pipe", 200, 28232, false, "0 clients fit"},
		{100_000, "pipe", 20000, 28232, false, "fit into the memory"},
		{10000, "embedded", 20000, 28232, false, "--target child"},
		{19000, "child", 20000, 28232, true, ""},
		{20000, "child", 20000, 28232, false, "19724 clients fit"},
		{1, "embedded", 200, 28232, false, "0 clients fit"},
		{100_000, "child", 1 << 20, 28232, true, ""},
		{27_976, "tcp://127.0.0.1:1883", 1 << 20, 28232, true, ""},
		{27_977, "tcp://127.0.0.1:1883", 1 << 20, 28232, false, "27976 clients fit; widen net.ipv4.ip_local_port_range"},
		{100_000, "tcp://127.0.0.1:1883", 1 << 20, 0, true, ""},
	} {
		row, err := DefaultTables().target(c.target)
		if err != nil {
			t.Fatal(err)
		}
		err = room{c.fds, 10, c.ports, 8 << 30}.check(c.clients, row)
		if (err == nil) != c.ok || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%d clients on %s: %v", c.clients, c.target, err)
		}
		if err != nil && (!errors.Is(err, ErrTooManyClients) || ExitCode(err) != ExitUsage) {
			t.Errorf("exit %d: %v", ExitCode(err), err)
		}
	}
}

// TestDiskFull writes to a device that is always full.
func TestDiskFull(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("SKIPPED: no /dev/full on this system: %v", err)
	}
	ev := newEvidence(t.TempDir(), full)
	ev.add(timeline.Event{Mark: &timeline.Mark{RunID: "x"}})
	if err := ev.close(); !errors.Is(err, ErrEvidence) || ExitCode(err) != ExitFailedRun {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
}
