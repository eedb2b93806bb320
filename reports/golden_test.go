package reports

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden holds got against testdata/name.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	got = payload.ReplaceAll(got, []byte("HISTFAAA…"))
	got = assets.ReplaceAll(got, []byte("$1…$3"))
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (make it with -update)", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got), see -update:\n%s", path, d)
	}
}

// payload is a histogram as the compressor of this Go version packs it. The
// goldens leave it out; hlog_test.go reads it back.
var payload = regexp.MustCompile("HISTFAAA[A-Za-z0-9+/=]*")

// assets are the style and the scripts of a page, which are files of their own,
// with the hashes that allow them.
var assets = regexp.MustCompile(`(?s)(<style>|<script>|sha256-)(.*?)(</style>|</script>|&#39;)`)

func TestGoldenFormats(t *testing.T) {
	for name, r := range fixtures(t) {
		for _, format := range Formats() {
			if format.Files != nil {
				files, err := format.Files(r)
				if err != nil {
					t.Fatal(err)
				}
				for _, file := range files {
					var b bytes.Buffer
					if err := file.Write(&b); err != nil {
						t.Fatal(err)
					}
					golden(t, filepath.Join(name, format.File, file.Name), b.Bytes())
				}
				continue
			}
			var b bytes.Buffer
			if err := format.Write(&b, r); err != nil {
				t.Fatalf("%s %s: %v", name, format.Name, err)
			}
			golden(t, filepath.Join(name, format.File), b.Bytes())
		}
	}
}

func TestGoldenTerminal(t *testing.T) {
	for name, r := range fixtures(t) {
		for _, o := range []struct {
			file string
			TerminalOptions
		}{{"terminal.txt", TerminalOptions{Path: "reports/runs/20261124T101500Z-" + r.Run.Scenario + "/summary.md"}},
			{"terminal.ansi", TerminalOptions{Color: true}}} {
			var b bytes.Buffer
			if err := Terminal(&b, r, o.TerminalOptions); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join(name, o.file), b.Bytes())
		}
	}
}

func TestGoldenSet(t *testing.T) {
	for _, format := range Formats() {
		if format.Set == nil {
			continue
		}
		var b bytes.Buffer
		if err := format.Set(&b, []*Report{pass(t), fail(t), pass(t)}); err != nil {
			t.Fatal(err)
		}
		golden(t, filepath.Join("set", format.File), b.Bytes())
	}
}
