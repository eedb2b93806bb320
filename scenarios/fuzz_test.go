package scenarios_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func seedFiles(f *testing.F) {
	f.Helper()
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml", "library/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("%s: %v", pattern, err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// FuzzLoad: no panic; either a scenario or mistakes, each inside the file.
func FuzzLoad(f *testing.F) {
	seedFiles(f)
	schema := testSchema(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		sc, err := scenarios.Load("f.yaml", data, schema)
		if (sc == nil) == (err == nil) {
			t.Fatalf("scenario %v, error %v", sc, err)
		}
		if err == nil {
			if len(sc.Phases) == 0 || len(sc.Fleets) == 0 || scenarios.Hash(sc) == "" {
				t.Fatalf("an accepted scenario lacks parts: %+v", sc)
			}
			return
		}
		var errs scenarios.Errors
		if !errors.As(err, &errs) || len(errs) == 0 || strings.Contains(err.Error(), "%!") && !bytes.Contains(data, []byte("%!")) {
			t.Fatalf("error %v", err)
		}
		for _, e := range errs {
			if e.Pos.Line > 1+bytes.Count(data, []byte("\n"))+bytes.Count(data, []byte("\r"))+bytes.Count(data, []byte("\xc2\x85"))+bytes.Count(data, []byte("\xe2\x80")) {
				t.Fatalf("line %d is outside: %v", e.Pos.Line, e)
			}
		}
	})
}

// FuzzReadPlan: no panic, and what is accepted reads back as it was written.
func FuzzReadPlan(f *testing.F) {
	for _, p := range []*scenarios.Plan{samplePlan(), oraclePlan()} {
		var b bytes.Buffer
		if err := scenarios.WritePlan(&b, p, true); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Add([]byte("schema_version: 1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := scenarios.ReadPlan(bytes.NewReader(data))
		if err != nil {
			return
		}
		var first, second bytes.Buffer
		if err := scenarios.WritePlan(&first, p, true); err != nil {
			t.Fatal(err)
		}
		q, err := scenarios.ReadPlan(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("%v\n%s", err, first.String())
		}
		if err := scenarios.WritePlan(&second, q, true); err != nil || first.String() != second.String() {
			t.Fatalf("%v: wrote\n%s\nthen\n%s", err, first.String(), second.String())
		}
	})
}
