package harness

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/reports"
)

// ErrNoEvidence says that a folder holds no run.
var ErrNoEvidence = judge.ErrNoEvidence

// Judge computes the report of a run's folder from its evidence alone.
func Judge(dir string, strict bool) (*reports.Report, error) {
	return judge.Judge(os.DirFS(dir), judge.Options{Strict: strict})
}

// Rejudge judges a folder again and writes its reports in these formats: over
// the old ones when this version wrote them, beside them when another one did.
// Formats that are there already are written again, too.
// It gives the folder that the reports are in.
func Rejudge(dir, version string, formats []reports.Format) (*reports.Report, string, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, "", Usage(fmt.Errorf("%s: no such folder", dir))
	case err != nil:
		return nil, "", err
	case !info.IsDir():
		return nil, "", Usage(fmt.Errorf("%s is a file, want the folder of a run", dir))
	}
	r, err := Judge(dir, false)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", dir, err)
	}
	out := dir
	if r.Rebound != version {
		// The report names the version that ran; this one judged it.
		out = filepath.Join(dir, "judged-by-"+version)
		if err := os.MkdirAll(out, 0o755); err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrEvidence, err)
		}
	}
	if err := reports.WriteFormats(out, r, reports.WithThose(out, formats)); err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrEvidence, err)
	}
	return r, out, nil
}
