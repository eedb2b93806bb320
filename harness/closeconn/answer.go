package closeconn

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	maxAnswer  = 64 << 10
	maxMessage = 500 // bytes of an endpoint's words that are quoted
)

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

// echoed finds the string to sign, which a gateway that refuses a signature
// sends back: the key's id and the token of temporary credentials stand in it.
var echoed = regexp.MustCompile(`(?i)(server )?string ?to ?sign`)

// redacted keeps secrets out of an answer's words, which go into logs and
// reports.
func (c *Client) redacted(err error) error {
	var api *APIError
	if !errors.As(err, &api) {
		return err
	}
	if at := echoed.FindStringIndex(api.Message); at != nil {
		api.Message = strings.TrimSpace(api.Message[:at[0]])
	}
	for _, secret := range []string{c.cfg.Credentials.Secret, c.cfg.Credentials.SecurityToken} {
		if secret != "" {
			api.Message = strings.NewReplacer(secret, "***", url.QueryEscape(secret), "***").Replace(api.Message)
		}
	}
	if len(api.Message) > maxMessage {
		api.Message = strings.ToValidUTF8(api.Message[:maxMessage], "") + "…"
	}
	return api
}
