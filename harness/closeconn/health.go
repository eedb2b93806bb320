package closeconn

import (
	"io"
	"net/http"
	"sync/atomic"
)

// HealthPath answers GET and HEAD with 200 and "ok" while the server serves, and 503 once it
// closes. It tells nothing else, and so needs no signature.
const HealthPath = "/health"

// withHealth answers HealthPath before anything is checked.
func withHealth(closing *atomic.Bool, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != HealthPath || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if closing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = io.WriteString(w, "closing\n") // a caller that went away gets no answer
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
}
