package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

type runFlags struct {
	planFlags
	endpoint string
	out      string
	repeat   int
	strict   bool
	quiet    bool
}

func runCommand(io streams) *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "run NAME|FILE",
		Short: "Run a scenario and write a folder of evidence and reports",
		Long: `Run a shipped scenario (see 'rebound scenarios') or a scenario file.

The target is 'embedded' (mochi-mqtt in this process; the default), 'child' (the
same broker in a process of its own) or the address of a broker that runs
already, tcp://HOST:PORT. An address also needs to be told who closes
connections: --close-endpoint URL, an endpoint of the CloseConnection API, or
--kick fin, where rebound ends them from its own side.

First Ctrl-C: no more kicks, drain, report, exit 130. Second: stop now.`,
		Example: `  rebound run kick-all
  rebound run kick-paced --clients 5000 --target child
  rebound run my.yaml --target tcp://127.0.0.1:1883 --kick fin --out out/try-1
  rebound run kick-all --repeat 5`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runScenario(io, args[0], f) },
	}
	f.planFlags.register(c)
	c.Flags().StringVar(&f.endpoint, "close-endpoint", "", "CloseConnection endpoint `URL` of an address target")
	c.Flags().StringVar(&f.out, "out", "", "the run's own `DIR`, new or empty (default reports/runs/<time>-<scenario>)")
	c.Flags().IntVar(&f.repeat, "repeat", 1, "run `N` times, seed by seed, into one set")
	c.Flags().BoolVar(&f.strict, "strict", false, "known defects and quantiles with too few values do not pass")
	c.Flags().BoolVarP(&f.quiet, "quiet", "q", false, "no progress on stderr")
	return c
}

func runScenario(io streams, name string, f runFlags) error {
	if f.repeat < 1 {
		return harness.Usage(fmt.Errorf("--repeat %d: want at least 1", f.repeat))
	}
	if err := harness.CheckTarget(f.target, f.endpoint, f.kick); err != nil {
		return err
	}
	tables := harness.DefaultTables()
	sc, text, err := harness.LoadScenario(name, tables)
	if err != nil {
		return err
	}
	first, err := f.plan(sc, tables, f.endpoint, 0)
	if err != nil {
		return err
	}
	dir, err := f.folder(first.Scenario)
	if err != nil {
		return err
	}

	ctx, stop, done := interrupts(io)
	defer done()
	var list []*reports.Report
	for i := range f.repeat {
		plan := first
		if i > 0 {
			if plan, err = f.plan(sc, tables, f.endpoint, i); err != nil {
				return err
			}
		}
		p := newProgress(io.err, f.quiet)
		own := dir
		if f.repeat > 1 {
			own = filepath.Join(dir, "runs", fmt.Sprintf("%03d", i+1))
			p.say("run %d of %d · seed %d", i+1, f.repeat, plan.Seed)
		}
		r, err := harness.Run(ctx, plan, harness.Options{
			Tables: tables, Dir: own, Scenario: text, Endpoint: f.endpoint, Strict: f.strict,
			Version: version, Stop: stop, OnTarget: p.target, OnStatus: p.status,
		})
		p.finish()
		if err != nil {
			return err
		}
		if err := reports.WriteAll(own, r); err != nil {
			return err
		}
		list = append(list, r)
		if err := show(io, own, r); err != nil {
			return err
		}
		if r.Run.Interrupted {
			break
		}
	}
	if f.repeat > 1 {
		if err := writeSet(io, dir, list); err != nil {
			return err
		}
	}
	var codes []int
	for _, r := range list {
		codes = append(codes, r.ExitCode)
	}
	if code := reports.WorstExit(codes); code != 0 {
		return exit(code)
	}
	return nil
}

// writeSet writes what a set of runs has in common: one summary, and one
// bench.txt with a line a run.
func writeSet(io streams, dir string, list []*reports.Report) error {
	files := map[string]string{"summary.md": reports.SetSummary(list), "bench.txt": reports.BenchLines(list)}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	passed := 0
	for _, r := range list {
		if r.ExitCode == harness.ExitPass {
			passed++
		}
	}
	_, err := fmt.Fprintf(io.out, "set        %d of %d runs passed   %s\n", passed, len(list), filepath.Join(dir, "summary.md"))
	return err
}

func (f runFlags) folder(scenario string) (string, error) {
	if f.out != "" {
		return f.out, nil // harness.Run makes it, or refuses it
	}
	return harness.NewRunFolder(scenario, time.Now())
}

// show prints the ten-second summary.
func show(io streams, dir string, r *reports.Report) error {
	return reports.Terminal(io.out, r, reports.TerminalOptions{
		Color: colored(io.out), Path: filepath.Join(dir, "summary.md"),
	})
}

// interrupts gives a context that the second Ctrl-C cancels and a channel that
// the first one closes.
func interrupts(io streams) (ctx context.Context, stop <-chan struct{}, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	quit := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-quit:
				return
			case <-signals:
			}
			switch n {
			case 0:
				fmt.Fprintln(io.err, "rebound: stopping: no more kicks; draining, then the report (again to stop now)")
				close(first)
			case 1:
				fmt.Fprintln(io.err, "rebound: stopping now")
				cancel()
			}
		}
	})
	return ctx, first, func() {
		signal.Stop(signals)
		close(quit)
		wait.Wait()
		cancel()
	}
}
