package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/rebound-mqtt/rebound/harness"
)

// plainEvery is how often progress prints a line where there is no terminal.
const plainEvery = 10 * time.Second

// progress is the live line on stderr: redrawn in place on a terminal, plain
// lines at phase borders and each ten seconds elsewhere, nothing with --quiet.
type progress struct {
	mu     sync.Mutex
	w      io.Writer
	quiet  bool
	live   bool
	phase  string
	last   time.Time
	drawn  bool
	header bool
}

func newProgress(w io.Writer, quiet bool) *progress {
	return &progress{w: w, quiet: quiet, live: isTerminal(w) && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb"}
}

func (p *progress) say(format string, args ...any) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// target says where the broker is and how to close a connection by hand.
func (p *progress) target(t harness.TargetInfo) {
	if len(t.Addresses) > 0 {
		p.say("broker     %s %s · %s", t.Broker, t.Version, strings.Join(t.Addresses, " "))
	}
	if t.Endpoint != "" {
		p.say("endpoint   %s\n           %s", t.Endpoint, harness.CurlLine(t.Endpoint))
	}
}

// status draws one status.
func (p *progress) status(s harness.Status) {
	if p.quiet {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	line := statusLine(s)
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
		p.drawn = true
		return
	}
	if s.Phase == p.phase && time.Since(p.last) < plainEvery {
		return
	}
	p.phase, p.last = s.Phase, time.Now()
	fmt.Fprintln(p.w, line)
}

func statusLine(s harness.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1fs %-8s connected %d/%d · away %d", s.Elapsed.Seconds(), s.Phase, s.Connected, s.Clients, s.Away)
	if s.Victims > 0 {
		fmt.Fprintf(&b, " · back %.1f %%", 100*float64(s.Back)/float64(s.Victims))
	}
	if s.KickRate > 0 {
		fmt.Fprintf(&b, " · %.0f kicks/s", s.KickRate)
	}
	fmt.Fprintf(&b, " · sent %d · acknowledged %d · delivered %d · lost QoS 0 %d QoS 1 %d",
		s.Attempted, s.Acked, s.Delivered, s.LostQoS0, s.LostQoS1)
	if s.Canary > 0 {
		fmt.Fprintf(&b, " · canary %s", s.Canary.Round(100*time.Microsecond))
	}
	return b.String()
}

// finish takes the live line away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colored follows no-color.org and the usual FORCE_COLOR.
func colored(w io.Writer) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	return os.Getenv("FORCE_COLOR") != "" || isTerminal(w)
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// withStop gives a context that ends when ctx ends or stop is closed.
func withStop(ctx context.Context, stop <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func usage(err error) error { return harness.Usage(err) }
