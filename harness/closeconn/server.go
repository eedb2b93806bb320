package closeconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Server is a listening endpoint.
type Server struct {
	url    string
	http   *http.Server
	served chan error // result of the serving goroutine

	closing  atomic.Bool // seen by HealthPath
	close    sync.Once
	closeErr error
}

// Serve starts an endpoint on addr (HOST:PORT, port 0 = free), which must be a
// loopback address. ctx bounds the start only; Close ends the server.
func Serve(ctx context.Context, addr string, cfg Config) (*Server, error) {
	if err := loopback(addr); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("CloseConnection endpoint: %s is in use: choose another port, or 0 for a free one: %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("CloseConnection endpoint: %w", err)
	}
	s := &Server{url: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	s.http = &http.Server{
		Handler:           withHealth(&s.closing, guard(Handler(cfg))),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       5 * time.Minute, // longer than the Client's, so that the Client closes first
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	if cfg.Log != nil {
		s.http.ErrorLog = slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)
	}
	go func() { s.served <- s.http.Serve(listener) }()
	return s, nil
}

// URL is the endpoint's address, http://127.0.0.1:PORT.
func (s *Server) URL() string { return s.url }

// Close stops listening, lets running calls end for up to 5 s and waits. It
// may be called twice.
func (s *Server) Close() error {
	s.closing.Store(true)
	s.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := s.http.Shutdown(ctx)
		if err != nil {
			err = errors.Join(err, s.http.Close())
		}
		if serveErr := <-s.served; !errors.Is(serveErr, http.ErrServerClosed) {
			err = errors.Join(err, serveErr)
		}
		if err != nil {
			s.closeErr = fmt.Errorf("close the CloseConnection endpoint: %w", err)
		}
	})
	return s.closeErr
}

// loopback refuses addresses that other hosts could reach.
func loopback(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("CloseConnection endpoint: %w", err)
	}
	if host == "localhost" {
		return nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%w: %s is no loopback address", ErrNotLoopback, addr)
	}
	return nil
}

// guard keeps web pages out: a page in a browser on this machine can send
// requests to loopback, and unsigned ones would be believed. A browser names
// the page's origin, and a name that was re-bound to 127.0.0.1 stands in Host.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || !loopbackName(r.Host) {
			answer(w, http.StatusForbidden, failure{
				RequestID: newRequestID(), HostID: r.Host, Code: "Forbidden",
				Message: "Unsigned requests are taken from programs on this machine only, addressed to a loopback name.",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopbackName reports whether a Host header names this machine by loopback.
func loopbackName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
