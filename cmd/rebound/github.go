package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/rebound-mqtt/rebound/reports"
)

// maxStepSummary is the size above which GitHub drops the summary of a step
// whole, in bytes.
const maxStepSummary = 1 << 20

// tellGitHub tells GitHub Actions, where the command runs under it, what the
// reports say: the page goes to the summary of the step, and what did not hold
// becomes annotations. Neither can turn the result of a run: what goes wrong
// here is a note on stderr.
func tellGitHub(io streams, page string, list ...*reports.Report) {
	if path := os.Getenv("GITHUB_STEP_SUMMARY"); path != "" {
		if err := appendSummary(path, page); err != nil {
			fmt.Fprintln(io.err, "rebound: the summary of this step is without the report:", err)
		}
	}
	if onGitHub() {
		for _, line := range reports.Annotations(list...) {
			fmt.Fprintln(io.out, line)
		}
	}
}

// onGitHub says that workflow commands on stdout are understood.
func onGitHub() bool { return os.Getenv("GITHUB_ACTIONS") == "true" }

// annotateError makes an error without a report an annotation too.
func annotateError(io streams, err error) {
	if e, ok := err.(exit); ok {
		err = e.err
	}
	if err != nil && onGitHub() {
		fmt.Fprintln(io.out, reports.WorkflowError("rebound", firstLines(err.Error())))
	}
}

// appendSummary adds a page to the summary of the step, which other programs of
// the step may have begun.
func appendSummary(path, page string) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode().IsRegular() && info.Size()+int64(len(page)) > maxStepSummary {
		return fmt.Errorf("%s has %d bytes, and GitHub drops more than %d", path, info.Size(), maxStepSummary)
	}
	if info.Size() > 0 {
		page = "\n" + page // not into the last line of what stands there
	}
	_, err = f.WriteString(page)
	return err
}
