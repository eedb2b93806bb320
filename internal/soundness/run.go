package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/reports"
)

// The bounds of one run. The longest shipped scenario takes half a minute; a
// run that hangs is told to stop, and then killed.
const (
	longestRun = 4 * time.Minute
	stopWithin = 45 * time.Second
)

// runAll does the jobs that are not done yet, prints a line for each and gives
// the outcomes of all that are done, in their order. A signal ends the runs
// that are under way and starts no more.
func runAll(jobs []job, o options, out io.Writer, signals <-chan os.Signal) (outcomes []outcome, stopped bool, err error) {
	binary, err := digestFile(o.binary)
	if err != nil {
		return nil, false, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-signals:
			fmt.Fprintln(out, "stopping: the run that is under way ends; the same command goes on from here")
			cancel()
		case <-ctx.Done():
		}
	})
	defer watch.Wait()
	defer cancel()

	r := runner{options: o, digest: binary, out: out, total: len(jobs), results: make([]*outcome, len(jobs))}
	r.all(ctx, jobs)
	for _, res := range r.results {
		if res != nil {
			outcomes = append(outcomes, *res)
		}
	}
	return outcomes, ctx.Err() != nil, r.err
}

// runner does jobs. Its lock guards everything below it.
type runner struct {
	options
	digest string
	total  int

	mu      sync.Mutex
	out     io.Writer
	results []*outcome // by job; nil = not done
	count   int
	err     error
}

func (r *runner) all(ctx context.Context, jobs []job) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var workers sync.WaitGroup
	for range r.jobs {
		workers.Go(func() {
			for i := range next {
				if err := r.one(ctx, i, jobs[i]); err != nil {
					r.mu.Lock()
					r.err = errors.Join(r.err, err)
					r.mu.Unlock()
					cancel()
				}
			}
		})
	}
feed:
	for i := range jobs {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	workers.Wait()
}

// one does a job, unless it is done.
func (r *runner) one(ctx context.Context, i int, j job) error {
	if o, done := j.done(r.options.out, r.digest); done {
		r.put(i, o, "done before")
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	dir := j.folder(r.options.out)
	if err := empty(dir); err != nil {
		return err
	}
	s := j.wanted(r.digest)
	for _, s.Dir = range []string{"run", "again"} {
		start := time.Now()
		exit, err := r.process(ctx, j, filepath.Join(dir, s.Dir))
		if err != nil || ctx.Err() != nil {
			return err // a run that was stopped is no run
		}
		s.Exit, s.Seconds = exit, time.Since(start).Seconds()
		o := j.outcome(r.options.out, s)
		if s.Repeated || !starved(o.report) {
			break
		}
		s.Repeated = true
	}
	// A binary that was built anew meanwhile is another one.
	if now, err := digestFile(r.binary); err != nil || now != r.digest {
		return fmt.Errorf("%s changed while the runs were under way", r.binary)
	}
	if err := s.write(dir); err != nil {
		return err
	}
	r.put(i, j.outcome(r.options.out, s), fmt.Sprintf("%.0f s", s.Seconds))
	return nil
}

// empty takes away what an unfinished or older job has left.
func empty(dir string) error {
	for _, name := range []string{stateFile, stateFile + ".new", "run", "again", "run.txt", "again.txt"} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("empty %s: %w", dir, err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the folder of a run: %w", err)
	}
	return nil
}

// process runs the command; what it prints stands beside its folder. The exit
// code is -1 when it had to be killed.
func (r *runner) process(ctx context.Context, j job, dir string) (exit int, err error) {
	text, err := os.Create(dir + ".txt")
	if err != nil {
		return 0, fmt.Errorf("run %s: %w", j, err)
	}
	defer text.Close()
	ctx, cancel := context.WithTimeout(ctx, longestRun)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.binary, append(j.args(), "--out", dir)...)
	cmd.Stdout, cmd.Stderr = text, text
	cmd.Env = append(os.Environ(), "GITHUB_STEP_SUMMARY=") // a page of each of hundreds is none for a summary
	cmd.SysProcAttr = ownGroup()                           // Ctrl-C comes to it from here alone, once
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopWithin
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 0, fmt.Errorf("run %s: %w", j, err)
	}
	return cmd.ProcessState.ExitCode(), nil
}

// starved reports whether a run could not decide because the machine was busy.
func starved(r *reports.Report) bool {
	return r != nil && r.Verdict == reports.Unknown && (r.Harness.Fitness == "saturated" ||
		slices.ContainsFunc(r.Phases, func(p reports.Phase) bool { return p.Fitness == "saturated" }))
}

// put keeps an outcome and prints its line.
func (r *runner) put(i int, o outcome, note string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results[i] = &o
	r.count++
	fmt.Fprintf(r.out, "%4d of %d  %s  %s  (%s)\n", r.count, r.total, o.job, o.line(), note)
}
