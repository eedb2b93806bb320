package reports

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"testing"
)

// Reports that older versions wrote: testdata/older has whole ones as they were,
// the committed baselines and those beside the evidence of judge's fixtures are
// as old as they are.
func olderReports(t *testing.T) map[string]*Report {
	t.Helper()
	out := map[string]*Report{}
	for _, pattern := range []string{"testdata/older/*.json", "baselines/*/*.json", "../harness/judge/testdata/schema*/report-then.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no fixtures: %v", pattern, err)
		}
		for _, file := range files {
			r, err := ReadPath(file)
			if err != nil {
				t.Fatal(err)
			}
			out[file] = r
		}
	}
	return out
}

// They read, say what they said, and go out in every format that does not need
// the rows that report.json leaves out.
func TestOlderReports(t *testing.T) {
	s := compiled(t)
	for file, r := range olderReports(t) {
		if r.Verdict == "" || r.Run.Clients == 0 || len(r.Checks) == 0 || len(r.Expectations) == 0 || len(r.Histograms) == 0 || r.Connect.Connected != r.Run.Clients {
			t.Errorf("%s: read as %+v", file, r.Run)
		}
		for _, w := range r.Waves {
			if w.Victims == 0 || w.Victims != w.Back+w.Censored+w.Unaffected+w.Absent {
				t.Errorf("%s: wave %d does not add up", file, w.Wave)
			}
		}
		for _, f := range Formats() {
			if f.Files != nil {
				files, err := f.Files(r)
				if err != nil {
					t.Errorf("%s: %s: %v", file, f.Name, err)
				}
				for _, part := range files {
					if err := part.Write(io.Discard); err != nil {
						t.Errorf("%s: %s: %v", file, part.Name, err)
					}
				}
				continue
			}
			if err := f.Write(io.Discard, r); err != nil && !errors.Is(err, ErrNoRows) {
				t.Errorf("%s: %s: %v", file, f.Name, err)
			}
		}
		if doc := readJUnit(t, r); len(doc.Suites) != 3 {
			t.Errorf("%s: %d suites", file, len(doc.Suites))
		}
		// Written again it is a report of today.
		again := encode(t, r)
		if err := validate(t, s, again); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		back, err := Read(bytes.NewReader(again))
		if err != nil || back.Run != r.Run {
			t.Errorf("%s: written and read: %v", file, err)
		}
	}
}
