package broker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// childStop bounds the child's orderly end; then it is killed.
	childStop = 5 * time.Second
	// statsTimeout bounds one exchange on the control pipes.
	statsTimeout = 5 * time.Second
)

// Child is mochi in a process of its own: this program, re-executed.
type Child struct {
	info   target.Info
	pid    int
	clock  *timeline.Clock
	cmd    *exec.Cmd
	output *tail // what the child printed last

	mu        sync.Mutex // one exchange at a time
	control   *control
	toChild   *os.File
	fromChild *os.File

	done    chan struct{} // closed when the child is reaped
	waitErr error         // of the child, after done

	killed   atomic.Bool // by us
	close    sync.Once
	closeErr error
}

var _ target.Target = (*Child)(nil)

// StartChild starts the broker in its own process. command is the program with
// its arguments, nil for this one (/proc/self/exe); env is added to our own
// environment. The program must call RunChild first (harness.ChildMain does);
// one that does not is given up after o.ReadyTimeout at the latest. ctx bounds
// the start only; Close ends the child, and so does our own end, however it
// comes about: the child then reads EOF from its control pipe.
func StartChild(ctx context.Context, o Options, command, env []string) (*Child, error) {
	o = o.withDefaults()
	if IsChild() {
		// We are such a program ourselves, and did not become a broker: go no deeper.
		return nil, fmt.Errorf("start broker child: %w", ErrNoChildMain)
	}
	if len(o.Hooks) > 0 || len(o.Also) > 0 || o.Host != "" || o.Store != "" || len(o.Gates) > 0 {
		return nil, fmt.Errorf("start broker child: %w: Hooks, Also, Host, Store, Gates", ErrChildOptions)
	}
	c, err := spawn(o, command, env)
	if err != nil {
		return nil, fmt.Errorf("start broker child: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
	defer cancel()
	if err := c.handshake(ctx, o); err != nil {
		_ = c.cmd.Process.Kill() // it may have ended by itself
		_ = c.Close()            // the handshake's error says more
		return nil, fmt.Errorf("start broker child: %w%s", err, c.output.quote())
	}
	return c, nil
}

// spawn starts the process with its control pipes.
func spawn(o Options, command, env []string) (*Child, error) {
	if len(command) == 0 {
		command = ownCommand()
	}
	childReads, toChild, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromChild, childWrites, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, childReads.Close(), toChild.Close())
	}
	c := &Child{
		clock: o.Clock, output: new(tail), control: newControl(fromChild, toChild),
		toChild: toChild, fromChild: fromChild, done: make(chan struct{}),
	}
	c.cmd = exec.Command(command[0], command[1:]...)
	c.cmd.Env = append(append(os.Environ(), env...), childMarker+"=1")
	c.cmd.ExtraFiles = []*os.File{childReads, childWrites} // childIn, childOut
	c.cmd.Stdout, c.cmd.Stderr = c.output, c.output
	c.cmd.WaitDelay = time.Second                           // if a descendant holds our output pipes
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // out of reach of the terminal's Ctrl-C
	err = c.cmd.Start()
	closeErr := errors.Join(childReads.Close(), childWrites.Close())
	if err = errors.Join(err, closeErr); err != nil {
		return nil, errors.Join(err, toChild.Close(), fromChild.Close())
	}
	c.pid = c.cmd.Process.Pid
	go func() {
		defer close(c.done)
		c.waitErr = c.cmd.Wait()
	}()
	return c, nil
}

// ownCommand re-executes this program. A test binary that forgot ChildMain
// would run its tests in the child: it is told to run none.
func ownCommand() []string {
	exe := "/proc/self/exe" // also when the file was replaced meanwhile
	if _, err := os.Stat(exe); err != nil {
		if exe, err = os.Executable(); err != nil {
			exe = os.Args[0]
		}
	}
	if flag.Lookup("test.run") != nil {
		return []string{exe, "-test.run=^$"}
	}
	return []string{exe}
}

// handshake sends the order, waits until the child is ready and compares clocks.
func (c *Child) handshake(ctx context.Context, o Options) error {
	m, err := c.exchange(ctx, message{Type: typeStart, Start: &startOrder{
		Monotonic: o.Clock.Monotonic(), Addresses: o.Addresses, Port: o.Port,
		WritesPending: o.WritesPending, EndpointAddr: o.EndpointAddr, EndpointKey: o.EndpointKey,
	}})
	switch {
	case err != nil && ctx.Err() != nil:
		return fmt.Errorf("%w: not ready within %v: %w", ErrNoChildMain, o.ReadyTimeout, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w: it ended instead", ErrNoChildMain)
	case err != nil:
		return err
	case m.Type == typeFailed:
		return fmt.Errorf("the child says: %s", m.Failed)
	case m.Type != typeReady:
		return fmt.Errorf("%w: %s instead of %s", ErrControl, m.Type, typeReady)
	}
	c.pid = m.Ready.PID
	before := c.clock.Now()
	reading, err := c.reading(ctx)
	if err != nil {
		return fmt.Errorf("compare clocks: %w", err)
	}
	clockErr := timeline.Bracket(before, reading.At, c.clock.Now())
	if clockErr != nil {
		o.Log.Warn("close instants of the broker child are not used", "error", clockErr)
	}
	c.info = target.Info{
		Kind: KindChild, Broker: "mochi", Version: mochi.Version, Addresses: m.Ready.Addresses,
		Endpoint: m.Ready.Endpoint, SameClock: clockErr == nil,
		Settings: o.settings(), Abilities: mochiAbilities(),
	}
	return nil
}

// exchange sends one message and reads one back; ctx bounds both.
func (c *Child) exchange(ctx context.Context, m message) (message, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wake := func() { // deadlines in the past end a blocked read and write
		_ = c.fromChild.SetReadDeadline(time.Unix(1, 0))
		_ = c.toChild.SetWriteDeadline(time.Unix(1, 0))
	}
	defer context.AfterFunc(ctx, wake)()
	if err := c.control.send(m); err != nil {
		return message{}, err
	}
	return c.control.receive()
}

// reading asks for the child's clock and counters.
func (c *Child) reading(ctx context.Context) (statsReport, error) {
	m, err := c.exchange(ctx, message{Type: typeStats})
	if err != nil {
		return statsReport{}, err
	}
	if m.Stats == nil {
		return statsReport{}, fmt.Errorf("%w: %s instead of %s", ErrControl, m.Type, typeStats)
	}
	return *m.Stats, nil
}

// Info says where the child serves.
func (c *Child) Info() target.Info { return c.info }

// PID is the process id of the broker, for health samples.
func (c *Child) PID() int { return c.pid }

// Done is closed when the child has ended, for whatever reason.
func (c *Child) Done() <-chan struct{} { return c.done }

// Stats asks the child for its counters. After an error (a child that did not
// answer in time) the control pipe is of no more use.
func (c *Child) Stats(ctx context.Context) (Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	r, err := c.reading(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stats of the broker child: %w", err)
	}
	return r.Stats, nil
}

// SetGate implements target.Gatekeeper. Its gates end with the child.
func (c *Child) SetGate(ctx context.Context, g target.Gate) (target.GateTally, error) {
	if err := g.Check(); err != nil {
		return target.GateTally{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	m, err := c.exchange(ctx, message{Type: typeGate, Gate: &g})
	switch {
	case err != nil:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: %w", err)
	case m.Type == typeFailed:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: the child says: %s", m.Failed)
	case m.Tally == nil:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: %w: %s instead of %s", ErrControl, m.Type, typeTally)
	}
	return *m.Tally, nil
}

var _ target.Gatekeeper = (*Child)(nil)

// Kill ends the child with SIGKILL and waits: the crash of a broker. Close is
// still owed.
func (c *Child) Kill() error {
	c.killed.Store(true)
	err := c.cmd.Process.Kill()
	<-c.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill broker child: %w", err)
	}
	return nil
}

// Close ends the child (EOF on its control pipe, SIGKILL after 5 s) and reaps
// it. It may be called twice. It is an error if the child did not end well.
func (c *Child) Close() error {
	c.close.Do(func() {
		err := c.toChild.Close()
		timer := time.NewTimer(childStop)
		defer timer.Stop()
		select {
		case <-c.done:
		case <-timer.C:
			err = errors.Join(err, fmt.Errorf("it did not end within %v and was killed", childStop), c.Kill())
		}
		err = errors.Join(err, c.fromChild.Close())
		if c.waitErr != nil && !c.killed.Load() {
			err = errors.Join(err, fmt.Errorf("it ended with %w%s", c.waitErr, c.output.quote()))
		}
		if err != nil {
			c.closeErr = fmt.Errorf("close broker child: %w", err)
		}
	})
	return c.closeErr
}

// tail keeps the end of what a child prints, for error texts.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

const tailSize = 2 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

// String is the kept output.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// quote gives the kept output as the end of a sentence; "" if there is none.
func (t *tail) quote() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.buf) == 0 {
		return ""
	}
	return fmt.Sprintf("; it printed %q", t.buf)
}
