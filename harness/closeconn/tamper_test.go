package closeconn

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// wire is a request as it goes over the wire, in the parts that a signature
// covers. A tampering changes one byte of one part.
type wire struct {
	parts  map[string]string // method, query, body, host, and the signed headers by name
	header http.Header       // the others
}

// Names of parts that are no header.
const (
	partMethod = "(method)"
	partQuery  = "(query)"
	partBody   = "(body)"
	partHost   = "(host)"
)

func wireOf(t interface{ Fatal(...any) }, s signed) wire {
	var body string
	keep := s.spoil
	s.spoil = func(r *http.Request, b *string) {
		if keep != nil {
			keep(r, b)
		}
		body = *b
	}
	r := s.request()
	w := wire{parts: map[string]string{partQuery: r.URL.RawQuery, partBody: body}, header: r.Header.Clone()}
	if a := r.Header.Get("Authorization"); a != "" {
		auth, err := acs.ParseAuthorization(a)
		if err != nil {
			t.Fatal(err)
		}
		w.parts["authorization"], w.parts[partHost] = a, r.Host
		w.header.Del("Authorization")
		for _, name := range auth.SignedHeaders {
			if name != "host" {
				w.parts[name] = r.Header.Get(name)
				w.header.Del(name)
			}
		}
	}
	w.parts[partMethod] = r.Method
	return w
}

func (w wire) request() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:18080/", strings.NewReader(w.parts[partBody]))
	r.Method, r.URL.RawQuery = w.parts[partMethod], w.parts[partQuery]
	if host, found := w.parts[partHost]; found {
		r.Host = host
	}
	r.Header = w.header.Clone()
	for name, value := range w.parts {
		if name[0] != '(' {
			r.Header.Set(name, value)
		}
	}
	return r
}

// means is what a request says, however it is written: the same parameters
// can be escaped in several ways, and a header may have spaces around it.
func (w wire) means() (string, bool) {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(w.parts)) {
		value := w.parts[name]
		switch {
		case name == partQuery, name == partBody && w.parts["authorization"] == "":
			params, err := url.ParseQuery(value)
			if err != nil {
				return "", false
			}
			value = params.Encode()
		case name == "authorization":
			a, err := acs.ParseAuthorization(value)
			if err != nil {
				return "", false
			}
			value = a.String()
		case name[0] != '(':
			value = strings.Trim(value, " \t") // all that HTTP takes off
		}
		b.WriteString(name + "\x00" + value + "\x00")
	}
	return b.String(), true
}

// refused checks that a tampered request does nothing. A replay would be found
// out only after its signature was good, so that is no proper refusal.
func refused(t interface{ Errorf(string, ...any) }, h *handler, original, tampered wire, what string) {
	was, _ := original.means()
	if is, ok := tampered.means(); ok && is == was {
		return // nothing was changed but the way to write it
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, tampered.request())
	if w.Code == http.StatusOK || bytes.Contains(w.Body.Bytes(), []byte("SignatureNonceUsed")) {
		t.Errorf("%s was accepted: %q: %s", what, tampered.parts, w.Body)
	}
}

// TestEveryTamperedByteIsRefused changes each bit of each signed part of one
// request in each style, and removes and doubles each byte.
func TestEveryTamperedByteIsRefused(t *testing.T) {
	for _, style := range styles {
		t.Run(style, func(t *testing.T) {
			original := wireOf(t, signed{style: style})
			f := newFake(nasty)
			h := handlerAt(noon, Config{Sessions: f, Keys: testKeys(t)})
			tried := 0
			for part, value := range original.parts {
				for i := range len(value) {
					changed := []string{value[i+1:], value[i:i+1] + value[i:]}
					for bit := range 8 {
						changed = append(changed, string([]byte{value[i] ^ 1<<bit})+value[i+1:])
					}
					for _, rest := range changed {
						tried++
						refused(t, h, original, original.with(part, value[:i]+rest), part)
					}
				}
			}
			if code, message := ask(t, h, original.request()); code != "" || len(f.asked) != 1 {
				t.Errorf("the request itself: %s %s, closed %q", code, message, f.asked)
			}
			t.Logf("%d changes of %d parts", tried, len(original.parts))
		})
	}
}

func (w wire) with(part, value string) wire {
	w.parts = maps.Clone(w.parts)
	w.parts[part] = value
	return w
}

// TestTampering replaces, inserts, removes and cuts off bytes in requests of all
// kinds of parameters.
func TestTampering(t *testing.T) {
	h := handlerAt(noon, Config{Sessions: newFake(), Keys: testKeys(t)})
	rapid.Check(t, func(t *rapid.T) {
		more := rapid.MapOfN(rapid.StringN(1, 8, 20), rapid.StringN(0, 12, 40), 0, 4).Draw(t, "more")
		s := signed{style: rapid.SampledFrom(styles).Draw(t, "style"), nonce: rapid.StringMatching("[ -~]{0,7}[!-~]").Draw(t, "nonce"), edit: func(p url.Values) {
			p.Set("ClientId", rapid.StringN(1, 30, 90).Draw(t, "client"))
			for name, value := range more {
				if !p.Has(name) {
					p.Set(name, value)
				}
			}
		}}
		original := wireOf(t, s)
		accepted := httptest.NewRecorder()
		h.gate.nonces["testid"] = newNonceSet(10)
		h.ServeHTTP(accepted, original.request())
		if accepted.Code != http.StatusOK {
			t.Fatalf("the request itself: %d %s: %q", accepted.Code, accepted.Body, original.parts)
		}
		part := rapid.SampledFrom(slices.DeleteFunc(slices.Sorted(maps.Keys(original.parts)), func(p string) bool { return original.parts[p] == "" })).Draw(t, "part")
		value := original.parts[part]
		c := string([]byte{rapid.Byte().Draw(t, "byte")})
		for i := range len(value) {
			for _, rest := range []string{c + value[i+1:], c + value[i:], value[i+1:], ""} {
				refused(t, h, original, original.with(part, value[:i]+rest), part)
			}
		}
		refused(t, h, original, original.with(part, value+c), part)
	})
}

// TestReplayInDisguise: white space of Unicode is a part of a header's value as
// HTTP has it. Left out of what is signed, it would give a request that was
// heard once as many new nonces as there are spaces. It goes over a real wire,
// for that is what decides which bytes a header may have.
func TestReplayInDisguise(t *testing.T) {
	f := newFake(nasty)
	s := startTest(t, Config{Sessions: f, Keys: testKeys(t)})
	at := time.Now()
	request := func(space string) *http.Request {
		return signed{style: "acs3-get", at: at, spoil: func(r *http.Request, _ *string) {
			r.Header.Set(acs.HeaderNonce, r.Header.Get(acs.HeaderNonce)+space)
		}}.request()
	}
	if status, body := send(t, nil, request(""), s.URL()); status != http.StatusOK {
		t.Fatalf("the request itself: %d %s", status, body)
	}
	if status, body := send(t, nil, request(" \t"), s.URL()); !strings.Contains(body, "SignatureNonceUsed") {
		t.Errorf("spaces that HTTP takes off: %d %s", status, body)
	}
	// HTTP/2 takes nothing off; here that is a request that came over no wire.
	w := httptest.NewRecorder()
	if s.http.Handler.ServeHTTP(w, request(" ")); !strings.Contains(w.Body.String(), "SignatureNonceUsed") {
		t.Errorf("a space by HTTP/2: %d %s", w.Code, w.Body)
	}
	for _, space := range []string{"\u0085", "\u00a0", "\u2003", "\u3000", "\u00a0\u00a0"} {
		if status, body := send(t, nil, request(space), s.URL()); !strings.Contains(body, "SignatureDoesNotMatch") {
			t.Errorf("%q: %d %s", space, status, body)
		}
	}
	if len(f.asked) != 1 {
		t.Errorf("%d closes of one signed call", len(f.asked))
	}
}
