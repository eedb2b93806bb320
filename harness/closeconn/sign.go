package closeconn

import (
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

const actionClose = "CloseConnection"

// newRequest makes one try, signed as of at with a nonce of its own: a try with
// the nonce of the one before would be refused as a replay.
func (c *Client) newRequest(ctx context.Context, clientID string, at time.Time) (*http.Request, error) {
	switch c.cfg.Scheme {
	case acs.RPC:
		params := url.Values{
			"Action": {actionClose}, "ClientId": {clientID}, "Format": {"JSON"}, "InstanceId": {c.cfg.InstanceID}, "Version": {apiVersion},
		}
		acs.SignRPC(c.cfg.Credentials, http.MethodPost, params, rand.Text(), at)
		return c.newForm(ctx, params.Encode())
	case acs.ACS3:
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"?ClientId="+url.QueryEscape(clientID)+c.tail, nil)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Accept", "application/json")
		req.Header.Set(acs.HeaderAction, actionClose)
		req.Header.Set(acs.HeaderVersion, apiVersion)
		acs.SignACS3(c.cfg.Credentials, req, nil, rand.Text(), at)
		return req, nil
	}
	return c.newForm(ctx, "Action="+actionClose+"&ClientId="+url.QueryEscape(clientID)+c.tail)
}

// newForm is a request in RPC style: everything in the form, so that neither
// key nor token stands in a URL, which proxies log.
func (c *Client) newForm(ctx context.Context, form string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	req.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"}
	return req, nil
}
