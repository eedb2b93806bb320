package reports

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var benchRE = regexp.MustCompile(`^Benchmark[^ ]+-\d+ 1( [-+0-9.eE]+ [^ ]+)+$`)
var unitRE = regexp.MustCompile(`^Unit [a-z0-9-]+( better=(lower|higher))?( assume=exact)?$`)

func TestBenchLinesParse(t *testing.T) {
	units := map[string]bool{}
	for _, u := range benchUnits {
		units[u.name] = true
	}
	for name, r := range fixtures(t) {
		names := map[string]bool{}
		for _, line := range strings.Split(BenchLines([]*Report{r}), "\n") {
			switch {
			case strings.HasPrefix(line, "Unit "):
				if !unitRE.MatchString(line) {
					t.Errorf("%s: %q", name, line)
				}
			case strings.HasPrefix(line, "Benchmark"):
				if !benchRE.MatchString(line) {
					t.Errorf("%s: %q", name, line)
				}
				fields := strings.Fields(line)
				if names[fields[0]] {
					t.Errorf("%s: %s stands twice: its waves would pass for samples", name, fields[0])
				}
				names[fields[0]] = true
				for i := 3; i < len(fields); i += 2 {
					if !units[fields[i]] {
						t.Errorf("%s: %s has no Unit line", name, fields[i])
					}
				}
			case line == "" || strings.HasPrefix(line, "#"):
			default: // a key: only those that every run worth comparing shares
				if key, _, _ := strings.Cut(line, ":"); !strings.Contains(" goos goarch cpu pkg ", " "+key+" ") {
					t.Errorf("%s: key %q splits benchstat's tables", name, line)
				}
			}
		}
		if len(names) == 0 {
			t.Errorf("%s: no lines", name)
		}
	}
}

func TestBenchLeavesOutWhatIsNotKnown(t *testing.T) {
	text := BenchLines([]*Report{fail(t)})
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "Benchmark") && (strings.Contains(line, "p99-outage-ns") || strings.Contains(line, "max-outage-ns")) {
			t.Errorf("a quantile that was not reached has a value: %s", line)
		}
	}
	// All of victims = back + censored + unaffected + absent.
	if want := " 1000 victims-clients 985 back-clients 10 censored-clients 0 unaffected-clients 5 absent-clients "; !strings.Contains(text, want) {
		t.Errorf("%q is not there:\n%s", want, text)
	}
	cut := pass(t)
	cut.Run.Complete = false
	if text := BenchLines([]*Report{cut}); strings.Contains(text, "\nBenchmark") || !strings.Contains(text, "incomplete") {
		t.Errorf("an incomplete run gives lines:\n%s", text)
	}
}

// The unmodified benchstat must pair the lines of two sets and print deltas.
func TestBenchstatReadsIt(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("SKIPPED: no go command, so benchstat cannot be run")
	}
	dir := t.TempDir()
	set := func(name string, slower float64) string {
		var runs []*Report
		for i := range 6 {
			r := pass(t)
			r.Run.ID, r.Run.Seed, r.Rebound = name, uint64(i), name
			by := func(v *float64) *float64 { return f(*v * slower * (1 + float64(i)/1000)) }
			o := &r.Waves[0].Outage
			o.P50, o.P90, o.P99, o.Max = by(o.P50), by(o.P90), by(o.P99), by(o.Max)
			runs = append(runs, r)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(BenchLines(runs)), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cmd := exec.Command("go", "tool", "-modfile=tools/go.mod", "benchstat", set("old", 1), set("new", 1.5))
	cmd.Dir = ".." // the root of the module
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"vs base", "p99-outage-sec", "+50.00% (p=0.002 n=6)", "lost-qos1-msgs", "phase=storm-2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("benchstat does not print %q:\n%s", want, out)
		}
	}
}
