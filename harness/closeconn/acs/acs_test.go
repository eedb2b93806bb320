package acs

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const nasty = "GID_test@@@dev 1*~é"

var testKey = Credentials{KeyID: "testid", Secret: "testsecret"}

func vectorParams() url.Values {
	return url.Values{
		"Action": {"CloseConnection"}, "ClientId": {nasty}, "Format": {"JSON"}, "InstanceId": {"post-cn-test"}, "Version": {"2020-04-20"},
	}
}

var vectorTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const vectorNonce = "6f1c0000000000000000000000000001"

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "aZ09-_.~": "aZ09-_.~", " ": "%20", "*": "%2A", "+": "%2B", "/": "%2F", "é": "%C3%A9", "\x00\xff": "%00%FF", "@": "%40",
	} {
		if got := Escape(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// The vectors were computed by two implementations that are not this one.
func TestRPCVectors(t *testing.T) {
	const want = "GET&%2F&AccessKeyId%3Dtestid%26Action%3DCloseConnection%26ClientId%3DGID_test%2540%2540%2540dev%25201%252A~%25C3%25A9%26Format%3DJSON%26InstanceId%3Dpost-cn-test%26SignatureMethod%3DHMAC-SHA1%26SignatureNonce%3D6f1c0000000000000000000000000001%26SignatureVersion%3D1.0%26Timestamp%3D2026-01-02T03%253A04%253A05Z%26Version%3D2020-04-20"
	for method, signature := range map[string]string{"GET": "PEUPxHLDorpjwV7qLDnislaHAK8=", "POST": "ZcrV7KU5THX2SN6uIQ7UWfxxAT8="} {
		p := vectorParams()
		SignRPC(testKey, method, p, vectorNonce, vectorTime)
		if got := p.Get("Signature"); got != signature {
			t.Errorf("%s: signature %s, want %s", method, got, signature)
		}
		if got := RPCStringToSign(method, p); got != strings.Replace(want, "GET", method, 1) {
			t.Errorf("%s: string to sign\n%s\nwant\n%s", method, got, want)
		}
		again := vectorParams()
		again.Set("Signature", "stale")
		again.Set("SecurityToken", "stale")
		SignRPC(testKey, method, again, vectorNonce, vectorTime)
		if got := again.Get("Signature"); got != signature || again.Has("SecurityToken") {
			t.Errorf("%s: what was left of an earlier signing changes the signature: %s", method, got)
		}
	}
}

// Requests as clients sent them, from a capture.
func TestRPCCaptures(t *testing.T) {
	for name, c := range map[string]struct{ encoded, signature string }{
		"product client": {
			"AccessKeyId=testid&Action=CloseConnection&ClientId=GID_test%40%40%40dev+1%2A~%C3%A9&Format=json&InstanceId=post-cn-test&Signature=%2BDwsVPhPrGfmvNYUWZMB7pMlbNg%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=9f2e13c21ae80c970dcba822ca141c8e&SignatureVersion=1.0&Timestamp=2026-11-24T21%3A41%3A05Z&Version=2020-04-20",
			"+DwsVPhPrGfmvNYUWZMB7pMlbNg=",
		},
		"pop-core, body": {
			"AccessKeyId=testid&Action=CloseConnection&ClientId=GID_test%40%40%40dev%201%2A~%C3%A9&Format=JSON&InstanceId=post-cn-test&SignatureMethod=HMAC-SHA1&SignatureNonce=96b866c84785ce13ca0e85b45310cbf1&SignatureVersion=1.0&Timestamp=2026-11-24T21%3A41%3A11Z&Version=2020-04-20&Signature=FbMeHMS6O8e%2BYiTLAo9gBJQdIJs%3D",
			"FbMeHMS6O8e+YiTLAo9gBJQdIJs=",
		},
	} {
		params, err := url.ParseQuery(c.encoded)
		if err != nil {
			t.Fatal(err)
		}
		if got := RPCSignature("testsecret", RPCStringToSign("POST", params)); got != c.signature || params.Get("Signature") != c.signature {
			t.Errorf("%s: %s, want %s", name, got, c.signature)
		}
	}
}

func newACS3(t *testing.T, target string, header http.Header) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:18080"+target, nil)
	for name, values := range header {
		r.Header[http.CanonicalHeaderKey(name)] = values
	}
	return r
}

func TestACS3Vector(t *testing.T) {
	r := newACS3(t, "/?ClientId=GID_test%40%40%40dev+1*~%C3%A9&InstanceId=post-cn-test",
		http.Header{"x-acs-action": {"CloseConnection"}, "x-acs-version": {"2020-04-20"}})
	SignACS3(testKey, r, nil, vectorNonce, vectorTime)
	a, err := ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	const signed = "host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version"
	if got := strings.Join(a.SignedHeaders, ";"); got != signed {
		t.Errorf("signed headers %s", got)
	}
	if want := "4570f40c68be65208503c63ba388f197b9cf5b515606d2caae2f6529e6776f8e"; a.Signature != want || a.KeyID != "testid" {
		t.Errorf("signature %s, want %s", a.Signature, want)
	}
	c := Canonical{Method: "POST", Path: "/", Query: r.URL.Query(), Host: r.Host, Header: r.Header, Signed: a.SignedHeaders, Payload: Hash(nil)}
	if want := "ACS3-HMAC-SHA256\n153de136e8e7ccf1eb60665df8efd6f3d4408dab2b1c2acd776d3c5c354cfa96"; c.StringToSign() != want {
		t.Errorf("string to sign %s, want %s, of\n%s", c.StringToSign(), want, c.Request())
	}
	if want := "\nClientId=GID_test%40%40%40dev%201%2A~%C3%A9&InstanceId=post-cn-test\nhost:127.0.0.1:18080\n"; !strings.Contains(c.Request(), want) {
		t.Errorf("canonical request\n%s", c.Request())
	}
}

func TestACS3Capture(t *testing.T) {
	r := newACS3(t, "/?ClientId=GID_test%40%40%40dev+1%2A~%C3%A9&InstanceId=post-cn-test", http.Header{
		"User-Agent":            {"AlibabaCloud (linux; amd64) Golang/1.26.8 Core/0.01 TeaDSL/1"},
		"Authorization":         {"ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=ce794b9640a1e923676dd9a77e4791fd1349a99c4a5c38908dfa924bb7ad55e6"},
		"accept":                {"application/json"},
		"x-acs-action":          {"CloseConnection"},
		"x-acs-content-sha256":  {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		"x-acs-date":            {"2026-11-24T21:41:05Z"},
		"x-acs-signature-nonce": {"ca7ab026236e5038674cff9576f011ae"},
		"x-acs-version":         {"2020-04-20"},
	})
	a, err := ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	c := Canonical{Method: "POST", Path: "/", Query: r.URL.Query(), Host: r.Host, Header: r.Header, Signed: a.SignedHeaders, Payload: Hash(nil)}
	if got := ACS3Signature("testsecret", c.StringToSign()); got != a.Signature {
		t.Errorf("signature %s, captured %s, of\n%s", got, a.Signature, c.Request())
	}
	if want := r.Header.Get("x-acs-content-sha256"); Hash(nil) != want {
		t.Errorf("hash of nothing %s, want %s", Hash(nil), want)
	}
}

// Temporary credentials and a form body add signed headers.
func TestACS3SignsWhatItAdds(t *testing.T) {
	r := newACS3(t, "/", http.Header{"x-acs-action": {"CloseConnection"}, "Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"x"}})
	SignACS3(Credentials{KeyID: "sts", Secret: "s", SecurityToken: "token"}, r, []byte("a=b"), "n", vectorTime)
	a, err := ParseAuthorization(r.Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	const want = "content-type;host;x-acs-accesskey-id;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-security-token;x-acs-signature-nonce"
	if got := strings.Join(a.SignedHeaders, ";"); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if r.Header.Get(HeaderSecurityToken) != "token" || r.Header.Get(HeaderContentSHA256) != Hash([]byte("a=b")) {
		t.Errorf("headers %v", r.Header)
	}
}
