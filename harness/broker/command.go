package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
)

const (
	// DefaultStop bounds the orderly end of a foreign broker; then it is killed.
	DefaultStop = 10 * time.Second
	// portTries is how many ports are tried: another process can take one
	// between our look and the broker's own listen.
	portTries = 10
	readyPoll = 5 * time.Millisecond
)

// ErrNoProgram says that a broker's program is not installed.
var ErrNoProgram = errors.New("broker program not found")

// stateFolder is what a broker keeps over a restart, in its scratch folder.
const stateFolder = "state"

// Command is a foreign broker in a process of its own, with a scratch folder
// for its configuration and state. It can be killed, stopped, paused and started
// again, at the same addresses.
type Command struct {
	info    target.Info
	program program
	path    string // of its executable
	args    []string
	env     []string
	dir     string
	output  *tail
	out     io.Writer // output, and the log
	ready   time.Duration

	life   sync.Mutex // one change of the process at a time
	closed bool
	err    error // of Close

	mu   sync.Mutex // guards proc
	proc *process   // the one that was started last
}

var (
	_ target.Target  = (*Command)(nil)
	_ target.Killer  = (*Command)(nil)
	_ target.Stopper = (*Command)(nil)
	_ target.Starter = (*Command)(nil)
	_ target.Pauser  = (*Command)(nil)
)

// StartCommand starts a broker of the table of programs on loopback and
// returns when it takes MQTT connections. ctx bounds the start only. Of the
// options it uses Addresses, Port, ReadyTimeout and BrokerLog.
func StartCommand(ctx context.Context, name string, o Options) (*Command, error) {
	p, found := findProgram(name)
	if !found {
		return nil, fmt.Errorf("%w: %s is not in the table of programs", ErrNoProgram, name)
	}
	return startCommand(ctx, p, o)
}

func startCommand(ctx context.Context, p program, o Options) (*Command, error) {
	o = o.withDefaults()
	path, err := lookProgram(p.exe)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%s)", ErrNoProgram, p.exe, p.install)
	}
	ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
	defer cancel()
	for range portTries {
		c, err := startOnce(ctx, p, path, o)
		if err == nil {
			return c, nil
		}
		if o.Port != 0 || !errors.Is(err, ErrPortInUse) || ctx.Err() != nil {
			return nil, fmt.Errorf("start %s: %w", p.name, err)
		}
	}
	return nil, fmt.Errorf("start %s: no free port in %d tries: %w", p.name, portTries, ErrPortInUse)
}

// startOnce starts the program on one port.
func startOnce(ctx context.Context, p program, path string, o Options) (_ *Command, err error) {
	listen, err := freePort(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &Command{program: p, path: path, output: new(tail), ready: o.ReadyTimeout}
	if c.dir, err = os.MkdirTemp("", "rebound-"+p.name+"-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if err := os.Mkdir(c.state(), 0o700); err != nil {
		return nil, err
	}
	if c.env, err = p.environment(c.mark()); err != nil {
		return nil, err
	}
	var settings map[string]string
	if c.args, settings, err = p.prepare(c.dir, listen); err != nil {
		return nil, err
	}
	c.out = c.output
	if o.BrokerLog != nil {
		c.out = io.MultiWriter(c.output, o.BrokerLog)
	}
	c.info = target.Info{
		Kind: KindCommand, Broker: p.name, Version: p.version(ctx, path), Endpoint: p.endpoint,
		Settings: settings, Abilities: p.abilities,
	}
	for _, addr := range listen {
		c.info.Addresses = append(c.info.Addresses, "tcp://"+addr)
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Command) state() string { return filepath.Join(c.dir, stateFolder) }

// mark is the variable that all processes of this broker have in their
// environment, and no other one.
func (c *Command) mark() string { return "REBOUND_TARGET_DIR=" + c.dir }

// run starts the program and waits until the broker answers a CONNECT.
func (c *Command) run(ctx context.Context) error {
	c.output.reset()
	cmd := exec.Command(c.path, c.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.state(), c.env, c.out, c.out
	p, err := startProcess(cmd)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.proc = p
	c.mu.Unlock()
	if err := c.await(ctx, p); err != nil {
		return fmt.Errorf("%w%s", err, c.output.quote())
	}
	return nil
}

// freePort finds a port that is free on all addresses.
func freePort(ctx context.Context, o Options) ([]string, error) {
	ls, err := listen(ctx, o)
	if err != nil {
		return nil, err
	}
	var addrs []string
	for _, l := range ls {
		addrs = append(addrs, l.Addr().String())
		err = errors.Join(err, l.Close())
	}
	return addrs, err
}

// await waits until the broker answers a CONNECT.
func (c *Command) await(ctx context.Context, p *process) error {
	tick := time.NewTicker(readyPoll + rand.N(readyPoll))
	defer tick.Stop()
	for {
		err := p.whileRuns(ctx, func(ctx context.Context) error { return Preflight(ctx, c.info.Addresses[0], c.program.login) })
		if err == nil && !p.exited() { // else somebody else answered
			return nil
		}
		select {
		case <-p.done:
			p.ended.Store(true) // it is told here
			if strings.Contains(strings.ToLower(c.output.String()), "address already in use") {
				return fmt.Errorf("%w: it ended with %w", ErrPortInUse, p.err)
			}
			return fmt.Errorf("%w: %w", target.ErrUnreachable, endedEarly(p.err))
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) { // that says nothing about the broker
				return fmt.Errorf("not ready: %w", ctx.Err())
			}
			return fmt.Errorf("%w: not ready within %v: %w", target.ErrUnreachable, c.ready, errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// endedEarly says how a broker ended that was to serve. One that goes into the
// background ends well, and may have left a process that holds our pipes.
func endedEarly(err error) error {
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return errors.New("it ended before it was ready, without an error: it must stay in the foreground")
	}
	return fmt.Errorf("it ended before it was ready: %w", err)
}

// Info says where the broker serves: the same over all restarts.
func (c *Command) Info() target.Info { return c.info }

// current is the process that was started last; nil if there was none.
func (c *Command) current() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc
}

// PID is the process id of the broker, for health samples; 0 while there is none.
func (c *Command) PID() int {
	p := c.current()
	if p.isDone() {
		return 0
	}
	return p.cmd.Process.Pid
}

// Done is closed when the broker that was started last has ended, for whatever
// reason.
func (c *Command) Done() <-chan struct{} { return c.current().done }

// Kill ends the broker with SIGKILL and reaps it. Close is still owed.
func (c *Command) Kill() error {
	c.life.Lock()
	defer c.life.Unlock()
	return c.told("kill", errors.Join(c.current().kill(), sweep(c.mark())))
}

// Stop ends the broker in good order (SIGTERM, SIGKILL after its time) and reaps it.
// Close is still owed.
func (c *Command) Stop() error {
	c.life.Lock()
	defer c.life.Unlock()
	return c.told("stop", c.end())
}

// end also kills what the program left behind.
func (c *Command) end() error {
	p := c.current()
	err := p.end(func() error { return p.signal(syscall.SIGTERM) }, c.program.stop)
	return errors.Join(err, sweep(c.mark()))
}

// Start starts the broker again after Kill or Stop, at the same addresses, and
// waits until it is ready. Without keep its state is removed first.
func (c *Command) Start(ctx context.Context, keep bool) error {
	c.life.Lock()
	defer c.life.Unlock()
	return c.told("start again", c.start(ctx, keep))
}

func (c *Command) start(ctx context.Context, keep bool) error {
	switch {
	case c.closed:
		return ErrDown
	case !c.current().isDone():
		return nil // another fault has started it
	}
	if !keep {
		if err := errors.Join(os.RemoveAll(c.state()), os.Mkdir(c.state(), 0o700)); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.ready)
	defer cancel()
	err := c.run(ctx)
	if err != nil {
		err = errors.Join(err, c.current().kill(), sweep(c.mark()))
	}
	return err
}

// Pause stops the broker where it stands, or lets it go on.
func (c *Command) Pause(paused bool) error {
	c.life.Lock()
	defer c.life.Unlock()
	p := c.current()
	return c.told("pause", p.pause(p.cmd.Process.Pid, paused))
}

// told says what was tried and what the broker printed last.
func (c *Command) told(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s: %w%s", what, c.info.Broker, err, c.output.quote())
}

// Close ends the broker (SIGTERM, SIGKILL after its time), also one that is paused,
// reaps it and removes its folder. It may be called twice. It is an error if it
// did not end well.
func (c *Command) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return c.err
	}
	c.closed = true
	var err error
	if c.current() != nil {
		err = c.told("close", c.end())
	}
	c.err = errors.Join(err, os.RemoveAll(c.dir))
	return c.err
}

// hostOf splits HOST:PORT; listen only makes such.
func hostOf(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}
