package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/rebound-mqtt/rebound/harness"
)

var update = flag.Bool("update", false, "write the golden parts of the scripts again")

// TestMain makes this binary the commands of the scripts, too: each is this
// binary again under the command's name.
func TestMain(m *testing.M) {
	harness.ChildMain()
	testscript.Main(leakChecked{m}, map[string]func(){
		"rebound":      main,
		"rebound-next": func() { version = "99.0.0"; main() },
		"fakehttp":     fakeHTTP,
		"mute":         mute,
		"mkcert":       mkcert,
	})
}

// leakChecked fails tests that leave goroutines behind. (goleak's own TestMain
// exits the process, and so would not let testscript clean up.)
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	// What the tests run is no result of the CI step that runs the tests.
	for _, name := range []string{"GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"} {
		if err := os.Unsetenv(name); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	code := l.m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, "goroutines left:", err)
		return 1
	}
	return 0
}

// TestScripts runs testdata/script. Besides testscript's own commands there are
//
//	exits CODE CMD ARG…            run a command; it ends with exactly this code (or one of CODE|CODE)
//	start NAME CMD ARG…            start a command in the background
//	await NAME STREAM REGEXP VAR…  wait until its stdout or stderr matches; $VAR = the groups
//	signal NAME INT                send a signal to it
//	finish NAME CODE               wait for its end; then 'stdout' and 'stderr' see its output
//	get URL                        HTTP GET; 'stdout' sees status and body
//
// and the files of testdata/scenario stand in the working directory.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command of a -race test sleeps a second in the end
			p := &processes{dir: env.WorkDir, env: env.Vars, byName: map[string]*process{}}
			env.Values[processesKey{}] = p
			env.Defer(p.killAll)
			return os.CopyFS(env.WorkDir, os.DirFS("testdata/scenario"))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "start": start, "await": await, "signal": signalTo, "finish": finish, "get": get,
		},
		Condition: condition,
	})
}

// condition knows [mountns], this process may mount in a namespace of its own,
// [mosquitto], the broker is installed, and [nft], this machine can lay down the
// kernel's rules in a network namespace.
func condition(name string) (bool, error) {
	switch name {
	case "mosquitto":
		// The tests of harness/broker skip or fail aloud without it.
		_, err := os.Stat("/usr/sbin/mosquitto")
		return err == nil, nil
	case "nft":
		// The tests of harness/kernel skip or fail aloud without it.
		return nftWorks(), nil
	case "mountns":
	default:
		return false, fmt.Errorf("unknown condition %s", name)
	}
	dir, err := os.MkdirTemp("", "mountns")
	if err != nil {
		return false, err
	}
	defer os.Remove(dir) //nolint:errcheck // an empty folder
	return exec.Command("unshare", "-m", "mount", "-t", "tmpfs", "none", dir).Run() == nil, nil
}

// nftWorks asks the command itself, whose doctor tries it.
var nftWorks = sync.OnceValue(func() bool {
	for _, a := range harness.Doctor(context.Background(), harness.DefaultTables()).Abilities {
		if a.Name == "nft-reject" {
			return a.Missing == ""
		}
	}
	return false
})

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD ARG…")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if !slices.Contains(strings.Split(args[0], "|"), strconv.Itoa(got)) {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// reboundPath is the command's binary, which testscript puts first in the PATH.
func reboundPath(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("rebound")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// scenarioPath is a file of testdata/scenario.
func scenarioPath(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("testdata/scenario", name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}
