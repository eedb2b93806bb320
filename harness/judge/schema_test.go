package judge

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/reports"
)

// TestOlderFolders: a folder that an older version wrote still reads, and says
// what that version said of it. Each folder holds that version's own report.
func TestOlderFolders(t *testing.T) {
	dirs, err := filepath.Glob("testdata/schema*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			f, err := os.Open(filepath.Join(dir, "report-then.json"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close() //nolint:errcheck // read only
			then, err := reports.Read(f)
			if err != nil {
				t.Fatal(err)
			}
			now, err := Judge(os.DirFS(dir), Options{})
			if err != nil {
				t.Fatal(err)
			}
			if now.Verdict != then.Verdict || now.ExitCode != then.ExitCode || !now.Run.Complete {
				t.Errorf("%s, exit %d; then %s, exit %d", now.Verdict, now.ExitCode, then.Verdict, then.ExitCode)
			}
			for what, pair := range map[string][2]any{
				"run":          {then.Run, now.Run},
				"outage":       {then.Total.Outage, now.Total.Outage},
				"waterfall":    {then.Total.Waterfall, now.Total.Waterfall},
				"expectations": {then.Expectations, now.Expectations},
				"unscripted":   {then.Unscripted, now.Unscripted},
			} {
				if d := cmp.Diff(pair[0], pair[1]); d != "" {
					t.Errorf("%s (-then +now):\n%s", what, d)
				}
			}
			for _, m := range then.Messages {
				n := now.Messages[m.QoS]
				if m.Attempted != n.Attempted || m.Acknowledged != n.Acknowledged || m.Expected != n.Expected || m.Delivered != n.Delivered ||
					m.Lost != n.Lost || m.Duplicated != n.Duplicated || m.Balance != n.Balance {
					t.Errorf("messages of QoS %d: then %+v, now %+v", m.QoS, m, n)
				}
			}
			for _, c := range then.Checks {
				if got := checkNamed(now, c.Name); got.Verdict != c.Verdict {
					t.Errorf("check %s: then %s, now %s: %s", c.Name, c.Verdict, got.Verdict, got.Detail)
				}
			}
		})
	}
}

func checkNamed(r *reports.Report, name string) reports.Check {
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return reports.Check{}
}
