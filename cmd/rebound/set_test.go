package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness"
)

// hook does something as soon as the output says a word.
type hook struct {
	bytes.Buffer
	word string
	do   func()
}

func (h *hook) Write(b []byte) (int, error) {
	n, err := h.Buffer.Write(b)
	if h.do != nil && strings.Contains(h.String(), h.word) {
		h.do()
		h.do = nil
	}
	return n, err
}

// TestSetWithoutARunIsRed: run 2 of a set can not be done. Its files, read by
// those who see no exit code, say so, and the run that passed does not hide it.
func TestSetWithoutARunIsRed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "set")
	out := &hook{word: "\nPASS ", do: func() { // the summary of run 1
		if err := os.MkdirAll(filepath.Join(dir, "runs", "002", "taken"), 0o755); err != nil {
			t.Error(err)
		}
	}}
	var errs bytes.Buffer
	code := execute([]string{"run", scenarioPath(t, "quick.yaml"), "--quiet", "--repeat", "3", "--out", dir}, out, &errs)
	if code == harness.ExitPass || !strings.Contains(out.String(), "\nset        1 of 3 runs passed ") {
		t.Errorf("exit %d\n%s%s", code, out, &errs)
	}
	for file, want := range map[string]string{
		"junit.xml":  "<error message=",
		"summary.md": "**1 of 2 runs passed** · exit code ",
		"bench.txt":  " is incomplete: no lines",
	} {
		b, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil || !bytes.Contains(b, []byte(want)) {
			t.Errorf("%v: no %q in %s:\n%s", err, want, file, b)
		}
		if strings.HasPrefix(string(b), "# PASS") {
			t.Errorf("%s says PASS", file)
		}
	}
}
