package harness

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
)

// ClosedClient is what became of one client of CloseClients.
type ClosedClient struct {
	ClientID string
	Online   *bool // whether it was; nil = the endpoint does not say, or Err
	Tries    int
	Err      error // nil = answered success
}

// APIError is a failure in the words of the CloseConnection API.
type APIError = closeconn.APIError

// Answer is the endpoint's own answer in Err; nil = there was none of the API.
func (c ClosedClient) Answer() *APIError {
	var api *APIError
	if !errors.As(c.Err, &api) || api.Code == "" {
		return nil
	}
	return api
}

// stopped is the end of a context, in words.
type stopped struct {
	text string
	err  error
}

func (s stopped) Error() string { return s.text }
func (s stopped) Unwrap() error { return s.err }

// CloseClients closes the connections of some clients through an endpoint of
// the CloseConnection API, one after the other, and tells of each. timeout
// bounds each call, 0 = 10 s. The error is ErrUsage for settings that can not
// be, ErrNoEndpoint when the first call is not answered by anything of the API,
// which ends the list there, that of ctx when it ended, and else ErrNotClosed
// when some call failed.
func CloseClients(ctx context.Context, endpoint string, o CloseOptions, timeout time.Duration, clients []string, tell func(ClosedClient) error) error {
	o, err := o.foreign(endpoint)
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
	failed := 0
	for i, id := range clients {
		if err := client.Pace(ctx); err != nil {
			return stopped{fmt.Sprintf("interrupted after %d of %d clients", i, len(clients)), err}
		}
		closed, err := client.CloseConnection(ctx, id)
		if err != nil && ctx.Err() != nil {
			return stopped{fmt.Sprintf("interrupted after %d of %d clients; the call for %q may have taken effect", i, len(clients), id), ctx.Err()}
		}
		c := ClosedClient{ClientID: id, Online: closed.Found, Tries: closed.Tries, Err: err}
		if err := tell(c); err != nil {
			return err
		}
		if err == nil {
			continue
		}
		failed++
		if i == 0 && c.Answer() == nil {
			return fmt.Errorf("%w at %s: %w", ErrNoEndpoint, endpoint, err)
		}
	}
	if failed > 0 {
		return fmt.Errorf("%w: %d of %d failed", ErrNotClosed, failed, len(clients))
	}
	return nil
}
