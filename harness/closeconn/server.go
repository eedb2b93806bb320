package closeconn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Server is a listening endpoint.
type Server struct {
	url    string
	http   *http.Server
	served chan error // result of the serving goroutine

	serving  *serving
	close    sync.Once
	closeErr error
}

// limits bound what one connection may take of the server's time.
type limits struct {
	header time.Duration // from the connection, or the request before, to the end of the headers; TLS handshake too
	read   time.Duration // of a request with its body
	write  time.Duration // from the end of the headers to the end of the answer
	idle   time.Duration // between requests
}

var defaultLimits = limits{
	header: 10 * time.Second,
	read:   30 * time.Second,
	write:  60 * time.Second,
	idle:   5 * time.Minute, // longer than the Client's, so that the Client closes first
}

// Serve starts an endpoint on addr (HOST:PORT, port 0 = free). Without
// cfg.Keys that must be a loopback address, else the error is ErrNotLoopback.
// It also answers /health, to everybody. ctx bounds the start only; Close ends
// the server.
func Serve(ctx context.Context, addr string, cfg Config) (*Server, error) {
	return serve(ctx, addr, cfg, defaultLimits)
}

func serve(ctx context.Context, addr string, cfg Config, limit limits) (*Server, error) {
	if cfg.Keys == nil {
		if err := loopback(addr); err != nil {
			return nil, err
		}
	}
	if t := cfg.TLS; t != nil && len(t.Certificates) == 0 && t.GetCertificate == nil && t.GetConfigForClient == nil {
		return nil, errors.New("CloseConnection endpoint: TLS without a certificate")
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("CloseConnection endpoint: %s is in use: choose another port, or 0 for a free one: %w", addr, err)
	}
	if err != nil {
		return nil, fmt.Errorf("CloseConnection endpoint: %w", err)
	}
	s := &Server{
		url:     "http://" + listener.Addr().String(),
		serving: newServing(),
		served:  make(chan error, 1),
		http: &http.Server{
			Handler:           Handler(cfg),
			ReadHeaderTimeout: limit.header,
			ReadTimeout:       limit.read,
			WriteTimeout:      limit.write,
			IdleTimeout:       limit.idle,
			MaxHeaderBytes:    maxHeader,
			ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
		},
	}
	if cfg.Keys == nil { // a signature can not be had by a web page
		s.http.Handler = guard(s.http.Handler)
	}
	s.http.Handler = s.serving.handler(s.http.Handler)
	if cfg.Log != nil {
		s.http.ErrorLog = slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn)
	}
	run := s.http.Serve
	if cfg.TLS != nil {
		s.url = "https://" + listener.Addr().String()
		s.http.TLSConfig = cfg.TLS.Clone()
		run = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	go func() { s.served <- run(listener) }()
	return s, nil
}

// URL is the endpoint's address, http://127.0.0.1:PORT, or https.
func (s *Server) URL() string { return s.url }

const (
	// closeWait is how long running calls may take to end when the server closes.
	closeWait = 5 * time.Second
	// flushWait is what their answers have then to go out. Connections without a
	// call would be waited for as well: those that never said anything, and
	// those in the middle of a request that comes too late.
	flushWait = 250 * time.Millisecond
)

// Close lets running calls end for up to 5 s, refuses new ones with 503, stops
// listening and waits. It is an error if a call had to be cut off. It may be
// called twice.
func (s *Server) Close() error {
	s.close.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeWait)
		defer cancel()
		if err := s.end(ctx); err != nil {
			s.closeErr = fmt.Errorf("close the CloseConnection endpoint: %w", err)
		}
	})
	return s.closeErr
}

// end is Close; ctx bounds the wait for running calls.
func (s *Server) end(ctx context.Context) error {
	err := s.serving.end(ctx)
	flush, cancel := context.WithTimeout(context.Background(), flushWait)
	defer cancel()
	if s.http.Shutdown(flush) != nil {
		err = errors.Join(err, s.http.Close())
	}
	if serveErr := <-s.served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
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

// OnLoopback reports whether an endpoint's URL names this machine by loopback.
func OnLoopback(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && loopbackName(u.Host)
}

// guard keeps web pages out: a page in a browser on this machine can send
// requests to loopback, and unsigned ones would be believed. Of a request that
// a page sends, the browser names the page's origin, or at least that it is a
// page of another site (an image has no origin); and a name that was re-bound
// to 127.0.0.1 stands in Host.
func guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") != "" || elsewhere(r.Header.Get("Sec-Fetch-Site")) || !loopbackName(r.Host) {
			answer(w, http.StatusForbidden, failure{
				RequestID: newRequestID(), HostID: r.Host, Code: "Forbidden",
				Message: "Unsigned requests are taken from programs on this machine only, addressed to a loopback name.",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// elsewhere reports whether Sec-Fetch-Site, which all browsers send to loopback
// and no page can change, tells of a page that is not this endpoint's own.
func elsewhere(site string) bool { return site != "" && site != "none" && site != "same-origin" }

// loopbackName reports whether a Host header names this machine by loopback.
func loopbackName(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	ip := net.ParseIP(strings.Trim(name, "[]"))
	return name == "localhost" || ip != nil && ip.IsLoopback()
}
