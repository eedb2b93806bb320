package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

type runFlags struct {
	planFlags
	endpoint   string
	close      closeFlags
	out        string
	format     formatFlag
	repeat     int
	interleave bool
	allowExec  bool
	strict     bool
	quiet      bool
}

func runCommand(io streams) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run NAME|FILE [--interleave A B]",
		Short: "Run a scenario and write a folder of evidence and reports",
		Long: `Run a shipped scenario (see 'rebound scenarios') or a scenario file.

The target is 'embedded' (mochi-mqtt in this process; the default), 'pipe' (the
same over connections in memory, which need no open files), 'child' (the same
broker in a process of its own), 'mosquitto' (started as a process, if it is
installed; rebound ends its connections from its own side) or the address of a
broker that runs already, tcp://HOST:PORT, or a FILE that describes such a
broker or the command that starts one (docs/scenarios.md#target-files). An
address also needs to be told who closes connections: --close-endpoint URL, an
endpoint of the CloseConnection API, or --kick fin, where rebound ends them from
its own side.

Calls to such an endpoint are signed (--close-scheme) with the access key in
ALIBABA_CLOUD_ACCESS_KEY_ID, ALIBABA_CLOUD_ACCESS_KEY_SECRET and, for temporary
credentials, ALIBABA_CLOUD_SECURITY_TOKEN. Off loopback they are no more than
50 a second (--close-rate): the service blocks an address that calls too often.
What the pace holds back is lag of the outages; plan the storm with rate: to
have none.

--interleave A B does the runs of a set in turn for two rebound binaries, or for
two targets, and compares them at the end: A, B, A, B, …, each with the seeds of
the other. It is how to ask whether a change made anything worse: a machine that
drifts drifts under both. The sets are DIR/a and DIR/b. The exit code is the
worst of the runs; if all passed it is the comparison's (5 = worse).

The summary goes to stdout and names the folder; progress goes to stderr. Where
GITHUB_STEP_SUMMARY names a file, the page is added to it; under GitHub Actions
what did not hold becomes annotations.

First Ctrl-C: no more kicks, drain, report, exit 130. Second: stop now, once
what a fault did is undone. Third: leave it as it is.`,
		Example: `  rebound run kick-all
  rebound run kick-paced --clients 5000 --target child
  rebound run my.yaml --target tcp://127.0.0.1:1883 --kick fin --out out/try-1
  rebound run kick-all --target child --close-scheme acs3
  rebound run kick-all --repeat 5
  rebound run kick-all --repeat 5 --interleave ./rebound-old ./rebound-new
  rebound run session-resume --repeat 5 --interleave embedded mosquitto`,
		Args: func(c *cobra.Command, args []string) error {
			if f.interleave {
				return cobra.ExactArgs(3)(c, args)
			}
			return cobra.ExactArgs(1)(c, args)
		},
		RunE: func(c *cobra.Command, args []string) error {
			if f.repeat < 1 {
				return usagef("--repeat %d: want at least 1", f.repeat)
			}
			if f.interleave {
				return runInterleaved(io, c.Flags(), f, args[0], args[1:])
			}
			s, err := newSession(io, args[0], f)
			if err != nil {
				return err
			}
			if entered, err := s.enterNamespace(); entered || err != nil {
				return err
			}
			return s.run()
		},
	}
	f.register(c)
	c.Flags().StringVar(&f.endpoint, "close-endpoint", "", "CloseConnection endpoint `URL` of an address target")
	f.close.register(c)
	c.Flags().StringVar(&f.out, "out", "", "the run's own `DIR`, new or empty (default reports/runs/<time>-<scenario>)")
	f.format.register(c)
	c.Flags().IntVar(&f.repeat, "repeat", 1, "run `N` times, seed by seed, into one set")
	c.Flags().BoolVar(&f.interleave, "interleave", false, "do the runs of two rebound binaries or targets in turn, and compare")
	c.Flags().BoolVar(&f.allowExec, "allow-exec", false, "the scenario may start the programs that it names (fault exec)")
	c.Flags().BoolVar(&f.strict, "strict", false, "known defects and quantiles with too few values do not pass")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "no progress on stderr")
	return c
}

// runInterleaved is run --interleave.
func runInterleaved(io streams, given *pflag.FlagSet, f runFlags, scenario string, names []string) error {
	if len(f.format.names) > 0 && !slices.Contains(f.format.names, "json") {
		return usagef("--format %s: --interleave compares the report.json of the runs: name json, too", strings.Join(f.format.names, ","))
	}
	var arms [2]arm
	for i, name := range names {
		var err error
		if arms[i], err = newArm(name, f); err != nil {
			return err
		}
	}
	if (arms[0].target == "") != (arms[1].target == "") {
		return usagef("--interleave %s %s: one is a target, the other a binary: want two of a kind", names[0], names[1])
	}
	if arms[0].target != "" {
		f.target = arms[0].target
	}
	s, err := newSession(io, scenario, f)
	if err != nil {
		return err
	}
	return s.interleaved(arms, scenario, given)
}

// session is one `rebound run`: a run, or a set of them.
type session struct {
	io       streams
	flags    runFlags
	tables   harness.Tables
	closing  harness.CloseOptions
	scenario *scenarios.Scenario
	text     []byte          // of the scenario, as given
	plan     *scenarios.Plan // of the first run
	dir      string
	why      string // why the run has no network namespace of its own
	formats  []reports.Format
	progress *progress
}

// newSession refuses what can be refused before a folder is made.
func newSession(io streams, name string, f runFlags) (*session, error) {
	s := &session{io: io, flags: f, tables: harness.DefaultTables(), progress: newProgress(io.err, f.quiet)}
	if err := s.flags.resolve(); err != nil {
		return nil, err
	}
	f, s.tables = s.flags, s.tables.With(s.flags.file)
	if err := s.tables.CheckTarget(f.target, f.endpoint, f.kick); err != nil {
		return nil, err
	}
	if _, err := harness.Login(f.file); err != nil { // known now, and not when a folder is made
		return nil, err
	}
	var err error
	if s.formats, err = f.format.rows(); err != nil {
		return nil, err
	}
	if notRate(f.close.rate) {
		return nil, usagef("--close-rate %g: want calls per second, at most %d, or 0 for as fast as they come", f.close.rate, maxPerSecond)
	}
	if s.closing, err = f.close.options().For(f.target, f.kick, f.endpoint); err != nil {
		return nil, err
	}
	s.flags.pace, s.progress.signed = s.closing.Rate, s.closing.Signed()
	if s.scenario, s.text, err = loadScenario(name, s.tables); err != nil {
		return nil, err
	}
	if s.plan, err = s.flags.plan(s.scenario, s.tables, f.endpoint, 0); err != nil {
		return nil, withSource(err, s.text)
	}
	if err := harness.CheckExec(s.plan, f.allowExec); err != nil {
		return nil, err
	}
	if err := harness.CheckClients(s.plan, s.tables); err != nil {
		return nil, err
	}
	return s, nil
}

// begin makes the folder of the run or set.
func (s *session) begin() (err error) {
	if note := harness.PaceNote(s.plan, s.closing.Rate); note != "" {
		s.progress.say("%s", note)
	}
	s.dir, err = s.flags.folder(s.scenario.Name)
	return err
}

// enterNamespace does the runs in a network namespace of their own, in this
// program again, where the plan has faults of the kernel. Where there can be
// none they are done here, and those faults are skipped.
func (s *session) enterNamespace() (entered bool, err error) {
	if !harness.NeedsNamespace(s.plan, s.tables) {
		return false, nil
	}
	signals := make(chan os.Signal, 3)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	code, entered, why, err := harness.EnterNamespace(context.Background(), signals)
	if entered && err == nil {
		err = exitWith(code)
	}
	if entered || err != nil {
		return entered, err
	}
	s.why = why
	return false, nil
}

// folder names the folder of the run or set; one that was named by the user is
// made by the run.
func (f runFlags) folder(scenario string) (string, error) {
	if f.out == "" {
		return harness.NewRunFolder(scenario, time.Now())
	}
	if entries, err := os.ReadDir(f.out); err == nil && len(entries) > 0 {
		return "", fmt.Errorf("--out %s: %w", f.out, harness.ErrFolderNotEmpty)
	}
	return f.out, nil
}

func (s *session) run() error {
	if err := s.begin(); err != nil {
		return err
	}
	ctx, stop, done := interrupts(s.progress.say)
	defer done()
	if s.flags.repeat == 1 {
		r, err := s.one(ctx, stop, s.dir, 0)
		if err != nil {
			return err
		}
		tellGitHub(s.io, pageOf(r), r)
		return exitWith(r.ExitCode)
	}
	return s.set(ctx, stop)
}

// one does run n (from 0) into a folder of its own and shows its summary.
func (s *session) one(ctx context.Context, stop <-chan struct{}, dir string, n int) (*reports.Report, error) {
	plan, err := s.flags.plan(s.scenario, s.tables, s.flags.endpoint, n)
	if err != nil {
		return nil, err
	}
	if s.flags.repeat > 1 {
		s.progress.say("run %d of %d · seed %d", n+1, s.flags.repeat, plan.Seed)
	}
	r, err := harness.Run(ctx, plan, harness.Options{
		Tables: s.tables, Dir: dir, TargetFile: s.flags.file, Scenario: s.text, Endpoint: s.flags.endpoint, Close: s.closing, Strict: s.flags.strict,
		AllowExec: s.flags.allowExec, NoNamespace: s.why, Version: version, Stop: stop, OnTarget: s.progress.target, OnStatus: s.progress.status,
	})
	s.progress.finish()
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, exit{harness.ExitInterrupted, fmt.Errorf("stopped before the report was written: 'rebound report %s' judges what there is", dir)}
	case err != nil:
		return nil, left(err, dir)
	}
	if err := reports.WriteFormats(dir, r, s.formats); err != nil {
		return nil, leftIn{err, fmt.Sprintf("the evidence is complete: 'rebound report %s' writes the reports again", dir)}
	}
	return r, show(s.io, forPeople(dir, s.formats), r)
}

// show prints the ten-second summary, which ends with where to read on.
func show(io streams, path string, r *reports.Report) error {
	return reports.Terminal(io.out, r, reports.TerminalOptions{Color: colored(io.out), Path: path})
}
