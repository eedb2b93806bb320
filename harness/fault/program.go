package fault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// maxOutput bounds what is kept of the output of one program.
	maxOutput = 64 << 10
	// outputWait bounds the wait for output after a program has ended: what it
	// left in another session may hold the pipe for ever.
	outputWait = time.Second
)

var (
	errTimedOut = errors.New("it did not end in time and was killed")
	errCut      = errors.New("it was killed: its phase was over, or the run was stopped")
)

// runProgram runs a program to its end and gives the first part of its output.
// It is in a process group of its own, which is killed when ctx or the time
// ends, and when the program has ended and left some of it behind.
func runProgram(ctx context.Context, argv, environment []string, timeout time.Duration) (out []byte, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w (after %s)", errTimedOut, timeout))
	defer cancel()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // read only
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = environment, w, w
	cmd.SysProcAttr = dieWithParent(&syscall.SysProcAttr{Setpgid: true})
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the kernel kills the program with the thread that started it
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	err = <-started
	werr := w.Close()
	if err = errors.Join(err, werr); err != nil {
		return nil, err
	}
	said := make(chan []byte, 1)
	go func() { said <- readBounded(r) }()
	killGroup := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // it may be empty
	select {
	case err = <-ended:
	case <-ctx.Done():
		killGroup()
		<-ended
		if err = context.Cause(ctx); errors.Is(err, context.Canceled) {
			err = errCut
		}
	}
	killGroup()
	_ = r.SetReadDeadline(time.Now().Add(outputWait)) // a pipe takes one
	return <-said, err
}

// readBounded reads to the end, and keeps the first part.
func readBounded(r io.Reader) []byte {
	var b bytes.Buffer
	_, _ = io.CopyN(&b, r, maxOutput) // what came before an error counts
	if more, _ := io.Copy(io.Discard, r); more > 0 {
		fmt.Fprintf(&b, "\n… and %d bytes more\n", more)
	}
	return b.Bytes()
}
