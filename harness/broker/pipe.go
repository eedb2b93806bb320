package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// pipeBroker is the broker's end of each connection in memory.
const pipeBroker = "mochi"

// Pipe is mochi in this process, reached over connections in memory: a client
// needs no file descriptor and no port, and its bytes never reach the kernel.
type Pipe struct {
	*Embedded
	listener *pipeListener
}

var (
	_ target.Target = (*Pipe)(nil)
	_ target.Dialer = (*Pipe)(nil)
)

// StartPipe starts mochi behind connections in memory. Of the options, those
// that say where to listen are not used.
func StartPipe(ctx context.Context, o Options) (*Pipe, error) {
	l := &pipeListener{dialled: make(chan net.Conn), done: make(chan struct{})}
	e, err := startMochi(ctx, o.withDefaults(), KindPipe, pipeAbilities(), []way{{Listener: l, url: TransportPipe + "://" + pipeBroker}})
	if err != nil {
		return nil, err
	}
	e.info.Settings["connections"] = fmt.Sprintf("in memory, %d bytes each way: no time is the network's", pipeBuffer)
	return &Pipe{e, l}, nil
}

// pipeAbilities are those of mochi, but for what only sockets can do.
func pipeAbilities() reports.Abilities {
	a := mochiAbilities()
	a.Can = []string{canGate}
	return a
}

// Dial makes a connection to the broker. addr is the one that Info gives.
func (p *Pipe) Dial(ctx context.Context, addr string) (net.Conn, error) {
	if want := p.Info().Addresses[0]; addr != want {
		return nil, fmt.Errorf("%w %q: want %s", ErrAddress, addr, want)
	}
	return p.listener.dial(ctx)
}

// pipeListener hands out the far ends of what is dialled.
type pipeListener struct {
	dialled chan net.Conn
	done    chan struct{} // closed by Close
	close   sync.Once
	n       atomic.Uint64 // connections so far, which are named by it
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	near, far := newPipe(pipeAddr(fmt.Sprintf("client-%d", l.n.Add(1))), pipeBroker)
	var err error
	select {
	case l.dialled <- far:
		return near, nil
	case <-l.done:
		err = os.NewSyscallError("connect", syscall.ECONNREFUSED)
	case <-ctx.Done():
		if err = ctx.Err(); errors.Is(err, context.DeadlineExceeded) {
			err = os.ErrDeadlineExceeded // as net has it
		}
	}
	return nil, &net.OpError{Op: "dial", Net: TransportPipe, Addr: near.remote, Err: err}
}

// Accept implements net.Listener.
func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialled:
		return conn, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: TransportPipe, Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Close implements net.Listener.
func (l *pipeListener) Close() error {
	l.close.Do(func() { close(l.done) })
	return nil
}

// Addr implements net.Listener.
func (l *pipeListener) Addr() net.Addr { return pipeAddr(pipeBroker) }
