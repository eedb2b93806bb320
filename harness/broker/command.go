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
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// program is one row of the table of foreign brokers that a target starts as a
// process of its own. Adding one is one file and one row.
type program struct {
	name      string // of the target, and of the executable
	doc       string
	install   string // what a user can do when it is missing
	abilities reports.Abilities
	// version reads the version out of the program; "" = not known.
	version func(ctx context.Context, path string) string
	// prepare writes configuration and state into an empty folder and gives
	// the arguments of the program, and what was tuned, for the report.
	prepare func(dir string, listen []string) (args []string, settings map[string]string, err error)
}

// programs is the table of foreign brokers.
func programs() []program { return []program{mosquitto()} }

func findProgram(name string) (program, bool) {
	for _, p := range programs() {
		if p.name == name {
			return p, true
		}
	}
	return program{}, false
}

// IsCommand reports whether a target is a foreign broker that is started as a
// process.
func IsCommand(kind string) bool {
	_, found := findProgram(kind)
	return found
}

const (
	// commandStop bounds the orderly end of a foreign broker; then it is killed.
	commandStop = 10 * time.Second
	// portTries is how many ports are tried: another process can take one
	// between our look and the broker's own listen.
	portTries = 10
	readyPoll = 5 * time.Millisecond
)

// ErrNoProgram says that a broker's program is not installed.
var ErrNoProgram = errors.New("broker program not found")

// Command is a foreign broker in a process of its own, with a scratch folder
// for its configuration and state.
type Command struct {
	info   target.Info
	dir    string
	proc   *process
	output *tail
	close  sync.Once
	err    error // of Close
}

var _ target.Target = (*Command)(nil)

// StartCommand starts a broker of the table of programs on loopback and
// returns when it takes MQTT connections. ctx bounds the start only. Of the
// options it uses Addresses, Port, ReadyTimeout and BrokerLog.
func StartCommand(ctx context.Context, name string, o Options) (*Command, error) {
	o = o.withDefaults()
	p, found := findProgram(name)
	if !found {
		return nil, fmt.Errorf("%w: %s is not in the table of programs", ErrNoProgram, name)
	}
	path, err := lookProgram(p.name)
	if err != nil {
		return nil, fmt.Errorf("%w: %s (%s)", ErrNoProgram, p.name, p.install)
	}
	ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
	defer cancel()
	for range portTries {
		c, err := startOnce(ctx, p, path, o)
		if err == nil {
			return c, nil
		}
		if o.Port != 0 || !errors.Is(err, ErrPortInUse) || ctx.Err() != nil {
			return nil, fmt.Errorf("start %s: %w", name, err)
		}
	}
	return nil, fmt.Errorf("start %s: no free port in %d tries: %w", name, portTries, ErrPortInUse)
}

// MissingProgram says why the broker of a row of the kind command can not be
// started here; "" = it can.
func MissingProgram(name string) string {
	p, found := findProgram(name)
	if !found {
		return name + " is not in the table of programs"
	}
	if _, err := lookProgram(p.name); err != nil {
		return fmt.Sprintf("%s is not installed (%s)", p.name, p.install)
	}
	return ""
}

// lookProgram also looks where servers live and a user's PATH does not.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", err
}

// startOnce starts the program on one port.
func startOnce(ctx context.Context, p program, path string, o Options) (_ *Command, err error) {
	listen, err := freePort(ctx, o)
	if err != nil {
		return nil, err
	}
	c := &Command{output: new(tail)}
	if c.dir, err = os.MkdirTemp("", "rebound-"+p.name+"-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	args, settings, err := p.prepare(c.dir, listen)
	if err != nil {
		return nil, err
	}
	var out io.Writer = c.output
	if o.BrokerLog != nil {
		out = io.MultiWriter(c.output, o.BrokerLog)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = c.dir, out, out, time.Second
	if c.proc, err = startProcess(cmd); err != nil {
		return nil, err
	}
	c.info = target.Info{
		Kind: KindCommand, Broker: p.name, Version: p.version(ctx, path),
		Settings: settings, Abilities: p.abilities,
	}
	for _, addr := range listen {
		c.info.Addresses = append(c.info.Addresses, "tcp://"+addr)
	}
	if err := c.ready(ctx); err != nil {
		return nil, fmt.Errorf("%w%s", err, c.output.quote())
	}
	return c, nil
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

// ready waits until the broker answers a CONNECT.
func (c *Command) ready(ctx context.Context) error {
	tick := time.NewTicker(readyPoll + rand.N(readyPoll))
	defer tick.Stop()
	for {
		err := Preflight(ctx, c.info.Addresses[0])
		if err == nil {
			return nil
		}
		select {
		case <-c.proc.done:
			if strings.Contains(strings.ToLower(c.output.String()), "address already in use") {
				return fmt.Errorf("%w: it ended with %w", ErrPortInUse, c.proc.err)
			}
			return fmt.Errorf("it ended before it was ready: %w", c.proc.err)
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", errors.Join(ctx.Err(), err))
		case <-tick.C:
		}
	}
}

// Info says where the broker serves.
func (c *Command) Info() target.Info { return c.info }

// PID is the process id of the broker, for health samples.
func (c *Command) PID() int { return c.proc.cmd.Process.Pid }

// Done is closed when the broker has ended, for whatever reason.
func (c *Command) Done() <-chan struct{} { return c.proc.done }

// Kill ends the broker with SIGKILL and waits: a crash. Close is still owed.
func (c *Command) Kill() error { return c.proc.kill() }

// Close ends the broker (SIGTERM, SIGKILL after 10 s), reaps it and removes its
// folder. It may be called twice. It is an error if it did not end well.
func (c *Command) Close() error {
	c.close.Do(func() {
		var err error
		if c.proc != nil {
			err = c.proc.end()
		}
		if err != nil {
			err = fmt.Errorf("close %s: %w%s", c.info.Broker, err, c.output.quote())
		}
		c.err = errors.Join(err, os.RemoveAll(c.dir))
	})
	return c.err
}

// process is a started program with the goroutine that owns it.
type process struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when it is reaped
	err   error         // how it ended, after done
	ended atomic.Bool   // by us
}

// startProcess starts a program that is killed when this process ends, however
// that comes about: the kernel binds that to the thread that started it, so
// the thread is kept for the program's life.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = dieWithParent(&syscall.SysProcAttr{Setpgid: true}) // out of reach of the terminal's Ctrl-C
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

func (p *process) kill() error {
	p.ended.Store(true)
	err := p.cmd.Process.Kill()
	<-p.done
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill: %w", err)
	}
	return nil
}

// end asks the program to end, and insists after a while.
func (p *process) end() error {
	select {
	case <-p.done:
	default:
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return errors.Join(err, p.kill())
		}
	}
	timer := time.NewTimer(commandStop)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		return errors.Join(fmt.Errorf("it did not end within %v and was killed", commandStop), p.kill())
	}
	if p.err != nil && !p.ended.Load() {
		return fmt.Errorf("it ended with %w", p.err)
	}
	return nil
}

// hostOf splits HOST:PORT; listen only makes such.
func hostOf(addr string) (host, port string) {
	host, port, _ = net.SplitHostPort(addr)
	return host, port
}
