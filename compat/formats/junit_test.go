package formats

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/joshdk/go-junit"
)

// The published schema: junit.xml of runs that pass, fail and can not decide, and
// that of a set.
func TestJUnitIsValidByTheSchema(t *testing.T) {
	xmllint := program(t, "xmllint", "apt-get install libxml2-utils")
	valid := func(t *testing.T, file string) error {
		t.Helper()
		out, err := exec.Command(xmllint, "--noout", "--nonet", "--schema", "testdata/junit-schema/JUnit.xsd", file).CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err
	}
	each(t, func(t *testing.T, dir string, _ report) {
		file := filepath.Join(dir, "junit.xml")
		if err := valid(t, file); err != nil {
			t.Error(err)
		}
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		broken := filepath.Join(t.TempDir(), "junit.xml")
		if err := os.WriteFile(broken, []byte(strings.Replace(string(b), " hostname=", " host=", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if valid(t, broken) == nil {
			t.Error("a file that breaks the schema is valid: the test shows nothing")
		}
	})
	dir := filepath.Join(t.TempDir(), "set")
	if code := rebound(t, "run", "testdata/small.yaml", "--repeat", "2", "--quiet", "--out", dir); code != 0 && code != 3 {
		t.Errorf("exit code %d", code)
	}
	if err := valid(t, filepath.Join(dir, "junit.xml")); err != nil {
		t.Error(err)
	}
	if suites := ingest(t, filepath.Join(dir, "junit.xml")); len(suites) != 6 {
		t.Errorf("%d suites of two runs", len(suites))
	}
}

func ingest(t *testing.T, file string) []junit.Suite {
	t.Helper()
	suites, err := junit.IngestFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return suites
}

// A reader of JUnit sees each expectation and check with the status that
// report.json gives it.
func TestJUnitReadsAsTheReport(t *testing.T) {
	seen := map[junit.Status]int{}
	each(t, func(t *testing.T, dir string, r report) {
		want := map[string]junit.Status{"the run was done": junit.StatusPassed}
		for _, c := range r.Checks {
			if c.Verdict != "not-applicable" {
				want[c.Name] = status(c.Verdict, c.Known != "")
			}
		}
		for _, e := range r.Expectations {
			want[e.Text] = status(e.Verdict, e.Known != "" || e.OnFail == "warn")
		}
		for _, suite := range ingest(t, filepath.Join(dir, "junit.xml")) {
			for _, test := range suite.Tests {
				if want[test.Name] != test.Status {
					t.Errorf("%s: read as %q, want %q", test.Name, test.Status, want[test.Name])
				}
				if test.Status != junit.StatusPassed && test.Message == "" {
					t.Errorf("%s: %s without a word", test.Name, test.Status)
				}
				delete(want, test.Name)
				seen[test.Status]++
			}
		}
		for name := range want {
			t.Errorf("no case %s", name)
		}
	})
	if seen[junit.StatusPassed] == 0 || seen[junit.StatusFailed] == 0 || seen[junit.StatusSkipped] == 0 {
		t.Errorf("the fixtures do not show every status: %v", seen)
	}
}

func status(verdict string, excused bool) junit.Status {
	switch {
	case verdict == "valid", verdict == "invalid" && excused:
		return junit.StatusPassed
	case verdict == "invalid":
		return junit.StatusFailed
	}
	return junit.StatusSkipped
}
