package closeconn

import (
	"errors"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

func TestServeRefusesOtherHosts(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0", "example.org:0"} {
		if _, err := Serve(testContext(t), addr, Config{Sessions: newFake()}); !errors.Is(err, ErrNotLoopback) || !strings.Contains(err.Error(), addr) {
			t.Errorf("%s: got %v", addr, err)
		}
	}
	if _, err := Serve(testContext(t), "127.0.0.1", Config{Sessions: newFake()}); err == nil {
		t.Error("an address without a port")
	}
}

func TestServePortInUse(t *testing.T) {
	s := startTest(t, Config{Sessions: newFake()})
	addr := strings.TrimPrefix(s.URL(), "http://")
	_, err := Serve(testContext(t), addr, Config{Sessions: newFake()})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr+" is in use") {
		t.Errorf("got %v", err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	again, err := Serve(testContext(t), addr, Config{Sessions: newFake()}) // free at once
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestHeadersAreLimited(t *testing.T) {
	s := startTest(t, Config{Sessions: newFake()})
	r, err := http.NewRequestWithContext(testContext(t), http.MethodGet, s.URL()+"/?Action=CloseConnection", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 1<<20))
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return // cut off while writing: as good
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestCurlLine(t *testing.T) {
	f := newFake("CLIENT_ID")
	line := CurlLine("http://127.0.0.1:18080/")
	_, query, _ := strings.Cut(strings.TrimSuffix(line, "'"), "?")
	if !strings.HasPrefix(line, "curl 'http://127.0.0.1:18080/?") {
		t.Error(line)
	}
	if w := (call{target: "/?" + query}).do(Handler(Config{Sessions: f})); w.Header().Get(HeaderClosed) != "1" {
		t.Errorf("%s: %s", line, w.Body)
	}
}
