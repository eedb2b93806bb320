package compat

import (
	"encoding/json"
	"regexp"
	"testing"
)

const version = "2020-04-20"

// call is one operation asked of an endpoint.
type call struct {
	Endpoint string         `json:"endpoint"` // HOST:PORT
	CA       string         `json:"ca"`       // PEM of who signed its certificate; "" = plain HTTP
	Key      key            `json:"key"`
	Action   string         `json:"action"`
	Params   map[string]any `json:"params"` // strings, and lists of them
	Replay   bool           `json:"-"`      // the request is sent twice, as it is; by clients in Go only
}

// answer is what a vendor's client gives its caller: the body, or the error as
// the client tells it.
type answer struct {
	Status  int               `json:"status"`
	Headers map[string]string `json:"headers"` // names in lower case
	Body    json.RawMessage   `json:"body"`
	Failure *failure          `json:"error"`
}

// failure is an error in the client's own words.
type failure struct {
	Type      string `json:"type"` // of the error
	Code      string `json:"code"`
	Status    int    `json:"status"` // HTTP
	Message   string `json:"message"`
	RequestID string `json:"requestId"`
	Advice    string `json:"-"` // what the client makes of the error by itself
	Signature string `json:"-"` // that the client had sent; "" = it can not be seen
}

// vendorClient is one client of the vendor in one of the ways to use it.
type vendorClient struct {
	name      string
	acs3      bool // it signs by ACS3-HMAC-SHA256, else by RPC with HMAC-SHA1
	method    string
	errorType func(code string) string // what it makes of an error with this code
	do        func(t *testing.T, c call) answer
	shows     bool // its failures have the signature
}

func (c call) scheme() string {
	if c.CA != "" {
		return "https"
	}
	return "http"
}

// vendorClients are all of them. Those on Node need it, and their packages.
func vendorClients(t *testing.T) []vendorClient {
	return append(append(darabonbaClients(), sdkGoClients()...), nodeClients(t)...)
}

// forEachClient runs a subtest for each client.
func forEachClient(t *testing.T, test func(t *testing.T, v vendorClient)) {
	forEach(t, vendorClients(t), test)
}

func forEach(t *testing.T, clients []vendorClient, test func(t *testing.T, v vendorClient)) {
	for _, v := range clients {
		t.Run(v.name, func(t *testing.T) {
			if v.do == nil {
				missing(t, "Node or the packages of compat/node (npm ci)")
			}
			test(t, v)
		})
	}
}

var requestID = regexp.MustCompile(`^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$`)

// ask makes one call that must succeed and reads its body into want, which has
// a field for each of the body's and no other.
func (v vendorClient) ask(t *testing.T, c call, want any) answer {
	t.Helper()
	a := v.do(t, c)
	if a.Failure != nil {
		t.Fatalf("%s: %+v", c.Action, *a.Failure)
	}
	if err := strictly(a.Body, want); err != nil || a.Status != 200 {
		t.Fatalf("%s: status %d, body %s: %v", c.Action, a.Status, a.Body, err)
	}
	var head struct {
		RequestID string `json:"RequestId"`
	}
	if err := json.Unmarshal(a.Body, &head); err != nil || !requestID.MatchString(head.RequestID) {
		t.Fatalf("%s: request id %q, %v", c.Action, head.RequestID, err)
	}
	return a
}

// fail makes one call that must fail.
func (v vendorClient) fail(t *testing.T, c call) failure {
	t.Helper()
	a := v.do(t, c)
	if a.Failure == nil {
		t.Fatalf("%s succeeded: %d %s", c.Action, a.Status, a.Body)
	}
	return *a.Failure
}
