package compat

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds each wait; nothing is judged by it.
const patience = 20 * time.Second

// binary is the program under test, built once from the module above.
var binary string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rebound-compat-")
	if err != nil {
		return complain(err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	binary = filepath.Join(dir, "rebound")
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "./cmd/rebound")
	build.Dir = ".."
	if out, err := build.CombinedOutput(); err != nil {
		return complain(fmt.Errorf("build rebound: %w\n%s", err, out))
	}
	// The vendor's clients send loopback requests to a proxy of the environment
	// too, where Go's own never would.
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"} {
		if err := os.Unsetenv(name); err != nil {
			return complain(err)
		}
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		return complain(err)
	}
	return code
}

func complain(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}
