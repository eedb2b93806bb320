package closeconn

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	defaultInstance    = "mqtt-rebound"
	defaultConcurrency = 64
	defaultTimeout     = 10 * time.Second
	maxAnswer          = 64 << 10
)

// ClientConfig is how a Client reaches its endpoint.
type ClientConfig struct {
	Endpoint    string          // URL at the root of its host: http://127.0.0.1:8080
	InstanceID  string          // "" = mqtt-rebound
	Concurrency int             // connections at most, kept alive; further calls wait; 0 = 64
	Timeout     time.Duration   // bound of one call, waiting included; 0 = 10 s
	Clock       *timeline.Clock // the run's clock
	SameClock   bool            // the endpoint's process shares our CLOCK_MONOTONIC: believe its close instants
}

// Client closes connections through a CloseConnection endpoint. It is safe for
// concurrent use.
type Client struct {
	cfg  ClientConfig
	url  string
	tail string // the form after the ClientId
	http *http.Client
}

var _ target.ConnectionCloser = (*Client)(nil)

// NewClient makes a Client; it dials on the first call.
func NewClient(cfg ClientConfig) (*Client, error) {
	u, err := url.Parse(cfg.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEndpoint, err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("%w %q: want http://HOST:PORT without a path", ErrEndpoint, cfg.Endpoint)
	}
	if cfg.InstanceID == "" {
		cfg.InstanceID = defaultInstance
	}
	if cfg.Concurrency <= 0 {
		cfg.Concurrency = defaultConcurrency
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: cfg.Timeout}
	return &Client{
		cfg:  cfg,
		url:  u.Scheme + "://" + u.Host + "/",
		tail: "&Format=JSON&InstanceId=" + url.QueryEscape(cfg.InstanceID) + "&Version=" + apiVersion,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         dialer.DialContext,
				MaxIdleConns:        cfg.Concurrency,
				MaxIdleConnsPerHost: cfg.Concurrency,
				MaxConnsPerHost:     cfg.Concurrency,
				IdleConnTimeout:     2 * time.Minute,
				DisableCompression:  true,
			},
			// An API call is answered where it was sent, or it failed.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// CloseConnection closes the connection of one client; the error is an
// *APIError when the endpoint answered one.
func (c *Client) CloseConnection(ctx context.Context, clientID string) (target.Closed, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	form := "Action=CloseConnection&ClientId=" + url.QueryEscape(clientID) + c.tail
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(form))
	if err != nil {
		return target.Closed{}, fmt.Errorf("close connection of %q: %w", clientID, err)
	}
	req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	resp, err := c.http.Do(req)
	if err != nil {
		return target.Closed{}, fmt.Errorf("close connection of %q: %w", clientID, err)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return target.Closed{}, fmt.Errorf("close connection of %q: read the answer: %w", clientID, err)
	}
	if err := parseAnswer(resp.StatusCode, body); err != nil {
		return target.Closed{}, fmt.Errorf("close connection of %q: %w", clientID, err)
	}
	return c.facts(resp.Header), nil
}

// Close frees the idle connections. Calls that run are not cut off.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// facts reads what the endpoint says beyond the body; other endpoints say nothing.
func (c *Client) facts(head http.Header) target.Closed {
	var closed target.Closed
	switch head.Get(HeaderClosed) {
	case "1":
		closed.Found = new(true)
	case "0":
		closed.Found = new(false)
	}
	if !c.cfg.SameClock || c.cfg.Clock == nil {
		return closed
	}
	if ns, err := strconv.ParseInt(head.Get(HeaderClosedAt), 10, 64); err == nil && ns > 0 {
		closed.At = timeline.Instant(ns - c.cfg.Clock.Monotonic())
	}
	return closed
}

// parseAnswer returns nil for the documented success and an *APIError for all
// else. A failure inside a 200 is a failure.
func parseAnswer(status int, body []byte) error {
	var reply struct {
		RequestID string          `json:"RequestId"`
		Code      json.RawMessage // number on success, string on error
		Message   string
		Success   bool
	}
	if err := json.Unmarshal(body, &reply); err != nil {
		return &APIError{Status: status, Message: fmt.Sprintf("the answer is none of this API: %.80q", body)}
	}
	if status == http.StatusOK && reply.Success {
		return nil
	}
	var code string
	if err := json.Unmarshal(reply.Code, &code); err != nil {
		code = string(reply.Code)
	}
	return &APIError{Status: status, Code: code, Message: reply.Message, RequestID: reply.RequestID}
}

// CurlLine is a shell command that closes the connection of one client by
// hand; CLIENT_ID in it is to be filled in.
func CurlLine(endpoint string) string {
	return fmt.Sprintf("curl '%s/?Action=CloseConnection&Version=%s&InstanceId=%s&ClientId=CLIENT_ID'",
		strings.TrimSuffix(endpoint, "/"), apiVersion, defaultInstance)
}
