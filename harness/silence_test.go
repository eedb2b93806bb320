package harness

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// mute has half of a fleet stop: a keep alive of 2 s, so that the broker has to
// close their connections 3 s after the last packet [MQTT-3.1.2-24].
const mute = `
name: mute
clients: 8
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    session: {clean: false, keep_alive: 2s}
    reconnect: {policy: immediate}
    subscribe: [{topic: "rb/{client}/cmd", qos: 1}]
traffic:
  - {from: control, to: devices, topic: "rb/{client}/cmd", qos: 1, each: 5/s}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - {name: steady, for: 500ms}
  - name: storm
    faults: [{keepalive-stop: {who: {count: 4}}}]
    until: {back: 100%}
    timeout: 30s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

// muted says whether a run shows what keepalive-stop promises: each victim wrote
// nothing from its instant on and read on, its broker closed the connection with
// a FIN when 1.5 times the keep alive had passed since its last packet, no later
// than slack, and nobody else saw anything.
func muted(t *testing.T, dir string, slack time.Duration) error {
	t.Helper()
	const keep = 2 * time.Second
	var wrong []error
	victims := 0
	for _, o := range outages(t, dir) {
		if o.Cause != "keepalive-stop" {
			wrong = append(wrong, fmt.Errorf("%s was lost by %s", o.ClientID, o.Cause))
			continue
		}
		victims++
		silent := time.Duration(o.Noticed - o.Lost.LastOut)
		notice := time.Duration(o.Parts.Notice)
		switch {
		case !o.Back() || o.Late || o.Lost.N != o.Action.N:
			wrong = append(wrong, fmt.Errorf("%s: connection %d, late %t, %s", o.ClientID, o.Lost.N, o.Late, o.Censored))
		case o.Lost.EndKind != timeline.EndEOF:
			wrong = append(wrong, fmt.Errorf("%s ended by %s", o.ClientID, o.Lost.EndKind))
		case o.Lost.LastOut > o.Action.Answered:
			wrong = append(wrong, fmt.Errorf("%s wrote %s after it fell silent", o.ClientID, time.Duration(o.Lost.LastOut-o.Action.Answered)))
		case silent < keep || silent > keep*3/2+slack:
			wrong = append(wrong, fmt.Errorf("%s was closed after %s of silence", o.ClientID, silent))
		case o.Lost.LastIn <= o.Action.Answered:
			wrong = append(wrong, fmt.Errorf("%s read nothing after it fell silent", o.ClientID))
		case notice != time.Duration(o.Noticed-o.Issued) || o.Parts.Close != 0 || o.Parts.ClosedKnown:
			wrong = append(wrong, fmt.Errorf("%s: the silence is not all in notice: %+v", o.ClientID, o.Parts))
		}
	}
	if victims != 4 {
		wrong = append(wrong, fmt.Errorf("%d of 4 victims lost their connection", victims))
	}
	return errors.Join(wrong...)
}

// knows is the known defect that explains a check.
func (r pcRun) knows(check string) string {
	for _, c := range r.Checks {
		if c.Name == check {
			return c.Known
		}
	}
	return ""
}

// TestKeepaliveStop: each client library on two brokers.
func TestKeepaliveStop(t *testing.T) {
	for target, slack := range map[string]time.Duration{
		"embedded": time.Second,
		// mosquitto looks once in five seconds.
		"mosquitto": 6 * time.Second,
	} {
		for _, driver := range []fleet.Driver{fleet.Paho{}, fleet.Strict{}} {
			t.Run(target+"/"+driver.Info().Name, func(t *testing.T) {
				if target == "mosquitto" {
					pcNeedMosquitto(t)
				}
				r := pcPlayOn(t, target, mute, driver)
				if err := muted(t, r.dir, slack); err != nil {
					t.Error(err)
				}
				if w := r.Total; w.Victims != 4 || w.Hit != 4 || w.Back != 4 {
					t.Errorf("%d victims, %d hit, %d back", w.Victims, w.Hit, w.Back)
				}
				if v := verdicts(r.Report)["keep-alive"]; v != reports.Valid && r.knows("keep-alive") == "" {
					t.Errorf("the check keep-alive is %s", v)
				}
				if r.Unscripted.Ends != 0 || verdicts(r.Report)["collateral"] != reports.Valid {
					t.Errorf("unscripted %+v", r.Unscripted)
				}
				if t.Failed() {
					r.show(t)
				}
			})
		}
	}
}

// TestKeepaliveStopLifted: a silence that is over before the broker has to act is
// ridden out, and what was to be written in it comes late and whole.
func TestKeepaliveStopLifted(t *testing.T) {
	for _, driver := range []fleet.Driver{fleet.Paho{}, fleet.Strict{}} {
		t.Run(driver.Info().Name, func(t *testing.T) {
			r := pcPlayOn(t, "embedded", mute, driver, "who: {count: 4}", "who: {count: 4}, for: 1s")
			if w := r.Total; w.Victims != 4 || w.RodeOut != 4 {
				t.Errorf("%d victims, %d rode out", w.Victims, w.RodeOut)
			}
			r.exactly(t, pcWant{})
		})
	}
}

// TestKeepaliveStopPlanted: the test above sees a keepalive-stop that lets the
// client write, one that closes, and one that silences all but one.
func TestKeepaliveStopPlanted(t *testing.T) {
	for name, c := range map[string]struct {
		instead func(env *fault.Env, client int) (int, func(), error)
		says    string
	}{
		"writes on": {func(env *fault.Env, client int) (int, func(), error) {
			return env.Clients.LiveN("devices", client), func() {}, nil
		}, "0 of 4 victims lost"},
		"closes": {func(env *fault.Env, client int) (int, func(), error) {
			n := env.Clients.LiveN("devices", client)
			_, err := env.Closer.CloseConnection(context.Background(), env.ClientID("devices", client))
			return n, func() {}, err
		}, "was closed after"},
		"forgets one": {func(env *fault.Env, client int) (int, func(), error) {
			if client == plantedVictim {
				return env.Clients.LiveN("devices", client), func() {}, nil
			}
			return env.Clients.Silence("devices", client)
		}, "3 of 4 victims lost"},
	} {
		t.Run(name, func(t *testing.T) {
			tables := DefaultTables()
			for i, k := range tables.Faults {
				if k.Name == "keepalive-stop" {
					tables.Faults[i].New = func(pf scenarios.PlanFault) (fault.Fault, error) {
						plantedVictim = pf.Victims[0].Client
						f, err := k.New(pf)
						return instead{f, c.instead}, err
					}
				}
			}
			sc := scenario(t, mute, "timeout: 30s", "timeout: 8s")
			plan, err := NewPlan(sc, PlanOptions{Tables: tables})
			if err != nil {
				t.Fatal(err)
			}
			_, dir := pbRun(t, plan, Options{Tables: tables, Version: "test"})
			if err := muted(t, dir, time.Second); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("it says %v, want %s", err, c.says)
			}
		})
	}
}

// plantedVictim is the first victim of the plan that runs.
var plantedVictim int

// instead is a fault whose clients do something else than fall silent.
type instead struct {
	fault.Fault
	what func(env *fault.Env, client int) (int, func(), error)
}

func (i instead) Inject(ctx context.Context, env *fault.Env) error {
	e := *env
	e.Clients = insteadClients{env.Clients, func(client int) (int, func(), error) { return i.what(env, client) }}
	return i.Fault.Inject(ctx, &e)
}

type insteadClients struct {
	fault.Clients
	what func(client int) (int, func(), error)
}

func (c insteadClients) Silence(_ string, client int) (int, func(), error) { return c.what(client) }

const crossed = `
name: crossed
clients: 4
fleets:
  - {name: devices, share: 50%, session: {keep_alive: 60s}, connect: {rate: 2000/s}, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}
  - {name: others, share: 50%, connect: {rate: 2000/s}, subscribe: [{topic: "rb/{client}/cmd", qos: 0}]}
traffic:
  - {from: devices, to: others, topic: "rb/{client}/cmd", qos: 0, each: 100/s, payload: 8192B}
phases:
  - {name: connect, until: {connected: 100%}, timeout: 20s}
  - name: storm
    faults: [{keepalive-stop: {fleet: devices}}, {blackhole: {fleet: devices, after: 300ms}}]
    for: 2s
  - {name: drain, until: {quiet: 300ms}, timeout: 20s}
`

// TestHealsDoNotWaitForEachOther: what a silent client has kept does not fit into
// a link that another fault of its wave holds, and is written when that is lifted.
func TestHealsDoNotWaitForEachOther(t *testing.T) {
	r, _ := play(t, scenario(t, crossed), PlanOptions{}, Options{})
	if r.Total.RodeOut == 0 || !r.Run.Complete {
		t.Errorf("%+v", r.Total)
	}
}
