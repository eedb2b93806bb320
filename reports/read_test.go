package reports

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func encode(t testing.TB, r *Report) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for name, r := range fixtures(t) {
		first := encode(t, r)
		back, err := Read(bytes.NewReader(first))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(r, back, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Report{}, "Losses", "Recovery")); d != "" {
			t.Errorf("%s: read back differs (-want +got):\n%s", name, d)
		}
		if second := encode(t, back); !bytes.Equal(first, second) {
			t.Errorf("%s: written again differs", name)
		}
		if bytes.Contains(first, []byte(`\u003e`)) {
			t.Errorf("%s: HTML escapes", name)
		}
	}
}

func TestEmptyListsAreNotNull(t *testing.T) {
	var m map[string]any
	if err := json.Unmarshal(encode(t, &Report{}), &m); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"warnings", "fleets", "phases", "waves", "messages", "checks", "expectations", "histograms", "loss_examples"} {
		if _, ok := m[key].([]any); !ok {
			t.Errorf("%s is %v, want []", key, m[key])
		}
	}
}

func TestReadRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     error
		says     string
	}{
		{"empty", "", ErrNotReport, ""},
		{"no object", "[1]", ErrNotReport, ""},
		{"no version", `{"run":{}}`, ErrNotReport, "no schema_version"},
		{"null version", `{"schema_version":null}`, ErrNotReport, "no schema_version"},
		{"zero", `{"schema_version":0}`, ErrNotReport, "0"},
		{"text", `{"schema_version":"1"}`, ErrNotReport, ""},
		{"fraction", `{"schema_version":1.5}`, ErrNotReport, ""},
		{"newer", `{"schema_version":2,"run":"of another shape"}`, ErrVersion, "schema_version 2, this rebound reads up to 1"},
		{"two values", `{"schema_version":1}{}`, ErrNotReport, ""},
		{"wrong type", `{"schema_version":1,"waves":{}}`, ErrNotReport, "waves"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(strings.NewReader(tt.in))
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want %v saying %q", err, tt.want, tt.says)
			}
		})
	}
	if _, err := Read(io.MultiReader(strings.NewReader(`{"schema_version":1}`), spaces{})); !errors.Is(err, ErrTooLarge) {
		t.Errorf("endless input: %v", err)
	}
}

// spaces is an endless reader.
type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestReadToleratesUnknownFields(t *testing.T) {
	r, err := Read(strings.NewReader(`{"schema_version":1,"later":{"a":[1]},"run":{"id":"x","later":true}}`))
	if err != nil || r.Run.ID != "x" {
		t.Fatalf("got %+v, %v", r, err)
	}
}

func TestReadPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, encode(t, pass(t)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, file} {
		if r, err := ReadPath(path); err != nil || r.Run.Scenario != "kick-all" {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := ReadPath(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("folder without a report: %v", err)
	}
	if err := os.WriteFile(file, []byte(`{"schema_version":9}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPath(dir); !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), file) {
		t.Errorf("newer report: %v", err)
	}
}

// What reads must be written the same for ever, and no format may panic on it.
func FuzzRead(f *testing.F) {
	for _, r := range fixtures(f) { // with small histograms: the large ones only slow the fuzzer down
		if len(r.Histograms) > 2 {
			r.Histograms = r.Histograms[:2]
		}
		for i := range r.Histograms {
			h := hdrhistogram.New(1, 1000, 1)
			if err := h.RecordValues(40, r.Histograms[i].N); err != nil {
				f.Fatal(err)
			}
			v2, err := h.EncodeV2()
			if err != nil {
				f.Fatal(err)
			}
			r.Histograms[i].V2 = string(v2)
		}
		f.Add(encode(f, r))
	}
	f.Add([]byte(`{"schema_version":1}`))
	f.Add([]byte(`{"schema_version":1,"waves":[{"phase":"a","outage":{"n":-1,"max":1e300}}],"histograms":[{"metric":"outage","unit":"ns","v2":"HISTFAAA"}]}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		first := encode(t, r)
		back, err := Read(bytes.NewReader(first))
		if err != nil {
			t.Fatalf("what was written does not read: %v", err)
		}
		if !bytes.Equal(first, encode(t, back)) {
			t.Fatal("written again differs")
		}
		for _, format := range Formats() {
			if format.Files == nil {
				_ = format.Write(io.Discard, r) // an error is an answer; a panic is not
				continue
			}
			files, _ := format.Files(r)
			for _, file := range files {
				_ = file.Write(io.Discard)
			}
		}
		readJUnit(t, r).sum(t) // XML, whatever the names are
		for _, line := range Annotations(r, back) {
			if strings.ContainsAny(line, "\r\n") || !strings.HasPrefix(line, "::error title=") {
				t.Errorf("no workflow command: %q", line)
			}
		}
		_ = Terminal(io.Discard, r, TerminalOptions{Color: true})
		_ = Compare([]*Report{r}, []*Report{back}, CompareOptions{}).page().writeText(io.Discard)
		_ = SetSummary([]*Report{r, back})
	})
}
