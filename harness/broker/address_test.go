package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// answerWith serves one connection: it reads the CONNECT and writes answer.
func answerWith(t *testing.T, answer []byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 256))
		_, _ = conn.Write(answer)
		_ = conn.Close()
	}()
	t.Cleanup(func() { _ = l.Close(); <-served })
	return "tcp://" + l.Addr().String()
}

func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "tcp://" + l.Addr().String()
}

func TestPreflight(t *testing.T) {
	web := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(web.Close)
	for _, tc := range []struct{ name, addr, want string }{
		{"refused", refused(t), "connection refused"},
		{"http", strings.Replace(web.URL, "http", "tcp", 1), `no MQTT broker: it answered "HTTP/1.1 400`},
		{"banner", answerWith(t, []byte("SSH-2.0-x")), `it answered "SSH-2.0-x"`},
		{"one byte", answerWith(t, []byte("x")), `it answered "x"`},
		{"closes", answerWith(t, nil), "without a CONNACK"},
		{"cut off", answerWith(t, []byte{0x20, 2}), "without a CONNACK"},
		{"odd CONNACK", answerWith(t, []byte{0x20, 3, 0, 0}), "20 03 00 00"},
		{"not authorized", answerWith(t, mqtt.AppendConnack(nil, false, 5)), "CONNACK code 5 (not authorized)"},
		{"reserved code", answerWith(t, mqtt.AppendConnack(nil, false, 99)), "CONNACK code 99 (reserved)"},
		{"unknown host", "tcp://no-such-host.invalid:1883", "no-such-host.invalid"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Preflight(testContext(t), tc.addr, nil)
			if !errors.Is(err, target.ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), tc.addr) {
				t.Errorf("got %v, want %q and the address", err, tc.want)
			}
		})
	}
}

func TestPreflightOfABroker(t *testing.T) {
	b := startTest(t, Options{})
	for _, addr := range b.Info().Addresses {
		if err := Preflight(testContext(t), addr, nil); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "it has left", func() bool { return b.Clients() == 0 })
	if n := b.server.Clients.Len(); n != 0 {
		t.Errorf("it left %d sessions behind", n)
	}
}

// A port that takes connections and says nothing ends in bounded time.
func TestConnectToSilence(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody reads
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := connect(ctx, func(ctx context.Context) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", l.Addr().String())
	}, nil); err == nil || !strings.Contains(err.Error(), "no CONNACK within") {
		t.Errorf("got %v", err)
	}
	// Interrupted by the caller, nothing is known of the broker.
	if err := Preflight(ctx, "tcp://"+l.Addr().String(), nil); err == nil || errors.Is(err, target.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestAddress(t *testing.T) {
	a, err := Address("tcp://broker.example:1883", "http://127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	info := a.Info()
	if info.Kind != KindAddress || info.SameClock || info.Endpoint == "" || info.Abilities.Persistence != "unknown" {
		t.Errorf("%+v", info)
	}
	if err := errors.Join(a.Close(), a.Close()); err != nil {
		t.Error(err)
	}
	for addr, want := range map[string]string{
		"tls://h:1": "not in this version", "h:1": "want tcp://", "tcp://h": "want tcp://", "tcp://:1": "want tcp://",
		"tcp://h:1/x": "want tcp://", "tcp://h:1?x": "want tcp://", "tcp://u@h:1": "want tcp://", "tcp://h:x": "bad target address", "": "want tcp://",
	} {
		if _, err := Address(addr, ""); !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", addr, err, want)
		}
	}
}

// Each row has its words, and what starts says what its row says.
func TestRows(t *testing.T) {
	started := map[string]target.Info{KindEmbedded: startTest(t, Options{}).Info(), KindChild: startTestChild(t, Options{}).Info()}
	a, err := Address("tcp://h:1", "")
	if err != nil {
		t.Fatal(err)
	}
	started[KindAddress] = a.Info()
	started[KindPipe] = startTestPipe(t).Info()
	for _, row := range Rows() {
		kind := row.Name
		if IsCommand(row.Name) {
			kind = KindCommand
			started[row.Name] = startTestCommand(t, row.Name, Options{}).Info()
		}
		info, ok := started[row.Name]
		if !ok || row.Doc == "" || (row.FDsPerClient < 1) != (row.Name == KindPipe) || row.Abilities.Persistence == "" {
			t.Errorf("row %+v", row)
		}
		if info.Kind != kind || fmt.Sprint(info.Abilities) != fmt.Sprint(row.Abilities) || row.Endpoint != (info.Endpoint != "") && row.Name != KindEmbedded && row.Name != KindPipe {
			t.Errorf("row %+v\ninfo %+v", row, info)
		}
	}
	if FDsPerClient(KindEmbedded) != 2 || FDsPerClient(KindPipe) != 0 || FDsPerClient(KindChild) != 1 || FDsPerClient("tcp://h:1") != 1 {
		t.Error("descriptors per client")
	}
}

func FuzzHostPort(f *testing.F) {
	for _, s := range []string{"tcp://127.0.0.1:1883", "tcp://[::1]:1", "tls://h:1", "x", "tCp://]:0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		if hp, err := hostPort(addr); err == nil {
			if _, _, err := net.SplitHostPort(hp); err != nil {
				t.Fatalf("%q gave %q: %v", addr, hp, err)
			}
		}
	})
}
