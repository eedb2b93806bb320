package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rebound-mqtt/rebound/reports"
)

// job is one run that is wanted.
type job struct {
	scenario string
	text     []byte // of the scenario
	driver   string
	seed     int
	target   string
	clients  int // 0 = the scenario's own
}

func (j job) String() string {
	return fmt.Sprintf("%-18s %-7s seed %d", j.scenario, j.driver, j.seed)
}

// args are the command line after `rebound`, without the folder.
func (j job) args() []string {
	a := []string{"run", j.scenario, "--driver", j.driver, "--target", j.target, "--seed", strconv.Itoa(j.seed), "--quiet", "--allow-exec"}
	if j.clients > 0 {
		a = append(a, "--clients", strconv.Itoa(j.clients))
	}
	return a
}

// folder is the job's own; the runs of it are folders in there.
func (j job) folder(out string) string {
	target := strings.NewReplacer("/", "-", `\`, "-", ":", "-").Replace(j.target)
	return filepath.Join(out, target, j.scenario, j.driver, "seed-"+strconv.Itoa(j.seed))
}

// state is written into a job's folder when the job is done, and says of what
// its report is the report.
type state struct {
	Binary   string   `json:"binary"`   // SHA-256 of the command
	Scenario string   `json:"scenario"` // SHA-256 of the scenario file
	Args     []string `json:"args"`
	Dir      string   `json:"dir"`  // the run that counts
	Exit     int      `json:"exit"` // -1 = killed
	Repeated bool     `json:"repeated,omitempty"`
	Seconds  float64  `json:"seconds"` // of the run that counts, by the wall
}

const stateFile = "state.json"

func (j job) wanted(binary string) state {
	return state{Binary: binary, Scenario: digest(j.text), Args: j.args()}
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func digestFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("the command under test (make build): %w", err)
	}
	return digest(b), nil
}

// outcome is a job that was done, now or before.
type outcome struct {
	job
	state
	report *reports.Report // nil = the run left none
	proof  map[string]string
}

// done gives the outcome of a job that a former call has finished with the
// same binary, scenario and arguments.
func (j job) done(out, binary string) (outcome, bool) {
	dir := j.folder(out)
	b, err := os.ReadFile(filepath.Join(dir, stateFile))
	if err != nil {
		return outcome{}, false
	}
	var s state
	want := j.wanted(binary)
	if json.Unmarshal(b, &s) != nil || s.Binary != want.Binary || s.Scenario != want.Scenario || !slices.Equal(s.Args, want.Args) {
		return outcome{}, false
	}
	o := j.outcome(out, s)
	return o, o.report != nil
}

// outcome reads what the run that counts has left.
func (j job) outcome(out string, s state) outcome {
	dir := filepath.Join(j.folder(out), s.Dir)
	o := outcome{job: j, state: s}
	r, err := reports.ReadPath(dir)
	if err != nil {
		return o
	}
	o.report, o.proof = r, proofs(dir, r)
	return o
}

// write puts the state in place at once, so that a job is done or is not.
func (s state) write(dir string) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, stateFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
