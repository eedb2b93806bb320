package closeconn

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestGuard: what a page in a browser can make the browser send is refused.
func TestGuard(t *testing.T) {
	reached := false
	h := guard(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	for _, c := range []struct {
		host, origin, site string
		ok                 bool
	}{
		{"127.0.0.1:8080", "", "", true},
		{"127.0.0.7:8080", "", "", true},
		{"localhost:8080", "", "", true},
		{"localhost", "", "", true},
		{"[::1]:8080", "", "", true},
		{"127.0.0.1:8080", "http://evil.example", "", false},
		{"127.0.0.1:8080", "null", "", false},
		{"evil.example:8080", "", "", false},
		{"10.0.0.1:8080", "", "", false},
		{"", "", "", false},
		// <img src=…> of a page, by GET: without an Origin.
		{"127.0.0.1:8080", "", "cross-site", false},
		{"127.0.0.1:8080", "", "same-site", false},
		{"127.0.0.1:8080", "", "same-origin", true},
		{"127.0.0.1:8080", "", "none", true}, // the user typed it
	} {
		reached = false
		r := httptest.NewRequest(http.MethodGet, "/?Action=CloseConnection", nil)
		r.Host = c.host
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		if c.site != "" {
			r.Header.Set("Sec-Fetch-Site", c.site)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if reached != c.ok || !c.ok && w.Code != http.StatusForbidden {
			t.Errorf("host %q, origin %q, site %q: reached %v, status %d", c.host, c.origin, c.site, reached, w.Code)
		}
	}
}
