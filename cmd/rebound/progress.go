package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/rebound-mqtt/rebound/harness"
)

// plainEvery is how often progress prints a line where there is no terminal.
const plainEvery = 10 * time.Second

// progress is the live line on stderr: redrawn in place on a terminal, plain
// lines at phase borders and each ten seconds elsewhere, nothing with --quiet.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	quiet bool
	live  bool       // a terminal: one line, redrawn
	width func() int // of the terminal, in columns
	phase string     // of the last plain line
	last  time.Time  // of the last plain line
	held  string     // how a phase with victims stands, until it ends or a line is due
	drawn bool       // the live line is on the screen

	signed bool // CloseConnection calls are
}

func newProgress(w io.Writer, quiet bool) *progress {
	return &progress{
		w: w, quiet: quiet,
		live:  isTerminal(w) && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb",
		width: func() int { return terminalWidth(w) },
	}
}

// say prints a line that stays.
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
func (p *progress) target(t harness.TargetInfo, client string) {
	if len(t.Addresses) > 0 {
		p.say("broker     %s · %s", strings.TrimSpace(t.Broker+" "+t.Version), strings.Join(t.Addresses, " "))
	}
	if harness.InNamespace() {
		p.say("network    a namespace of its own: nothing outside reaches these addresses")
	}
	switch {
	case t.Endpoint == "":
	case p.signed: // an unsigned line would be refused
		p.say("endpoint   %s · calls are signed", t.Endpoint)
	default:
		p.say("endpoint   %s\n           %s", t.Endpoint, harness.CurlLine(t.Endpoint, client))
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
		// One column stays free: a full line would wrap, and could not be redrawn.
		fmt.Fprintf(p.w, "\r\x1b[K%s", cut(line, p.width()-1))
		p.drawn = true
		return
	}
	if s.Phase == p.phase && time.Since(p.last) < plainEvery {
		if s.Victims > 0 {
			p.held = line + "\n"
		}
		return
	}
	if s.Phase != p.phase {
		line = p.held + line // how the phase before ended
	}
	p.phase, p.last, p.held = s.Phase, time.Now(), ""
	fmt.Fprintln(p.w, line)
}

// statusLine puts first what a narrow terminal must still show.
func statusLine(s harness.Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%6.1fs %-8s connected %d/%d · away %d", s.Elapsed.Seconds(), s.Phase, s.Connected, s.Clients, s.Away)
	if s.Victims > 0 {
		fmt.Fprintf(&b, " · back %.1f %%", 100*float64(s.Back)/float64(s.Victims))
	}
	if s.KickRate > 0 {
		fmt.Fprintf(&b, " · %.0f kicks/s", s.KickRate)
	}
	fmt.Fprintf(&b, " · lost %d QoS 0, %d QoS 1", s.LostQoS0, s.LostQoS1)
	fmt.Fprintf(&b, " · sent %d · acknowledged %d · delivered %d", s.Attempted, s.Acked, s.Delivered)
	if s.Canary > 0 {
		fmt.Fprintf(&b, " · canary %s", s.Canary.Round(100*time.Microsecond))
	}
	return b.String()
}

// cut shortens a line to a number of columns; every character of a status is
// one column wide.
func cut(line string, columns int) string {
	if columns < 1 || utf8.RuneCountInString(line) <= columns {
		return line
	}
	return string([]rune(line)[:columns-1]) + "…"
}

// finish takes the live line away.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.phase = "" // the next run of a set begins with a line
}

func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth is 80 where the terminal does not say.
func terminalWidth(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return columns
		}
	}
	return 80
}

// colored follows no-color.org and the usual FORCE_COLOR.
func colored(w io.Writer) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	return os.Getenv("FORCE_COLOR") != "" || isTerminal(w)
}
