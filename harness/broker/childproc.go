package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// childStop bounds the child's orderly end; then it is killed.
	childStop = 5 * time.Second
	// statsTimeout bounds one exchange on the control pipes.
	statsTimeout = 5 * time.Second
)

// childProcess is one process of a child, with its control pipes.
type childProcess struct {
	*process
	pid    int   // the broker's; another one's if the program is started by a wrapper
	output *tail // what it printed last

	mu        sync.Mutex // one exchange at a time
	control   *control
	toChild   *os.File
	fromChild *os.File
	pipes     sync.Once
	pipesErr  error
}

// startChildProcess starts the program and waits until it serves. sameClock says
// whether its clock is ours.
func startChildProcess(ctx context.Context, o Options, command, env []string) (_ *childProcess, _ *readyReport, sameClock bool, err error) {
	p, err := spawn(command, env)
	if err != nil {
		return nil, nil, false, err
	}
	ctx, cancel := context.WithTimeout(ctx, o.ReadyTimeout)
	defer cancel()
	ready, err := p.handshake(ctx, o)
	if err == nil {
		sameClock, err = p.compareClocks(ctx, o)
	}
	if err != nil {
		_ = errors.Join(p.kill(), p.closePipes()) // the handshake's error says more
		return nil, nil, false, fmt.Errorf("%w%s", err, p.output.quote())
	}
	return p, ready, sameClock, nil
}

// spawn starts the process with its control pipes.
func spawn(command, env []string) (*childProcess, error) {
	childReads, toChild, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	fromChild, childWrites, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, childReads.Close(), toChild.Close())
	}
	p := &childProcess{
		output: new(tail), control: newControl(fromChild, toChild), toChild: toChild, fromChild: fromChild,
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(append(os.Environ(), env...), childMarker+"=1")
	cmd.ExtraFiles = []*os.File{childReads, childWrites} // childIn, childOut
	cmd.Stdout, cmd.Stderr = p.output, p.output
	p.process, err = startProcess(cmd)
	closeErr := errors.Join(childReads.Close(), childWrites.Close())
	if err = errors.Join(err, closeErr); err != nil {
		return nil, errors.Join(err, p.closePipes())
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// handshake sends the order and waits until the child is ready.
func (p *childProcess) handshake(ctx context.Context, o Options) (*readyReport, error) {
	m, err := p.exchange(ctx, message{Type: typeStart, Start: &startOrder{
		Monotonic: o.Clock.Monotonic(), Addresses: o.Addresses, Port: o.Port,
		WritesPending: o.WritesPending, Store: o.Store, Gates: o.Gates, EndpointAddr: o.EndpointAddr, EndpointKey: o.EndpointKey,
	}})
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("%w: not ready within %v: %w", ErrNoChildMain, o.ReadyTimeout, ctx.Err())
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
		return nil, fmt.Errorf("%w: it ended instead", ErrNoChildMain)
	case err != nil:
		return nil, err
	case m.Type == typeFailed:
		return nil, fmt.Errorf("the child says: %s", m.Failed)
	case m.Type != typeReady:
		return nil, fmt.Errorf("%w: %s instead of %s", ErrControl, m.Type, typeReady)
	}
	p.pid = m.Ready.PID
	return m.Ready, nil
}

// compareClocks checks that the child's reading of its clock falls inside our
// own bracket.
func (p *childProcess) compareClocks(ctx context.Context, o Options) (same bool, err error) {
	before := o.Clock.Now()
	reading, err := p.reading(ctx)
	if err != nil {
		return false, fmt.Errorf("compare clocks: %w", err)
	}
	if err := timeline.Bracket(before, reading.At, o.Clock.Now()); err != nil {
		o.Log.Warn("close instants of the broker child are not used", "error", err)
		return false, nil
	}
	return true, nil
}

// exchange sends one message and reads one back; ctx bounds both.
func (p *childProcess) exchange(ctx context.Context, m message) (message, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	wake := func() { // deadlines in the past end a blocked read and write
		_ = p.fromChild.SetReadDeadline(time.Unix(1, 0))
		_ = p.toChild.SetWriteDeadline(time.Unix(1, 0))
	}
	defer context.AfterFunc(ctx, wake)()
	if err := p.control.send(m); err != nil {
		return message{}, err
	}
	return p.control.receive()
}

// reading asks for the child's clock and counters.
func (p *childProcess) reading(ctx context.Context) (statsReport, error) {
	m, err := p.exchange(ctx, message{Type: typeStats})
	if err != nil {
		return statsReport{}, err
	}
	if m.Stats == nil {
		return statsReport{}, fmt.Errorf("%w: %s instead of %s", ErrControl, m.Type, typeStats)
	}
	return *m.Stats, nil
}

// stop ends the child in good order: it reads EOF.
func (p *childProcess) stop() error {
	err := p.end(p.toChild.Close, childStop)
	if err != nil {
		err = fmt.Errorf("%w%s", err, p.output.quote())
	}
	return errors.Join(err, p.closePipes())
}

// closePipes closes what of the control pipes is open.
func (p *childProcess) closePipes() error {
	p.pipes.Do(func() {
		for _, f := range []*os.File{p.toChild, p.fromChild} {
			if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				p.pipesErr = errors.Join(p.pipesErr, err)
			}
		}
	})
	return p.pipesErr
}
