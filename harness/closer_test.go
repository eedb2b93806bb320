package harness

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

var testKey = Credentials{KeyID: "testid", Secret: "s3cr3t-of-a-test"}

func TestCloseOptionsFor(t *testing.T) {
	const address = "tcp://192.0.2.1:1883"
	for _, tc := range []struct {
		target, kick string
		in           CloseOptions
		scheme       string
		rate         float64
		err          string
	}{
		{"embedded", "", CloseOptions{}, "none", 0, ""},
		{"", "", CloseOptions{}, "none", 0, ""},
		{"child", "", CloseOptions{Credentials: testKey}, "none", 0, ""}, // the key is another service's
		{"child", "", CloseOptions{Scheme: "rpc", Rate: 9}, "rpc", 9, ""},
		{address, "", CloseOptions{}, "none", 50, ""},
		{address, "", CloseOptions{Credentials: testKey}, "acs3", 50, ""},
		{address, "", CloseOptions{Credentials: testKey, Scheme: "none", Rate: -1}, "none", -1, ""},
		{address, "", CloseOptions{Credentials: testKey, Scheme: "rpc", Rate: 300}, "rpc", 300, ""},
		{address, "", CloseOptions{Scheme: "acs3"}, "", 0, "needs an access key"},
		{address, "", CloseOptions{Credentials: Credentials{KeyID: "id"}}, "", 0, "needs an access key"},
		{address, "", CloseOptions{Credentials: Credentials{Secret: "s"}}, "", 0, "needs an access key"},
		{address, "", CloseOptions{Scheme: "sm3"}, "", 0, `scheme "sm3"`},
		{"embedded", "", CloseOptions{Rate: 1e9}, "", 0, "--close-rate"},
		{address, "fin", CloseOptions{Credentials: testKey}, "", 0, ""},
		{address, "fin", CloseOptions{Scheme: "rpc"}, "", 0, "from its own side"},
		{"mosquitto", "", CloseOptions{Rate: 1}, "", 0, "from its own side"},
		{"mosquitto", "", CloseOptions{}, "", 0, ""},
		{"command", "", CloseOptions{Credentials: testKey}, "acs3", 50, ""},
		{"command", "fin", CloseOptions{Rate: 1}, "", 0, "from its own side"},
	} {
		endpoint := "http://192.0.2.1:8080"
		if tc.target == "mosquitto" {
			endpoint = "" // a user may name one of a command only
		}
		got, err := tc.in.For(tc.target, tc.kick, endpoint)
		name := fmt.Sprint(tc.target, tc.kick, tc.in)
		if tc.err != "" {
			if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v, want %s", name, err, tc.err)
			}
			continue
		}
		if err != nil || got.Scheme != tc.scheme || got.Rate != tc.rate {
			t.Errorf("%s: scheme %q, rate %g, %v", name, got.Scheme, got.Rate, err)
		}
		if again, err := got.For(tc.target, tc.kick, endpoint); tc.scheme != "" && (err != nil || again != got) {
			t.Errorf("%s: a second time %+v, %v", name, again, err)
		}
	}
}

// TestPaceByEndpoint: a pace is for who would block us.
func TestPaceByEndpoint(t *testing.T) {
	for endpoint, want := range map[string]float64{
		"http://127.0.0.1:8080": 0, "http://localhost:1": 0, "https://[::1]:8080": 0,
		"https://onsmqtt.example": 50, "http://10.0.0.1:8080": 50, "http://localhost.example:1": 50, "": 50,
	} {
		got, err := CloseOptions{}.For("tcp://127.0.0.1:1883", "", endpoint)
		if err != nil || got.Rate != want {
			t.Errorf("%q: rate %g, %v; want %g", endpoint, got.Rate, err, want)
		}
	}
}

func TestPacedCloses(t *testing.T) {
	wave := func(offsets ...time.Duration) scenarios.PlanWave {
		f := scenarios.PlanFault{Kind: "close"}
		for i, at := range offsets {
			f.Victims = append(f.Victims, scenarios.Victim{Client: i, Offset: at * time.Millisecond})
		}
		other := scenarios.PlanFault{Kind: "disconnect", Victims: []scenarios.Victim{{Offset: time.Hour}}}
		return scenarios.PlanWave{Faults: []scenarios.PlanFault{f, other}}
	}
	for _, tc := range []struct {
		wave      scenarios.PlanWave
		rate      float64
		last, lag time.Duration
	}{
		{wave(0, 0, 0, 0), 50, 60, 60},
		{wave(300, 0, 0), 50, 300, 20}, // in any order
		{wave(0, 10, 20, 500), 50, 500, 20},
		{wave(0, 20, 40), 50, 40, 0},
		{wave(0, 0, 7), 0, 7, 0},
		{wave(), 50, 0, 0},
	} {
		got := paced(tc.wave, tc.rate)
		if got.last != tc.last*time.Millisecond || got.lag != tc.lag*time.Millisecond {
			t.Errorf("%v at %g/s: last %s, lag %s; want %d, %d ms", tc.wave.Faults[0].Victims, tc.rate, got.last, got.lag, tc.last, tc.lag)
		}
	}
}

// signedTarget is a broker whose endpoint knows testKey, behind a proxy that
// answers in its place where spoil says so: the n-th call of a client, from 1,
// before it is passed on or after.
func signedTarget(t *testing.T, spoil func(n int, passedOn bool) (status int, code string)) (address, endpoint string) {
	t.Helper()
	b, err := StartTarget(t.Context(), "embedded", TargetOptions{Key: &testKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	to, err := url.Parse(b.Info().Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host // and the Host as it was: it is signed
		r.Out.Host = r.In.Host
	}}
	var mu sync.Mutex
	calls := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("ClientId")
		mu.Lock()
		calls[id]++
		n := calls[id]
		mu.Unlock()
		out := httptest.NewRecorder()
		status, code := spoil(n, false)
		if code == "" {
			proxy.ServeHTTP(out, r)
			status, code = spoil(n, true)
		}
		if code != "" {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"RequestId":"R","Code":%q,"Message":"spoiled"}`, code)
			return
		}
		w.WriteHeader(out.Code)
		_, _ = w.Write(out.Body.Bytes())
	}))
	t.Cleanup(s.Close)
	return b.Info().Addresses[0], s.URL
}

// TestSignedClosesOfAnAddress runs against a broker that is not ours with
// signed closes, some of whose answers are spoiled. No client is closed twice:
// an end without an action would be unscripted.
func TestSignedClosesOfAnAddress(t *testing.T) {
	never := func(int, bool) (int, string) { return 0, "" }
	for _, tc := range []struct {
		name  string
		spoil func(n int, passedOn bool) (int, string)
		want  reports.Calls
	}{
		{"as it is", never, reports.Calls{Calls: 40, Tries: 40}},
		{"busy at first", func(n int, on bool) (int, string) {
			if n == 1 && !on {
				return 400, "Throttling.User"
			}
			return 0, ""
		}, reports.Calls{Calls: 40, Tries: 80, Throttled: 40}},
		{"500 without effect", func(n int, on bool) (int, string) {
			if n == 1 && !on {
				return 500, "InternalError"
			}
			return 0, ""
		}, reports.Calls{Calls: 40, Tries: 80}},
		{"500 after the effect", func(n int, on bool) (int, string) {
			if on {
				return 500, "InternalError"
			}
			return 0, ""
		}, reports.Calls{Calls: 40, Tries: 40, Failed: 40}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			address, endpoint := signedTarget(t, func(n int, on bool) (int, string) {
				return tc.spoil(n, on)
			})
			// The preflight is the first call of client 0: it is not in the report.
			o := Options{Endpoint: endpoint, Close: CloseOptions{Credentials: testKey, Rate: 1000}}
			r, dir := play(t, scenario(t, quick, "qos: 1, each", "qos: 0, each"), PlanOptions{Target: address, Endpoint: endpoint}, o)
			if w := r.Total; w.Back != 40 || w.Hit != 40 || r.Unscripted.Ends != 0 || r.ExitCode != ExitPass {
				t.Errorf("hit %d, back %d, %d unscripted ends, exit %d: %+v", w.Hit, w.Back, r.Unscripted.Ends, r.ExitCode, r.Checks)
			}
			got := r.Total.API
			if got == nil {
				t.Fatal("the report counts no calls")
			}
			// Client 0 has had its first call in the preflight.
			if d := tc.want.Tries - got.Tries; got.Calls != 40 || d < 0 || d > 1 || got.Failed != tc.want.Failed || tc.want.Throttled-got.Throttled > d {
				t.Errorf("calls %+v, want %+v", *got, tc.want)
			}
			if s := r.Target.Settings; s["close_scheme"] != "acs3" || s["close_rate"] != "1000/s" {
				t.Errorf("settings %v", s)
			}
			noSecret(t, dir)
		})
	}
}

// noSecret looks for testKey's secret in every file of a run, unpacked.
func noSecret(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if strings.HasSuffix(f, ".gz") {
			raw, err = exec.Command("gzip", "-dc", f).Output()
		}
		if info, _ := os.Stat(f); err != nil && !info.IsDir() {
			t.Error(err)
		}
		if strings.Contains(string(raw), testKey.Secret) {
			t.Errorf("%s holds the secret", f)
		}
	}
}

// TestDeniedBeforeTheStorm: a key that is wrong is a usage error before
// anything is connected.
func TestDeniedBeforeTheStorm(t *testing.T) {
	address, endpoint := signedTarget(t, func(int, bool) (int, string) { return 0, "" })
	plan, err := NewPlan(scenario(t, quick), PlanOptions{Tables: DefaultTables(), Target: address, Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	wrong := Credentials{KeyID: testKey.KeyID, Secret: "wr0ng-secret"}
	for name, o := range map[string]CloseOptions{
		"SignatureDoesNotMatch":       {Credentials: wrong},
		"InvalidAccessKeyId.NotFound": {Credentials: Credentials{KeyID: "other", Secret: "x"}},
		"MissingAccessKeyId":          {},
	} {
		_, err := Run(t.Context(), plan, Options{Tables: DefaultTables(), Dir: filepath.Join(t.TempDir(), "run"), Endpoint: endpoint, Close: o})
		if !errors.Is(err, ErrDenied) || ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), wrong.Secret) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestClosesOfTwoFleetsDoNotQueueHere: calls of two faults that are open at
// once all have a connection to the endpoint: what they would wait for one here
// would read as the endpoint's answer time.
func TestClosesOfTwoFleetsDoNotQueueHere(t *testing.T) {
	const open = 2 * 50 // of 100 clients, all at once
	var mu sync.Mutex
	calls, all := 0, make(chan struct{})
	address, endpoint := signedTarget(t, func(_ int, passedOn bool) (int, string) {
		if passedOn {
			return 0, ""
		}
		mu.Lock()
		calls++
		if calls == open+2 { // the preflight's two
			close(all)
		}
		wait := calls > 2
		mu.Unlock()
		if wait {
			select {
			case <-all:
			case <-time.After(5 * time.Second):
				t.Error("not all calls arrived at once")
			}
		}
		return 0, ""
	})
	sc := scenario(t, `
name: two
summary: Two fleets, closed in the same instant.
clients: 100
fleets:
  - {name: left, share: 50%, client_id: "left-{run}-{index}", connect: {rate: 2000/s}, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}
  - {name: right, share: 50%, client_id: "right-{run}-{index}", connect: {rate: 2000/s}, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}
traffic:
  - {from: control, to: left, topic: "rb/{client}/cmd", qos: 1, each: 2/s}
  - {from: control, to: right, topic: "rb/{client}/cmd", qos: 1, each: 2/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - name: storm
    faults: [{close: {fleet: left}}, {close: {fleet: right}}]
    until: {back: 100%}
    timeout: 30s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: victims, equals: 100}
`)
	r, _ := play(t, sc, PlanOptions{Target: address, Endpoint: endpoint}, Options{Endpoint: endpoint, Close: CloseOptions{Credentials: testKey}})
	if got := r.Total.API; got == nil || *got != (reports.Calls{Calls: 100, Tries: 100}) {
		t.Errorf("%+v", got)
	}
}
