package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pausePatience bounds the wait for a process to stand still: the kernel stops
// each of its threads when that next runs.
const pausePatience = 5 * time.Second

// process is a started program with the goroutine that owns it.
type process struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when it is reaped
	err   error         // how it ended, after done
	ended atomic.Bool   // by us
}

// startProcess starts a program as a process group of its own, out of reach of
// the terminal's Ctrl-C. It is killed when this process ends, however that comes
// about: the kernel binds that to the thread that started it, so the thread is
// kept for the program's life.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.WaitDelay = time.Second // if a descendant holds our output pipes
	cmd.SysProcAttr = dieWithParent(&syscall.SysProcAttr{Setpgid: true})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

func (p *process) isDone() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// exited reports whether the program itself has ended; a descendant may still
// hold its output, so that it is not done.
func (p *process) exited() bool {
	return errors.Is(p.cmd.Process.Signal(syscall.Signal(0)), os.ErrProcessDone)
}

// whileRuns calls f with a context that ends with the process.
func (p *process) whileRuns(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
	defer watch.Wait()
	defer cancel()
	return f(ctx)
}

// signal reaches the whole group: a broker may be a shell with the server below.
func (p *process) signal(s syscall.Signal) error {
	if p.isDone() {
		return os.ErrProcessDone
	}
	err := syscall.Kill(-p.cmd.Process.Pid, s)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// kill ends it at once, also while it is paused, and reaps it.
func (p *process) kill() error {
	p.ended.Store(true)
	err := p.signal(syscall.SIGKILL)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err) // not ours to wait for
	}
	<-p.done
	return nil
}

// end asks it to end, and insists after a while. One that is paused could not
// hear: it goes on first.
func (p *process) end(ask func() error, patience time.Duration) error {
	asked := !p.isDone()
	if asked {
		if err := p.signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(err, p.kill())
		}
		if err := ask(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(err, p.kill())
		}
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return errors.Join(fmt.Errorf("it did not end within %v and was killed", patience), p.kill())
	}
	if asked && terminated(p.err) {
		p.ended.Store(true)
	}
	if p.err != nil && !p.ended.Load() {
		return fmt.Errorf("it ended with %w", p.err)
	}
	return nil
}

// terminated reports whether a program ended as one does that leaves SIGTERM to
// the system, or to a runtime or shell that says so by an exit code.
func terminated(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGTERM || exit.ExitCode() == 128+int(syscall.SIGTERM)
}

// pause stops the group where it stands and waits until the server, pid, does,
// or lets it go on.
func (p *process) pause(pid int, paused bool) error {
	if !paused {
		if err := p.signal(syscall.SIGCONT); !errors.Is(err, os.ErrProcessDone) { // else another fault has ended it
			return err
		}
		return nil
	}
	if err := p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for deadline := time.Now().Add(pausePatience); ; time.Sleep(100 * time.Microsecond) {
		switch still, err := standsStill(pid); {
		case still || err != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("it still runs %v after SIGSTOP", pausePatience)
		}
	}
}
