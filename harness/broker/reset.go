package broker

import (
	"context"
	"errors"
	"fmt"
	"net"

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

// Reset implements target.Resetter, over the control pipe. A child that is down
// has no client; one that is paused answers nothing.
func (c *Child) Reset(ctx context.Context, clientID string) (target.Closed, error) {
	if err := ctx.Err(); err != nil {
		return target.Closed{}, err
	}
	c.life.Lock() // it is not paused in the middle of an exchange
	defer c.life.Unlock()
	p, live := c.current()
	if !live {
		return target.Closed{}, fmt.Errorf("reset by the broker child: %w", ErrDown)
	}
	if p.isDone() {
		return target.Closed{Found: new(bool)}, nil
	}
	// A cancel in the middle would leave the pipe of no more use.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), statsTimeout)
	defer cancel()
	m, err := p.exchange(ctx, message{Type: typeReset, Reset: &resetOrder{ClientID: clientID}})
	switch {
	case err != nil:
		return target.Closed{}, fmt.Errorf("reset by the broker child: %w", err)
	case m.Type == typeFailed:
		return target.Closed{}, fmt.Errorf("reset by the broker child: the child says: %s", m.Failed)
	case m.Closed == nil:
		return target.Closed{}, fmt.Errorf("reset by the broker child: %w: %s instead of %s", ErrControl, m.Type, typeClosed)
	}
	closed := target.Closed{Found: &m.Closed.Found}
	if c.Info().SameClock {
		closed.At = m.Closed.At
	}
	return closed, nil
}
