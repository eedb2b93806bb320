package closeconn

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// The wait before try n+1 is drawn from [0, firstBackoff × 2^(n-1)], at most
	// maxBackoff: full jitter, so that calls that were refused together do not
	// come again together.
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 5 * time.Second
	// settle is waited on top where a call may have taken effect: the end of the
	// connection reaches the client within a round trip, far below this, and
	// StillDue knows of it then.
	settle = 250 * time.Millisecond
)

// doubt is what a failed try leaves open.
type doubt struct {
	undone    bool // it surely had no effect
	open      bool // it may have had one
	throttled bool // the service was too busy
}

// doubtOf judges a failed try. Neither undone nor open: another one would fail
// alike.
func doubtOf(err error) doubt {
	var api *APIError
	var dial *net.OpError
	switch {
	case err == nil:
		return doubt{}
	case errors.As(err, &api):
		switch {
		case strings.HasPrefix(api.Code, "Throttling"), api.Status == http.StatusTooManyRequests:
			return doubt{undone: true, throttled: true}
		case api.Status >= 500:
			return doubt{open: true}
		}
		return doubt{}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return doubt{}
	case errors.As(err, &dial) && dial.Op == "dial":
		return doubt{undone: true}
	}
	return doubt{open: true} // the connection broke after something was sent
}

// again waits for the next try; false = there is none.
func (c *Client) again(ctx context.Context, clientID string, d doubt, try int) bool {
	wait := backoff(try)
	switch {
	case d.undone:
	case d.open && c.cfg.StillDue != nil:
		wait += settle
	default:
		return false
	}
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
		return false
	}
	if sleep(ctx, wait) != nil || c.Pace(ctx) != nil {
		return false
	}
	return d.undone || c.cfg.StillDue(clientID)
}

// backoff draws the wait after try n, from 1.
func backoff(n int) time.Duration {
	longest := maxBackoff
	if shift := n - 1; shift < 10 {
		longest = min(longest, firstBackoff<<shift)
	}
	return rand.N(longest + 1)
}

// sleep waits; the error is that of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
