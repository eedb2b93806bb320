package harness

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// DefaultRuns is where runs go, under the working directory.
const DefaultRuns = "reports/runs"

// NewRunFolder names and makes a fresh folder for a run that was given no
// --out: DefaultRuns/<time>-<scenario>, with a .gitignore beside it and the
// link "latest" on it.
func NewRunFolder(scenario string, now time.Time) (string, error) {
	if err := os.MkdirAll(DefaultRuns, 0o755); err != nil {
		return "", fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	ignore := filepath.Join(DefaultRuns, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o644); err != nil {
			return "", fmt.Errorf("%w: %w", ErrEvidence, err)
		}
	}
	name := now.Format("20060102-150405") + "-" + scenario
	for n := 2; ; n++ { // two runs may start in one second
		dir := filepath.Join(DefaultRuns, name)
		switch err := os.Mkdir(dir, 0o755); {
		case err == nil:
			return dir, pointLatest(name)
		case !errors.Is(err, os.ErrExist):
			return "", fmt.Errorf("%w: %w", ErrEvidence, err)
		}
		name = fmt.Sprintf("%s-%s-%d", now.Format("20060102-150405"), scenario, n)
	}
}

// pointLatest moves the link in one step, so that it always points somewhere.
func pointLatest(name string) error {
	link := filepath.Join(DefaultRuns, "latest")
	tmp := link + "." + name
	if err := os.Symlink(name, tmp); err != nil {
		return nil // a file system without links: the folder is what counts
	}
	if err := os.Rename(tmp, link); err != nil {
		os.Remove(tmp) //nolint:errcheck // best effort
	}
	return nil
}

// newRunID draws the run's id: eight hex digits that are part of each client
// id, so that no session of an earlier run on the same broker reads as ours,
// and the same number for the payload headers.
func newRunID() (string, uint64) {
	var b [4]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: crypto/rand aborts the program instead
	return hex.EncodeToString(b[:]), uint64(binary.BigEndian.Uint32(b[:]))
}
