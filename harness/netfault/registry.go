package netfault

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// ErrHalfClose says that a connection can not send a FIN and stay open.
var ErrHalfClose = errors.New("the transport has no half close")

var _ target.ConnectionCloser = (*Registry)(nil)

// Registry knows the live connections of each client id. Make one with
// NewRegistry. It is safe for concurrent use, starts no goroutine and lets go
// of a connection that ends.
type Registry struct {
	now func() timeline.Instant

	mu   sync.Mutex
	live map[string]*conn // newest of each client id
}

// NewRegistry makes an empty registry; now reads the run's clock.
func NewRegistry(now func() timeline.Instant) *Registry {
	return &Registry{now: now, live: make(map[string]*conn)}
}

// Wrap registers the connection that clientID just dialled, as its newest, and
// returns it wrapped.
func (r *Registry) Wrap(clientID string, c net.Conn) net.Conn {
	w := &conn{Conn: c, reg: r, id: clientID}
	r.mu.Lock()
	defer r.mu.Unlock()
	w.older = r.live[clientID]
	r.live[clientID] = w
	return w
}

// CloseConnection ends the newest live connection of clientID with a FIN, as
// the package comment says. It returns when the FIN is on its way. Closed.Found
// is always set; Closed.At is the instant just before the shutdown, 0 when
// there was no connection.
func (r *Registry) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	found := false
	if err := ctx.Err(); err != nil {
		return target.Closed{}, fmt.Errorf("fin %s: %w", clientID, err)
	}
	for {
		c := r.newest(clientID)
		if c == nil {
			return target.Closed{Found: &found}, nil
		}
		at := r.now()
		err := c.fin()
		r.forget(c)
		switch {
		case err == nil:
			found = true
			return target.Closed{Found: &found, At: at}, nil
		case !gone(err):
			found = true
			return target.Closed{Found: &found, At: at}, fmt.Errorf("fin %s: %w", clientID, err)
		}
		// It had ended without the library knowing yet: see whether there is
		// an older one.
	}
}

// Live is the number of live connections.
func (r *Registry) Live() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for _, c := range r.live {
		for ; c != nil; c = c.older {
			n++
		}
	}
	return n
}

func (r *Registry) newest(clientID string) *conn {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.live[clientID]
}

// forget takes c out of the live connections; it may be called again.
func (r *Registry) forget(c *conn) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	newest := r.live[c.id]
	if newest == c {
		if c.older != nil {
			r.live[c.id] = c.older
		} else {
			delete(r.live, c.id)
		}
	}
	for x := newest; x != nil; x = x.older {
		if x.older == c {
			x.older = c.older
		}
	}
	c.older = nil
}

// gone reports whether a shutdown failed because the connection had ended.
func gone(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ENOTCONN) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
