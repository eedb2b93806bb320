package harness

import (
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/internal/netns"
	"github.com/rebound-mqtt/rebound/reports"
)

// firewall rejects what the clients send for a while.
const firewall = `
name: firewall
summary: A firewall rule is pushed and taken back.
clients: 20
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 10/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 500ms}
  - name: storm
    faults: [{nft-reject: {direction: up, for: 500ms}}]
    for: 4s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
expect:
  - {metric: censored, equals: 0}
  - {metric: unscripted, equals: 0}
`

// TestKernelFault: in a namespace of its own the run's clients are reset by the
// kernel and come back when the rule is lifted; the control fleet is spared.
func TestKernelFault(t *testing.T) {
	if !netns.Enter(t, kernel.Reject) {
		return
	}
	for _, target := range []string{"embedded", "child"} {
		t.Run(target, func(t *testing.T) {
			r, _ := play(t, scenario(t, firewall), PlanOptions{Target: target}, Options{})
			if r.ExitCode != ExitPass {
				t.Errorf("exit %d: %+v %+v", r.ExitCode, r.Checks, r.Expectations)
			}
			onlyInvalid(t, r)
			if len(r.Extents) != 1 || !r.Extents[0].OK || r.Extents[0].Ended != 20 || r.Unscripted.Control != 0 {
				t.Errorf("%+v, %+v", r.Extents, r.Unscripted)
			}
			if len(r.Waves) != 1 || r.Waves[0].Back != 20 || *r.Waves[0].Outage.P50 < 0.4 {
				t.Errorf("%+v", r.Waves)
			}
		})
	}
}

// TestKernelFaultSkipped: outside a namespace of its own the run says that it
// did not do it, and can not decide.
func TestKernelFaultSkipped(t *testing.T) {
	r, _ := play(t, scenario(t, firewall), PlanOptions{}, Options{NoNamespace: "this machine has none"})
	if r.ExitCode != ExitUnknown || verdicts(r)["assumptions"] != reports.Unknown {
		t.Errorf("exit %d, assumptions %s", r.ExitCode, verdicts(r)["assumptions"])
	}
	if len(r.Extents) != 1 || r.Extents[0].Skipped != "this machine has none" {
		t.Errorf("%+v", r.Extents)
	}
	var text strings.Builder
	if err := reports.Terminal(&text, r, reports.TerminalOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "nft-reject SKIPPED: this machine has none") || !strings.Contains(text.String(), "UNKNOWN") {
		t.Errorf("the terminal does not tell:\n%s", &text)
	}
}

// TestKernelFaultNeedsOurBroker: a broker that runs already is in another
// namespace.
func TestKernelFaultNeedsOurBroker(t *testing.T) {
	_, err := NewPlan(scenario(t, firewall), PlanOptions{Tables: DefaultTables(), Target: "tcp://127.0.0.1:1883", Kick: CloserFIN})
	if err == nil || ExitCode(err) != ExitUsage || !strings.Contains(err.Error(), "run it with --target embedded or --target child") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
}
