package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestBenchstatReadsTheOutput runs one real benchmark as a user does, and has
// the unmodified benchstat compare its output with one in which every time is
// half as long again.
func TestBenchstatReadsTheOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: builds and runs a benchmark and benchstat")
	}
	dir := t.TempDir()
	cmd := exec.Command("go", "test", ".", "-run", "^$", "-bench", "Storm/scenario=kick-all/clients=100$/regime=first",
		"-benchtime", "1x", "-artifacts", "-outputdir", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	line := regexp.MustCompile(`(?m)^BenchmarkStorm/.*$`).FindString(string(out))
	for _, want := range []string{"scenario=kick-all/clients=100/regime=first", "p50-outage-ns", "p99-outage-ns", "rmta-ns", "censored-clients"} {
		if !strings.Contains(line, want) {
			t.Errorf("the benchmark line lacks %s: %s", want, line)
		}
	}
	if !strings.Contains(string(out), "Unit lost-qos1-msgs better=lower assume=exact") {
		t.Errorf("no Unit lines:\n%s", out)
	}
	if reports, err := filepath.Glob(filepath.Join(dir, "_artifacts", "*", "001", "report.json")); err != nil || len(reports) != 1 {
		t.Errorf("reports among the artifacts: %v %v", reports, err)
	}

	head := strings.Split(string(out), "Benchmark")[0]
	slower := regexp.MustCompile(`([0-9.e+]+) (\S+-ns)`).ReplaceAllStringFunc(line, func(m string) string {
		number, unit, _ := strings.Cut(m, " ")
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%g %s", v*1.5, unit)
	})
	var paths []string
	for name, l := range map[string]string{"new.txt": slower, "base.txt": line} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(head+strings.Repeat(l+"\n", 6)), 0o600); err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	if strings.HasSuffix(paths[0], "new.txt") {
		paths[0], paths[1] = paths[1], paths[0]
	}
	stat := exec.Command("go", append([]string{"tool", "-modfile=tools/go.mod", "benchstat"}, paths...)...)
	stat.Dir = ".."
	table, err := stat.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, table)
	}
	for _, want := range []string{"p99-outage-sec", "+50.00% (p=0.002 n=6)", "vs base"} {
		if !strings.Contains(string(table), want) {
			t.Errorf("benchstat's table lacks %q:\n%s", want, table)
		}
	}
}
