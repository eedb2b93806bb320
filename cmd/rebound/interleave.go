package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

// Of run --interleave A B: the runs of two arms in turn, so that a machine that
// drifts drifts under both. Each run is a process of its own, whichever the
// arm, so that the arms differ in nothing else.

// arm is one side: a rebound binary, or a target of this one.
type arm struct {
	name   string // as given
	binary string
	target string // "" = that of --target
}

// newArm tells a target from a binary. The path of a binary that has the name
// of a target needs a slash.
func newArm(name string, f runFlags) (arm, error) {
	where, tables := name, harness.DefaultTables()
	if ext := filepath.Ext(name); ext == ".yaml" || ext == ".yml" { // a target file; with a slash alone it may be a binary
		file, text, err := harness.LoadTarget(name)
		if err != nil {
			return arm{}, withSource(err, text)
		}
		where, tables = harness.TargetName(file), tables.With(file)
	}
	err := tables.CheckTarget(where, f.endpoint, f.kick)
	if err == nil || strings.Contains(where, "://") {
		if err == nil && f.given("target") {
			err = usagef("--interleave %s: it is a target, and so is --target %s: leave one out", name, f.target)
		}
		self, selfErr := os.Executable()
		return arm{name, self, name}, errors.Join(err, selfErr)
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return arm{}, usagef("--interleave %s: neither a target nor a rebound binary: %w", name, err)
	}
	path, err = filepath.Abs(path)
	return arm{name, path, ""}, err
}

// args is the command line of one run: what the user gave, but for what the
// arms have of their own.
func (a arm) args(scenario, dir string, seed uint64, given *pflag.FlagSet) []string {
	args := []string{"run", scenario, "--out=" + dir, "--seed=" + strconv.FormatUint(seed, 10)}
	given.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "interleave", "repeat", "out", "seed":
		default:
			values := []string{f.Value.String()}
			if list, ok := f.Value.(pflag.SliceValue); ok { // its String has brackets that no flag reads
				values = list.GetSlice()
			}
			for _, v := range values {
				args = append(args, "--"+f.Name+"="+v)
			}
		}
	})
	if a.target != "" {
		args = append(args, "--target="+a.target)
	}
	return args
}

// start does one run in a process and reads its report. The first Ctrl-C is
// passed on, so that the run drains and reports; so is the second, which stops
// it. An error means that there is no report.
func (a arm) start(ctx context.Context, stop <-chan struct{}, io streams, dir string, args []string) (*reports.Report, int, error) {
	c := exec.CommandContext(ctx, a.binary, args...)
	c.Stdout, c.Stderr = io.out, io.err
	c.SysProcAttr = ownGroup() // Ctrl-C comes to it from here alone, once
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	c.WaitDelay = 10 * time.Second // of a process that heeds no Ctrl-C
	if err := c.Start(); err != nil {
		return nil, harness.ExitFailedRun, err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		ended <- err
	case <-stop:
		c.Process.Signal(os.Interrupt) //nolint:errcheck // it has ended by itself then
	}
	waited := <-ended
	if exitErr := (*exec.ExitError)(nil); waited != nil && !errors.As(waited, &exitErr) && ctx.Err() == nil {
		return nil, harness.ExitFailedRun, waited
	}
	r, err := reports.ReadPath(dir)
	switch code := c.ProcessState.ExitCode(); {
	case err == nil:
		return r, code, nil
	case code > 0:
		return nil, code, fmt.Errorf("no report, exit code %d", code)
	default:
		return nil, harness.ExitFailedRun, fmt.Errorf("no report, %s: %w", c.ProcessState, err)
	}
}

// interleaved does the runs A, B, A, B, … into DIR/a and DIR/b, two sets; run n
// of both has the same seed. Then it compares them. The exit code is the worst
// of the runs; when all of them passed it is the comparison's.
func (s *session) interleaved(arms [2]arm, scenario string, given *pflag.FlagSet) error {
	if err := s.begin(); err != nil {
		return err
	}
	ctx, stop, done := interrupts(s.progress.say)
	defer done()
	var lists [2][]*reports.Report
	var undone [2][]*reports.Report
	var codes []int
	for n := range s.flags.repeat * len(arms) {
		side, n := n%len(arms), n/len(arms)
		if isClosed(stop) {
			codes = append(codes, harness.ExitInterrupted)
			if len(lists[side]) > 0 {
				undone[side] = append(undone[side], s.undone(lists[side], n, harness.ExitInterrupted, ""))
			}
			break
		}
		seed, a := s.flags.seedOf(s.scenario, n), arms[side]
		dir := filepath.Join(s.sideDir(side), "runs", fmt.Sprintf("%03d", n+1))
		s.progress.say("run %d of %d · %s %s · seed %d", n+1, s.flags.repeat, sideName(side), a.name, seed)
		r, code, err := a.start(ctx, stop, s.io, dir, a.args(scenario, dir, seed, given))
		if err != nil {
			return exit{code, fmt.Errorf("run %d of %s %s: %w", n+1, sideName(side), a.name, err)}
		}
		lists[side] = append(lists[side], r)
		codes = append(codes, code)
	}
	for side, list := range lists {
		if len(list) == 0 {
			return exitWith(reports.WorstExit(codes))
		}
		if err := s.writeSet(s.sideDir(side), append(slices.Clone(list), undone[side]...)); err != nil {
			return err
		}
	}
	var o reports.CompareOptions
	if arms[0].target != "" {
		o.Allow = []string{"broker", "placement", "abilities"} // what was to differ
	}
	c := reports.Compare(lists[0], lists[1], o)
	if err := reports.CompareFormats()[0].Write(s.io.out, c); err != nil {
		return err
	}
	if code := reports.WorstExit(codes); code != harness.ExitPass {
		return exitWith(code)
	}
	return exitWith(c.ExitCode)
}

func sideName(side int) string { return string(rune('a' + side)) }

func (s *session) sideDir(side int) string { return filepath.Join(s.dir, sideName(side)) }
