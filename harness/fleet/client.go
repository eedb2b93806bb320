package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// subscribeAgain is the first pause after a SUBSCRIBE that failed for a
	// passing reason, such as a library that does not yet know that it is
	// connected; it doubles up to subscribeSlow. A refusal waits longer.
	subscribeAgain   = 20 * time.Millisecond
	subscribeRefused = time.Second
	subscribeSlow    = 10 * time.Second
)

// client is one client of a fleet: its session and the library that drives it.
type client struct {
	fleet   *Fleet
	session *session
	policy  func(attempt int) time.Duration // of reconnects; nil = the library's own

	up   atomic.Bool // the first connect is done: publishing may begin
	turn sync.Mutex  // held over one Disconnect

	mu     sync.Mutex
	lib    Client
	voice  *voice // of the latest connection
	closed bool
	bringing
}

// library makes the library's client, unless the fleet was closed.
func (c *client) library() (Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, ErrClosed
	case c.lib != nil:
		return c.lib, nil
	}
	cfg := &c.fleet.cfg
	lib, err := cfg.Driver.New(Settings{
		ClientID: c.session.id, Addr: c.address(),
		Clean: cfg.Fleet.Session.Clean, KeepAlive: cfg.Fleet.Session.KeepAlive,
		Reconnect: cfg.Fleet.Reconnect, Will: cfg.Will(c.session.index), Login: cfg.Login, ConnectTimeout: cfg.ConnectTimeout, WriteTimeout: cfg.WriteTimeout,
		Dial:        c.dial,
		Backoff:     c.backoff(),
		OnConnected: c.onConnected,
		OnMessage:   c.onMessage,
	})
	if err != nil {
		return nil, fmt.Errorf("client %s: %w", c.session.id, err)
	}
	c.lib = lib
	return lib, nil
}

// get is the library's client; nil before the first connect.
func (c *client) get() Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lib
}

func (c *client) address() string {
	return c.fleet.cfg.Addresses[c.session.index%len(c.fleet.cfg.Addresses)]
}

// backoff is the reconnect policy for the library, which notes what it asks
// for; nil = the library's own.
func (c *client) backoff() func(attempt int) time.Duration {
	if c.policy == nil {
		return nil
	}
	return func(attempt int) time.Duration {
		d := c.policy(attempt)
		c.session.sleeping(d)
		return d
	}
}

// dial opens one attempt and its record.
func (c *client) dial(ctx context.Context) (net.Conn, error) {
	now := c.fleet.cfg.Clock.Now
	tap := c.session.begin(now())
	if tap == nil {
		return nil, ErrClosed
	}
	c.dialing()
	conn, local, remote, err := c.fleet.cfg.Dial(ctx, c.address(), c.session.id, tap.rec.N, tap)
	if err != nil {
		tap.dialFailed(now(), err)
		return nil, err
	}
	tap.dialed(now(), conn, local, remote)
	v := &voice{Conn: conn, n: tap.rec.N}
	c.mu.Lock()
	c.voice = v
	c.mu.Unlock()
	return v, nil
}

// onConnected comes from the library, on a goroutine of its own, and may come
// late: whether there is something to subscribe is decided by the tap.
func (c *client) onConnected() {
	if n, ok := c.session.claim(); ok {
		c.fleet.spawn(func() { c.subscribe(n) })
	}
}

// subscribe restores the subscriptions of connection n, and tries again while
// that connection lives.
func (c *client) subscribe(n int) {
	for pause := subscribeAgain; c.session.on(n); pause = min(2*pause, subscribeSlow) {
		err := c.get().Subscribe(c.fleet.ctx, c.session.wanted)
		if err == nil {
			return
		}
		if errors.Is(err, ErrRefused) {
			pause = max(pause, subscribeRefused)
		}
		if !c.fleet.sleep(pause) {
			return
		}
	}
}

// onMessage is the application's message handler.
func (c *client) onMessage(_ string, payload []byte) {
	h, err := mqtt.ParsePayload(payload)
	if err == nil && h.Kind == mqtt.KindData && h.Run == c.fleet.cfg.RunID {
		c.fleet.accounts.Handlings.Handled(c.session.id, h.Stream, h.Seq)
	}
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	c.changed()
	for c.dropping {
		c.wait() // a library must not be told twice at once
	}
	lib := c.lib
	c.mu.Unlock()
	if lib != nil {
		lib.Close()
	}
}

// schedule notes when the client's first dial is due.
func (s *session) schedule(due timeline.Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intended = due
}
