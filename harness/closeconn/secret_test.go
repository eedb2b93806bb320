package closeconn

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// TestErrorsHoldNoSecret: whatever an endpoint echoes, neither the secret nor
// the token of temporary credentials gets into an error, which stands in logs
// and reports.
func TestErrorsHoldNoSecret(t *testing.T) {
	creds := acs.Credentials{KeyID: "testid", Secret: "s3cr3t+/=", SecurityToken: "t0ken+/=&"}
	echoes := map[string]func(r *http.Request, form string) string{
		"string to sign, RPC": func(_ *http.Request, form string) string {
			return "Wrong signature. server string to sign is:POST&%2F&" + acs.Escape(form)
		},
		"string to sign, ACS3": func(r *http.Request, _ string) string {
			return "Wrong. server StringToSign is [" + fmt.Sprint(r.Header) + "]"
		},
		"the request": func(r *http.Request, form string) string {
			dump, _ := httputil.DumpRequest(r, false)
			return string(dump) + form + creds.Secret + acs.Escape(creds.Secret)
		},
	}
	for name, echo := range echoes {
		for _, scheme := range []acs.Scheme{acs.RPC, acs.ACS3} {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.WriteHeader(http.StatusBadRequest)
				_, _ = fmt.Fprintf(w, `{"RequestId":"R","Code":"SignatureDoesNotMatch","Message":%q}`, echo(r, string(body)))
			}))
			c := newTestClient(t, ClientConfig{Endpoint: s.URL, Scheme: scheme, Credentials: creds})
			_, err := c.CloseConnection(testContext(t), "dev")
			s.Close()
			if err == nil || !strings.Contains(err.Error(), "SignatureDoesNotMatch") {
				t.Fatalf("%s, %s: %v", name, scheme, err)
			}
			for _, form := range []string{"%v", "%+v", "%#v"} {
				said := fmt.Sprintf(form, err) + fmt.Sprintf(form, c)
				for _, secret := range []string{"s3cr3t", "t0ken"} {
					if strings.Contains(said, secret) {
						t.Errorf("%s, %s, %s: %s", name, scheme, form, said)
					}
				}
			}
		}
	}
	// A connection that breaks: the URL is left out.
	c := newTestClient(t, ClientConfig{Endpoint: "http://127.0.0.1:1", Scheme: acs.ACS3, Credentials: creds, Retries: -1})
	if _, err := c.CloseConnection(testContext(t), "dev"); err == nil || strings.Contains(err.Error(), "?") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

func TestClientCredentials(t *testing.T) {
	for _, cfg := range []ClientConfig{
		{Scheme: acs.RPC}, {Scheme: acs.ACS3, Credentials: acs.Credentials{KeyID: "id"}}, {Scheme: "sm3", Credentials: acs.Credentials{KeyID: "id", Secret: "s"}},
	} {
		cfg.Endpoint = "http://127.0.0.1:1"
		if _, err := NewClient(cfg); err == nil || !strings.Contains(err.Error(), ErrCredentials.Error()) {
			t.Errorf("%s: %v", cfg.Scheme, err)
		}
	}
}

// TestDenied goes through the table of documented errors: which of them would
// meet every call alike.
func TestDenied(t *testing.T) {
	passing := map[string]bool{
		"SignatureNonceUsed": true, "Throttling": true, "Throttling.User": true, "Throttling.Api": true, "ParameterCheckFailed": true,
		"ApplyTokenOverFlow": true, "InternalError": true, "SystemOverFlow": true, "Customauth.over.capacity": true,
	}
	for _, e := range documentedErrors {
		if e.Denied() == passing[e.Code] {
			t.Errorf("%s: denied is %v", e.Code, e.Denied())
		}
	}
	for _, e := range []*APIError{errMissing("AccessKeyId"), {Status: 403}, {Status: 401, Code: "x"}} {
		if !e.Denied() {
			t.Errorf("%+v is not denied", e)
		}
	}
	if errParameter("ClientId").Denied() {
		t.Error("one client that is offline says nothing of the others")
	}
}
