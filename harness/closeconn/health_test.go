package closeconn

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

func TestHealthWhileClosing(t *testing.T) {
	var closing atomic.Bool
	elsewhere := 0
	h := withHealth(&closing, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Host = "broker.example:8080" // the name of a container, say
		h.ServeHTTP(w, r)
		return w
	}
	if w := ask(HealthPath); w.Code != 200 || w.Body.String() != "ok\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	closing.Store(true)
	if w := ask(HealthPath); w.Code != 503 {
		t.Errorf("closing: %d %q", w.Code, w.Body)
	}
	if ask("/"); elsewhere != 1 {
		t.Errorf("%d requests went on, want 1", elsewhere)
	}
}
