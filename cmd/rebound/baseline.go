package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

// baselines is where baselines are kept, under the working directory: a folder
// a name, with a report a run. It is meant to be committed.
var baselines = filepath.Join("reports", "baselines")

func baselineCommand(io streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "baseline",
		Short: "Keep runs to hold later ones against: baseline save NAME DIR...",
		Long: `Keep the reports of runs under a name, to hold later ones against:

  save NAME DIR...            save runs as reports/baselines/NAME
  save NAME DIR... --renew    in the place of those that are there

'compare --baseline NAME NEW...' holds new runs against them.`,
		Example: "  rebound baseline save my out/set\n  rebound compare --baseline my out/new",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(baselineSave(io))
	return c
}

func baselineSave(io streams) *cobra.Command {
	var renew bool
	c := &cobra.Command{
		Use:   "save NAME DIR...",
		Short: "Save runs as reports/baselines/NAME, for compare --baseline NAME",
		Long: `Save the reports of runs as a baseline: run folders, report.json files, or
folders of 'run --repeat'. They go to reports/baselines/NAME under the working
directory, a file a run, without what only their own pages draw.

The runs must be of one kind, finished, and with a harness that was not
saturated. Five runs are the fewest against which later ones can be worse. A
baseline is bound to its class of environment: renew it where the CPU or the
number of cores changes, and after a change for the worse that is meant to stay.`,
		Example: "  rebound run my.yaml --repeat 5 --out out/set\n  rebound baseline save my out/set\n  rebound baseline save my out/set --renew",
		Args:    cobra.MinimumNArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			return saveBaseline(io, args[0], args[1:], renew)
		},
	}
	c.Flags().BoolVar(&renew, "renew", false, "replace the baseline of this name")
	return c
}

var baselineName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// baselineDir is where the baseline of a name is.
func baselineDir(name string) (string, error) {
	if !baselineName.MatchString(name) {
		return "", usagef("baseline %q: want a name of letters, digits, '.', '_' and '-'", name)
	}
	return filepath.Join(baselines, name), nil
}

// findBaseline is where the baseline of a name is, which must be there.
func findBaseline(name string) (string, error) {
	dir, err := baselineDir(name)
	if err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return dir, nil
	}
	entries, err := os.ReadDir(baselines)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read baselines: %w", err)
	}
	var there []string
	for _, e := range entries {
		if e.IsDir() && baselineName.MatchString(e.Name()) {
			there = append(there, e.Name())
		}
	}
	if len(there) == 0 {
		return "", usagef("no baseline %q: %s under the working directory has none; make one with 'rebound baseline save'", name, baselines)
	}
	return "", usagef("no baseline %q: %s under the working directory has %s", name, baselines, strings.Join(there, ", "))
}

func saveBaseline(io streams, name string, paths []string, renew bool) error {
	dir, err := baselineDir(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); err == nil && !renew {
		return usagef("%s is there: replace it with --renew", dir)
	}
	runs, err := readSide(paths)
	if err != nil {
		return harness.Usage(err)
	}
	s := reports.CheckSelf(runs, reports.CompareOptions{})
	switch s.Verdict {
	case reports.Refused, reports.Unfinished, reports.Saturated:
		why := ""
		for _, d := range s.Refused {
			why += fmt.Sprintf("\n%s: %s and %s", d.Line, d.Base, d.Next)
		}
		return exit{s.ExitCode, fmt.Errorf("no baseline of these runs: %s: %s%s", s.Verdict, s.Why[0], why)}
	}
	if err := replaceFolder(dir, runs); err != nil {
		return fmt.Errorf("save baseline: %w", err)
	}
	fmt.Fprintf(io.out, "saved %s as %s\n", plural(len(runs), "run"), dir)
	for _, line := range s.Why {
		fmt.Fprintln(io.out, line)
	}
	return nil
}

// replaceFolder writes the reports into a new folder beside its place, and
// moves it there when it is whole.
func replaceFolder(dir string, runs []*reports.Report) (err error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	fresh, err := os.MkdirTemp(parent, ".new-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(fresh)) }()
	if err := os.Chmod(fresh, 0o755); err != nil {
		return err
	}
	for i, r := range runs {
		file, err := os.Create(filepath.Join(fresh, fmt.Sprintf("%03d.json", i+1)))
		if err != nil {
			return err
		}
		if err := errors.Join(reports.WriteBaseline(file, r), file.Close()); err != nil {
			return err
		}
	}
	old := fresh + ".old"
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Rename(fresh, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	return os.RemoveAll(old)
}
