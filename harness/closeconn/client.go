package closeconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// DefaultInstance is the InstanceId of calls to an endpoint of our own, which
	// has no instances.
	DefaultInstance = "mqtt-rebound"
	// DefaultRate is what a Client should keep to, in calls per second, where
	// the endpoint is not our own: the service answers 300 calls a second of one
	// address and blocks it beyond that.
	DefaultRate = 50

	defaultConcurrency = 64
	defaultTimeout     = 10 * time.Second
	defaultRetries     = 5
)

// ClientConfig is how a Client reaches its endpoint.
type ClientConfig struct {
	Endpoint    string          // URL at the root of its host: http://127.0.0.1:8080
	InstanceID  string          // "" = DefaultInstance
	Scheme      acs.Scheme      // how each try is signed; "" = acs.None
	Credentials acs.Credentials // whom the signatures are of
	Concurrency int             // connections at most, kept alive; further calls wait; 0 = 64
	Timeout     time.Duration   // bound of one call, all of its tries and waits included; 0 = 10 s
	Rate        float64         // of Pace and of further tries, in calls per second; 0 = as fast as asked
	Retries     int             // further tries of a call at most; 0 = 5, negative = none
	Clock       *timeline.Clock // the run's clock
	SameClock   bool            // the endpoint's process shares our CLOCK_MONOTONIC: believe its close instants
	// StillDue, if set, is asked before a call is tried again after an answer
	// that leaves open whether it took effect (5xx, a broken connection): whether
	// the connection that it was to close lives. nil = such a call is not tried
	// again, for a second one could close the connection that came after.
	StillDue func(clientID string) bool
}

// Client closes connections through a CloseConnection endpoint. It is safe for
// concurrent use.
type Client struct {
	cfg     ClientConfig
	url     string
	tail    string // the form or query after the ClientId
	limiter *rate.Limiter
	http    *http.Client
}

var _ target.ConnectionCloser = (*Client)(nil)

// NewClient makes a Client; it dials on the first call. The error is
// ErrEndpoint or ErrCredentials.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := endpointURL(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, url: u.Scheme + "://" + u.Host + "/", tail: "&InstanceId=" + url.QueryEscape(cfg.InstanceID)}
	if cfg.Scheme != acs.ACS3 {
		c.tail += "&Format=JSON&Version=" + apiVersion
	}
	if cfg.Rate > 0 {
		c.limiter = rate.NewLimiter(rate.Limit(cfg.Rate), 1) // no bursts: the service counts them
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext:         dialer.DialContext,
			TLSHandshakeTimeout: cfg.Timeout,
			MaxIdleConns:        cfg.Concurrency,
			MaxIdleConnsPerHost: cfg.Concurrency,
			MaxConnsPerHost:     cfg.Concurrency,
			IdleConnTimeout:     2 * time.Minute,
			DisableCompression:  true,
		},
		// An API call is answered where it was sent, or it failed.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// CheckEndpoint finds what is wrong with the URL of an endpoint; the error is
// ErrEndpoint.
func CheckEndpoint(endpoint string) error {
	_, err := endpointURL(endpoint)
	return err
}

func endpointURL(endpoint string) (*url.URL, error) {
	u, err := url.Parse(endpoint)
	switch {
	case strings.Contains(endpoint, "@"): // not repeated: a password may be in it
		return nil, fmt.Errorf("%w: want http://HOST:PORT without a user or a path", ErrEndpoint)
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", strings.Trim(u.Path, "/") != "", u.RawQuery != "":
		return nil, fmt.Errorf("%w %q: want http://HOST:PORT without a path", ErrEndpoint, endpoint)
	}
	if port := u.Port(); port != "" {
		if _, err := strconv.ParseUint(port, 10, 16); err != nil {
			return nil, fmt.Errorf("%w %q: there is no port %s", ErrEndpoint, endpoint, port)
		}
	}
	return u, nil
}

func (cfg ClientConfig) withDefaults() (ClientConfig, error) {
	switch cfg.Scheme {
	case "":
		cfg.Scheme = acs.None
	case acs.None:
	case acs.RPC, acs.ACS3:
		if cfg.Credentials.KeyID == "" || cfg.Credentials.Secret == "" {
			return cfg, fmt.Errorf("%w: scheme %s needs the id and the secret of an access key", ErrCredentials, cfg.Scheme)
		}
	default:
		return cfg, fmt.Errorf("%w: scheme %q: want %s, %s or %s", ErrCredentials, cfg.Scheme, acs.None, acs.RPC, acs.ACS3)
	}
	if cfg.InstanceID == "" {
		cfg.InstanceID = DefaultInstance
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Retries == 0 {
		cfg.Retries = defaultRetries
	}
	return cfg, nil
}

// Format writes the endpoint only, whatever the verb: the configuration holds
// a secret.
func (c *Client) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "CloseConnection client of "+c.url)
}

// Pace waits until the next call is due by Rate; its error is that of ctx. A
// caller that measures calls it before each CloseConnection, which itself holds
// back further tries only: what is waited here is no part of the answer.
func (c *Client) Pace(ctx context.Context) error {
	if c.limiter == nil {
		return ctx.Err()
	}
	slot := c.limiter.Reserve()
	if err := sleep(ctx, slot.Delay()); err != nil {
		slot.Cancel()
		return err
	}
	return nil
}

// CloseConnection closes the connection of one client; the error is an
// *APIError when the endpoint answered one. A call is tried again, after a wait
// that grows and is drawn at random, when the answer proves that nothing was
// done: the service is too busy (Throttling), or the request could not be sent.
// After an answer that leaves it open StillDue decides. What it took is in
// Closed, with an error too.
func (c *Client) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	throttled := 0
	for try := 1; ; try++ {
		closed, err := c.try(ctx, clientID)
		d := doubtOf(err)
		if d.throttled {
			throttled++
		}
		closed.Tries, closed.Throttled = try, throttled
		switch {
		case err == nil:
			return closed, nil
		case try <= c.cfg.Retries && c.again(ctx, clientID, d, try):
			continue
		case try > 1:
			return closed, fmt.Errorf("close connection of %q: %d tries, the last: %w", clientID, try, err)
		}
		return closed, fmt.Errorf("close connection of %q: %w", clientID, err)
	}
}

// Close frees the idle connections. Calls that run are not cut off.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// try sends one request and reads its answer.
func (c *Client) try(ctx context.Context, clientID string) (target.Closed, error) {
	req, err := c.newRequest(ctx, clientID, time.Now())
	if err != nil {
		return target.Closed{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return target.Closed{}, c.unquoted(err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return target.Closed{}, fmt.Errorf("read the answer: %w", err)
	}
	if err := parseAnswer(resp.StatusCode, body); err != nil {
		return target.Closed{}, c.redacted(err)
	}
	return c.facts(resp.Header), nil
}

// unquoted leaves out the URL, which holds the parameters in ACS3 style and
// says nothing that the caller does not know.
func (c *Client) unquoted(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("%s: %w", c.url, u.Err)
	}
	return err
}

// CurlLine is a shell command that closes the connection of one client by
// hand, unsigned; CLIENT_ID in it is to be filled in.
func CurlLine(endpoint string) string {
	return fmt.Sprintf("curl '%s/?Action=CloseConnection&Version=%s&InstanceId=%s&ClientId=CLIENT_ID'",
		strings.TrimSuffix(endpoint, "/"), apiVersion, DefaultInstance)
}
