package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
)

// set does the runs of --repeat, into DIR/runs/001…. It ends with the first
// run that was interrupted or could not be done; what was done is summed up.
func (s *session) set(ctx context.Context, stop <-chan struct{}) error {
	var list []*reports.Report
	var codes []int
	var failed error
	for n := range s.flags.repeat {
		if n > 0 && isClosed(stop) {
			codes = append(codes, harness.ExitInterrupted)
			list = append(list, s.undone(list, n, harness.ExitInterrupted, ""))
			break
		}
		r, err := s.one(ctx, stop, filepath.Join(s.dir, "runs", fmt.Sprintf("%03d", n+1)), n)
		if err != nil {
			failed = err
			codes = append(codes, exitCode(err))
			if len(list) > 0 {
				list = append(list, s.undone(list, n, exitCode(err), err.Error()))
			}
			break
		}
		list = append(list, r)
		codes = append(codes, r.ExitCode)
	}
	if len(list) > 0 {
		if err := s.writeSet(s.dir, list); err != nil {
			failed = errors.Join(failed, err)
			codes = append(codes, exitCode(err))
		}
	}
	if code := reports.WorstExit(codes); code != harness.ExitPass {
		return exit{code, failed}
	}
	return nil
}

// undone stands in a set for run n, which has no report. Whoever reads the files
// of a set sees no exit code: without it the runs before would look like all.
func (s *session) undone(list []*reports.Report, n, code int, why string) *reports.Report {
	first := list[0]
	why, _, _ = strings.Cut(why, "\n")
	return &reports.Report{
		Rebound: first.Rebound, Target: first.Target, Driver: first.Driver, Environment: first.Environment, Verdict: reports.Unknown, ExitCode: code,
		Run: reports.Run{
			Scenario: first.Run.Scenario, ScenarioHash: first.Run.ScenarioHash, Clients: first.Run.Clients, Seed: s.flags.seedOf(s.scenario, n),
			Interrupted: code == harness.ExitInterrupted, Aborted: why,
		},
	}
}

// writeSet writes what the runs of a set have in common: one summary, one
// junit.xml, and one bench.txt with a line a run.
func (s *session) writeSet(dir string, list []*reports.Report) error {
	if err := reports.WriteSet(dir, list, s.formats); err != nil {
		return fmt.Errorf("%w: %w", harness.ErrEvidence, err)
	}
	passed := 0
	for _, r := range list {
		if r.ExitCode == harness.ExitPass {
			passed++
		}
	}
	_, err := fmt.Fprintf(s.io.out, "set        %d of %s passed   %s\n", passed, plural(s.flags.repeat, "run"), forPeople(dir, ofSets(s.formats)))
	tellGitHub(s.io, reports.SetSummary(list), list...)
	return err
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
