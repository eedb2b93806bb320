package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

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
			break
		}
		r, err := s.one(ctx, stop, filepath.Join(s.dir, "runs", fmt.Sprintf("%03d", n+1)), n)
		if err != nil {
			failed = err
			codes = append(codes, exitCode(err))
			break
		}
		list = append(list, r)
		codes = append(codes, r.ExitCode)
	}
	if len(list) > 0 {
		if err := s.writeSet(list); err != nil {
			failed = errors.Join(failed, err)
			codes = append(codes, exitCode(err))
		}
	}
	if code := reports.WorstExit(codes); code != harness.ExitPass {
		return exit{code, failed}
	}
	return nil
}

// writeSet writes what the runs of a set have in common: one summary, one
// junit.xml, and one bench.txt with a line a run.
func (s *session) writeSet(list []*reports.Report) error {
	if err := reports.WriteSet(s.dir, list, s.formats); err != nil {
		return fmt.Errorf("%w: %w", harness.ErrEvidence, err)
	}
	passed := 0
	for _, r := range list {
		if r.ExitCode == harness.ExitPass {
			passed++
		}
	}
	_, err := fmt.Fprintf(s.io.out, "set        %d of %s passed   %s\n", passed, plural(s.flags.repeat, "run"), forPeople(s.dir, ofSets(s.formats)))
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
