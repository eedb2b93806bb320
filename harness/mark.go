package harness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// A mark is an outside event that someone tells a running run of: it becomes a
// fault of unknown extent in its evidence, and the ends after it that nothing
// else explains are charged to it.

const (
	markName = "mark"
	// markSocket is in the run's folder, or markPath says where it is instead.
	markSocket = "mark.sock"
	markPath   = "mark.sock.path"
	// maxSocketPath is what every system takes in an address (macOS: 103 bytes).
	maxSocketPath = 100
	// MaxMark is the longest text of a mark, in characters.
	MaxMark = 200
	// maxMarks bounds what a run takes in.
	maxMarks = 10_000
	// markWait bounds one exchange on the socket.
	markWait = 5 * time.Second
	maxLine  = 4 << 10
)

// The edges of a mark whose length is known.
const (
	MarkBegin = "begin"
	MarkEnd   = "end"
)

// The errors of marks.
var (
	// ErrNoRun says that no run is going on in a folder.
	ErrNoRun = errors.New("no run is going on")
	// ErrMark says that a run did not take a mark.
	ErrMark = errors.New("mark not taken")
)

// markOrder is the one line that a client sends, and markAnswer the one that it reads.
type markOrder struct {
	Text string `json:"text"`
	Edge string `json:"edge,omitempty"` // begin | end; "" = nobody says how long it lasts
}

type markAnswer struct {
	At    timeline.Instant `json:"at_ns,omitempty"` // since the start of the run
	Phase string           `json:"phase,omitempty"`
	Err   string           `json:"error,omitempty"`
}

// Marked says where a mark was entered.
type Marked struct {
	At    time.Duration // since the start of the run
	Phase string
}

// marks takes in the marks of one run.
type marks struct {
	run    *run
	l      net.Listener
	clean  []string // paths to take away
	quit   chan struct{}
	once   sync.Once
	served sync.WaitGroup

	mu   sync.Mutex
	conn net.Conn // that is being answered
	n    int
	open map[string]*timeline.Extent // begun and not ended, by text
}

// startMarks opens the socket. Where there can be none the run goes on without:
// nobody can mark it, and `rebound mark` says so.
func (r *run) startMarks() error {
	m := &marks{run: r, quit: make(chan struct{}), open: map[string]*timeline.Extent{}}
	if err := m.listen(r.opts.Dir); err != nil {
		return m.close()
	}
	m.served.Go(m.serve)
	r.stopMarks = m.close
	r.later(m.close)
	return nil
}

// listen puts the socket into the folder, or into a folder of its own where its
// path would be too long, or the file system has no sockets.
func (m *marks) listen(dir string) error {
	full, err := realPath(dir)
	if err != nil {
		return err
	}
	if path := filepath.Join(full, markSocket); len(path) <= maxSocketPath && m.bind(path) == nil {
		return nil
	}
	short, err := os.MkdirTemp("", "rebound-") // 0700
	if err != nil {
		return err
	}
	m.clean = append(m.clean, short)
	if err := m.bind(filepath.Join(short, markSocket)); err != nil {
		return err
	}
	named := filepath.Join(full, markPath)
	m.clean = append(m.clean, named)
	return os.WriteFile(named, []byte(filepath.Join(short, markSocket)+"\n"), 0o600)
}

// bind makes the socket in a folder that only we may enter, and moves it once
// only we may open it: a socket is born with the rights that the umask leaves.
func (m *marks) bind(path string) error {
	private, err := os.MkdirTemp(filepath.Dir(path), ".m-") // 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(private) //nolint:errcheck // empty by then
	hidden := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false) // by that time it has moved
	if err := errors.Join(os.Chmod(hidden, 0o600), os.Rename(hidden, path)); err != nil {
		return errors.Join(err, l.Close())
	}
	m.l, m.clean = l, append([]string{path}, m.clean...)
	return nil
}

func realPath(dir string) (string, error) {
	full, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(full)
}

// serve answers one client after the other, each within markWait.
func (m *marks) serve() {
	for {
		c, err := m.l.Accept()
		if err != nil {
			select {
			case <-m.quit:
				return
			case <-time.After(100 * time.Millisecond): // as out of files: it may pass
				continue
			}
		}
		m.serving(c)
		m.answer(c)
		m.serving(nil)
	}
}

// serving notes the client that is being answered, for close, and hangs up if
// that has begun.
func (m *marks) serving(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn = c
	select {
	case <-m.quit:
		m.hangUp()
	default:
	}
}

func (m *marks) hangUp() {
	if m.conn != nil {
		_ = m.conn.Close() // its client may be gone
	}
}

func (m *marks) answer(c net.Conn) {
	defer c.Close()                             //nolint:errcheck // it was answered, or is gone
	_ = c.SetDeadline(time.Now().Add(markWait)) // a socket takes one
	var order markOrder
	line, err := bufio.NewReader(io.LimitReader(c, maxLine)).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &order)
	}
	var a markAnswer
	if err != nil {
		a.Err = fmt.Sprintf("not understood: %v", err)
	} else {
		a = m.enter(order)
	}
	_ = json.NewEncoder(c).Encode(a) // who does not read it knows nothing of the mark
}

// enter makes a mark an extent of the run.
func (m *marks) enter(o markOrder) markAnswer {
	if err := CheckMark(o.Text); err != nil {
		return markAnswer{Err: err.Error()}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.run.clock.Now()
	e, open := m.open[o.Text]
	switch o.Edge {
	case MarkEnd:
		if !open {
			return markAnswer{Err: fmt.Sprintf("no mark %q was begun, or it was ended", o.Text)}
		}
		delete(m.open, o.Text)
		e.Healing, e.Healed = now, now
	case MarkBegin, "":
		if open {
			return markAnswer{Err: fmt.Sprintf("the mark %q was begun already", o.Text)}
		}
		if m.n++; m.n > maxMarks {
			return markAnswer{Err: fmt.Sprintf("the run has taken %d marks, which is all it takes", maxMarks)}
		}
		e = &timeline.Extent{
			Fault: markName, Phase: m.run.currentPhase(), Intended: now, Issued: now, Taken: now, OK: true, Detail: o.Text, Ends: true, Bars: true, Outside: true,
		}
		if o.Edge == MarkBegin {
			m.open[o.Text] = e
		}
	default:
		return markAnswer{Err: fmt.Sprintf("edge %q: want begin or end", o.Edge)}
	}
	m.run.wide.Store(true) // whom it ends, only the evidence tells
	m.run.extent(e)
	return markAnswer{At: now, Phase: m.run.currentPhase()}
}

// close ends the service and takes the socket away. It may be called twice.
func (m *marks) close() error {
	var err error
	m.once.Do(func() {
		close(m.quit)
		if m.l != nil {
			err = m.l.Close()
		}
		m.mu.Lock()
		m.hangUp()
		m.mu.Unlock()
		m.served.Wait()
		for _, path := range m.clean {
			if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
				err = errors.Join(err, rerr)
			}
		}
	})
	return err
}

// CheckMark says whether a text can be a mark: one line, not too long.
func CheckMark(text string) error {
	switch {
	case strings.TrimSpace(text) == "":
		return Usage(errors.New("the mark has no text"))
	case !utf8.ValidString(text) || strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		return Usage(errors.New("the mark is not one line of printable text"))
	case utf8.RuneCountInString(text) > MaxMark:
		return Usage(fmt.Errorf("the mark has %d characters: want at most %d", utf8.RuneCountInString(text), MaxMark))
	}
	return nil
}

// SendMark tells the run that is going on in a folder of an outside event; edge
// is MarkBegin, MarkEnd or "". ErrNoRun says that none is, ErrMark that it did
// not take it.
func SendMark(ctx context.Context, dir, text, edge string) (Marked, error) {
	if err := CheckMark(text); err != nil {
		return Marked{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*markWait)
	defer cancel()
	c, err := dialMarks(ctx, dir)
	if err != nil {
		return Marked{}, fmt.Errorf("%w in %s: %w", ErrNoRun, dir, err)
	}
	defer c.Close() //nolint:errcheck // it was answered
	if deadline, set := ctx.Deadline(); set {
		_ = c.SetDeadline(deadline) // a socket takes one
	}
	if err := json.NewEncoder(c).Encode(markOrder{text, edge}); err != nil {
		return Marked{}, fmt.Errorf("%w: %w", ErrMark, err)
	}
	var a markAnswer
	if err := json.NewDecoder(io.LimitReader(c, maxLine)).Decode(&a); err != nil {
		return Marked{}, fmt.Errorf("%w: the run did not answer: %w", ErrMark, err)
	}
	if a.Err != "" {
		return Marked{}, fmt.Errorf("%w: %s", ErrMark, a.Err)
	}
	return Marked{At: time.Duration(a.At), Phase: a.Phase}, nil
}

func dialMarks(ctx context.Context, dir string) (net.Conn, error) {
	full, err := realPath(dir)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(full, markSocket)
	if f, err := os.Open(filepath.Join(full, markPath)); err == nil {
		named, _ := io.ReadAll(io.LimitReader(f, maxLine)) // what can't be read leads nowhere
		_ = f.Close()                                      // read only
		path = strings.TrimSpace(string(named))
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}
