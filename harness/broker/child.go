package broker

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// Child is mochi in a process of its own: this program, re-executed. It can be
// killed, stopped, paused and started again, at the same addresses.
type Child struct {
	o       Options
	command []string
	env     []string
	dir     string // scratch folder of the store; "" = there is none

	resets    resets     // calls of Reset
	life      sync.Mutex // one change of the process at a time
	closed    bool
	err       error           // of Close
	awake     chan struct{}   // closed when the process that is paused goes on
	recounted map[string]bool // gates, by name, whose counts began anew with a later process

	mu     sync.Mutex // guards what follows
	info   target.Info
	proc   *childProcess // the one that was started last
	paused bool
}

var (
	_ target.Target  = (*Child)(nil)
	_ target.Killer  = (*Child)(nil)
	_ target.Stopper = (*Child)(nil)
	_ target.Starter = (*Child)(nil)
	_ target.Pauser  = (*Child)(nil)
)

// StartChild starts the broker in its own process. command is the program with
// its arguments, nil for this one (/proc/self/exe); env is added to our own
// environment. The program must call RunChild first (harness.ChildMain does);
// one that does not is given up after o.ReadyTimeout at the latest. ctx bounds
// the start only; Close ends the child, and so does our own end, however it
// comes about: the child then reads EOF from its control pipe.
func StartChild(ctx context.Context, o Options, command, env []string) (_ *Child, err error) {
	o = o.withDefaults()
	if IsChild() {
		// We are such a program ourselves, and did not become a broker: go no deeper.
		return nil, fmt.Errorf("start broker child: %w", ErrNoChildMain)
	}
	if len(o.Hooks) > 0 || len(o.Also) > 0 || o.Host != "" || o.Store != "" {
		return nil, fmt.Errorf("start broker child: %w: Hooks, Also, Host, Store", ErrChildOptions)
	}
	if len(command) == 0 {
		command = ownCommand()
	}
	c := &Child{o: o, command: command, env: env, recounted: map[string]bool{}, resets: newResets()}
	if o.Persist {
		if c.dir, err = os.MkdirTemp("", "rebound-child-"); err != nil {
			return nil, fmt.Errorf("start broker child: %w", err)
		}
		c.o.Store = filepath.Join(c.dir, stateFolder)
	}
	proc, ready, sameClock, err := startChildProcess(ctx, c.o, c.command, c.env)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start broker child: %w", err), c.removeDir())
	}
	c.proc = proc
	c.info = target.Info{
		Kind: KindChild, Broker: "mochi", Version: mochi.Version, Addresses: ready.Addresses,
		Endpoint: ready.Endpoint, SameClock: sameClock, Settings: c.o.settings(), Abilities: childAbilities(o.Persist),
	}
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

// current is the process that was started last; live is false when it is paused.
func (c *Child) current() (p *childProcess, live bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.proc, !c.paused
}

// Info says where the child serves: the same over all restarts.
func (c *Child) Info() target.Info {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.info
}

// PID is the process id of the broker, for health samples; 0 while there is none.
func (c *Child) PID() int {
	p, _ := c.current()
	if p.isDone() {
		return 0
	}
	return p.pid
}

// Done is closed when the child that was started last has ended, for whatever
// reason.
func (c *Child) Done() <-chan struct{} {
	p, _ := c.current()
	return p.done
}

// Stats asks the child for its counters, which are of its present process. After
// an error of a child that did not answer in time its control pipe is of no more
// use; one that is down or paused is not asked.
func (c *Child) Stats(ctx context.Context) (Stats, error) {
	p, live := c.current()
	if !live || p.isDone() {
		return Stats{}, fmt.Errorf("stats of the broker child: %w", ErrDown)
	}
	ctx, cancel := context.WithTimeout(ctx, statsTimeout)
	defer cancel()
	r, err := p.reading(ctx)
	if err != nil {
		return Stats{}, fmt.Errorf("stats of the broker child: %w", err)
	}
	return r.Stats, nil
}

// SetGate implements target.Gatekeeper. A child that is started again has the
// gates of the one before it, whose counts ended with it: the tally is then
// partial. One that is paused answers nothing: SetGate waits until it goes on.
func (c *Child) SetGate(ctx context.Context, g target.Gate) (target.GateTally, error) {
	if err := g.Check(); err != nil {
		return target.GateTally{}, err
	}
	p, err := c.lockAwake(ctx)
	if err != nil {
		return target.GateTally{}, fmt.Errorf("gate of the broker child: %w", err)
	}
	defer c.life.Unlock()
	named := func(old target.Gate) bool { return old.Name == g.Name }
	partial := c.recounted[g.Name] || p.isDone() && slices.ContainsFunc(c.o.Gates, named)
	delete(c.recounted, g.Name)
	c.o.Gates = slices.DeleteFunc(slices.Clone(c.o.Gates), named)
	if !g.Open() {
		c.o.Gates = append(c.o.Gates, g)
	}
	if p.isDone() {
		return target.GateTally{Partial: partial}, nil // the next one will have it
	}
	// Who gives up in the middle of an exchange leaves a pipe of no more use.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer cancel()
	m, err := p.exchange(ctx, message{Type: typeGate, Gate: &g})
	switch {
	case err != nil:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: %w", err)
	case m.Type == typeFailed:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: the child says: %s", m.Failed)
	case m.Tally == nil:
		return target.GateTally{}, fmt.Errorf("gate of the broker child: %w: %s instead of %s", ErrControl, m.Type, typeTally)
	}
	m.Tally.Partial = partial
	return *m.Tally, nil
}

// lockAwake locks life while the process is not paused. It waits outside the
// lock, as the process could not be let go on otherwise.
func (c *Child) lockAwake(ctx context.Context) (*childProcess, error) {
	for {
		c.life.Lock()
		p, live := c.current()
		if live || p.isDone() {
			return p, nil
		}
		awake := c.awake
		c.life.Unlock()
		select {
		case <-awake:
		case <-p.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: it is paused: %w", ErrDown, context.Cause(ctx))
		}
	}
}

var _ target.Gatekeeper = (*Child)(nil)

// Kill ends the child with SIGKILL and reaps it. Close is still owed.
func (c *Child) Kill() error {
	c.life.Lock()
	defer c.life.Unlock()
	p, _ := c.current()
	if err := errors.Join(p.kill(), p.closePipes()); err != nil {
		return fmt.Errorf("kill broker child: %w", err)
	}
	return nil
}

// Stop ends the child in good order (EOF on its control pipe, SIGKILL after 5 s)
// and reaps it. Close is still owed.
func (c *Child) Stop() error {
	c.life.Lock()
	defer c.life.Unlock()
	p, _ := c.current()
	if err := p.stop(); err != nil {
		return fmt.Errorf("stop broker child: %w", err)
	}
	return nil
}

// Start starts the child again after Kill or Stop, at the same addresses and
// with the same endpoint, and waits until it is ready. Without keep its store,
// if it has one, starts empty.
func (c *Child) Start(ctx context.Context, keep bool) error {
	c.life.Lock()
	defer c.life.Unlock()
	if err := c.start(ctx, keep); err != nil {
		return fmt.Errorf("start broker child again: %w", err)
	}
	return nil
}

func (c *Child) start(ctx context.Context, keep bool) error {
	last, _ := c.current()
	switch {
	case c.closed:
		return ErrDown
	case !last.isDone():
		return nil // another fault has started it
	}
	if !keep && c.o.Store != "" {
		if err := os.RemoveAll(c.o.Store); err != nil {
			return err
		}
	}
	was := c.Info()
	o := c.o
	var err error
	if o.Port, err = portIn(was.Addresses[0]); err != nil {
		return err
	}
	if o.EndpointAddr, err = hostIn(was.Endpoint); err != nil {
		return err
	}
	p, ready, sameClock, err := startChildProcess(ctx, o, c.command, c.env)
	if err != nil {
		return err
	}
	if !slices.Equal(ready.Addresses, was.Addresses) || ready.Endpoint != was.Endpoint {
		err := fmt.Errorf("%w: %v and %s instead of %v and %s", ErrMoved, ready.Addresses, ready.Endpoint, was.Addresses, was.Endpoint)
		return errors.Join(err, p.kill(), p.closePipes())
	}
	for _, g := range c.o.Gates {
		c.recounted[g.Name] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proc, c.paused, c.info.SameClock = p, false, sameClock
	return nil
}

// Pause stops the child where it stands, or lets it go on.
func (c *Child) Pause(paused bool) error {
	c.life.Lock()
	defer c.life.Unlock()
	p, _ := c.current()
	if err := p.pause(p.pid, paused); err != nil {
		return fmt.Errorf("pause broker child (%v): %w", paused, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case paused && !c.paused:
		c.awake = make(chan struct{})
	case !paused && c.paused:
		close(c.awake)
	}
	c.paused = paused
	return nil
}

// Close ends the child (EOF on its control pipe, SIGKILL after 5 s) and reaps
// it, also one that is paused. It may be called twice. It is an error if the
// child did not end well.
func (c *Child) Close() error {
	c.life.Lock()
	defer c.life.Unlock()
	if c.closed {
		return c.err
	}
	c.closed = true
	p, _ := c.current()
	if err := errors.Join(p.stop(), c.removeDir()); err != nil {
		c.err = fmt.Errorf("close broker child: %w", err)
	}
	return c.err
}

// removeDir removes the scratch folder, if there is one.
func (c *Child) removeDir() error {
	if c.dir == "" {
		return nil
	}
	return os.RemoveAll(c.dir)
}
