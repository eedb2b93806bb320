package harness

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// atTheDoor has devices come back through a door fault, and others that no
// fault is for.
const atTheDoor = `
name: at-the-door
clients: 30
fleets:
  - name: devices
    share: 67%
    session: {clean: true, keep_alive: 30s}
    reconnect: {policy: fixed, delay: 100ms}
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
  - name: others
    share: 33%
    session: {clean: true, keep_alive: 30s}
    reconnect: {policy: fixed, delay: 100ms}
    connect: {rate: 2000/s}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
  - {from: control, to: others, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
  - {from: devices, to: others, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 300ms}
  - name: storm
    faults: [FAULTS]
    until: {back: 100%}
    timeout: 20s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

const closeDevices = "{close: {fleet: devices, after: 50ms}}"

// conns reads the connections of a run, by fleet.
func conns(t *testing.T, dir string) map[string][]timeline.Conn {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "events.jsonl.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read only
	events, err := timeline.Read(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]timeline.Conn{}
	for _, e := range timeline.Latest(events) {
		if e.Conn != nil {
			out[e.Conn.Fleet] = append(out[e.Conn.Fleet], *e.Conn)
		}
	}
	return out
}

// TestDoorFaults runs each fault at the door: the report tells what it did, the
// outages hold what it cost, nothing is charged to the broker, and neither the
// other fleet nor the built-in clients meet it.
func TestDoorFaults(t *testing.T) {
	refused := func(code byte) func(c timeline.Conn) bool {
		return func(c timeline.Conn) bool { return c.Connack != 0 && c.ConnackCode == code }
	}
	unanswered := func(c timeline.Conn) bool { return c.Connect != 0 && c.Connack == 0 }
	for name, tc := range map[string]struct {
		faults  string
		details []string // of the extents, in the order of their names
		part    string   // of the waterfall that holds what it cost,
		atLeast time.Duration
		sees    func(timeline.Conn) bool // some connections of devices, and none of others
		child   bool                     // on the targets pipe and child, too
	}{
		"slow-auth": {
			faults:  "{slow-auth: {fleet: devices, delay: 40ms, workers: 2}}, " + closeDevices,
			details: []string{"20 CONNECTs seen: 20 let in; 20 had to wait"}, part: "connack", atLeast: 150 * time.Millisecond, child: true,
		},
		"reject-auth": {
			faults:  "{reject-auth: {fleet: devices, for: 700ms}}, " + closeDevices,
			details: []string{" refused"}, part: "backoff", atLeast: 400 * time.Millisecond, sees: refused(5),
		},
		"connect-limit": {
			faults:  "{connect-limit: {fleet: devices, rate: 20/s, burst: 2, then: refuse}}, " + closeDevices,
			details: []string{"CONNECTs seen: 20 let in, "}, part: "backoff", atLeast: 150 * time.Millisecond, sees: refused(3),
		},
		"connect-limit, hang": {
			faults:  "{connect-limit: {fleet: devices, rate: 1/s, burst: 2, then: hang, for: 700ms}}, " + closeDevices,
			details: []string{" closed; "}, part: "retry", atLeast: 300 * time.Millisecond, sees: unanswered, child: true,
		},
		"subscribe-slow": {
			faults:  "{subscribe-slow: {fleet: devices, delay: 300ms}}, " + closeDevices,
			details: []string{"20 SUBSCRIBEs seen: 20 handled; 20 had to wait"}, part: "resubscribe", atLeast: 290 * time.Millisecond,
		},
		"two that overlap": {
			faults:  "{reject-auth: {fleet: devices, share: 50%, for: 500ms}}, {slow-auth: {fleet: devices, delay: 20ms, workers: 0}}, " + closeDevices,
			details: []string{" refused", "let in; "}, part: "connack", atLeast: 19 * time.Millisecond, sees: refused(5),
		},
	} {
		kinds := []string{"embedded"}
		if tc.child {
			kinds = append(kinds, "pipe", "child")
		}
		for _, kind := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				r, dir := play(t, scenario(t, atTheDoor, "FAULTS", tc.faults), PlanOptions{Target: kind}, Options{})
				onlyInvalid(t, r)
				for _, check := range []string{"first-packet", "unscripted", "collateral", "never-returned", "deaf", "kick-effective"} {
					if v := verdicts(r)[check]; v != reports.Valid {
						t.Errorf("%s is %s", check, v)
					}
				}
				if w := r.Total; w.Victims != 20 || w.Back != 20 {
					t.Errorf("%+v", w)
				}
				extentsAre(t, r, tc.details)
				if q := r.Total.Waterfall[tc.part]; q.P50 == nil || *q.P50 < tc.atLeast.Seconds() {
					t.Errorf("%s: %+v, want at least %v", tc.part, q.P50, tc.atLeast)
				}
				all := conns(t, dir)
				if tc.sees != nil && !slices.ContainsFunc(all["devices"], tc.sees) {
					t.Error("no device saw it")
				}
				for _, fleet := range []string{"others", "control"} {
					if !slices.ContainsFunc(all[fleet], func(c timeline.Conn) bool { return c.Connack != 0 }) {
						t.Errorf("%s: no connection", fleet)
					}
					for _, c := range all[fleet] {
						if c.N != 1 || c.ConnackCode != 0 || c.Connack == 0 {
							t.Errorf("%s saw it: %+v", fleet, c)
						}
					}
				}
			})
		}
	}
}

// extentsAre says what the extents tell, by the order of the faults' names.
func extentsAre(t *testing.T, r *reports.Report, details []string) {
	t.Helper()
	list := slices.Clone(r.Extents)
	slices.SortFunc(list, func(a, b reports.Extent) int { return strings.Compare(a.Fault, b.Fault) })
	if len(list) != len(details) {
		t.Fatalf("extents %+v", list)
	}
	for i, e := range list {
		if !e.OK || e.Seconds == nil || !strings.Contains(e.Detail, details[i]) {
			t.Errorf("extent %+v, want %q", e, details[i])
		}
	}
}

// A quota that closes is what its ends are charged to, and they are not
// unscripted; once it is over everyone is back.
func TestPublishQuotaCloses(t *testing.T) {
	r, _ := play(t, scenario(t, atTheDoor, "FAULTS", "{publish-quota: {fleet: devices, rate: 1/s, burst: 2, then: close, for: 1s}}",
		"until: {back: 100%}", "for: 2s", "    timeout: 20s\n  - {name: drain", "  - {name: drain"), PlanOptions{}, Options{})
	onlyInvalid(t, r)
	if len(r.Extents) != 1 || r.Extents[0].Ended < 20 || !strings.Contains(r.Extents[0].Detail, " closed") {
		t.Errorf("%+v", r.Extents)
	}
	if v := verdicts(r); v["unscripted"] != reports.Valid || v["never-returned"] != reports.Valid {
		t.Errorf("unscripted %s, never-returned %s", v["unscripted"], v["never-returned"])
	}
}

// What no door fault has done turns what it always turned: the broker goes on
// to refuse one client after the door was opened, or refuses one of a fleet
// that the fault is not for.
func TestPlantedRefusal(t *testing.T) {
	for what, tc := range map[string]struct{ client, victims string }{
		"after the heal": {`devices-.*-000003`, "{reject-auth: {fleet: devices, for: 300ms}}, " + closeDevices},
		"another fleet":  {`others-.*-000003`, "{reject-auth: {fleet: devices, for: 300ms}}, {close: {fleet: others, after: 50ms}}"},
	} {
		t.Run(what, func(t *testing.T) {
			gate := target.Gate{Name: "planted", Clients: tc.client, ConnectLimit: &target.ConnectLimit{Rate: 1e-6, Burst: 1, Then: target.ThenRefuse}}
			r, _ := play(t, scenario(t, atTheDoor, "FAULTS", tc.victims, "timeout: 20s\n  - {name: drain", "timeout: 2s\n  - {name: drain"),
				PlanOptions{}, Options{Broker: broker.Options{Gates: []target.Gate{gate}}})
			onlyInvalid(t, r, "never-returned")
			for _, c := range r.Checks {
				if c.Name == "never-returned" && (c.Count != 1 || !strings.Contains(c.Detail, "broker")) {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}
