package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

var (
	_ target.Resetter = (*Embedded)(nil)
	_ target.Resetter = (*Child)(nil)
)

// Reset implements target.Resetter.
func (e *Embedded) Reset(ctx context.Context, clientID string) (target.Closed, error) {
	if err := ctx.Err(); err != nil {
		return target.Closed{}, err
	}
	found, at, err := e.reset(clientID)
	if err != nil {
		return target.Closed{}, err
	}
	return target.Closed{Found: &found, At: at}, nil
}

// reset closes the accepted socket of a client with SO_LINGER 0, below TLS and
// WebSocket, which would say goodbye. mochi is not told: its reader meets a
// connection that broke, so that the Will is sent and the session stays. found
// and at are as in CloseClient: of several calls at once, one has closed it.
func (e *Embedded) reset(clientID string) (found bool, at timeline.Instant, err error) {
	cl, known := e.server.Clients.Get(clientID)
	if !known || cl.Closed() {
		return false, 0, nil
	}
	conn, ok := cl.Net.Conn.(*earlyConn)
	if !ok {
		return false, 0, fmt.Errorf("reset: %w: %T", ErrNoSocket, cl.Net.Conn)
	}
	socket, ok := conn.socket.(interface{ SetLinger(sec int) error })
	if !ok {
		return false, 0, fmt.Errorf("reset: %w: %T", ErrNoSocket, conn.socket)
	}
	err = socket.SetLinger(0)
	at = e.clock.Now()
	if err == nil {
		err = conn.socket.Close()
	}
	switch {
	case errors.Is(err, net.ErrClosed): // another end came first
		return false, 0, nil
	case err != nil:
		return false, 0, fmt.Errorf("reset: %w", err)
	}
	return true, at, nil
}

// maxResets bounds the resets of one exchange, so that the answer is one line.
const maxResets = 128

// resets are the calls of Child.Reset that wait for an exchange: while one is
// under way, which a child that is busy with a storm takes milliseconds for,
// others gather for the next.
type resets struct {
	turn chan struct{} // of one: held by who makes the exchange

	mu      sync.Mutex
	waiting []*resetCall
}

func newResets() resets { return resets{turn: make(chan struct{}, 1)} }

// resetCall is one of them. What came of it is written before done is closed.
type resetCall struct {
	clientID string
	done     chan struct{}
	closed   target.Closed
	err      error
}

// join has a call wait.
func (r *resets) join(clientID string) *resetCall {
	call := &resetCall{clientID: clientID, done: make(chan struct{})}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, call)
	return call
}

// take gives as many of those that wait as one line holds, at least one if any.
func (r *resets) take() []*resetCall {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for ; n < min(len(r.waiting), maxResets); n++ {
		size += 6*len(r.waiting[n].clientID) + 3 // each byte may be written as \u00xx
		if n > 0 && size > maxControlLine/2 {
			break
		}
	}
	batch := slices.Clone(r.waiting[:n])
	r.waiting = slices.Delete(r.waiting, 0, n)
	return batch
}

// Reset implements target.Resetter, over the control pipe. A child that is down
// has no client; one that is paused answers nothing.
func (c *Child) Reset(ctx context.Context, clientID string) (target.Closed, error) {
	if err := ctx.Err(); err != nil {
		return target.Closed{}, err
	}
	call := c.resets.join(clientID)
	for {
		select {
		case <-call.done:
			return call.closed, call.err
		case c.resets.turn <- struct{}{}:
			c.resetAll(ctx, c.resets.take())
			<-c.resets.turn
		}
	}
}

// resetAll makes one exchange of some calls, and ends each.
func (c *Child) resetAll(ctx context.Context, batch []*resetCall) {
	if len(batch) == 0 {
		return // another has taken them along
	}
	reports, sameClock, err := c.exchangeResets(ctx, batch)
	for i, call := range batch {
		switch {
		case err != nil:
			call.err = fmt.Errorf("reset by the broker child: %w", err)
		case reports[i].Err != "":
			call.err = fmt.Errorf("reset by the broker child: the child says: %s", reports[i].Err)
		default:
			call.closed.Found = &reports[i].Found
			if sameClock {
				call.closed.At = reports[i].At
			}
		}
		close(call.done)
	}
}

// exchangeResets asks the child to reset some clients: a report for each, in
// their order.
func (c *Child) exchangeResets(ctx context.Context, batch []*resetCall) (reports []resetReport, sameClock bool, err error) {
	c.life.Lock() // it is not paused in the middle of an exchange
	defer c.life.Unlock()
	p, live := c.current()
	if !live {
		return nil, false, ErrDown
	}
	if p.isDone() {
		return make([]resetReport, len(batch)), false, nil // nobody is online
	}
	order := &resetOrder{}
	for _, call := range batch {
		order.ClientIDs = append(order.ClientIDs, call.clientID)
	}
	// A cancel in the middle would leave the pipe of no more use.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer cancel()
	m, err := p.exchange(ctx, message{Type: typeReset, Reset: order})
	switch {
	case err != nil:
		return nil, false, err
	case m.Closed == nil:
		return nil, false, fmt.Errorf("%w: %s instead of %s", ErrControl, m.Type, typeClosed)
	case len(m.Closed.Resets) != len(batch):
		return nil, false, fmt.Errorf("%w: %d reports of %d resets", ErrControl, len(m.Closed.Resets), len(batch))
	}
	return m.Closed.Resets, c.Info().SameClock, nil
}
