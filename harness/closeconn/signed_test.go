package closeconn

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// noon is when the requests of these tests are signed and checked.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

var testCredentials = acs.Credentials{KeyID: "testid", Secret: "testsecret"}

func testKeys(t testing.TB, pairs ...KeyPair) *Keys {
	t.Helper()
	if len(pairs) == 0 {
		pairs = []KeyPair{{Credentials: testCredentials}}
	}
	k, err := NewKeys(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// handlerAt is a handler whose clock stands still.
func handlerAt(now time.Time, cfg Config) *handler {
	h := Handler(cfg).(*handler)
	h.gate.now = func() time.Time { return now }
	return h
}

// signed is a request that is made and signed in one style; the zero value is
// a good CloseConnection. edit sees the parameters before they are signed,
// spoil the request after.
type signed struct {
	style string // rpc-get (default), rpc-query, rpc-form, acs3-query, acs3-form
	key   acs.Credentials
	nonce string
	at    time.Time
	edit  func(params url.Values)
	spoil func(r *http.Request, body *string)
}

var styles = []string{"rpc-get", "rpc-query", "rpc-form", "acs3-get", "acs3-query", "acs3-form"}

func (s signed) request() *http.Request {
	if s.key == (acs.Credentials{}) {
		s.key = testCredentials
	}
	if s.at.IsZero() {
		s.at = noon
	}
	if s.nonce == "" {
		s.nonce = "nonce"
	}
	params := url.Values{"InstanceId": {"i"}, "ClientId": {nasty}, "Empty": {""}}
	method := http.MethodPost
	if s.style == "" || strings.HasSuffix(s.style, "-get") {
		method = http.MethodGet
	}
	isACS3 := strings.HasPrefix(s.style, "acs3")
	if !isACS3 {
		params.Set("Action", "CloseConnection")
		params.Set("Version", apiVersion)
	}
	if s.edit != nil {
		s.edit(params)
	}
	if !isACS3 {
		acs.SignRPC(s.key, method, params, s.nonce, s.at)
	}
	query, body := params.Encode(), ""
	if strings.HasSuffix(s.style, "-form") {
		query, body = "", query
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:18080/?"+query, nil)
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	if isACS3 {
		r.Header.Set("x-acs-action", "CloseConnection")
		r.Header.Set("x-acs-version", apiVersion)
		r.Header.Set("x-acs-credentials-provider", "static_ak")
		acs.SignACS3(s.key, r, []byte(body), s.nonce, s.at)
	}
	if s.spoil != nil {
		s.spoil(r, &body)
	}
	r.Body = nil
	if r.Method == http.MethodPost {
		r.Body = http.NoBody
		if body != "" {
			r.Body = readCloser{strings.NewReader(body)}
		}
	}
	return r
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

// ask gives the documented code of the answer, "" = success, and its message.
func ask(t testing.TB, h http.Handler, r *http.Request) (code, message string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		return "", ""
	}
	var f failure
	if err := json.Unmarshal(w.Body.Bytes(), &f); err != nil {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	if e, found := documented(f.Code); !found || e.Status != w.Code {
		t.Errorf("%d %s is not documented", w.Code, f.Code)
	}
	return f.Code, f.Message
}

// query changes one parameter of the query after it was signed; "" = removes it.
func query(name, value string) func(*http.Request, *string) {
	return func(r *http.Request, _ *string) {
		q := r.URL.Query()
		q.Set(name, value)
		if value == "" {
			q.Del(name)
		}
		r.URL.RawQuery = q.Encode()
	}
}

func header(name, value string) func(*http.Request, *string) {
	return func(r *http.Request, _ *string) {
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
}

// resign sets a parameter that signing would set, and signs again.
func resign(name, value string) func(*http.Request, *string) {
	return func(r *http.Request, _ *string) {
		q := r.URL.Query()
		q.Set(name, value)
		q.Set("Signature", acs.RPCSignature(testCredentials.Secret, acs.RPCStringToSign(r.Method, q)))
		r.URL.RawQuery = q.Encode()
	}
}

func reword(from, to string) func(*http.Request, *string) {
	return func(r *http.Request, _ *string) {
		r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), from, to, 1))
	}
}
