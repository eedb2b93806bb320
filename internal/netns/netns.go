// Package netns runs a test in a network namespace of its own.
package netns

import (
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/kernel"
)

// Enter reports whether this process is in a network namespace of its own. If
// it is not, it runs the whole test again in one, takes over its result, and
// gives false: the test then returns. TestMain must call kernel.Child (or
// harness.ChildMain) first. A test whose kinds of rules this machine lacks is
// skipped, and fails under CI=true if what it lacks can be installed.
func Enter(t *testing.T, kinds ...string) bool {
	t.Helper()
	if kernel.Inside() {
		return true
	}
	r := kernel.Probe(t.Context())
	Need(t, r, kinds...)
	runtime.LockOSThread() // the kernel ends the program with this thread
	defer runtime.UnlockOSThread()
	out, err := r.Command(t.Context(), "/proc/self/exe", "-test.run=^"+regexp.QuoteMeta(t.Name())+"$", "-test.v", "-test.count=1").CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in a network namespace: %v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Errorf("in a network namespace the test did not pass:\n%s", out)
	case testing.Verbose():
		t.Logf("in a network namespace:\n%s", out)
	}
	return false
}

// Need skips a test whose kinds of rules this machine lacks.
func Need(t *testing.T, r kernel.Report, kinds ...string) {
	t.Helper()
	for _, kind := range kinds {
		why := r.Why(kind)
		if why == "" {
			continue
		}
		if os.Getenv("CI") == "true" && strings.Contains(why, "not installed") {
			t.Fatalf("%s: %s", kind, why)
		}
		t.Skipf("SKIPPED: %s: %s", kind, why)
	}
	if len(kinds) == 0 && r.Namespace != "" {
		t.Skipf("SKIPPED: %s", r.Namespace)
	}
}
