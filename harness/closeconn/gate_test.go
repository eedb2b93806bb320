package closeconn

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// Requests as real clients sent them, and the vectors, byte for byte.
func TestCaptures(t *testing.T) {
	files, err := filepath.Glob("testdata/captures/*.http")
	if err != nil || len(files) != 6 {
		t.Fatalf("%d captures, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			read := func() *http.Request {
				r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			at := time.Date(2026, 11, 24, 21, 41, 5, 0, time.UTC)
			if strings.HasPrefix(filepath.Base(file), "vector") {
				at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			}
			f := newFake(nasty)
			h := handlerAt(at, Config{Sessions: f, Keys: testKeys(t)})
			if code, message := ask(t, h, read()); code != "" || !slices.Equal(f.asked, []string{nasty}) {
				t.Errorf("%s %s, closed %q", code, message, f.asked)
			}
			if code, _ := ask(t, h, read()); code != "SignatureNonceUsed" {
				t.Errorf("a replay: %q", code)
			}
			other := testKeys(t, KeyPair{Credentials: acs.Credentials{KeyID: "testid", Secret: "other"}})
			if code, _ := ask(t, handlerAt(at, Config{Sessions: f, Keys: other}), read()); code != "SignatureDoesNotMatch" {
				t.Errorf("another secret: %q", code)
			}
		})
	}
}

// Refusals in both schemes: what is wrong, and the code for it.
func TestRefusals(t *testing.T) {
	sts := acs.Credentials{KeyID: "sts", Secret: "s", SecurityToken: "token"}
	keys := testKeys(t, KeyPair{Credentials: testCredentials}, KeyPair{Credentials: sts},
		KeyPair{Credentials: acs.Credentials{KeyID: "off", Secret: "s"}, Disabled: true},
		KeyPair{Credentials: acs.Credentials{KeyID: "reader", Secret: "s"}, Actions: []string{"mq:SendMessage", "mq:ListInstances"}},
		KeyPair{Credentials: acs.Credentials{KeyID: "closer", Secret: "s"}, Actions: []string{"mq:CloseConnection"}, Instances: []string{"i", "j"}, ClientPrefixes: []string{"other", "GID_test@@@"}},
		KeyPair{Credentials: acs.Credentials{KeyID: "elsewhere", Secret: "s"}, Actions: []string{allActions}, Instances: []string{"j"}},
		KeyPair{Credentials: acs.Credentials{KeyID: "others", Secret: "s"}, ClientPrefixes: []string{"GID_test@@@devil"}})
	as := func(id string) acs.Credentials { return acs.Credentials{KeyID: id, Secret: "s"} }
	for name, c := range map[string]struct {
		signed signed
		want   string
	}{
		"good":                   {signed{}, ""},
		"wrong secret":           {signed{key: acs.Credentials{KeyID: "testid", Secret: "wrong"}}, "SignatureDoesNotMatch"},
		"unknown key":            {signed{key: as("nobody")}, "InvalidAccessKeyId.NotFound"},
		"disabled key":           {signed{key: as("off")}, "InvalidAccessKeyId.Inactive"},
		"no key":                 {signed{key: acs.Credentials{Secret: "s"}}, "MissingAccessKeyId"},
		"token":                  {signed{key: sts}, ""},
		"wrong token":            {signed{key: acs.Credentials{KeyID: "sts", Secret: "s", SecurityToken: "tokem"}}, "CheckAccountInfoFailed"},
		"no token":               {signed{key: as("sts")}, "CheckAccountInfoFailed"},
		"token that is not ours": {signed{key: acs.Credentials{KeyID: "testid", Secret: "testsecret", SecurityToken: "token"}}, "CheckAccountInfoFailed"},
		"late, on the edge":      {signed{at: noon.Add(-window)}, ""},
		"too late":               {signed{at: noon.Add(-window - time.Second)}, "InvalidTimeStamp.Expired"},
		"early, on the edge":     {signed{at: noon.Add(window)}, ""},
		"too early":              {signed{at: noon.Add(window + time.Second)}, "InvalidTimeStamp.Expired"},
		"action not allowed":     {signed{key: as("reader")}, "NoPermission"},
		"all allowed":            {signed{key: as("closer")}, ""},
		"instance not allowed":   {signed{key: as("elsewhere")}, "InstancePermissionCheckFailed"},
		"client not allowed":     {signed{key: as("others")}, "PermissionCheckFailed"},
	} {
		for _, style := range styles {
			t.Run(name+", "+style, func(t *testing.T) {
				f := newFake(nasty)
				s := c.signed
				s.style = style
				code, message := ask(t, handlerAt(noon, Config{Sessions: f, Keys: keys}), s.request())
				if code != c.want || (code == "") != (len(f.asked) == 1) {
					t.Errorf("got %s %s, want %s; closed %q", code, message, c.want, f.asked)
				}
			})
		}
	}
}

// Refusals that are a matter of one scheme.
func TestSchemeRefusals(t *testing.T) {
	unsignedHeader := func(name string) func(*http.Request, *string) {
		return func(r *http.Request, _ *string) {
			a, err := acs.ParseAuthorization(r.Header.Get("Authorization"))
			if err != nil {
				t.Fatal(err)
			}
			a.SignedHeaders = slices.DeleteFunc(a.SignedHeaders, func(s string) bool { return s == name })
			// What is left is signed well, so only the missing name can refuse it.
			c := acs.Canonical{Method: r.Method, Path: "/", Query: r.URL.Query(), Host: r.Host, Header: r.Header,
				Signed: a.SignedHeaders, Payload: r.Header.Get("x-acs-content-sha256")}
			a.Signature = acs.ACS3Signature("testsecret", c.StringToSign())
			r.Header.Set("Authorization", a.String())
		}
	}
	for name, c := range map[string]struct {
		signed signed
		want   string
	}{
		"fraction of a second":   {signed{edit: nil, spoil: resign("Timestamp", "2026-01-02T12:00:00.973Z")}, ""},
		"late by a millisecond":  {signed{spoil: resign("Timestamp", "2026-01-02T11:44:59.999Z")}, "InvalidTimeStamp.Expired"},
		"early by a millisecond": {signed{spoil: resign("Timestamp", "2026-01-02T12:15:00.001Z")}, "InvalidTimeStamp.Expired"},
		"time with an offset":    {signed{spoil: resign("Timestamp", "2026-01-02T12:00:00+00:00")}, "InvalidTimeStamp.Format"},
		"time in words":          {signed{spoil: resign("Timestamp", "noon")}, "InvalidTimeStamp.Format"},
		"no time":                {signed{spoil: query("Timestamp", "")}, "MissingTimestamp"},
		"no nonce":               {signed{spoil: query("SignatureNonce", "")}, "MissingSignatureNonce"},
		"no signature":           {signed{spoil: query("Signature", "")}, "MissingSignature"},
		"no method":              {signed{spoil: query("SignatureMethod", "")}, "MissingSignatureMethod"},
		"other method":           {signed{spoil: resign("SignatureMethod", "HMAC-SHA256")}, "InvalidSignatureMethod"},
		"no version":             {signed{spoil: query("SignatureVersion", "")}, "MissingSignatureVersion"},
		"other version":          {signed{spoil: resign("SignatureVersion", "2.0")}, "InvalidParameter.SignatureVersion"},
		"unsigned": {signed{spoil: func(r *http.Request, _ *string) {
			r.URL.RawQuery = "Action=CloseConnection&Version=2020-04-20&InstanceId=i&ClientId=a"
		}}, "MissingAccessKeyId"},
		"unsigned, header style":    {signed{style: "acs3-query", spoil: header("Authorization", "")}, "MissingAccessKeyId"},
		"named in unsigned headers": {signed{edit: func(p url.Values) { p.Del("Action") }, spoil: header("x-acs-action", "CloseConnection")}, "MissingAction"},
		"other authorization":       {signed{spoil: header("Authorization", "Basic dTpw")}, ""},
		"twice in query":            {signed{spoil: func(r *http.Request, _ *string) { r.URL.RawQuery += "&ClientId=b" }}, "ParameterCheckFailed"},
		"in query and form":         {signed{style: "rpc-form", spoil: func(r *http.Request, _ *string) { r.URL.RawQuery = "ClientId=b" }}, "ParameterCheckFailed"},
		"twice, header style":       {signed{style: "acs3-form", spoil: func(r *http.Request, b *string) { *b += "&ClientId=b" }}, "ParameterCheckFailed"},
		"header twice":              {signed{style: "acs3-query", spoil: func(r *http.Request, _ *string) { r.Header.Add("x-acs-action", "CloseConnection") }}, "ParameterCheckFailed"},
		"authorization twice":       {signed{style: "acs3-query", spoil: func(r *http.Request, _ *string) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }}, "ParameterCheckFailed"},
		"a parameter more":          {signed{spoil: query("More", "x")}, "SignatureDoesNotMatch"},
		"an empty one less":         {signed{spoil: query("Empty", "")}, "SignatureDoesNotMatch"},
		"post for get":              {signed{spoil: func(r *http.Request, _ *string) { r.Method = "POST" }}, "SignatureDoesNotMatch"},

		"acs3: other algorithm":       {signed{style: "acs3-query", spoil: reword("ACS3-HMAC-SHA256", "ACS3-HMAC-SM3")}, "InvalidSignatureMethod"},
		"acs3: rsa":                   {signed{style: "acs3-query", spoil: header("Authorization", "ACS3-RSA-SHA256 x")}, "InvalidSignatureMethod"},
		"acs3: malformed":             {signed{style: "acs3-query", spoil: header("Authorization", "ACS3-HMAC-SHA256 x")}, "IncompleteSignature"},
		"acs3: no signature":          {signed{style: "acs3-query", spoil: reword(",Signature=", ",Signatur=")}, "IncompleteSignature"},
		"acs3: host unsigned":         {signed{style: "acs3-query", spoil: unsignedHeader("host")}, "IncompleteSignature"},
		"acs3: action unsigned":       {signed{style: "acs3-query", spoil: unsignedHeader("x-acs-action")}, "IncompleteSignature"},
		"acs3: hash unsigned":         {signed{style: "acs3-query", spoil: unsignedHeader("x-acs-content-sha256")}, "IncompleteSignature"},
		"acs3: provider unsigned":     {signed{style: "acs3-query", spoil: unsignedHeader("x-acs-credentials-provider")}, "IncompleteSignature"},
		"acs3: content type unsigned": {signed{style: "acs3-form", spoil: unsignedHeader("content-type")}, "IncompleteSignature"},
		"acs3: a header more":         {signed{style: "acs3-query", spoil: header("x-acs-more", "x")}, "IncompleteSignature"},
		"acs3: a header less":         {signed{style: "acs3-query", spoil: header("x-acs-credentials-provider", "")}, "SignatureDoesNotMatch"},
		"acs3: other header more":     {signed{style: "acs3-query", spoil: header("Accept", "x")}, ""},
		"acs3: no date":               {signed{style: "acs3-query", spoil: header("x-acs-date", "")}, "MissingTimestamp"},
		"acs3: no nonce":              {signed{style: "acs3-query", spoil: header("x-acs-signature-nonce", "")}, "MissingSignatureNonce"},
		"acs3: no hash":               {signed{style: "acs3-query", spoil: header("x-acs-content-sha256", "")}, "SignatureDoesNotMatch"},
		"acs3: body changed":          {signed{style: "acs3-form", spoil: func(_ *http.Request, b *string) { *b = strings.Replace(*b, "GID", "DIG", 1) }}, "SignatureDoesNotMatch"},
		"acs3: body added":            {signed{style: "acs3-query", spoil: func(_ *http.Request, b *string) { *b = "{}" }}, "SignatureDoesNotMatch"},
		"acs3: body and hash changed": {signed{style: "acs3-query", spoil: func(r *http.Request, b *string) {
			*b = "{}"
			r.Header.Set("x-acs-content-sha256", acs.Hash([]byte(*b)))
		}}, "SignatureDoesNotMatch"},
		"acs3: wrong hash, signed well": {signed{style: "acs3-query", spoil: header("x-acs-content-sha256", acs.Hash([]byte("x")))}, "SignatureDoesNotMatch"},
		"acs3: other host":              {signed{style: "acs3-query", spoil: func(r *http.Request, _ *string) { r.Host = "127.0.0.1:18081" }}, "SignatureDoesNotMatch"},
		"acs3: rpc parameters besides":  {signed{style: "acs3-query", edit: func(p url.Values) { p.Set("AccessKeyId", "nobody"); p.Set("Signature", "x") }}, ""},
		"rpc, acs headers besides":      {signed{spoil: header("x-acs-action", "SendMessage")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(nasty)
			code, message := ask(t, handlerAt(noon, Config{Sessions: f, Keys: testKeys(t)}), c.signed.request())
			if code != c.want || (code == "") != (len(f.asked) == 1) {
				t.Errorf("got %s %s, want %s; closed %q", code, message, c.want, f.asked)
			}
		})
	}
}

// The vendor's clients compare the echoed string with their own.
func TestStringToSignIsEchoed(t *testing.T) {
	wrong := acs.Credentials{KeyID: "testid", Secret: "wrong"}
	h := handlerAt(noon, Config{Sessions: newFake(), Keys: testKeys(t)})
	r := signed{key: wrong}.request()
	want := "Specified signature is not matched with our calculation. server string to sign is:" + acs.RPCStringToSign("GET", r.URL.Query())
	if _, got := ask(t, h, r); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r = signed{key: wrong, style: "acs3-query"}.request()
	a, err := acs.ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	canonical := acs.Canonical{Method: "POST", Query: r.URL.Query(), Host: r.Host, Header: r.Header, Signed: a.SignedHeaders, Payload: acs.Hash(nil)}
	want = "Specified signature does not match our calculation. server StringToSign is [" + canonical.StringToSign() + "]"
	if _, got := ask(t, h, r); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	// With another body the string is another, or the client would be told that
	// its secret is wrong.
	r = signed{style: "acs3-query", spoil: func(_ *http.Request, b *string) { *b = "x" }}.request()
	if _, got := ask(t, h, r); got == want || !strings.Contains(got, "server StringToSign is [ACS3-HMAC-SHA256\n") {
		t.Errorf("got %s", got)
	}
	r = signed{style: "acs3-query", spoil: header("x-acs-more", "x")}.request()
	if _, got := ask(t, h, r); !strings.HasPrefix(got, textIncomplete+"ACS3-HMAC-SHA256\n") {
		t.Errorf("got %s", got)
	}
}

// TestOrderOfChecks asks with everything wrong, then mends one thing after the
// other: each time the next check in the documented order speaks.
func TestOrderOfChecks(t *testing.T) {
	keys := testKeys(t, KeyPair{Credentials: acs.Credentials{KeyID: "off", Secret: "s"}, Disabled: true},
		KeyPair{Credentials: acs.Credentials{KeyID: "no", Secret: "s", SecurityToken: "t"}, Actions: []string{"mq:SendMessage"}},
		KeyPair{Credentials: acs.Credentials{KeyID: "yes", Secret: "s", SecurityToken: "t"}, Instances: []string{"mine", "gone"}, ClientPrefixes: []string{"a"}})
	f := newFake("a1")
	h := handlerAt(noon, Config{Sessions: f, Keys: keys, Throttle: 1, InstanceIDs: []string{"mine", "yours"}})
	at := noon
	h.gate.now = func() time.Time { return at }
	p := url.Values{"Action": {"Nonsense"}, "Version": {"1"}, "InstanceId": {""}, "ClientId": {"b"}}
	method, secret, nonce, busy := "PUT", "wrong", "used", true
	steps := []struct {
		want string
		mend func()
	}{
		{"UnsupportedHTTPMethod", func() { method = "GET" }},
		{"Throttling.User", func() { busy = false }},
		{"InvalidVersion", set(p, "Version", apiVersion)},
		{"InvalidAction.NotFound", set(p, "Action", "CloseConnection")},
		{"MissingAccessKeyId", set(p, "AccessKeyId", "nobody")},
		{"InvalidAccessKeyId.NotFound", set(p, "AccessKeyId", "off")},
		{"InvalidAccessKeyId.Inactive", set(p, "AccessKeyId", "no")},
		{"CheckAccountInfoFailed", set(p, "SecurityToken", "t")},
		{"MissingTimestamp", set(p, "Timestamp", "yesterday")},
		{"InvalidTimeStamp.Format", set(p, "Timestamp", "2026-01-01T12:00:00Z")},
		{"InvalidTimeStamp.Expired", set(p, "Timestamp", "2026-01-02T12:00:00Z")},
		{"MissingSignatureMethod", func() { p.Set("SignatureMethod", "HMAC-SHA1"); p.Set("SignatureVersion", "1.0") }},
		{"MissingSignatureNonce", func() { p.Set("SignatureNonce", nonce) }},
		{"SignatureDoesNotMatch", func() { secret = "s" }},
		{"SignatureNonceUsed", func() { nonce = "" }},
		{"NoPermission", set(p, "AccessKeyId", "yes")},
		{"MissingInstanceId", set(p, "InstanceId", "gone")},
		{"InstancePermissionCheckFailed", set(p, "InstanceId", "yours")},
		{"InstancePermissionCheckFailed", set(p, "InstanceId", "mine")},
		{"PermissionCheckFailed", set(p, "ClientId", "a1")},
		{"", func() {}},
	}
	for i, step := range steps {
		if nonce == "" {
			p.Set("SignatureNonce", "new"+string(rune('a'+i)))
		} else if step.want == "SignatureNonceUsed" {
			h.gate.nonces["no"].use("used", noon, noon)
		}
		p.Set("Signature", acs.RPCSignature(secret, acs.RPCStringToSign(method, p)))
		r := httptest.NewRequest(method, "http://127.0.0.1/?"+p.Encode(), nil)
		at = at.Add(time.Second) // the bucket of one call is full again
		if busy && step.want == "Throttling.User" {
			h.gate.throttle.allow(r.RemoteAddr, at)
		}
		if code, message := ask(t, h, r); code != step.want {
			t.Fatalf("step %d: got %s %s, want %s", i, code, message, step.want)
		}
		if step.want != "" && len(f.asked) > 0 {
			t.Fatalf("step %d: a refused call closed %q", i, f.asked)
		}
		step.mend()
	}
	if !slices.Equal(f.asked, []string{"a1"}) {
		t.Errorf("closed %q", f.asked)
	}
}

func set(p url.Values, name, value string) func() { return func() { p.Set(name, value) } }

// A refused signature uses up no nonce: else anybody could spoil the calls of
// others by guessing theirs.
func TestOnlyGoodSignaturesUseNonces(t *testing.T) {
	h := handlerAt(noon, Config{Sessions: newFake(), Keys: testKeys(t)})
	if code, _ := ask(t, h, signed{key: acs.Credentials{KeyID: "testid", Secret: "wrong"}}.request()); code != "SignatureDoesNotMatch" {
		t.Fatal(code)
	}
	if code, message := ask(t, h, signed{}.request()); code != "" {
		t.Errorf("%s %s", code, message)
	}
	// The same nonce of another scheme is the same nonce; of another key, another.
	if code, _ := ask(t, h, signed{style: "acs3-query"}.request()); code != "SignatureNonceUsed" {
		t.Errorf("the nonce in the other scheme: %q", code)
	}
}

// A batch names its clients one by one; each has to be allowed.
func TestPermitLooksAtEveryClient(t *testing.T) {
	g := newGate(Config{})
	key := &KeyPair{ClientPrefixes: []string{"a", "b"}}
	for want, params := range map[string]url.Values{
		"":                      {"ClientIdList.1": {"a1"}, "ClientIdList.2": {"b1"}, "MqttTopic": {"c"}},
		"PermissionCheckFailed": {"ClientIdList.1": {"a1"}, "ClientIdList.2": {"c1"}},
	} {
		fail := g.permit(request{params: params, key: key})
		if (fail == nil) != (want == "") || fail != nil && fail.Code != want {
			t.Errorf("%v: %v", slices.Sorted(maps.Keys(params)), fail)
		}
	}
}

// A key of some clients is not told of the others, also where it names none,
// which some clients do by an empty ClientId.
func TestListsShowOwnClientsOnly(t *testing.T) {
	keys := testKeys(t, KeyPair{Credentials: testCredentials, ClientPrefixes: []string{"a", "c"}})
	for name, none := range map[string]func(url.Values){
		"no ClientId":    func(p url.Values) { p.Del("ClientId") },
		"empty ClientId": func(p url.Values) { p.Set("ClientId", "") },
	} {
		r := signed{edit: func(p url.Values) {
			p.Set("Action", "QueryCustomAuthConnectBlack")
			p.Set("Size", "10")
			none(p)
		}}.request()
		w := httptest.NewRecorder()
		handlerAt(noon, Config{Sessions: newFakeBroker(), Keys: keys}).ServeHTTP(w, r)
		var page blackList
		if err := json.Unmarshal(w.Body.Bytes(), &page); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range page.Data.Results {
			got = append(got, entry.ClientID)
		}
		if !slices.Equal(got, []string{"a", "c"}) {
			t.Errorf("%s: listed %q of a, b and c: %s", name, got, w.Body)
		}
	}
}

// Without keys nothing is verified, and a wrong signature is no matter.
func TestUnsignedMode(t *testing.T) {
	for _, style := range styles {
		f := newFake(nasty)
		h := handlerAt(noon, Config{Sessions: f, InstanceIDs: []string{"i"}})
		for range 2 {
			if code, message := ask(t, h, signed{style: style, key: acs.Credentials{KeyID: "x", Secret: "y"}, at: noon.Add(-time.Hour)}.request()); code != "" {
				t.Errorf("%s: %s %s", style, code, message)
			}
		}
	}
	h := handlerAt(noon, Config{Sessions: newFake(), InstanceIDs: []string{"j"}})
	if code, _ := ask(t, h, signed{}.request()); code != "InstancePermissionCheckFailed" {
		t.Errorf("an instance that is not there: %q", code)
	}
}
