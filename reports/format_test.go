package reports

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFormatTable(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Formats() {
		if f.Name == "" || f.File == "" || f.Doc == "" || strings.Contains(f.Doc, "\n") {
			t.Errorf("row is not whole: %+v", f)
		}
		if (f.Write == nil) == (f.Files == nil) {
			t.Errorf("%s: exactly one of Write and Files", f.Name)
		}
		if !filepath.IsLocal(f.File) || seen[f.Name] || seen[f.File+"/"] {
			t.Errorf("%s: name or file is not its own", f.Name)
		}
		seen[f.Name], seen[f.File+"/"] = true, true
	}
}

func TestWriteAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	r := fail(t)
	for range 2 { // again over itself
		if err := WriteAll(dir, r); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"bench.txt", "hgrm", "junit.xml", "loss.hlog", "losses.csv", "metrics.om", "metrics.prom", "reconnect.hlog", "recovery.csv", "report.html", "report.json", "summary.md"}
	var got []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if back, err := ReadPath(dir); err != nil || back.Run.ID != r.Run.ID {
		t.Errorf("read back: %v", err)
	}
}

func TestFormatsNamed(t *testing.T) {
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, "all"}, {[]string{"bench", "json"}, "[json bench]"}, {[]string{"bench", "bench"}, "[bench]"}, {[]string{"benhc"}, "error"}, {[]string{"json", ""}, "error"},
	} {
		formats, err := FormatsNamed(tt.names...)
		var got []string
		for _, f := range formats {
			got = append(got, f.Name)
		}
		switch text := fmt.Sprint(got); {
		case tt.want == "error":
			if !errors.Is(err, ErrFormat) || formats != nil {
				t.Errorf("%q: %v, %v", tt.names, text, err)
			}
		case err != nil, tt.want == "all" && len(got) != len(Formats()), tt.want != "all" && text != tt.want:
			t.Errorf("%q: got %s, %v", tt.names, text, err)
		}
	}
	dir := t.TempDir()
	formats, err := FormatsNamed("bench", "hgrm", "junit")
	if err := errors.Join(err, WriteFormats(filepath.Join(dir, "run"), pass(t), formats), WriteSet(dir, []*Report{pass(t)}, formats)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir: "[bench.txt junit.xml run]", filepath.Join(dir, "run"): "[bench.txt hgrm junit.xml]"} {
		var got []string
		entries, err := os.ReadDir(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			got = append(got, e.Name())
		}
		if fmt.Sprint(got) != want {
			t.Errorf("%s holds %v, want %s", path, got, want)
		}
	}
}

func TestWriteAllNamesTheFileThatFailed(t *testing.T) {
	dir := t.TempDir()
	// Folders in the place of files: no rename can succeed, whoever runs this.
	for _, name := range []string{"summary.md/x", "losses.csv/x"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	err := WriteAll(dir, pass(t))
	if err == nil || !strings.Contains(err.Error(), "summary.md") || !strings.Contains(err.Error(), "losses.csv") {
		t.Errorf("got %v", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, ".*"))
	if len(left) > 0 {
		t.Errorf("temporary files left: %v", left)
	}
	if _, err := ReadPath(dir); err != nil {
		t.Errorf("the other files are not there: %v", err)
	}
	if err := WriteAll(filepath.Join(dir, "report.json", "under-a-file"), pass(t)); err == nil {
		t.Error("a folder under a file: no error")
	}
}

func TestWriteAtomicKeepsTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := writeAtomic(path, func(w io.Writer) error { _, err := io.WriteString(w, "old"); return err }); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := writeAtomic(path, func(w io.Writer) error { io.WriteString(w, "half"); return full })
	if !errors.Is(err, full) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if b, _ := os.ReadFile(path); string(b) != "old" {
		t.Errorf("file is %q", b)
	}
	if entries, _ := os.ReadDir(filepath.Dir(path)); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestLossesReadBack(t *testing.T) {
	r := fail(t)
	var b bytes.Buffer
	if err := writeLosses(&b, r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(r.Losses)+1 {
		t.Fatalf("%d rows of %d losses", len(rows)-1, len(r.Losses))
	}
	for i, l := range r.Losses {
		row := map[string]string{}
		for k, head := range rows[0] {
			row[head] = rows[i+1][k]
		}
		sent, _ := strconv.ParseFloat(row["sent_seconds"], 64)
		if row["verdict"] != l.Verdict || row["seq"] != fmt.Sprint(l.Seq) || row["why"] != l.Why || sent != *l.Sent {
			t.Errorf("row %d: %v", i, row)
		}
		if (row["acked_seconds"] == "") != (l.Acked == nil) {
			t.Errorf("row %d: unknown is not empty: %v", i, row)
		}
	}
}

func TestRecoveryReadsBack(t *testing.T) {
	r := waves(t)
	var b bytes.Buffer
	if err := writeRecovery(&b, r); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != len(r.Recovery)+1 {
		t.Fatalf("%d rows of %d steps: %v", len(rows)-1, len(r.Recovery), err)
	}
	for i, step := range r.Recovery {
		row := map[string]string{}
		for k, head := range rows[0] {
			row[head] = rows[i+1][k]
		}
		for head, want := range map[string]float64{"t_seconds": step.Seconds, "wave": float64(step.Wave), "fraction_back": step.Back,
			"at_risk": float64(step.AtRisk), "censored": float64(step.Censored), "low_95": step.Low, "high_95": step.High} {
			if got, err := strconv.ParseFloat(row[head], 64); err != nil || got != want {
				t.Errorf("row %d: %s is %q, want %g", i, head, row[head], want)
			}
		}
	}
}

// A report that was read has no rows; files without rows would tell a lie.
func TestRowsMissing(t *testing.T) {
	r, err := Read(bytes.NewReader(encode(t, fail(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := writeLosses(io.Discard, r); !errors.Is(err, ErrNoRows) {
		t.Errorf("losses: %v", err)
	}
	if err := writeRecovery(io.Discard, r); !errors.Is(err, ErrNoRows) {
		t.Errorf("recovery: %v", err)
	}
}

func TestSummaryStaysSmall(t *testing.T) {
	r := fail(t)
	long := strings.Repeat("ü|`<\x1b[31m````\n", 4000)
	for i := range 3000 {
		r.Waves = append(r.Waves, storm("storm", i+2, 10, float64(i)))
		r.Checks = append(r.Checks, Check{Name: "c", Verdict: Invalid, Detail: long, Examples: []string{long, long}})
		r.Warnings = append(r.Warnings, long)
	}
	var b bytes.Buffer
	if err := WriteSummary(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	if len(page) > MaxSummary || !utf8.ValidString(page) || !strings.Contains(page, "Cut here") {
		t.Errorf("%d bytes, valid %v", len(page), utf8.ValidString(page))
	}
	if strings.Count(page, "````")%2 != 0 || strings.ContainsRune(page, '\x1b') {
		t.Error("open fence or escape sequence in the page")
	}
}

func TestSummaryKeepsVictimsBesidePercentiles(t *testing.T) {
	for name, r := range fixtures(t) {
		var b bytes.Buffer
		if err := WriteSummary(&b, r); err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(b.String(), "\n") {
			if strings.Contains(line, "p99") && strings.HasPrefix(line, "|") && strings.Contains(line, "p50") && !(strings.Contains(line, " n ") && strings.Contains(line, "censored")) {
				t.Errorf("%s: table of quantiles without counts: %s", name, line)
			}
		}
		if len(r.Waves) > 0 && !strings.Contains(b.String(), "| victims |") {
			t.Errorf("%s: no table of victims", name)
		}
	}
}

func TestWords(t *testing.T) {
	edit := func(f func(*Report)) *Report { r := pass(t); f(r); return r }
	for _, tt := range []struct {
		name string
		r    *Report
		want string
	}{
		{"pass", pass(t), "PASS"}, {"fail", fail(t), "FAIL"},
		{"unknown", edit(func(r *Report) { r.ExitCode = 3 }), "UNKNOWN"},
		{"interrupted", edit(func(r *Report) { r.Run.Interrupted = true }), "INTERRUPTED"},
		{"partial", edit(func(r *Report) { r.ExitCode = 6 }), "PARTIAL"},
		{"unreachable", edit(func(r *Report) { r.ExitCode = 4 }), "ERROR"},
		{"incomplete is never a pass", edit(func(r *Report) { r.Run.Complete = false }), "UNKNOWN"},
		{"unknown verdict with exit 0", edit(func(r *Report) { r.Verdict = Unknown }), "UNKNOWN"},
		{"no verdict", edit(func(r *Report) { r.Verdict = "" }), "UNKNOWN"},
		{"invalid with exit 0", edit(func(r *Report) { r.Verdict = Invalid; r.Checks[2].Verdict = Invalid }), "FAIL"},
		{"an invalid check whatever the verdict says", edit(func(r *Report) { r.Checks[2].Verdict = Invalid }), "FAIL"},
		{"known defect", edit(func(r *Report) { r.Verdict = Invalid; r.Checks[2].Verdict = Invalid; r.Checks[2].Known = "#1" }), "PASS"},
		{"known defect of a strict run", edit(func(r *Report) {
			r.Verdict, r.Run.Strict = Invalid, true
			r.Checks[2].Verdict, r.Checks[2].Known = Invalid, "#1"
		}), "FAIL"},
	} {
		var b bytes.Buffer
		if err := Terminal(&b, tt.r, TerminalOptions{Path: "x/summary.md"}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSpace(b.String()), "\n")
		if last := lines[len(lines)-1]; !strings.HasPrefix(last, tt.want+" ") || !strings.HasSuffix(last, "x/summary.md") {
			t.Errorf("%s: last line %q, want %s", tt.name, last, tt.want)
		}
	}
}

func TestWorstExit(t *testing.T) {
	for _, tt := range []struct {
		codes []int
		want  int
	}{
		{nil, 3}, {[]int{0, 0}, 0}, {[]int{0, 3}, 3}, {[]int{3, 6}, 6}, {[]int{6, 1, 3}, 1}, {[]int{1, 4}, 4}, {[]int{4, 7}, 7}, {[]int{7, 130, 0}, 130},
		{[]int{0, 99}, 7}, {[]int{2}, 7},
	} {
		if got := WorstExit(tt.codes); got != tt.want {
			t.Errorf("%v: got %d, want %d", tt.codes, got, tt.want)
		}
	}
}

// A strict run has no excuses: what fails it stands at the top of the page.
func TestStrictExcusesNothing(t *testing.T) {
	r := pass(t)
	r.Verdict = Invalid
	r.Checks[2].Verdict, r.Checks[2].Detail, r.Checks[2].Known = Invalid, "three are lost", "#1"
	r.Expectations[0].Verdict, r.Expectations[0].Known = Invalid, "#1"
	r.Expectations[1].Verdict, r.Expectations[1].OnFail = Invalid, "warn"
	for _, tt := range []struct {
		strict  bool
		excused int
	}{{false, 2}, {true, 1}} { // on_fail: warn is the scenario's own word, and stands
		r.Run.Strict = tt.strict
		var b bytes.Buffer
		if err := WriteSummary(&b, r); err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(b.String(), "````")
		if got := strings.Contains(head, "three are lost"); got != tt.strict || r.excused() != tt.excused {
			t.Errorf("strict %v: named at the top %v, %d excused", tt.strict, got, r.excused())
		}
		if said := strings.Contains(head, fmt.Sprintf("hold · %d excused", tt.excused)); said != (tt.excused > 0) {
			t.Errorf("strict %v: %d excused, at the top %v", tt.strict, tt.excused, said)
		}
	}
}
