package closeconn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// send makes one request of the address, on an own connection.
func send(t *testing.T, tlsConfig *tls.Config, r *http.Request, url string) (status int, body string) {
	t.Helper()
	out := r.Clone(testContext(t))
	out.RequestURI = ""
	out.URL.Scheme, out.URL.Host, _ = strings.Cut(url, "://")
	transport := &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}
	resp, err := transport.RoundTrip(out)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// With keys it listens wherever it is told to, and a name that is no loopback
// name is no matter, since only a signature lets in.
func TestServeOtherHostsWithKeys(t *testing.T) {
	f := newFake(nasty)
	s, err := Serve(testContext(t), "0.0.0.0:0", Config{Sessions: f, Keys: testKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	url := "http://127.0.0.1:" + port
	named := func(s signed) *http.Request {
		r := s.request()
		r.Host = "broker.example:1"
		r.Header.Set("Origin", "http://page.example")
		return r
	}
	if status, body := send(t, nil, named(signed{at: time.Now()}), url); status != http.StatusOK {
		t.Errorf("signed: %d %s", status, body)
	}
	if status, body := send(t, nil, named(signed{at: time.Now(), spoil: query("Signature", "")}), url); !strings.Contains(body, "MissingSignature") {
		t.Errorf("not signed: %d %s", status, body)
	}
	if len(f.asked) != 1 {
		t.Errorf("closed %q", f.asked)
	}
}

func TestErrNotLoopbackSaysWhatToDo(t *testing.T) {
	for _, want := range []string{EnvKeyID, EnvKeySecret, "keys file", "loopback address"} {
		if !strings.Contains(ErrNotLoopback.Error(), want) {
			t.Errorf("%q lacks %q", ErrNotLoopback, want)
		}
	}
}

func TestServeTLS(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // has a certificate for 127.0.0.1
	defer certified.Close()
	roots := certified.Client().Transport.(*http.Transport).TLSClientConfig
	f := newFake(nasty)
	s := startTest(t, Config{Sessions: f, Keys: testKeys(t), TLS: &tls.Config{Certificates: certified.TLS.Certificates}})
	if !strings.HasPrefix(s.URL(), "https://127.0.0.1:") {
		t.Error(s.URL())
	}
	for i, style := range styles {
		r := signed{style: style, at: time.Now(), nonce: style}.request()
		if status, body := send(t, roots, r, s.URL()); status != http.StatusOK || len(f.asked) != i+1 {
			t.Errorf("%s: %d %s", style, status, body)
		}
	}
	if _, err := Serve(testContext(t), "127.0.0.1:0", Config{Sessions: f, TLS: new(tls.Config)}); err == nil {
		t.Error("TLS without a certificate")
	}
}

func TestHealth(t *testing.T) {
	for name, cfg := range map[string]Config{"unsigned": {Sessions: newFake()}, "signed": {Sessions: newFake(), Keys: testKeys(t), Throttle: 1}} {
		s := startTest(t, cfg)
		for range 3 {
			if status, body := send(t, nil, httptest.NewRequest(http.MethodGet, HealthPath, nil), s.URL()); status != http.StatusOK || body != "ok\n" {
				t.Errorf("%s: %d %q", name, status, body)
			}
		}
		if status, body := send(t, nil, httptest.NewRequest(http.MethodPost, s.URL()+HealthPath, nil), s.URL()); status != http.StatusNotFound || !strings.Contains(body, "InvalidAction.NotFound") {
			t.Errorf("%s, POST: %d %q", name, status, body)
		}
	}
}

// slow sends text byte by byte, one each pace, until the other side ends the
// connection or all is sent; it tells how much went out.
func slow(t *testing.T, conn net.Conn, text string, pace time.Duration) (sent int, cut bool) {
	t.Helper()
	giveUp := time.Now().Add(patience)
	for ; sent < len(text); sent++ {
		if time.Now().After(giveUp) {
			t.Fatalf("still open after %d bytes", sent)
		}
		if _, err := conn.Write([]byte{text[sent]}); err != nil {
			return sent, true
		}
		if err := conn.SetReadDeadline(time.Now().Add(pace)); err != nil {
			t.Fatal(err)
		}
		var one [1]byte
		var timeout net.Error
		if _, err := conn.Read(one[:]); err == nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			return sent, true
		}
	}
	return sent, false
}

// A client that sends its request drop by drop is cut off, in the headers as
// in the body; one that is merely slow is not.
func TestSlowLoris(t *testing.T) {
	head := "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: " + formType + "\r\nContent-Length: 100000\r\n"
	for name, c := range map[string]struct {
		limit limits
		first string
		slow  string
		cut   bool
	}{
		"headers":      {limits{header: 200 * time.Millisecond, read: time.Hour}, head, "X-Endless: " + strings.Repeat("a", 100_000), true},
		"body":         {limits{header: time.Hour, read: 200 * time.Millisecond}, head + "\r\n", strings.Repeat("a", 100_000), true},
		"patient host": {limits{header: time.Hour, read: time.Hour}, head, "X-Long: " + strings.Repeat("a", 300), false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := serve(testContext(t), "127.0.0.1:0", Config{Sessions: newFake()}, c.limit)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := new(net.Dialer).DialContext(testContext(t), "tcp", strings.TrimPrefix(s.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, c.first); err != nil {
				t.Fatal(err)
			}
			if sent, cut := slow(t, conn, c.slow, time.Millisecond); cut != c.cut {
				t.Errorf("cut off = %v after %d bytes, want %v", cut, sent, c.cut)
			}
			if err := errors.Join(conn.Close(), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
}

// A client that connects and says nothing is cut off too, before or in the
// handshake of TLS.
func TestSilentClient(t *testing.T) {
	certified := httptest.NewTLSServer(nil)
	defer certified.Close()
	for name, cfg := range map[string]*tls.Config{"plain": nil, "tls": {Certificates: certified.TLS.Certificates}} {
		s, err := serve(testContext(t), "127.0.0.1:0", Config{Sessions: newFake(), TLS: cfg}, limits{header: 100 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		_, addr, _ := strings.Cut(s.URL(), "://")
		conn, err := new(net.Dialer).DialContext(testContext(t), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: still open after %v", name, patience)
		}
		if err := errors.Join(conn.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	}
}
