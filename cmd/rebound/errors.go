package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// exit ends the program with a code of its own. A command that did its work
// and has said what there is to say has no err.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// exitWith is nil for code 0.
func exitWith(code int) error {
	if code == harness.ExitPass {
		return nil
	}
	return exit{code: code}
}

// usagef makes an error of the user's: exit code 2.
func usagef(format string, args ...any) error { return harness.Usage(fmt.Errorf(format, args...)) }

// printError prints what a command failed with, and what to do about it.
func printError(w io.Writer, err error) {
	if e, ok := err.(exit); ok {
		err = e.err
	}
	if err == nil {
		return
	}
	// The mistakes of a scenario begin with file:line:col, for editors to jump to.
	if mistakes := (scenarios.Errors)(nil); errors.As(err, &mistakes) {
		fmt.Fprintln(w, mistakes)
		return
	}
	fmt.Fprintln(w, "rebound:", firstLines(err.Error()))
	if l := (leftIn{}); errors.As(err, &l) {
		fmt.Fprintln(w, l.note)
	}
	if h := hint(err); h != "" {
		fmt.Fprintln(w, h)
	}
}

// maxLines is how many lines of an error are shown: a full disk fails each of
// a dozen reports in the same way.
const maxLines = 4

// firstLines are those that are shown of an error.
func firstLines(text string) string {
	lines := strings.Split(text, "\n")
	more := len(lines) - maxLines
	if more <= 0 {
		return text
	}
	return strings.Join(lines[:maxLines], "\n") + fmt.Sprintf("\n… and %s like it", plural(more, "line"))
}

// hint says what can be done about an error that does not say so itself.
func hint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on that disk, or name a folder on another one with --out"
	case errors.Is(err, harness.ErrFolderNotEmpty):
		return "name a new or empty folder with --out"
	case errors.Is(err, harness.ErrEvidence):
		return "name a folder that can be written with --out"
	}
	return ""
}

// leftIn is an error of a run that left something behind: where, and what for.
type leftIn struct {
	error
	note string
}

func (e leftIn) Unwrap() error { return e.error }

// left adds to the error of a run where its evidence is, if there is any.
func left(err error, dir string) error {
	entries, rerr := os.ReadDir(dir)
	if rerr != nil || len(entries) == 0 {
		return err
	}
	return leftIn{err, "the evidence so far is in " + dir}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
