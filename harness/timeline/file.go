package timeline

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxLine is the longest line of an events file, in bytes.
const MaxLine = 1 << 20

// ErrClosed is the answer to events that came after Close.
var ErrClosed = errors.New("timeline writer is closed")

// Writer writes events.jsonl.gz. Add only appends to a list in memory; the
// encoding (about 2 µs an event) is done by Flush, which the main path calls
// between waves and not in them. Each Flush appends one gzip member with a
// single Write, so that a run that is killed reads to its last flush. All
// methods are safe for concurrent use.
type Writer struct {
	mu      sync.Mutex // guards pending and added
	pending []Event
	added   int

	out    sync.Mutex // held for the whole of a flush; guards all below
	w      io.Writer
	member bytes.Buffer
	zip    *gzip.Writer
	err    error // first failed write: the file can not be appended to any more
	closed bool
}

// NewWriter writes to w. Closing w stays the caller's task.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w, zip: gzip.NewWriter(io.Discard)} }

// Add takes an event. What it points to must not change afterwards: for a
// connection that is still open, add a copy.
func (w *Writer) Add(e Event) {
	w.mu.Lock()
	w.pending = append(w.pending, e)
	w.added++
	w.mu.Unlock()
}

// Added is how many events were taken so far.
func (w *Writer) Added() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.added
}

// Flush encodes and writes what was added since the last one. After a failed
// write every further call returns that error: behind half a member nothing
// could be read.
func (w *Writer) Flush() error {
	w.out.Lock()
	defer w.out.Unlock()
	return w.flush()
}

// Close flushes a last time. It may be called twice.
func (w *Writer) Close() error {
	w.out.Lock()
	defer w.out.Unlock()
	err := w.flush()
	w.closed = true
	return err
}

func (w *Writer) flush() error {
	if w.err != nil {
		return w.err
	}
	w.mu.Lock()
	events := w.pending
	w.pending = nil
	w.mu.Unlock()
	if len(events) == 0 {
		return nil
	}
	if w.closed {
		return fmt.Errorf("%w: %d events came too late", ErrClosed, len(events))
	}

	w.member.Reset()
	w.zip.Reset(&w.member)
	enc := json.NewEncoder(w.zip)
	for i := range events {
		if err := enc.Encode(&events[i]); err != nil {
			return w.fail(err)
		}
	}
	if err := w.zip.Close(); err != nil {
		return w.fail(err)
	}
	if _, err := w.w.Write(w.member.Bytes()); err != nil {
		return w.fail(err)
	}
	if w.member.Cap() > 1<<20 {
		w.member = bytes.Buffer{} // a big wave's buffer is not kept for a soak's life
	}
	return nil
}

func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("write timeline: %w", err)
	return w.err
}

// Read reads the events of all whole members of an events file, in the order
// in which they were added. With ErrTruncated the file stops inside a member
// (the run was killed), with ErrCorrupt it holds something that no Writer
// writes; the events of the members before it are returned either way.
func Read(r io.Reader) ([]Event, error) {
	var whole []Event
	number := 0
	err := ReadMembers(r, func(member io.Reader) error {
		number++
		events := whole
		err := Lines(member, MaxLine, func(n int, text []byte) error {
			var e Event
			if err := json.Unmarshal(text, &e); err != nil {
				return fmt.Errorf("%w: member %d line %d: %w", ErrCorrupt, number, n, err)
			}
			if e.fields() != 1 {
				return fmt.Errorf("%w: member %d line %d: %d events in one line", ErrCorrupt, number, n, e.fields())
			}
			events = append(events, e)
			return nil
		})
		if err != nil {
			return err
		}
		whole = events
		return nil
	})
	return whole, err
}

// Latest drops each record that a later one replaces: of a connection (same
// fleet, client and number), of a lasting action on a client, of an extent. The
// later record takes the place of the first.
func Latest(events []Event) []Event {
	place := make(map[subject]int)
	latest := make([]Event, 0, len(events))
	for _, e := range events {
		if s := e.subject(); s != (subject{}) {
			if i, ok := place[s]; ok {
				latest[i] = e
				continue
			}
			place[s] = len(latest)
		}
		latest = append(latest, e)
	}
	return latest
}

// subject is what several records may be about; zero = there is only one.
type subject struct {
	what, fleet, phase string
	client, n, number  int
	intended           Instant
}

func (e *Event) subject() subject {
	switch {
	case e.Conn != nil:
		return subject{what: "conn", fleet: e.Conn.Fleet, client: e.Conn.Client, n: e.Conn.N}
	case e.Action != nil && e.Action.Lasting:
		a := e.Action
		return subject{what: a.Fault, fleet: a.Fleet, phase: a.Phase, client: a.Client, n: a.Wave, number: a.Number, intended: a.Intended}
	case e.Extent != nil:
		return subject{what: "extent", n: e.Extent.ID}
	}
	return subject{}
}

// fields counts what is set; an event has exactly one.
func (e *Event) fields() int {
	n := 0
	for _, set := range []bool{
		e.Mark != nil, e.Phase != nil, e.Wave != nil, e.Action != nil, e.Extent != nil, e.Conn != nil,
		e.Frame != nil, e.Will != nil, e.Snapshot != nil, e.Latency != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// isFlate reports whether err says that deflated bytes make no sense.
func isFlate(err error) bool {
	var corrupt flate.CorruptInputError
	return errors.As(err, &corrupt)
}
