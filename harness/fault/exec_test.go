package fault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// execEnv is an Env whose extents and log are kept.
type execEnv struct {
	*Env
	mu      sync.Mutex
	extents []timeline.Extent
	log     strings.Builder
}

func newExecEnv(t *testing.T) *execEnv {
	e := &execEnv{}
	e.Env = &Env{
		Clock: timeline.NewClock(), Phase: "storm", Wave: 2,
		Extent: func(x *timeline.Extent) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.extents = append(e.extents, *x)
		},
		Exec: &Exec{Dir: t.TempDir(), Address: "tcp://127.0.0.1:1", Endpoint: "http://127.0.0.1:2", Log: func(text []byte) error {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.log.Write(text)
			return nil
		}},
	}
	return e
}

// last is the record as it stands.
func (e *execEnv) last() timeline.Extent {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.extents) == 0 {
		return timeline.Extent{}
	}
	return e.extents[len(e.extents)-1]
}

func (e *execEnv) said() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.log.String()
}

// shell plans an exec of two shell lines; heal "" = none.
func shell(t *testing.T, inject, heal string, more ...string) Fault {
	t.Helper()
	text := func(argv ...string) string {
		b, err := json.Marshal(argv)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	params := map[string]string{"after": "0s", "timeout": "20s", "inject": text("sh", "-c", inject)}
	if heal != "" {
		params["heal"] = text("sh", "-c", heal)
	}
	for i := 0; i < len(more); i += 2 {
		params[more[i]] = more[i+1]
	}
	f, err := newExec(scenarios.PlanFault{Kind: ExecName, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// execConforms holds exec to what it promises of inject and heal: each is run
// exactly once, heal also when inject failed or was cut short, and the record
// says so.
func execConforms(t *testing.T, make func(inject, heal string) Fault) error {
	for _, c := range []struct {
		name, inject string
		ok           bool
		cancel       bool
	}{{"plain", "true", true, false}, {"failing", "exit 3", false, false}, {"cut short", "sleep 60", false, true}} {
		env := newExecEnv(t)
		marks := filepath.Join(env.Exec.Dir, "marks")
		ctx, cancel := context.WithCancel(t.Context())
		f := make("echo inject >>'"+marks+"'; "+c.inject, "echo heal >>'"+marks+"'")
		if c.cancel { // when it has begun
			go func() {
				defer cancel()
				for {
					if info, err := os.Stat(marks); err == nil && info.Size() > 0 || ctx.Err() != nil {
						return
					}
					time.Sleep(time.Millisecond)
				}
			}()
		}
		err := f.Inject(ctx, env.Env)
		cancel()
		if err != nil {
			return fmt.Errorf("%s: inject: %w", c.name, err)
		}
		for range 2 {
			if err := f.Heal(t.Context(), env.Env); err != nil {
				return fmt.Errorf("%s: heal: %w", c.name, err)
			}
		}
		got, err := os.ReadFile(marks)
		if err != nil || string(got) != "inject\nheal\n" {
			return fmt.Errorf("%s: the programs ran as %q (%v), want inject and heal once each", c.name, got, err)
		}
		x := env.last()
		if x.OK != c.ok || !x.Ends || x.Issued == 0 || x.Taken < x.Issued || x.Healed < x.Healing || x.Healing == 0 {
			return fmt.Errorf("%s: the record is %+v", c.name, x)
		}
	}
	return nil
}

func TestExecConformance(t *testing.T) {
	if err := execConforms(t, func(inject, heal string) Fault { return shell(t, inject, heal) }); err != nil {
		t.Error(err)
	}
}

// unhealed is exec with a Heal that forgets what failed.
type unhealed struct{ *extent }

func (u unhealed) Inject(ctx context.Context, env *Env) error {
	u.always = false
	return u.extent.Inject(ctx, env)
}

// TestPlantedExecWithoutHeal shows that the conformance test can fail.
func TestPlantedExecWithoutHeal(t *testing.T) {
	err := execConforms(t, func(inject, heal string) Fault { return unhealed{shell(t, inject, heal).(*extent)} })
	if err == nil || !strings.Contains(err.Error(), "failing: the programs ran as") {
		t.Errorf("an exec whose heal is not run was not caught: %v", err)
	}
	err = execConforms(t, func(inject, _ string) Fault { return shell(t, inject, "") })
	if err == nil || !strings.Contains(err.Error(), "plain: the programs ran as") {
		t.Errorf("an exec without its heal was not caught: %v", err)
	}
}

// TestExecEnvironment: what the programs know is what the docs say, and no
// credential of ours.
func TestExecEnvironment(t *testing.T) {
	t.Setenv("REBOUND_ACCESS_KEY_SECRET", "secret")
	t.Setenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")
	t.Setenv("WANTED", "yes")
	env := newExecEnv(t)
	f := shell(t, "env", "", "env", `["WANTED", "NOT_SET"]`)
	if err := f.Inject(t.Context(), env.Env); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"PATH": true, "HOME": true, "LANG": true, "WANTED": true, "PWD": true, "SHLVL": true, "_": true, "OLDPWD": true,
		"REBOUND_RUN_DIR": true, "REBOUND_TARGET_ADDR": true, "REBOUND_ENDPOINT": true, "REBOUND_PHASE": true, "REBOUND_WAVE": true}
	said := env.said()
	for line := range strings.Lines(said) {
		if name, _, is := strings.Cut(line, "="); is && !strings.HasPrefix(line, "---") && !known[name] {
			t.Errorf("the program was given %s", line)
		}
	}
	for _, want := range []string{"WANTED=yes\n", "REBOUND_RUN_DIR=" + env.Exec.Dir + "\n", "REBOUND_TARGET_ADDR=tcp://127.0.0.1:1\n",
		"REBOUND_ENDPOINT=http://127.0.0.1:2\n", "REBOUND_PHASE=storm\n", "REBOUND_WAVE=2\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	if strings.Contains(said, "secret") {
		t.Errorf("a credential was handed over:\n%s", said)
	}
}

// TestExecTimeout: a program that does not end is killed with all that it
// started, and so is what one leaves behind that has ended.
func TestExecTimeout(t *testing.T) {
	for _, c := range []struct{ inject, timeout, err string }{
		{"sleep 600 & echo $! >pid; wait", "300ms", "did not end in time"},
		{"sleep 600 & echo $! >pid", "20s", ""},
	} {
		env := newExecEnv(t)
		if err := shell(t, "cd '"+env.Exec.Dir+"'; "+c.inject, "", "timeout", c.timeout).Inject(t.Context(), env.Env); err != nil {
			t.Fatal(err)
		}
		x := env.last()
		if x.OK != (c.err == "") || !strings.Contains(x.Err, c.err) {
			t.Errorf("%s: %+v", c.inject, x)
		}
		var pid int
		text, err := os.ReadFile(filepath.Join(env.Exec.Dir, "pid"))
		if err == nil {
			_, err = fmt.Sscan(string(text), &pid)
		}
		if err != nil {
			t.Fatal(err)
		}
		gone := func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || zombie(pid) }
		for deadline := time.Now().Add(20 * time.Second); !gone(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: process %d lives on", c.inject, pid)
			}
		}
	}
}

// TestExecCut: a program that the end of its phase killed says so in words.
func TestExecCut(t *testing.T) {
	env := newExecEnv(t)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, context.Canceled)
	defer cancel()
	if err := shell(t, "sleep 600", "").Inject(ctx, env.Env); err != nil {
		t.Fatal(err)
	}
	if x := env.last(); x.OK || !strings.Contains(x.Err, "inject: it was killed: its phase was over, or the run was stopped") {
		t.Errorf("%+v", x)
	}
}

// zombie reports whether a process has ended and nobody has waited for it: its
// new parent may take its time.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && strings.Contains(string(stat), ") Z ")
}

// TestExecOutput: what a program says is bounded, and its exit status told.
func TestExecOutput(t *testing.T) {
	env := newExecEnv(t)
	f := shell(t, "head -c 200000 /dev/zero | tr '\\0' x; echo to stderr >&2; exit 3", "echo healed")
	if err := f.Inject(t.Context(), env.Env); err != nil {
		t.Fatal(err)
	}
	if err := f.Heal(t.Context(), env.Env); err != nil {
		t.Fatal(err)
	}
	said, x := env.said(), env.last()
	if len(said) > maxOutput+2000 || !strings.Contains(said, "bytes more") || !strings.Contains(said, "healed\n") {
		t.Errorf("%d bytes of log: %.200s", len(said), said)
	}
	if !strings.Contains(x.Detail, "inject: exit status 3 in ") || !strings.Contains(x.Detail, "; heal: exit 0 in ") || x.Err != "inject: exit status 3" || x.OK {
		t.Errorf("%+v", x)
	}
}

// TestExecFor: heal comes in time, and a heal that fails is the run's finding.
func TestExecFor(t *testing.T) {
	env := newExecEnv(t)
	f := shell(t, "true", "exit 4", "for", "50ms")
	if err := f.Inject(t.Context(), env.Env); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); env.last().Healed == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("not healed in time")
		}
	}
	if err := f.Heal(t.Context(), env.Env); err != nil {
		t.Errorf("a heal command that fails must not end the run: %v", err)
	}
	if x := env.last(); x.OK || x.Err != "heal: exit status 4" || time.Duration(x.Healing-x.Taken) < 50*time.Millisecond {
		t.Errorf("%+v", x)
	}
}

// TestExecNotAllowed: without the run's leave nothing is started.
func TestExecNotAllowed(t *testing.T) {
	env := newExecEnv(t)
	dir := env.Exec.Dir
	env.Exec = nil
	f := shell(t, "touch '"+dir+"/ran'", "touch '"+dir+"/ran'")
	if err := errors.Join(f.Inject(t.Context(), env.Env), f.Heal(t.Context(), env.Env)); err != nil {
		t.Fatal(err)
	}
	if x := env.last(); x.OK || x.Err != ErrNotOffered.Error() {
		t.Errorf("%+v", x)
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("a program was started")
	}
}
