package closeconn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// script answers each try with the next of its steps: a status and a code, or
// an error of the transport. The last step is repeated.
type script struct {
	steps []step
	calls []*http.Request
	at    []time.Time
}

type step struct {
	status int
	code   string
	err    error
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	st := s.steps[min(len(s.calls), len(s.steps)-1)]
	s.calls, s.at = append(s.calls, r), append(s.at, time.Now())
	if st.err != nil {
		return nil, st.err
	}
	body := fmt.Sprintf(`{"RequestId":"R%d","Code":%q,"Message":"no"}`, len(s.calls), st.code)
	if st.code == "" {
		body = `{"RequestId":"R","Code":200,"Message":"operation success.","Success":true}`
	}
	return &http.Response{StatusCode: st.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// scripted is a client whose endpoint is a script.
func scripted(t *testing.T, cfg ClientConfig, steps ...step) (*Client, *script) {
	t.Helper()
	cfg.Endpoint = "http://192.0.2.1"
	c := newTestClient(t, cfg)
	s := &script{steps: steps}
	c.http.Transport = s
	return c, s
}

var (
	stepOK      = step{status: 200}
	stepBusy    = step{status: 400, code: "Throttling.User"}
	stepFails   = step{status: 500, code: "InternalError"}
	stepRefused = step{err: &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}}
	stepBroken  = step{err: &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET}}
)

func TestRetries(t *testing.T) {
	due := func(string) bool { return true }
	for _, tc := range []struct {
		name      string
		steps     []step
		due       func(string) bool
		retries   int
		tries     int
		throttled int
		code      string // of the error; "" = stepOK, "-" = an error that is no answer
	}{
		{"throttled twice", []step{stepBusy, stepBusy, stepOK}, nil, 0, 3, 2, ""},
		{"bare Throttling", []step{{status: 503, code: "Throttling"}, stepOK}, nil, 0, 2, 1, ""},
		{"too many requests, of a proxy", []step{{status: 429, code: "x"}, stepOK}, nil, 0, 2, 1, ""},
		{"nobody listened yet", []step{stepRefused, stepOK}, nil, 0, 2, 0, ""},
		{"the bound, and the last code is kept", []step{stepBusy}, nil, 3, 4, 4, "Throttling.User"},
		{"the default bound", []step{stepBusy}, nil, 0, 6, 6, "Throttling.User"},
		{"no further tries wanted", []step{stepBusy}, nil, -1, 1, 1, "Throttling.User"},
		{"5xx may have taken effect", []step{stepFails, stepOK}, nil, 0, 1, 0, "InternalError"},
		{"5xx, and the connection lives", []step{stepFails, stepFails, stepOK}, due, 0, 3, 0, ""},
		{"5xx for good", []step{stepFails}, due, 2, 3, 0, "InternalError"},
		{"5xx, and the connection is gone", []step{stepFails, stepOK}, func(string) bool { return false }, 0, 1, 0, "InternalError"},
		{"a broken connection", []step{stepBroken, stepOK}, nil, 0, 1, 0, "-"},
		{"a broken connection, and the client's lives", []step{stepBroken, stepOK}, due, 0, 2, 0, ""},
		{"throttled, then 5xx", []step{stepBusy, stepFails, stepOK}, nil, 0, 2, 1, "InternalError"},
		{"a mistake of ours", []step{{status: 400, code: "SignatureDoesNotMatch"}, stepOK}, due, 0, 1, 0, "SignatureDoesNotMatch"},
		{"not found", []step{{status: 404, code: "ApiNotSupport"}, stepOK}, due, 0, 1, 0, "ApiNotSupport"},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := ""
			cfg := ClientConfig{Retries: tc.retries}
			if tc.due != nil {
				cfg.StillDue = func(id string) bool { asked = id; return tc.due(id) }
			}
			c, s := scripted(t, cfg, tc.steps...)
			closed, err := c.CloseConnection(t.Context(), "dev")
			var api *APIError
			switch isAPI := errors.As(err, &api); {
			case tc.code == "" && err != nil, tc.code == "-" && (err == nil || isAPI),
				len(tc.code) > 1 && (!isAPI || api.Code != tc.code || api.RequestID != fmt.Sprint("R", tc.tries)):
				t.Errorf("%s: %v, want code %q", tc.name, err, tc.code)
			}
			if len(s.calls) != tc.tries || closed.Tries != tc.tries || closed.Throttled != tc.throttled {
				t.Errorf("%s: %d requests, told as %d, %d throttled; want %d, %d", tc.name, len(s.calls), closed.Tries, closed.Throttled, tc.tries, tc.throttled)
			}
			if tc.tries > 1 && tc.code != "" && !strings.Contains(err.Error(), fmt.Sprintf("%d tries", tc.tries)) {
				t.Errorf("%s: the error does not tell of %d tries: %v", tc.name, tc.tries, err)
			}
			if asked != "" && asked != "dev" {
				t.Errorf("%s: asked about %q", tc.name, asked)
			}
		})
	}
}

// TestBackoffIsBoundedAndDrawn: each wait lies under its bound, they differ,
// and where a call may have taken effect there is time to notice it.
func TestBackoffIsBoundedAndDrawn(t *testing.T) {
	for n := 1; n <= 40; n++ {
		want := min(maxBackoff, firstBackoff*time.Duration(1<<min(n-1, 20)))
		seen := map[time.Duration]bool{}
		var sum time.Duration
		for range 1000 {
			d := backoff(n)
			if d < 0 || d > want {
				t.Fatalf("try %d: waits %s, at most %s", n, d, want)
			}
			seen[d], sum = true, sum+d
		}
		// The mean of 1000 draws is within 8 standard deviations of half the bound.
		if mean := sum / 1000; len(seen) < 900 || mean < want*42/100 || mean > want*58/100 {
			t.Errorf("try %d: %d distinct waits, mean %s of at most %s", n, len(seen), mean, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, ClientConfig{StillDue: func(string) bool { return true }}, stepFails, stepOK)
		if _, err := c.CloseConnection(t.Context(), "dev"); err != nil || s.at[1].Sub(s.at[0]) < settle {
			t.Errorf("tried again after %s, %v", s.at[1].Sub(s.at[0]), err)
		}
	})
}

// TestRetriesEndWithTheCall: the time-out of a call bounds its waits, and its
// error is the last answer.
func TestRetriesEndWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, ClientConfig{Timeout: 2 * time.Second, Retries: 1000}, stepBusy)
		began := time.Now()
		_, err := c.CloseConnection(t.Context(), "dev")
		var api *APIError
		if took := time.Since(began); took > 2*time.Second || !errors.As(err, &api) || api.Code != "Throttling.User" || len(s.calls) < 2 {
			t.Errorf("%d tries in %s: %v", len(s.calls), took, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, s := scripted(t, ClientConfig{Timeout: time.Hour, Retries: 1000}, stepBusy)
		defer time.AfterFunc(5*time.Second, cancel).Stop()
		began := time.Now()
		if _, err := c.CloseConnection(ctx, "dev"); err == nil || time.Since(began) > 5*time.Second {
			t.Errorf("%d tries in %s: %v", len(s.calls), time.Since(began), err)
		}
	})
}

// TestPace: calls begin at the rate, without a burst, and further tries count.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(t, ClientConfig{Rate: 50}, stepOK)
		began := time.Now()
		for i := range 100 {
			if err := c.Pace(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began).Round(time.Millisecond); at != time.Duration(i)*20*time.Millisecond {
				t.Fatalf("call %d is let go after %s", i, at)
			}
			if _, err := c.CloseConnection(t.Context(), "dev"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Hour) // of the fake clock: what was not used is not owed
		s.steps = []step{stepBusy}
		s.calls, s.at = nil, nil
		if err := c.Pace(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, _ = c.CloseConnection(t.Context(), "dev")
		for i := 1; i < len(s.at); i++ {
			if d := s.at[i].Sub(s.at[i-1]); d < 20*time.Millisecond-time.Microsecond {
				t.Errorf("try %d came %s after the one before", i+1, d)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Pace(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c, _ := scripted(t, ClientConfig{}, stepOK)
		began := time.Now()
		for range 1000 {
			if err := c.Pace(t.Context()); err != nil || time.Since(began) != 0 {
				t.Fatalf("an unpaced client waits %s, %v", time.Since(began), err)
			}
		}
	})
}

// TestTriesAreSignedAnew: a try with the nonce of the one before would be
// refused as a replay.
func TestTriesAreSignedAnew(t *testing.T) {
	keys := acs.Credentials{KeyID: "testid", Secret: "testsecret"}
	for _, scheme := range []acs.Scheme{acs.RPC, acs.ACS3} {
		synctest.Test(t, func(t *testing.T) {
			c, s := scripted(t, ClientConfig{Scheme: scheme, Credentials: keys}, stepBusy, stepBusy, stepBusy, stepOK)
			if _, err := c.CloseConnection(t.Context(), nasty); err != nil {
				t.Fatal(err)
			}
			nonces, signatures := map[string]bool{}, map[string]bool{}
			for _, r := range s.calls {
				if scheme == acs.ACS3 {
					nonces[r.Header.Get(acs.HeaderNonce)] = true
					signatures[r.Header.Get("Authorization")] = true
					continue
				}
				if r.URL.RawQuery != "" {
					t.Errorf("parameters in the URL: %s", r.URL)
				}
				body, err := r.GetBody()
				if err != nil {
					t.Fatal(err)
				}
				r.Body = body
				if err := r.ParseForm(); err != nil {
					t.Fatal(err)
				}
				nonces[r.PostForm.Get(acs.ParamNonce)] = true
				signatures[r.PostForm.Get(acs.ParamSignature)] = true
			}
			if len(nonces) != 4 || nonces[""] || len(signatures) != 4 {
				t.Errorf("%s: %d nonces, %d signatures in 4 tries", scheme, len(nonces), len(signatures))
			}
		})
	}
}
