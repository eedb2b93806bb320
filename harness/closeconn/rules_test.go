package closeconn

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

func TestLoadRules(t *testing.T) {
	path := filepath.Join(t.TempDir(), "rules.yaml")
	load := func(text string) ([]Rule, error) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return LoadRules(path)
	}
	got, err := load(`
rules:
  - operation: CloseConnection
    client_prefix: GID_a@@@
    skip: 2
    times: 3
    share: 0.5
    delay: 1500ms
    code: Throttling.User
    after_effect: true
  - {delay: 2s}
  - {code: InvalidParameter.ClientId}
  - {code: MissingInstanceId}
`)
	want := []Rule{
		{Operation: "CloseConnection", ClientPrefix: "GID_a@@@", Skip: 2, Times: 3, Share: 0.5, Delay: 1500 * time.Millisecond,
			Code: "Throttling.User", AfterEffect: true},
		{Delay: 2 * time.Second}, {Code: "InvalidParameter.ClientId"}, {Code: "MissingInstanceId"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	for text, says := range map[string]string{
		"":          "no rules",
		"rules: []": "no rules",
		" \n":       "no rules",
		"hello":     "into closeconn.rulesFile",
		"rules: [{delay: 1s}]\n---\nrules: [{delay: 2s}]": "document",
		"rules: [{}]":                                           "does nothing",
		"rules: [{delay: 1s}, {delay: -1s}]":                    "rule 2: delay -1s",
		"rules: [{delay: 51s}]":                                 "want 0 to 50s",
		"rules: [{delay: soon}]":                                "soon",
		"rules: [{code: Nonsense}]":                             "the codes are UnsupportedHTTPMethod",
		"rules: [{code: InvalidParameter.}]":                    "is unknown",
		"rules: [{code: ApiNotSupport, operation: Close}]":      "operations offered are CloseConnection, QuerySessionByClientId",
		"rules: [{code: ApiNotSupport, operation: ApplyToken}]": "is unknown",
		"rules: [{code: InternalError, skip: -1}]":              "skip -1",
		"rules: [{code: InternalError, times: -1}]":             "times -1",
		"rules: [{code: InternalError, share: 1.1}]":            "share 1.1",
		"rules: [{code: InternalError, share: .nan}]":           "share NaN",
		"rules: [{code: InternalError, chance: 1}]":             "chance",
		"rules: [{code: InternalError, code: InternalError}]":   "code",
		"rule: []":                              "rule",
		"#" + strings.Repeat("x", maxRulesFile): "the limit is",
	} {
		if _, err := load(text); !errors.Is(err, ErrRules) || !strings.Contains(err.Error(), says) {
			t.Errorf("%.60q: %v, want it to say %q", text, err, says)
		}
	}
	if _, err := LoadRules(path + ".not"); !errors.Is(err, ErrRules) || !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func callBy(action, clientID string) request {
	return request{action: action, params: url.Values{"ClientId": {clientID}}}
}

// hits runs calls against rules and writes a letter for each: that of the rule
// that hit it (a = the first), or a dot.
func hits(rules []Rule, seed uint64, calls ...string) string {
	in := newInjector(rules, seed)
	var out strings.Builder
	for _, c := range calls {
		action, id, _ := strings.Cut(c, " ")
		got, letter := in.hit(callBy(action, id)), byte('.')
		for i, rule := range in.rules {
			if got == &rule.Rule {
				letter = byte('a' + i)
			}
		}
		out.WriteByte(letter)
	}
	return out.String()
}

func repeat(call string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = call
	}
	return out
}

func TestRulesDecide(t *testing.T) {
	const code = "InternalError"
	for name, tc := range map[string]struct {
		rules []Rule
		calls []string
		want  string
	}{
		"any call":            {[]Rule{{Code: code}}, []string{"SendMessage ", "CloseConnection x"}, "aa"},
		"one operation":       {[]Rule{{Operation: "SendMessage", Code: code}}, []string{"SendMessage ", "CloseConnection x"}, "a."},
		"a prefix":            {[]Rule{{ClientPrefix: "x", Code: code}}, []string{"C x1", "C y", "C ", "C x"}, "a..a"},
		"skip":                {[]Rule{{Skip: 2, Code: code}}, repeat("C x", 4), "..aa"},
		"times":               {[]Rule{{Times: 2, Code: code}}, repeat("C x", 4), "aa.."},
		"skip, times":         {[]Rule{{Skip: 1, Times: 2, Code: code}}, repeat("C x", 5), ".aa.."},
		"used up":             {[]Rule{{Times: 1, Code: code}, {Code: code}}, repeat("C x", 3), "abb"},
		"the first decides":   {[]Rule{{Skip: 2, Code: code}, {Code: code}}, repeat("C x", 4), "..aa"},
		"others do not count": {[]Rule{{ClientPrefix: "x", Skip: 1, Code: code}}, []string{"C y", "C y", "C x", "C y", "C x"}, "....a"},
		"none":                {nil, repeat("C x", 2), ".."},
	} {
		if got := hits(tc.rules, 1, tc.calls...); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}

func TestShareIsSeeded(t *testing.T) {
	rules := []Rule{{Share: 0.3, Code: "InternalError"}}
	calls := repeat("C x", 2000)
	one, again, other := hits(rules, 1, calls...), hits(rules, 1, calls...), hits(rules, 2, calls...)
	if one != again || one == other {
		t.Error("the seed does not decide")
	}
	// 2000 tosses at 0.3: 600 ± 20 (one standard deviation).
	if n := strings.Count(one, "a"); n < 500 || n > 700 {
		t.Errorf("%d of 2000 calls were hit at a share of 0.3", n)
	}
}

func TestCountersUnderConcurrency(t *testing.T) {
	in := newInjector([]Rule{{Skip: 50, Times: 100, Code: "Throttling.User"}, {Times: 100, Share: 0.5, Code: "InternalError"}}, 1)
	var first, second atomic.Int64
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			for range 50 {
				switch rule := in.hit(callBy("CloseConnection", "x")); {
				case rule != nil && rule.Code == "Throttling.User":
					first.Add(1)
				case rule != nil:
					second.Add(1)
				}
			}
		})
	}
	callers.Wait()
	if n, m := first.Load(), second.Load(); n != 100 || m < 20 || m > 80 {
		t.Errorf("%d and %d calls were hit, want 100 and about 50", n, m)
	}
}

const closeDev = "/?Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=dev"

// Every documented code can be injected, with its status, before the operation.
func TestInjectedCodes(t *testing.T) {
	for _, code := range documentedCodes() {
		f := newFake("dev")
		w := call{target: closeDev}.do(Handler(Config{Sessions: f, Rules: []Rule{{Code: code}}}))
		want, _ := documented(code)
		var got failure
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != want.Status || got.Code != code || got.Message != want.Message {
			t.Errorf("%s: %d %s, %v", code, w.Code, w.Body, err)
		}
		if w.Header().Get(HeaderInjected) != code || w.Header().Get(HeaderClosed) != "" || len(f.asked) != 0 {
			t.Errorf("%s: headers %v, closed %q", code, w.Header(), f.asked)
		}
	}
	w := call{target: closeDev}.do(Handler(Config{Sessions: newFake("dev")}))
	if w.Header().Values(HeaderInjected) != nil {
		t.Error("nothing was injected")
	}
}

// A lost answer: the operation took effect, the answer says that it failed, and
// only the headers tell the truth.
func TestInjectedAfterEffect(t *testing.T) {
	f := newFake("dev")
	w := call{target: closeDev}.do(Handler(Config{Sessions: f, Rules: []Rule{{Code: "InternalError", AfterEffect: true}}}))
	if w.Code != 500 || len(f.online) != 0 || w.Header().Get(HeaderClosed) != "1" || w.Header().Get(HeaderInjected) != "InternalError" {
		t.Errorf("%d %v %s, online %v", w.Code, w.Header(), w.Body, f.online)
	}
}

func TestInjectedDelay(t *testing.T) {
	for name, rule := range map[string]Rule{
		"before": {Delay: 3 * time.Second}, "after": {Delay: 3 * time.Second, AfterEffect: true},
		"a code": {Delay: 3 * time.Second, Code: "InternalError"},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			var effect time.Duration
			out, fail := rule.inject(t.Context(), nil, func() (outcome, *APIError) {
				effect = time.Since(start)
				return outcome{body: done()}, nil
			})
			if took := time.Since(start); took != rule.Delay {
				t.Errorf("%s: it took %v", name, took)
			}
			switch {
			case name == "before" && effect != rule.Delay, name == "after" && effect != 0:
				t.Errorf("%s: the operation ran after %v", name, effect)
			case (fail != nil) != (rule.Code != ""), out.injected != rule.header():
				t.Errorf("%s: %+v, %v", name, out, fail)
			}
		})
	}
}

// An endpoint that is to end answers at once what a rule held back, as the rule
// says: its Close would else wait in vain.
func TestInjectedDelayEndsWithTheEndpoint(t *testing.T) {
	for code, want := range map[string]int{"": 200, "Throttling.User": 400} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake("dev")
			start, ending := time.Now(), make(chan struct{})
			time.AfterFunc(time.Second, func() { close(ending) })
			h := Handler(Config{Sessions: f, Rules: []Rule{{Delay: maxDelay, Code: code}}, Ending: ending})
			w := call{target: closeDev}.do(h)
			if took := time.Since(start); took != time.Second || w.Code != want {
				t.Errorf("%q: %d after %v, %s", code, w.Code, took, w.Body)
			}
			if closed := len(f.online) == 0; closed != (code == "") {
				t.Errorf("%q: the connection is closed: %v", code, closed)
			}
		})
	}
}

// A caller that goes away ends the delay, and nothing takes effect afterwards.
func TestInjectedDelayEndsWithTheCaller(t *testing.T) {
	f := newFake("dev")
	ctx, cancel := context.WithCancel(testContext(t))
	gone := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		time.AfterFunc(time.Millisecond, cancel)
		Handler(Config{Sessions: f, Rules: []Rule{{Delay: maxDelay}}}).ServeHTTP(w, r)
	}))
	defer s.Close()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+closeDev, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := s.Client().Do(r); !errors.Is(err, context.Canceled) {
		t.Fatal(resp, err)
	}
	select {
	case <-gone:
	case <-testContext(t).Done():
		t.Fatal("the delay goes on without its caller")
	}
	if len(f.asked) != 0 {
		t.Error("the operation took effect after its caller had gone")
	}
}

// Whoever may not call finds out nothing of the rules, and uses none up.
func TestAdmissionComesBeforeRules(t *testing.T) {
	keys, err := NewKeys(KeyPair{Credentials: acs.Credentials{KeyID: "id", Secret: "secret"}})
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(Config{Sessions: newFake("dev"), Keys: keys, Rules: []Rule{{Code: "InternalError", Times: 1}}}).(*handler)
	w := call{target: closeDev}.do(h)
	if w.Code != 400 || w.Header().Get(HeaderInjected) != "" || h.injector.rules[0].seen != 0 {
		t.Errorf("%d %s, the rule saw %d calls", w.Code, w.Body, h.injector.rules[0].seen)
	}
	// Nor do bad parameters.
	h = Handler(Config{Sessions: newFake("dev"), Rules: []Rule{{Code: "InternalError"}}}).(*handler)
	if w := (call{target: strings.TrimSuffix(closeDev, "dev")}).do(h); !strings.Contains(w.Body.String(), "MissingClientId") {
		t.Error(w.Body)
	}
}

func FuzzRules(f *testing.F) {
	f.Add([]byte("rules: [{operation: SendMessage, share: 0.5, delay: 1s, code: InternalError}]"))
	f.Add([]byte("rules: [{delay: 1s, times: 1e3}]"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		rules, err := parseRules(raw)
		if err != nil {
			return
		}
		in := newInjector(rules, 1)
		for range 3 {
			in.hit(callBy("CloseConnection", "x"))
		}
		for _, rule := range rules {
			if rule.check() != nil || rule.header() == "" {
				t.Fatalf("%+v", rule)
			}
		}
	})
}
