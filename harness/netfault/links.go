package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The errors of this package.
var (
	// ErrHalfClose says that a connection can not send a FIN and stay open.
	ErrHalfClose = errors.New("the transport has no half close")
	// ErrNoReset says that a connection can not be reset.
	ErrNoReset = errors.New("the transport has no reset")
)

var _ target.ConnectionCloser = (*Links)(nil)

// Links knows the live connections of each client id, ends them, and impairs
// them. Make one with NewLinks. It is safe for concurrent use, lets go of a
// connection that ends, and has a goroutine only for a connection whose bytes to
// the broker are late.
type Links struct {
	now   func() timeline.Instant
	pumps sync.WaitGroup

	mu        sync.Mutex
	live      map[string]*conn         // newest of each client id
	impaired  map[string][]*impairment // in force, by client id
	lingering map[*conn]struct{}       // whose end has not reached the broker yet
}

// NewLinks makes an empty one; now reads the run's clock.
func NewLinks(now func() timeline.Instant) *Links {
	return &Links{
		now: now, live: make(map[string]*conn),
		impaired: make(map[string][]*impairment), lingering: make(map[*conn]struct{}),
	}
}

// Wrap registers the connection that clientID just dialled, as its newest, and
// returns it wrapped. Impairments of that client that are meant for new
// connections are on it.
func (l *Links) Wrap(clientID string, c net.Conn) net.Conn {
	w := &conn{Conn: c, links: l, id: clientID}
	l.mu.Lock()
	w.older = l.live[clientID]
	l.live[clientID] = w
	inForce := l.impaired[clientID]
	l.mu.Unlock()
	for _, im := range inForce {
		if im.New {
			im.add(w)
		}
	}
	return w
}

// CloseConnection ends the newest live connection of clientID with a FIN, as
// the package comment says. It returns when the FIN is on its way. Closed.Found
// is always set; Closed.At is the instant just before the shutdown, 0 when
// there was no connection.
func (l *Links) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	return l.end(ctx, clientID, "fin", (*conn).fin)
}

// Reset ends the newest live connection of clientID with an RST both ways, and
// says what CloseConnection says. Where the system can not abort a socket the
// broker gets its RST from a close, and the client's is synthetic: made here. The
// error is ErrNoReset on a transport that has none.
func (l *Links) Reset(ctx context.Context, clientID string) (closed target.Closed, synthetic bool, err error) {
	closed, err = l.end(ctx, clientID, "rst", func(c *conn) error {
		synthetic, err = c.reset(abort)
		return err
	})
	return closed, synthetic, err
}

// SlowClose ends the newest live connection of clientID with a FIN to the
// client now and one to the broker after delay, or when hasten is called, which
// may be done twice. In between the broker has a connection that nobody is at.
func (l *Links) SlowClose(ctx context.Context, clientID string, delay time.Duration) (closed target.Closed, hasten func(), err error) {
	hasten = func() {}
	closed, err = l.end(ctx, clientID, "slow-close", func(c *conn) error {
		hasten = c.hasten
		return c.finAfter(delay)
	})
	return closed, hasten, err
}

// end ends the newest live connection of a client.
func (l *Links) end(ctx context.Context, clientID, what string, how func(*conn) error) (target.Closed, error) {
	found := false
	if err := ctx.Err(); err != nil {
		return target.Closed{}, fmt.Errorf("%s %s: %w", what, clientID, err)
	}
	for {
		c := l.newest(clientID)
		if c == nil {
			return target.Closed{Found: &found}, nil
		}
		at := l.now()
		err := how(c)
		switch {
		case err == nil:
			l.forget(c)
			found = true
			return target.Closed{Found: &found, At: at}, nil
		case !gone(err):
			found = true
			return target.Closed{Found: &found, At: at}, fmt.Errorf("%s %s: %w", what, clientID, err)
		}
		// It had ended without the library knowing yet: see whether there is
		// an older one.
		l.forget(c)
	}
}

// Live is the number of live connections.
func (l *Links) Live() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, c := range l.live {
		for ; c != nil; c = c.older {
			n++
		}
	}
	return n
}

// Close ends what the library has closed and the broker does not know of yet,
// and waits for what was on its way. The connections that are live stay.
func (l *Links) Close() error {
	l.mu.Lock()
	lingering := make([]*conn, 0, len(l.lingering))
	for c := range l.lingering {
		lingering = append(lingering, c)
	}
	l.mu.Unlock()
	for _, c := range lingering {
		c.force()
	}
	l.pumps.Wait()
	return nil
}

func (l *Links) newest(clientID string) *conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.live[clientID]
}

// all lists the live connections of a client; l.mu is held.
func (l *Links) all(clientID string) []*conn {
	var list []*conn
	for c := l.live[clientID]; c != nil; c = c.older {
		list = append(list, c)
	}
	return list
}

// forget takes c out of the live connections; it may be called again.
func (l *Links) forget(c *conn) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	newest := l.live[c.id]
	if newest == c {
		if c.older != nil {
			l.live[c.id] = c.older
		} else {
			delete(l.live, c.id)
		}
	}
	for x := newest; x != nil; x = x.older {
		if x.older == c {
			x.older = c.older
		}
	}
	c.older = nil
}

// linger notes whether the end of c is on its way to the broker.
func (l *Links) linger(c *conn, does bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if does {
		l.lingering[c] = struct{}{}
	} else {
		delete(l.lingering, c)
	}
}

// gone reports whether a shutdown failed because the connection had ended.
func gone(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ENOTCONN) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
