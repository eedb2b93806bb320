package reports

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A baseline holds all that compare reads: it compares as the run itself does.
func TestBaselineComparesAsTheRun(t *testing.T) {
	for name, r := range map[string]*Report{"pass": pass(t), "waves": waves(t), "fail": fail(t)} {
		r.Charts = &Charts{}
		var b bytes.Buffer
		if err := WriteBaseline(&b, r); err != nil {
			t.Fatal(err)
		}
		kept, err := Read(&b)
		if err != nil {
			t.Fatal(err)
		}
		if kept.Charts != nil || len(kept.LossExamples) > 0 {
			t.Errorf("%s: what only its own page draws is kept", name)
		}
		var want, got bytes.Buffer
		next := []*Report{pass(t)}
		if err := writeIndented(&want, Compare([]*Report{r}, next, CompareOptions{Allow: AllowNames()})); err != nil {
			t.Fatal(err)
		}
		if err := writeIndented(&got, Compare([]*Report{kept}, next, CompareOptions{Allow: AllowNames()})); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want.String(), got.String()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Each committed baseline reads, is of one kind and fit, and shows +50 %.
func TestCommittedBaselines(t *testing.T) {
	first, err := filepath.Glob("baselines/*/001.json")
	if err != nil || len(first) == 0 {
		t.Fatalf("no committed baseline: %v", err)
	}
	for _, file := range first {
		dir := filepath.Dir(file)
		read := func(factor float64) (runs []*Report) {
			files, err := filepath.Glob(filepath.Join(dir, "*.json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				f, err := os.Open(file)
				if err != nil {
					t.Fatal(err)
				}
				r, err := Read(f)
				if err != nil {
					t.Fatalf("%s: %v", file, err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				if factor != 1 {
					scaled(r, factor, 0)
				}
				runs = append(runs, r)
			}
			return runs
		}
		s := CheckSelf(read(1), CompareOptions{})
		if s.Verdict != Same && s.Verdict != Inconclusive || s.Runs.Runs < decidingRuns || len(s.Metrics) != len(gated) {
			t.Errorf("%s: %s of %d runs: %q", dir, s.Verdict, s.Runs.Runs, s.Why)
		}
		for _, m := range s.Metrics {
			if at := m.Smallest[0]; at == nil || *at > 0.5 {
				t.Errorf("%s: %d runs a side do not show +50 %% of %s", dir, s.Sizes[0], m.Name)
			}
		}
		if c := Compare(read(1), read(1), CompareOptions{}); c.Verdict == Worse || c.Verdict == Refused {
			t.Errorf("%s against itself: %s %q", dir, c.Verdict, c.Why)
		}
		if c := Compare(read(1), read(1.5), CompareOptions{}); c.Verdict != Worse {
			t.Errorf("%s against 1.5 times itself: %s %q", dir, c.Verdict, c.Why)
		}
	}
}
