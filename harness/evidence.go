package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The errors of a run's folder.
var (
	// ErrFolderNotEmpty says that --out names a folder that already holds
	// something: a usage error, nothing was written.
	ErrFolderNotEmpty = errors.New("folder is not empty")
	// ErrEvidence says that evidence could not be written (disk full, folder
	// gone): the run could not be done.
	ErrEvidence = errors.New("evidence could not be written")
)

// evidence is the run's folder while it is being written. Everything in it is
// append-only or atomic, so that a run that is killed reads to its last flush.
type evidence struct {
	dir    string
	events *timeline.Writer
	files  []*os.File

	mu  sync.Mutex
	err error // the first write error
}

// newFolder makes the folder of a run, with its parents.
func newFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrFolderNotEmpty)
	}
	return nil
}

// openEvidence starts the files of a folder that newFolder made.
func openEvidence(dir string) (*evidence, error) {
	e := newEvidence(dir, nil)
	f, err := e.create("events.jsonl.gz")
	if err != nil {
		return nil, err
	}
	e.events = timeline.NewWriter(f)
	return e, nil
}

func newEvidence(dir string, events io.Writer) *evidence {
	return &evidence{dir: dir, events: timeline.NewWriter(events)}
}

func (e *evidence) create(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(e.dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND|os.O_EXCL, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	e.files = append(e.files, f)
	return f, nil
}

// add keeps an event until the next flush.
func (e *evidence) add(ev timeline.Event) { e.events.Add(ev) }

// flush encodes and writes what was added. It is called between waves and not
// in them: encoding costs CPU that the clients need.
func (e *evidence) flush() error {
	if err := e.events.Flush(); err != nil {
		return e.fail(err)
	}
	return nil
}

// whole writes a file of the folder at once, atomically.
func (e *evidence) whole(name string, write func(io.Writer) error) error {
	final := filepath.Join(e.dir, name)
	f, err := os.CreateTemp(e.dir, "."+name+"-*")
	if err != nil {
		return e.fail(err)
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(f.Name(), 0o644)
	}
	if err == nil {
		err = os.Rename(f.Name(), final)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // the write error is the one to tell
		return e.fail(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// accounts writes accounts.jsonl.gz from the closed book.
func (e *evidence) accounts(book *ledger.Book) error {
	return e.whole("accounts.jsonl.gz", func(w io.Writer) error {
		return timeline.WriteMember(w, func(w io.Writer) error {
			return ledger.WriteAccounts(w, book.Accounts())
		})
	})
}

// append adds one gzip member to a file of the folder.
func (e *evidence) append(name string, write func(io.Writer) error) error {
	f, err := os.OpenFile(filepath.Join(e.dir, name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return e.fail(err)
	}
	err = timeline.WriteMember(f, write)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return e.fail(fmt.Errorf("%s: %w", name, err))
	}
	return nil
}

// discard takes away what there is of a run that never began; the last words of
// a broker that did not start are in the error.
func (e *evidence) discard() error {
	for _, name := range []string{"events.jsonl.gz", brokerLog} {
		if err := os.Remove(filepath.Join(e.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return e.fail(err)
		}
	}
	return nil
}

// close flushes and closes every file; it may be called twice.
func (e *evidence) close() error {
	err := e.flush()
	for _, f := range e.files {
		if cerr := f.Close(); cerr != nil && err == nil {
			err = e.fail(cerr)
		}
	}
	e.files = nil
	return err
}

func (e *evidence) fail(err error) error {
	if !errors.Is(err, ErrEvidence) {
		err = fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err == nil {
		e.err = err
	}
	return err
}
