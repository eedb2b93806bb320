package closeconn

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func newTestClient(t testing.TB, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestClientReadsTheFacts(t *testing.T) {
	f := newFake(nasty, "second")
	s := startTest(t, Config{Sessions: f, Clock: f.clock})
	clock := timeline.NewClock()
	c := newTestClient(t, ClientConfig{Endpoint: s.URL(), Clock: clock, SameClock: true})
	before := clock.Now()
	got, err := c.CloseConnection(testContext(t), nasty)
	if err != nil || got.Found == nil || !*got.Found || timeline.Bracket(before, got.At, clock.Now()) != nil {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = c.CloseConnection(testContext(t), nasty) // offline by now
	if err != nil || got.Found == nil || *got.Found || got.At != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	// A clock that is not ours gives no instants.
	c = newTestClient(t, ClientConfig{Endpoint: s.URL(), Clock: clock})
	if got, err := c.CloseConnection(testContext(t), "second"); err != nil || !*got.Found || got.At != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestClientErrors(t *testing.T) {
	for _, tc := range []struct {
		name, body string
		status     int
		want       APIError
	}{
		{"documented", `{"RequestId":"R","HostId":"h","Code":"ApiNotSupport","Message":"The specified API is not supported."}`, 404,
			APIError{Status: 404, Code: "ApiNotSupport", Message: "The specified API is not supported.", RequestID: "R"}},
		{"failure inside a 200", `{"RequestId":"R","Code":404,"Message":"no","Success":false}`, 200,
			APIError{Status: 200, Code: "404", Message: "no", RequestID: "R"}},
		{"not the API", "<html>busy</html>", 503, APIError{Status: 503, Message: `the answer is none of this API: "<html>busy</html>"`}},
		{"not the API, with 200", "hello", 200, APIError{Status: 200, Message: `the answer is none of this API: "hello"`}},
		{"redirect", "{}", 302, APIError{Status: 302}},
		{"success with a failing status", `{"Success":true}`, 500, APIError{Status: 500}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
				_, _ = w.Write([]byte(tc.body))
			}))
			defer s.Close()
			_, err := newTestClient(t, ClientConfig{Endpoint: s.URL}).CloseConnection(testContext(t), "dev")
			var got *APIError
			if !errors.As(err, &got) || *got != tc.want || !strings.Contains(err.Error(), "dev") {
				t.Errorf("got %v (%+v), want %+v", err, got, tc.want)
			}
		})
	}
}

func TestClientOfABareEndpoint(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"RequestId":"R","Code":200,"Message":"operation success.","Success":true}`))
	}))
	defer s.Close()
	c := newTestClient(t, ClientConfig{Endpoint: s.URL, Clock: timeline.NewClock(), SameClock: true})
	if got, err := c.CloseConnection(testContext(t), "dev"); err != nil || got.Found != nil || got.At != 0 {
		t.Errorf("an endpoint that says nothing: %+v, %v", got, err)
	}
}

func TestClientEndpoint(t *testing.T) {
	for _, e := range []string{"", "127.0.0.1:80", "ftp://h", "http://", "http://h/sub", "http://h/?x", "http://h:x",
		"http://h:65536", "http://user:hush@h:80", "http://user:hush@h:x"} {
		_, err := NewClient(ClientConfig{Endpoint: e})
		if !errors.Is(err, ErrEndpoint) || !errors.Is(CheckEndpoint(e), ErrEndpoint) {
			t.Fatalf("%q: %v", e, err)
		}
		if text := err.Error(); strings.Contains(text, "hush") || !strings.Contains(text, "65536") && !strings.Contains(text, "want http://HOST:PORT without a") {
			t.Errorf("%q: %v", e, err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	c := newTestClient(t, ClientConfig{Endpoint: "http://" + l.Addr().String()})
	var api *APIError
	if _, err := c.CloseConnection(testContext(t), "dev"); err == nil || errors.As(err, &api) {
		t.Errorf("nobody listens: %v", err)
	}
}

// A close that never ends is given up by the client, and by the endpoint with
// a documented error.
func TestStuckClose(t *testing.T) {
	f := newFake("dev")
	f.wait = make(chan struct{})
	s := startTest(t, Config{Sessions: f, CloseTimeout: time.Millisecond})
	var api *APIError
	_, err := newTestClient(t, ClientConfig{Endpoint: s.URL()}).CloseConnection(testContext(t), "dev")
	if !errors.As(err, &api) || api.Status != 500 || api.Code != "InternalError" {
		t.Errorf("got %v", err)
	}
	s = startTest(t, Config{Sessions: f})
	_, err = newTestClient(t, ClientConfig{Endpoint: s.URL(), Timeout: time.Millisecond}).CloseConnection(testContext(t), "dev")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// The answer comes after the close, never before.
func TestAnswerWaitsForTheClose(t *testing.T) {
	f := newFake("dev")
	f.wait = make(chan struct{})
	s := startTest(t, Config{Sessions: f, Clock: f.clock})
	c := newTestClient(t, ClientConfig{Endpoint: s.URL(), Clock: f.clock, SameClock: true})
	answered := make(chan timeline.Instant, 1)
	go func() {
		closed, err := c.CloseConnection(testContext(t), "dev")
		if err != nil {
			t.Error(err)
		}
		if now := f.clock.Now(); now < closed.At {
			t.Errorf("answered at %d, closed at %d", now, closed.At)
		}
		answered <- closed.At
	}()
	released := f.clock.Now()
	select {
	case <-answered:
		t.Error("answered before the close")
	default:
		close(f.wait)
		if at := <-answered; at < released {
			t.Errorf("closed at %d, allowed at %d", at, released)
		}
	}
}

// The client never uses more connections than it may, and keeps them.
func TestClientConcurrencyIsBounded(t *testing.T) {
	const limit, calls = 4, 200
	var opened atomic.Int64
	s := httptest.NewUnstartedServer(Handler(Config{Sessions: newFake()}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	c := newTestClient(t, ClientConfig{Endpoint: s.URL, Concurrency: limit})
	var running sync.WaitGroup
	for range calls {
		running.Go(func() {
			if _, err := c.CloseConnection(testContext(t), "dev"); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	if n := opened.Load(); n < 1 || n > limit {
		t.Errorf("%d calls opened %d connections, limit %d", calls, n, limit)
	}
}

func FuzzParseAnswer(f *testing.F) {
	f.Add(200, []byte(`{"RequestId":"R","Code":200,"Message":"operation success.","Success":true}`))
	f.Add(404, []byte(`{"Code":"ApiNotSupport"}`))
	f.Add(500, []byte(`null`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		err := parseAnswer(status, body)
		var api *APIError
		switch {
		case err == nil && status != http.StatusOK:
			t.Fatalf("status %d is a success", status)
		case err != nil && (!errors.As(err, &api) || api.Status != status):
			t.Fatalf("%v", err)
		}
	})
}

// noSessions finds every client and closes nothing.
type noSessions struct{ clock *timeline.Clock }

func (n noSessions) CloseClient(context.Context, string) (bool, timeline.Instant, error) {
	return true, n.clock.Now(), nil
}

// BenchmarkCloseConnection is the rate at which connections could be closed if
// the broker took no time, unsigned and by either signature: endpoint and
// client share the machine.
func BenchmarkCloseConnection(b *testing.B) {
	key := acs.Credentials{KeyID: "testid", Secret: "testsecret"}
	for _, scheme := range []acs.Scheme{acs.None, acs.RPC, acs.ACS3} {
		b.Run(string(scheme), func(b *testing.B) {
			clock := timeline.NewClock()
			cfg := Config{Sessions: noSessions{clock}, Clock: clock}
			if scheme != acs.None {
				keys, err := NewKeys(KeyPair{Credentials: key})
				if err != nil {
					b.Fatal(err)
				}
				cfg.Keys = keys
			}
			s := startTest(b, cfg)
			c := newTestClient(b, ClientConfig{
				Endpoint: s.URL(), Scheme: scheme, Credentials: key, Clock: clock, SameClock: true, Concurrency: 64, Retries: -1,
			})
			b.SetParallelism(32) // × GOMAXPROCS callers
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := c.CloseConnection(context.Background(), "dev-000001"); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// BenchmarkNewRequest is the client's own part of a call: a request, signed.
func BenchmarkNewRequest(b *testing.B) {
	key := acs.Credentials{KeyID: "testid", Secret: "testsecret"}
	for _, scheme := range []acs.Scheme{acs.None, acs.RPC, acs.ACS3} {
		b.Run(string(scheme), func(b *testing.B) {
			c := newTestClient(b, ClientConfig{Endpoint: "http://127.0.0.1:1", Scheme: scheme, Credentials: key})
			at := time.Now()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.newRequest(b.Context(), "dev-000001", at); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
