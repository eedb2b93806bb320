package closeconn

import (
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// nasty is a ClientId with everything that encodings get wrong.
const nasty = "GID_test@@@dev 1*~é"

const formType = "application/x-www-form-urlencoded"

var requestID = regexp.MustCompile(`"RequestId":"([0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12})"`)

// call is one request to a handler.
type call struct {
	method, target, body string
	header               map[string]string
}

func (c call) do(h http.Handler) *httptest.ResponseRecorder {
	method := c.method
	if method == "" {
		method = http.MethodGet
	}
	r := httptest.NewRequest(method, "http://127.0.0.1:18080/", strings.NewReader(c.body))
	if u, err := url.Parse(c.target); err == nil {
		r.URL.Path, r.URL.RawQuery = u.Path, u.RawQuery
	}
	for name, value := range c.header {
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// The styles of real clients, as captured from them; each names the same
// operation with the same parameters.
func TestStyles(t *testing.T) {
	const params = "ClientId=GID_test%40%40%40dev+1%2A~%C3%A9&InstanceId=post-cn-test"
	const rpc = "AccessKeyId=testid&Action=CloseConnection&" + params + "&Format=JSON&SignatureMethod=HMAC-SHA1&Version=2020-04-20&Signature=x%3D"
	acs := map[string]string{"x-acs-action": "CloseConnection", "x-acs-version": "2020-04-20"}
	with := func(more ...string) map[string]string {
		m := map[string]string{}
		for k, v := range acs {
			m[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	for name, c := range map[string]call{
		"rpc get":                   {target: "/?" + rpc},
		"rpc get, unsigned":         {target: "/?Action=CloseConnection&Version=2020-04-20&" + params},
		"rpc post, query":           {method: "POST", target: "/?" + rpc, header: acs},
		"rpc post, body":            {method: "POST", target: "/", body: strings.ReplaceAll(rpc, "+", "%20"), header: with("Content-Type", formType)},
		"rpc post, charset":         {method: "POST", target: "/", body: rpc, header: with("Content-Type", formType+"; charset=utf-8")},
		"header style, query":       {method: "POST", target: "/?" + params, header: with("Authorization", "ACS3-HMAC-SHA256 Credential=x")},
		"header style, get":         {target: "/?" + params, header: acs},
		"header style, body":        {method: "POST", target: "/", body: params, header: with("Content-Type", formType, "Authorization", "ACS3-HMAC-SHA256 x")},
		"header style, not decoyed": {target: "/?Action=SendMessage&Version=1&" + params, header: with("Authorization", "ACS3-HMAC-SHA256 x")},
		"rpc, not decoyed":          {target: "/?" + rpc, header: map[string]string{"x-acs-action": "SendMessage", "x-acs-version": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(nasty)
			w := c.do(Handler(Config{Sessions: f, Clock: f.clock}))
			if w.Code != 200 || !slices.Equal(f.asked, []string{nasty}) {
				t.Errorf("%d %s, closed %q", w.Code, w.Body, f.asked)
			}
		})
	}
}

// Bodies, statuses and headers, byte for byte but for the RequestId.
func TestGoldenAnswers(t *testing.T) {
	const ok = "Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId="
	broken := newFake()
	broken.err = errors.New("the broker is on fire")
	for _, tc := range []struct {
		name string
		cfg  Config
		call call
	}{
		{"success", Config{}, call{target: "/?" + ok + "dev"}},
		{"offline", Config{}, call{target: "/?" + ok + "away"}},
		{"offline-as-error", Config{OfflineError: true}, call{target: "/?" + ok + "away"}},
		{"host-id", Config{HostID: "onsmqtt.example", OfflineError: true}, call{target: "/?" + ok + "away"}},
		{"broker-fails", Config{Sessions: broken}, call{target: "/?" + ok + "dev"}},
		{"missing-client", Config{}, call{target: "/?" + ok}},
		{"missing-instance", Config{}, call{target: "/?Action=CloseConnection&Version=2020-04-20"}},
		{"missing-action", Config{}, call{target: "/?Version=2020-04-20"}},
		{"missing-version", Config{}, call{target: "/?Action=CloseConnection"}},
		{"wrong-version", Config{}, call{target: "/?Action=CloseConnection&Version=2019-01-01"}},
		{"version-before-action", Config{}, call{target: "/?Action=Nonsense&Version=2019-01-01"}},
		{"unknown-operation", Config{}, call{target: "/?Action=Nonsense&Version=2020-04-20"}},
		{"operation-not-offered", Config{}, call{target: "/?Action=SendMessage&Version=2020-04-20"}},
		{"other-path", Config{}, call{target: "/sub/?" + ok + "dev"}},
		{"other-method", Config{}, call{method: "DELETE", target: "/?" + ok + "dev"}},
		{"method-before-path", Config{}, call{method: "PUT", target: "/sub"}},
		{"bad-escape", Config{}, call{target: "/?" + ok + "%zz"}},
		{"bad-form", Config{}, call{method: "POST", target: "/?" + ok + "dev", body: "x=%zz", header: map[string]string{"Content-Type": formType}}},
		{"body-too-large", Config{}, call{method: "POST", target: "/?" + ok + "dev", body: strings.Repeat("x", maxBody+1)}},
		{"json-body", Config{}, call{method: "POST", target: "/?Action=CloseConnection&Version=2020-04-20", body: `{"ClientId":"dev"}`, header: map[string]string{"Content-Type": "application/json"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake("dev")
			if tc.cfg.Sessions == nil {
				tc.cfg.Sessions = f
			}
			w := tc.call.do(Handler(tc.cfg))
			id := requestID.FindStringSubmatch(w.Body.String())
			if id == nil || w.Header().Get("x-acs-request-id") != id[1] {
				t.Fatalf("no request id, or another one in the header %v: %s", w.Header(), w.Body)
			}
			got := strconv.Itoa(w.Code) + "\nContent-Type: " + w.Header().Get("Content-Type") +
				"\n" + HeaderClosed + ": " + w.Header().Get(HeaderClosed) +
				"\n" + strings.Replace(w.Body.String(), id[1], "REQUEST-ID", 1) + "\n"
			compareGolden(t, filepath.Join("testdata", "answers", tc.name+".txt"), got)
			if w.Code != 200 && len(f.online) == 0 {
				t.Error("an error, and the client is closed all the same")
			}
		})
	}
}

func compareGolden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCloseInstant(t *testing.T) {
	f := newFake("dev")
	c := call{target: "/?Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=dev"}
	// Another clock of this process, with a later base, reads the same instant.
	other := timeline.NewClock()
	before := other.Now()
	w := c.do(Handler(Config{Sessions: f, Clock: f.clock}))
	ns, err := strconv.ParseInt(w.Header().Get(HeaderClosedAt), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if at := timeline.Instant(ns - other.Monotonic()); timeline.Bracket(before, at, other.Now()) != nil {
		t.Errorf("closed at %d, outside [%d, %d]", at, before, other.Now())
	}
	if w := c.do(Handler(Config{Sessions: f, Clock: f.clock})); w.Header().Get(HeaderClosedAt) != "" {
		t.Error("an instant for a client that was offline")
	}
}

func TestOperationsTable(t *testing.T) {
	seen := map[string]bool{}
	offered := 0
	for _, op := range operations() {
		if op.name == "" || seen[op.name] {
			t.Errorf("row %q is empty or there twice", op.name)
		}
		seen[op.name] = true
		if op.parse != nil {
			offered++
		}
	}
	if len(seen) != 50 || offered != 8 {
		t.Errorf("%d operations, %d offered: update this test with the table", len(seen), offered)
	}
}

func FuzzParseRequest(f *testing.F) {
	f.Add("GET", "/", "Action=CloseConnection&ClientId=a+b%2A", "", "", "", "")
	f.Add("POST", "/", "", formType, "ACS3-HMAC-SHA256 x", "CloseConnection", "ClientId=x;y")
	f.Add("POST", "/", "ClientId=a", formType, "", "", "ClientId=b")
	f.Add("PUT", "/x", "%", "text/plain; =", "", "", "%")
	f.Fuzz(func(t *testing.T, method, path, query, contentType, auth, action, body string) {
		header := http.Header{"Content-Type": {contentType}, "Authorization": {auth}, "X-Acs-Action": {action}}
		r, fail := parseRequest(method, path, query, header, []byte(body))
		if fail == nil {
			if method != "GET" && method != "POST" || path != "/" || r.params == nil {
				t.Fatalf("accepted %q %q: %+v", method, path, r)
			}
			for name, values := range r.params {
				if len(values) != 1 {
					t.Fatalf("%q has the values %q", name, values)
				}
			}
			return
		}
		if fail.Status < 400 || fail.Status > 599 || fail.Code == "" || fail.Message == "" {
			t.Fatalf("%+v", fail)
		}
	})
}
