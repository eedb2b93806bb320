package closeconn

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// While the last call runs, a closing server says so to probes and to further
// calls; then it is gone.
func TestHealthWhileClosing(t *testing.T) {
	s, err := Serve(t.Context(), "127.0.0.1:0", Config{Sessions: nobody{}})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	get := func(path string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	busy, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	if _, err := io.WriteString(busy, "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\n1"); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for begin := time.Now(); !ok(); {
			if time.Since(begin) > 30*time.Second {
				t.Fatal("never came: ", what)
			}
		}
	}
	wait("the call runs", func() bool {
		s.serving.mu.Lock()
		defer s.serving.mu.Unlock()
		return s.serving.calls == 1
	})
	if status, body := get(HealthPath); status != http.StatusOK || body != "ok\n" {
		t.Errorf("serving: %d %q", status, body)
	}
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	wait("503", func() bool { status, _ := get(HealthPath); return status == http.StatusServiceUnavailable })
	if status, body := get("/?Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=c"); status != http.StatusServiceUnavailable {
		t.Errorf("a new call: %d %q", status, body)
	}
	if _, err := io.WriteString(busy, "2"); err != nil {
		t.Error(err)
	}
	if answer, err := io.ReadAll(busy); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400 ") {
		t.Errorf("the call that ran: %q, %v", answer, err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// Connections on which no call runs neither hold up the end nor spoil it: one
// that was opened and has said nothing (a probe of the port, a client's spare
// connection), and one in the middle of its headers.
func TestCloseWithOpenConnections(t *testing.T) {
	for _, said := range []string{"", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nGET /hea"} {
		s, err := Serve(t.Context(), "127.0.0.1:0", Config{Sessions: nobody{}})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, said); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := s.Close(); err != nil {
			t.Errorf("%q: %v", said, err)
		}
		if took := time.Since(began); took > closeWait/2 {
			t.Errorf("%q: closing took %v", said, took)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A call that does not end is cut off, and that is told.
func TestCloseCutsOffCalls(t *testing.T) {
	s, err := serve(t.Context(), "127.0.0.1:0", Config{Sessions: nobody{}}, defaultLimits)
	if err != nil {
		t.Fatal(err)
	}
	if !s.serving.enter() { // a call that never leaves
		t.Fatal("no call is let in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.end(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

// nobody is online.
type nobody struct{}

func (nobody) CloseClient(context.Context, string) (bool, timeline.Instant, error) {
	return false, 0, nil
}
