package formats

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the program under test, built once from the module above.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rebound-formats-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	binary = filepath.Join(dir, "rebound")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/rebound")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		return complain(fmt.Errorf("build rebound: %w\n%s", err, out))
	}
	return m.Run()
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// report is what the tests look at of report.json.
type report struct {
	ExitCode int `json:"exit_code"`
	Run      struct {
		StartedAt string `json:"started_at"`
		Scenario  string `json:"scenario"`
	} `json:"run"`
	Waves        []wave        `json:"waves"`
	Checks       []check       `json:"checks"`
	Expectations []expectation `json:"expectations"`
	Histograms   []histogram   `json:"histograms"`
}

type wave struct {
	Phase      string `json:"phase"`
	Wave       int    `json:"wave"`
	Back       int    `json:"back"`
	Censored   int    `json:"censored"`
	Unaffected int    `json:"unaffected"`
	Absent     int    `json:"absent"`
	Outage     struct {
		N   int      `json:"n"`
		P50 *float64 `json:"p50"`
	} `json:"outage"`
}

type check struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Known   string `json:"known"`
}

type expectation struct {
	Text    string `json:"text"`
	Verdict string `json:"verdict"`
	OnFail  string `json:"on_fail"`
	Known   string `json:"known"`
}

type histogram struct {
	Fleet    string  `json:"fleet"`
	Phase    string  `json:"phase"`
	Wave     int     `json:"wave"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Start    float64 `json:"start_seconds"`
	N        int64   `json:"n"`
	Overflow int64   `json:"overflow"`
	Censored int64   `json:"censored"`
}

func (h histogram) tag() string { return h.Fleet + "." + h.Phase + "." + h.Metric }

// evidence are folders of real runs: one that passed, and one with clients that
// never came back, a check that fails and an expectation that is unknown.
var evidence = []string{"schema1", "schema2"}

// each judges each folder of evidence with the binary and looks at its files.
func each(t *testing.T, look func(t *testing.T, dir string, r report)) {
	t.Helper()
	for _, name := range evidence {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join("../../harness/judge/testdata", name))); err != nil {
				t.Fatal(err)
			}
			code := rebound(t, "report", dir)
			r := readReport(t, dir)
			if code != r.ExitCode {
				t.Errorf("exit code %d, the report says %d", code, r.ExitCode)
			}
			look(t, dir, r)
		})
	}
}

// rebound runs the binary and gives its exit code.
func rebound(t *testing.T, args ...string) int {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "GITHUB_ACTIONS=", "GITHUB_STEP_SUMMARY=")
	out, err := cmd.CombinedOutput()
	var e *exec.ExitError
	if err != nil && !errors.As(err, &e) {
		t.Fatal(err)
	}
	t.Logf("rebound %v\n%s", args, out)
	return cmd.ProcessState.ExitCode()
}

func readReport(t *testing.T, dir string) report {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// program is the path of a program; without it the test is skipped on a
// developer's machine and fails in CI.
func program(t *testing.T, name, install string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		missing(t, name+": "+install)
	}
	return path
}

func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not installed in CI: %s", what)
	}
	t.Skipf("SKIPPED, not installed: %s", what)
}
