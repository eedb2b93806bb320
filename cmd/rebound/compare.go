package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

const compareLong = `Compare runs of the same scenario: run folders, report.json files, folders of
'run --repeat', or baselines. Two arguments are OLD and NEW; more need a --
between the old and the new ones.

The run is the unit of evidence: a metric has one value a run. The same five
metrics decide in each comparison: rmta, outage.p50, outage.p90, outage.p99 and
back.p99 of the whole run. The verdict is

  worse         a metric's exact Mann-Whitney p, corrected for five metrics by
                Holm, is below 0.05 and its shift (Hodges-Lehmann) is over the
                margin; or a count rose from 0: messages lost, clients censored,
                session faults and the like decide at any number of runs
  better        a metric is, and none may be worse by more than 10 % or --margin
  same          each metric's interval lies within ± 10 %, or --margin
  inconclusive  else, with the number of runs that may decide it
  saturated     the harness was, in a run: its times are not the broker's
  unfinished    a run did not finish
  refused       the runs are not of one kind; --allow NAME takes them anyway

The margin is the larger of 10 % and 3 times the A/A noise, which is what halves
of the old runs differ by. Under 4 runs a side no time decides anything, and 5
are the fewest that can be worse.

Exit codes: 0 better, same or inconclusive; 2 refused; 3 unfinished or
saturated, and inconclusive with --require; 5 worse.`

const compareExample = `  rebound compare before/ after/
  rebound compare old/1 old/2 -- new/1 new/2
  rebound compare --baseline kick-backoff out/set --require
  rebound compare --self-check out/set
  rebound compare before/ after/ --format md >> "$GITHUB_STEP_SUMMARY"`

// compareFlags are the flags of compare.
type compareFlags struct {
	format   string
	allow    []string
	margin   string
	require  bool
	self     bool
	baseline string
}

func compareCommand(io streams) *cobra.Command {
	var f compareFlags
	c := &cobra.Command{
		Use:     "compare OLD... [--] NEW...",
		Short:   "Hold new runs against old ones; exit 5 when they are worse",
		Long:    compareLong,
		Example: compareExample,
		Args:    cobra.ArbitraryArgs,
		RunE:    func(c *cobra.Command, args []string) error { return f.run(c, args, io) },
	}
	c.Flags().StringVar(&f.format, "format", compareFormatNames()[0], "write it as `FORMAT`: "+strings.Join(compareFormatNames(), ", "))
	c.Flags().StringSliceVar(&f.allow, "allow", nil, "let runs differ in `NAME`: "+strings.Join(reports.AllowNames(), ", "))
	c.Flags().StringVar(&f.margin, "margin", "", "least change `SHARE` that matters, such as 15%, in the place of max(10%, 3 × A/A noise)")
	c.Flags().BoolVar(&f.require, "require", false, "require a decision: inconclusive is exit 3")
	c.Flags().BoolVar(&f.self, "self-check", false, "all runs are of one thing: say by how much they differ, and which change they could show")
	c.Flags().StringVar(&f.baseline, "baseline", "", "take the baseline `NAME` as the old runs; all arguments are new ones")
	return c
}

func compareFormatNames() (names []string) {
	for _, f := range reports.CompareFormats() {
		names = append(names, f.Name)
	}
	return names
}

func (f compareFlags) run(c *cobra.Command, args []string, io streams) error {
	options, format, err := f.parse()
	if err != nil {
		return err
	}
	old, new, err := f.sides(c, args)
	if err != nil {
		return err
	}
	next, err := readSide(new)
	if err != nil {
		return harness.Usage(err)
	}
	if f.self {
		s := reports.CheckSelf(next, options)
		if err := format.Self(io.out, s); err != nil {
			return err
		}
		return exitWith(s.ExitCode)
	}
	base, err := readSide(old)
	if err != nil {
		return harness.Usage(err)
	}
	cmp := reports.Compare(base, next, options)
	if err := format.Write(io.out, cmp); err != nil {
		return err
	}
	return exitWith(cmp.ExitCode)
}

// parse checks the flags.
func (f compareFlags) parse() (reports.CompareOptions, reports.CompareFormat, error) {
	o := reports.CompareOptions{Allow: f.allow, Require: f.require}
	for _, name := range f.allow {
		if !slices.Contains(reports.AllowNames(), name) {
			return o, reports.CompareFormat{}, usagef("--allow %s: want one of %s", name, strings.Join(reports.AllowNames(), ", "))
		}
	}
	if f.margin != "" {
		number, isPercent := strings.CutSuffix(f.margin, "%")
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !isPercent || !(v > 0 && v <= 1000) {
			return o, reports.CompareFormat{}, usagef("--margin %s: want a percentage above 0%%, such as 15%%", f.margin)
		}
		o.Margin = v / 100
	}
	for _, format := range reports.CompareFormats() {
		switch {
		case format.Name != f.format:
		case f.self && format.Self == nil:
			return o, format, usagef("--format %s: a self-check has no such form", f.format)
		default:
			return o, format, nil
		}
	}
	return o, reports.CompareFormat{}, usagef("--format %s: want one of %s", f.format, strings.Join(compareFormatNames(), ", "))
}

// sides deals the arguments out to the old and the new side.
func (f compareFlags) sides(c *cobra.Command, args []string) (old, new []string, err error) {
	dash := c.ArgsLenAtDash()
	switch {
	case f.self && f.baseline != "":
		return nil, nil, usagef("--self-check and --baseline do not go together: a self-check has one side")
	case f.self || f.baseline != "":
		if len(args) == 0 {
			return nil, nil, usagef("name the runs: folders, sets or report.json files")
		}
		if f.self {
			return nil, args, nil
		}
		dir, err := findBaseline(f.baseline)
		return []string{dir}, args, err
	case dash > 0 && dash < len(args):
		return args[:dash], args[dash:], nil
	case dash < 0 && len(args) == 2:
		return args[:1], args[1:], nil
	case dash < 0 && len(args) > 2:
		return nil, nil, usagef("got %s: put a -- between the old and the new ones", plural(len(args), "argument"))
	}
	return nil, nil, usagef("got %s, want '%s'\nsee '%s --help'", plural(len(args), "argument"), c.UseLine(), c.CommandPath())
}

// readSide reads all reports that the paths of one side stand for.
func readSide(paths []string) ([]*reports.Report, error) {
	var out []*reports.Report
	for _, path := range paths {
		files, err := reportsIn(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			r, err := reports.ReadPath(file)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// reportsIn lists the reports of a path: of a set its runs, of a baseline its
// files, and of a run or a file itself.
func reportsIn(path string) ([]string, error) {
	if runs := runsOf(path); len(runs) > 0 {
		return runs, nil
	}
	if _, err := os.Stat(filepath.Join(path, "report.json")); err == nil {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, nil // ReadPath says what is wrong
	}
	if _, err := os.Stat(filepath.Join(path, "plan.yaml")); err == nil {
		return nil, fmt.Errorf("%[1]s is a run without a report.json: 'rebound report %[1]s' writes it", path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read reports: %w", err)
	}
	var files []string
	for _, e := range entries {
		if e.Type().IsRegular() && filepath.Ext(e.Name()) == ".json" {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no report.json, no runs/ and no baseline", path)
	}
	return files, nil
}
