package browser

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestRun opens what a real run and a real comparison have written.
func TestRun(t *testing.T) {
	if browserCtx == nil {
		missing(t, "a browser (apt-get install chromium)")
	}
	dir := t.TempDir()
	rebound := filepath.Join(dir, "rebound")
	command := func(dir, name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stderr = dir, os.Stderr
		out, err := cmd.Output()
		// An exit code is a verdict; that the page is there is seen below.
		if exit := (*exec.ExitError)(nil); err != nil && (name != rebound || !errors.As(err, &exit)) {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	command(filepath.Join("..", ".."), "go", "build", "-trimpath", "-o", rebound, "./cmd/rebound")
	for _, run := range []string{"old", "new"} {
		command(dir, rebound, "run", "kick-all", "--clients", "50", "--quiet", "--out", run)
	}
	page := command(dir, rebound, "compare", "--format", "html", "old", "new")
	if err := os.WriteFile(filepath.Join(dir, "compare.html"), page, 0o600); err != nil {
		t.Fatal(err)
	}
	for file, charts := range map[string]int{"old/report.html": 5, "compare.html": 4} {
		p := open(t, filepath.Join(dir, file), look{})
		p.allDrawn(charts)
		p.check()
		p.quiet()
	}
}
