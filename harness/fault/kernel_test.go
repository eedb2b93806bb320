package fault

import (
	"errors"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/internal/netns"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func kernelFaultOf(t *testing.T, name string, params map[string]string) Fault {
	t.Helper()
	kind, err := Find(name)
	if err != nil {
		t.Fatal(err)
	}
	params["after"] = "0s"
	f, err := kind.New(scenarios.PlanFault{Kind: name, Params: params})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestKernelSkipped: what this machine can not do is skipped and said, and
// Heal has nothing to undo.
func TestKernelSkipped(t *testing.T) {
	env := newExecEnv(t)
	env.Kernel = kernel.Open(t.Context(), kernel.Scope{Ports: []int{1}}, "the reason")
	for name, params := range map[string]map[string]string{
		kernel.Drop: {}, kernel.Reject: {"direction": "up"}, kernel.SYNLimit: {"rate": "5/s"}, kernel.Netem: {"delay": "5ms"},
	} {
		f := kernelFaultOf(t, name, params)
		if err := errors.Join(f.Inject(t.Context(), env.Env), f.Heal(t.Context(), env.Env)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if x := env.last(); x.Fault != name || x.OK || x.Skipped != "the reason" || x.Healed != 0 {
			t.Errorf("%+v", x)
		}
	}
}

// TestKernelReject: the fault takes effect, is lifted in time, and Heal leaves
// no rule, twice.
func TestKernelReject(t *testing.T) {
	if !netns.Enter(t, kernel.Reject) {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	dial := func() error {
		c, err := net.DialTimeout("tcp", l.Addr().String(), 20*time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	env := newExecEnv(t)
	env.Kernel = kernel.Open(t.Context(), kernel.Scope{Ports: []int{l.Addr().(*net.TCPAddr).Port}}, "")
	for _, params := range []map[string]string{{}, {"for": "50ms"}} {
		f := kernelFaultOf(t, kernel.Reject, params)
		if err := f.Inject(t.Context(), env.Env); err != nil {
			t.Fatal(err)
		}
		if params["for"] == "" {
			if err := dial(); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("under the rule: %v", err)
			}
		} else {
			for deadline := time.Now().Add(20 * time.Second); env.last().Healed == 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("not lifted in time")
				}
			}
		}
		for range 2 {
			if err := f.Heal(t.Context(), env.Env); err != nil {
				t.Fatal(err)
			}
		}
		if err := dial(); err != nil {
			t.Errorf("healed: %v", err)
		}
		if x := env.last(); !x.OK || !x.Ends || x.Healed == 0 {
			t.Errorf("%+v", x)
		}
		if out, err := exec.Command("nft", "list", "ruleset").CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "" {
			t.Errorf("left: %v\n%s", err, out)
		}
	}
}
