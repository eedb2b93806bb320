package reports

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Format is one way to write a report. Either Write or Files is set.
type Format struct {
	Name  string // as --format takes it
	File  string // file in the run folder; with Files the folder inside it
	Doc   string // one line
	Write func(w io.Writer, r *Report) error
	Files func(r *Report) ([]NamedFile, error)       // a format of several files
	Set   func(w io.Writer, reports []*Report) error // of the runs of a set together, into the set's folder; nil = it has none
}

// NamedFile is one file of a format that has several.
type NamedFile struct {
	Name  string // inside Format.File
	Write func(w io.Writer) error
}

// Formats is the table of formats, in the order in which WriteAll writes them:
// report.json first, for it is worth most on a disk that is nearly full.
func Formats() []Format {
	return []Format{
		{Name: "json", File: "report.json", Doc: "the whole report, versioned; what compare reads", Write: WriteJSON},
		{Name: "summary", File: "summary.md", Doc: "verdict, expectations, text histograms; for people and CI pages, at most 64 KiB", Write: WriteSummary, Set: writeSetSummary},
		{Name: "html", File: "report.html", Doc: "the whole report with its charts in one page: no network, no script needed", Write: WriteHTML},
		{Name: "junit", File: "junit.xml", Doc: "JUnit XML: a case for each expectation and check, unknown is skipped; for CI servers", Write: writeJUnit, Set: writeJUnitSet},
		{Name: "bench", File: "bench.txt", Doc: "Go benchmark format, for benchstat", Write: writeBench, Set: writeBenchSet},
		{Name: "prom", File: "metrics.prom", Doc: "Prometheus text format 0.0.4: what was run, times, counts, verdicts, distributions", Write: writeProm},
		{Name: "om", File: "metrics.om", Doc: "the same in OpenMetrics 1.0", Write: writeOpenMetrics},
		{Name: "reconnect-hlog", File: "reconnect.hlog", Doc: "HdrHistogram interval log V2 of times, tag fleet.phase.metric", Write: writeReconnectLog},
		{Name: "loss-hlog", File: "loss.hlog", Doc: "HdrHistogram interval log V2 of messages lost per outage (zeros included) and gap lengths", Write: writeLossLog},
		{Name: "hgrm", File: "hgrm", Doc: "percentile texts, a file a tag; ms for times", Files: percentileFiles},
		{Name: "losses", File: "losses.csv", Doc: "a row for each lost, duplicated, reordered or unexpected message, with evidence", Write: writeLosses},
		{Name: "recovery", File: "recovery.csv", Doc: "recovery curves: time, fraction back, at risk, censored, 95 % interval", Write: writeRecovery},
	}
}

// FormatsNamed gives the rows of the table with these names, in the order of the
// table; without names all of them. A name that there is not is ErrFormat.
func FormatsNamed(names ...string) ([]Format, error) {
	all := Formats()
	if len(names) == 0 {
		return all, nil
	}
	known := make([]string, len(all))
	for i, f := range all {
		known[i] = f.Name
	}
	for _, name := range names {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("%w %q: want some of %s", ErrFormat, name, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(f Format) bool { return !slices.Contains(names, f.Name) }), nil
}

// WithThose adds to some formats those that a folder has already, in the order
// of the table: a report that is written again must not stand beside files that
// say what the old one said.
func WithThose(dir string, formats []Format) []Format {
	return slices.DeleteFunc(Formats(), func(f Format) bool {
		_, err := os.Lstat(filepath.Join(dir, f.File))
		return err != nil && !slices.ContainsFunc(formats, func(g Format) bool { return g.Name == f.Name })
	})
}

// WriteAll writes every format into dir, as WriteFormats does.
func WriteAll(dir string, r *Report) error { return WriteFormats(dir, r, Formats()) }

// WriteFormats writes a report in these formats into dir, making it when it is
// not there. Each file appears whole or not at all. All formats are tried: the
// error joins those that failed, each with its file.
func WriteFormats(dir string, r *Report, formats []Format) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write reports: %w", err)
	}
	var failed []error
	for _, f := range formats {
		failed = append(failed, f.writeTo(dir, r)...)
	}
	return errors.Join(failed...)
}

// WriteSet writes what the runs of a set have in common into its folder, in
// those of the formats that know of sets.
func WriteSet(dir string, reports []*Report, formats []Format) error {
	var failed []error
	for _, f := range formats {
		if f.Set != nil {
			failed = append(failed, writeAtomic(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Set(w, reports) }))
		}
	}
	return errors.Join(failed...)
}

// writeTo writes the files of one format under dir.
func (f Format) writeTo(dir string, r *Report) []error {
	if f.Files == nil {
		if err := writeAtomic(filepath.Join(dir, f.File), func(w io.Writer) error { return f.Write(w, r) }); err != nil {
			return []error{err}
		}
		return nil
	}
	sub := filepath.Join(dir, f.File)
	files, err := f.Files(r)
	if err == nil {
		err = os.MkdirAll(sub, 0o755)
	}
	if err != nil {
		return []error{fmt.Errorf("write %s: %w", sub, err)}
	}
	var failed []error
	for _, file := range files {
		if err := writeAtomic(filepath.Join(sub, file.Name), file.Write); err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// writeAtomic writes a file beside its place and renames it there.
func writeAtomic(path string, write func(io.Writer) error) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, ignoreMissing(os.Remove(tmp.Name())))
		}
	}()
	buf := bufio.NewWriterSize(tmp, 64<<10)
	if err := errors.Join(write(buf), buf.Flush(), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
