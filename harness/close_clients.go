package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// ClosedClient is what became of one client of CloseClients.
type ClosedClient struct {
	ClientID string
	Online   *bool // whether it was; nil = the endpoint does not say, or Err
	Tries    int
	Err      error // nil = answered success
}

// Answer is the endpoint's own answer in Err: HTTP status, code, message and
// request id; false = there was none of the API.
func (c ClosedClient) Answer() (status int, code, message, requestID string, found bool) {
	var api *closeconn.APIError
	if !errors.As(c.Err, &api) || api.Code == "" {
		return 0, "", "", "", false
	}
	return api.Status, api.Code, api.Message, api.RequestID, true
}

// CloseClients closes the connections of some clients through an endpoint of
// the CloseConnection API, one after the other, and tells of each. timeout
// bounds each call, 0 = 10 s. The error is ErrUsage for settings that can not
// be, target.ErrUnreachable when the endpoint answered no call at all, and else
// ErrNotClosed when some call failed.
func CloseClients(ctx context.Context, endpoint string, o CloseOptions, timeout time.Duration, clients []string, tell func(ClosedClient) error) error {
	o, err := o.foreign()
	if err != nil {
		return err
	}
	cfg := o.client(endpoint)
	cfg.Timeout = timeout
	client, err := closeconn.NewClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // it frees idle connections and can not fail
	failed, answered := 0, false
	var last error
	for _, id := range clients {
		if err := client.Pace(ctx); err != nil {
			return err
		}
		closed, err := client.CloseConnection(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c := ClosedClient{ClientID: id, Online: closed.Found, Tries: closed.Tries, Err: err}
		if _, _, _, _, found := c.Answer(); found || err == nil {
			answered = true
		}
		if err != nil {
			failed, last = failed+1, err
		}
		if err := tell(c); err != nil {
			return err
		}
	}
	switch {
	case failed == 0:
		return nil
	case !answered:
		return fmt.Errorf("%w: no CloseConnection endpoint at %s: %w", target.ErrUnreachable, endpoint, last)
	}
	return fmt.Errorf("%w: %d of %d", ErrNotClosed, failed, len(clients))
}
