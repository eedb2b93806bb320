package harness_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestServeHelperChild is no test but the program of the child target, so that
// these tests need nothing of TestMain.
func TestServeHelperChild(*testing.T) { harness.ChildMain() }

func serveContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestStartTargetKinds(t *testing.T) {
	ctx := serveContext(t)
	clock := timeline.NewClock()
	for kind, addresses := range map[string]int{broker.KindEmbedded: 2, broker.KindPipe: 1, broker.KindChild: 2} {
		t.Run(kind, func(t *testing.T) {
			tg, err := harness.StartTarget(ctx, kind, harness.TargetOptions{
				Broker:       broker.Options{Clock: clock, Addresses: 2},
				ChildCommand: []string{os.Args[0], "-test.run=^TestServeHelperChild$"},
			})
			if err != nil {
				t.Fatal(err)
			}
			info := tg.Info()
			if info.Kind != kind || len(info.Addresses) != addresses || !info.SameClock {
				t.Errorf("%+v", info)
			}
			preflight := func(addr string) error {
				if d, ok := tg.(target.Dialer); ok {
					return broker.PreflightBy(ctx, d, addr, nil)
				}
				return broker.Preflight(ctx, addr, nil)
			}
			for _, addr := range info.Addresses {
				if err := preflight(addr); err != nil {
					t.Error(err)
				}
			}
			client, err := closeconn.NewClient(closeconn.ClientConfig{Endpoint: info.Endpoint, Clock: clock, SameClock: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			if closed, err := client.CloseConnection(ctx, "nobody"); err != nil || closed.Found == nil || *closed.Found {
				t.Errorf("%+v, %v", closed, err)
			}
			if err := errors.Join(tg.Close(), tg.Close()); err != nil {
				t.Error(err)
			}
			if err := preflight(info.Addresses[0]); !errors.Is(err, target.ErrUnreachable) {
				t.Errorf("after Close: %v", err)
			}
			if _, err := client.CloseConnection(ctx, "nobody"); err == nil {
				t.Error("the endpoint outlives its broker")
			}
		})
	}
}

func TestStartTargetAddress(t *testing.T) {
	tg, err := harness.StartTarget(serveContext(t), "tcp://127.0.0.1:1", harness.TargetOptions{Endpoint: "http://127.0.0.1:2"})
	if err != nil {
		t.Fatal(err)
	}
	if info := tg.Info(); info.Kind != broker.KindAddress || info.Endpoint != "http://127.0.0.1:2" {
		t.Errorf("%+v", info)
	}
	for kind, want := range map[string]string{"mosquito": "want embedded, pipe, child, mosquitto or tcp://", "ws://h:1": "not in this version"} {
		if tg, err := harness.StartTarget(serveContext(t), kind, harness.TargetOptions{}); tg != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", kind, tg, err)
		}
	}
}

func TestStartTargetThatFails(t *testing.T) {
	for _, o := range []harness.TargetOptions{
		{EndpointAddr: "0.0.0.0:0"},
		{ChildCommand: []string{"/no/such/program"}, EndpointAddr: "0.0.0.0:0"},
	} {
		for _, kind := range []string{broker.KindEmbedded, broker.KindChild} {
			if tg, err := harness.StartTarget(serveContext(t), kind, o); tg != nil || err == nil {
				t.Errorf("%s: a target %v that is not nil, or no error", kind, tg)
			}
		}
	}
}

// printed is an io.Writer whose text can be waited for.
type printed struct{ lines chan string }

func (p printed) Write(b []byte) (int, error) { p.lines <- string(b); return len(b), nil }

func TestServeBroker(t *testing.T) {
	ctx, stop := context.WithCancel(serveContext(t))
	defer stop()
	out, ended := printed{lines: make(chan string, 1)}, make(chan error, 1)
	go func() { ended <- harness.ServeBroker(ctx, harness.ServeOptions{Out: out}) }()
	var text string
	select {
	case text = <-out.lines:
	case err := <-ended:
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "curl '")
	url, _, _ := strings.Cut(rest, "'")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := new(http.Transport)
	defer transport.CloseIdleConnections()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatalf("the curl line of %s: %v", text, err)
	}
	body, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || !strings.Contains(string(body), `"Success":true`) {
		t.Errorf("%s: %d %s", url, resp.StatusCode, body)
	}
	_, rest, _ = strings.Cut(text, "mqtt ")
	addr := strings.Fields(rest)[0]
	if err := broker.Preflight(ctx, addr, nil); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A full disk behind the output ends it, and leaves no broker behind.
func TestServeBrokerCanNotPrint(t *testing.T) {
	_, w := io.Pipe()
	_ = w.CloseWithError(io.ErrShortWrite)
	if err := harness.ServeBroker(serveContext(t), harness.ServeOptions{Out: w}); err == nil {
		t.Error("no error")
	}
}
