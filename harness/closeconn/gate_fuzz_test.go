package closeconn

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn/acs"
)

// FuzzGate sends requests that are signed with no secret of ours, or not at
// all: whatever is in query, form and Authorization header, none gets in, and
// each is answered with a documented error.
func FuzzGate(f *testing.F) {
	stranger := acs.Credentials{KeyID: "testid", Secret: "of a stranger"}
	for _, style := range styles {
		var body string
		r := signed{style: style, key: stranger, spoil: func(_ *http.Request, b *string) { body = *b }}.request()
		f.Add(r.Method, r.URL.RawQuery, r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.Header.Get("x-acs-date"), r.Header.Get("x-acs-signature-nonce"), body)
	}
	f.Add("GET", "AccessKeyId=testid&Action=CloseConnection&Version=2020-04-20&Timestamp=2026-01-02T12:00:00Z&Signature=", "", "", "", "", "")
	f.Add("POST", "", "", "ACS3-HMAC-SHA256 Credential=testid,SignedHeaders=,Signature=", "2026-01-02T12:00:00Z", "n", "")
	sessions := newFake(nasty)
	h := handlerAt(noon, Config{Sessions: sessions, Keys: testKeys(f)})
	f.Fuzz(func(t *testing.T, method, query, contentType, auth, date, nonce, body string) {
		r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1/", strings.NewReader(body))
		r.Method, r.URL.RawQuery = method, query
		r.Header = http.Header{"X-Acs-Action": {"CloseConnection"}, "X-Acs-Version": {apiVersion}, "X-Acs-Content-Sha256": {acs.Hash([]byte(body))},
			"Content-Type": {contentType}, "Authorization": {auth}, "X-Acs-Date": {date}, "X-Acs-Signature-Nonce": {nonce}}
		if code, _ := ask(t, h, r); code == "" || len(sessions.asked) > 0 {
			t.Fatalf("%q was let in", r.Header)
		}
	})
}

// BenchmarkVerify is what a signed request costs beyond HTTP and its effect:
// reading its parameters and all checks of the gate. verify/s is per core.
func BenchmarkVerify(b *testing.B) {
	for _, style := range []string{"rpc-get", "rpc-form", "acs3-query", "acs3-form"} {
		b.Run(style, func(b *testing.B) {
			type sent struct {
				r    *http.Request
				body []byte
			}
			pool := make([]sent, 10_000)
			for i := range pool {
				s := signed{style: style, nonce: newRequestID(), spoil: func(_ *http.Request, body *string) { pool[i].body = []byte(*body) }}
				pool[i].r = s.request()
			}
			g := handlerAt(noon, Config{Keys: testKeys(b)}).gate
			b.ReportAllocs()
			next := 0
			for b.Loop() {
				if next == len(pool) {
					b.StopTimer()
					next, g.nonces["testid"] = 0, newNonceSet(maxNonces)
					b.StartTimer()
				}
				s := pool[next]
				next++
				req, fail := parseRequest(s.r.Method, s.r.URL.Path, s.r.URL.RawQuery, s.r.Header, s.body)
				if fail == nil {
					_, fail = g.admit(s.r, req, s.body)
				}
				if fail != nil {
					b.Fatal(fail)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "verify/s")
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a full set of nonces costs, in the worst case that is allowed.
func BenchmarkNonceSetFull(b *testing.B) {
	if testing.Short() {
		b.Skip("fills a set of 4 million nonces")
	}
	for b.Loop() {
		s := newNonceSet(maxNonces)
		before := heapInUse()
		var id [8]byte
		for i := range maxNonces {
			for j := range id {
				id[j] = byte(i >> (8 * j))
			}
			now := noon.Add(time.Duration(i) * window / maxNonces)
			if fail := s.use(string(id[:]), now, now); fail != nil {
				b.Fatal(fail)
			}
		}
		if fail := s.use("one more", noon, noon); fail == nil {
			b.Fatal("room for more than there may be")
		}
		b.ReportMetric(float64(heapInUse()-before)/maxNonces, "B/nonce")
		b.ReportMetric(float64(s.count), "nonces")
	}
}
