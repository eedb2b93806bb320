package closeconn

import (
	"context"
	"io"
	"net/http"
	"sync"
)

// HealthPath answers GET and HEAD with 200 and "ok" while the server serves,
// and with 503 while it waits for the last calls before it closes. It tells
// nothing else, and so needs no signature.
const HealthPath = "/health"

// serving counts the calls that run, so that a server can end when they have.
// http.Server.Shutdown alone would drop what comes meanwhile without an answer.
type serving struct {
	mu      sync.Mutex
	calls   int
	closing bool
	idle    chan struct{} // closed when it is closing and no call runs
}

func newServing() *serving { return &serving{idle: make(chan struct{})} }

// handler answers HealthPath by itself, and counts and passes on all else until
// the server closes.
func (s *serving) handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.enter() {
			plain(w, http.StatusServiceUnavailable, "closing\n")
			return
		}
		defer s.leave()
		if r.URL.Path == HealthPath && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			plain(w, http.StatusOK, "ok\n")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *serving) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.calls++
	return true
}

func (s *serving) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	if s.closing && s.calls == 0 {
		close(s.idle)
	}
}

// end refuses further calls and waits for those that run, until ctx ends, whose
// error it gives then. It is called once.
func (s *serving) end(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	if s.calls == 0 {
		close(s.idle)
	}
	s.mu.Unlock()
	select {
	case <-s.idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a caller that went away gets no answer
}
