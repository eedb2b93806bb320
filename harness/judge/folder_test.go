package judge

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// folder is the evidence of a run, to be bent before it is judged.
type folder struct {
	short bool // the last row of health.csv is missing
	*history
	plan    *scenarios.Plan
	env     EnvFile
	open    timeline.Mark
	end     timeline.Mark
	phases  []timeline.Phase
	records []ledger.Record
	found   []timeline.Finding
	frames  []timeline.Frame
	extents []timeline.Extent
	latency []timeline.Latency
	canary  map[string]time.Duration // phase -> lateness; nil = no health.csv
	drop    []string                 // files that are left out
	cut     []string                 // files that lose their second half
}

const clients = 4

// newFolder is a clean run: four clients, all kicked once and back, one QoS 1
// and one QoS 0 stream to each, drained.
func newFolder() *folder {
	f := &folder{
		history: newHistory(), plan: testPlan(),
		env: EnvFile{
			Rebound: "0.1.0", RunID: "r1",
			Target: reports.Target{Kind: "embedded", Broker: "mochi", Version: "2.7.9", Closer: "close-connection", Transport: "tcp",
				Abilities: reports.Abilities{KeepsSession: true, KickReportsTime: true, Persistence: "none"}},
			Driver:      reports.Driver{Name: "paho", Version: "1.5.1"},
			Environment: reports.Env{OS: "linux", Cores: 2, GOMAXPROCS: 2, Go: "go1.26"},
		},
		open: timeline.Mark{RunID: "r1", StartedAt: "2026-11-24T00:00:00Z", Monotonic: 1},
		phases: []timeline.Phase{
			{Name: "connect", Start: 1, End: 500 * ms, Reason: "until"},
			{Name: "steady", Start: 500 * ms, End: 1000 * ms, Reason: "for"},
			{Name: "storm", Start: 1000 * ms, End: 1500 * ms, Reason: "until"},
			{Name: "drain", Start: 1500 * ms, End: 4000 * ms, Reason: "until"},
		},
		canary: map[string]time.Duration{"connect": 50 * time.Microsecond, "steady": 50 * time.Microsecond, "storm": 50 * time.Microsecond, "drain": 50 * time.Microsecond},
	}
	f.stop = 4000 * ms
	f.end = timeline.Mark{Stop: f.stop}
	for c := range clients {
		t := timeline.Instant(c)
		f.ended(c, 1, 10+t, 1006+t).Intended = 10 * ms
		f.last(c, 2, 1010+2*t)
		f.kick(c, 1000, 1001, 1005).Found = new(true)
		f.stream(c, 1, 20)
		f.stream(c, 0, 40)
	}
	return f
}

func testPlan() *scenarios.Plan {
	all, quiet := 1.0, 2*time.Second
	return &scenarios.Plan{
		SchemaVersion: scenarios.PlanVersion, Scenario: "kick-all", Summary: "All are kicked at once.",
		ScenarioHash: "s", PlanHash: "p", Seed: 1, Target: "embedded", Closer: "close-connection", Clients: clients,
		Fleets: []scenarios.PlanFleet{{Clients: clients, Fleet: scenarios.Fleet{
			Name: "devices", Share: 1, ClientID: "dev-{index}", Session: scenarios.Session{KeepAlive: 30 * time.Second},
			Reconnect: scenarios.Reconnect{Policy: "paho", Max: 30 * time.Second}, Connect: scenarios.Connect{Rate: 500},
			Resubscribe: "when-absent", Back: "first-message",
			Subscribe: []scenarios.Subscription{{Topic: "rb/{client}/cmd", QoS: 1}, {Topic: "rb/{client}/tick", QoS: 0}},
		}}},
		Traffic: []scenarios.Traffic{
			{From: "control", To: "devices", Topic: "rb/{client}/cmd", QoS: 1, Each: 1, Payload: 64},
			{From: "control", To: "devices", Topic: "rb/{client}/tick", QoS: 0, Each: 5, Payload: 64},
		},
		Phases: []scenarios.PlanPhase{
			{Name: "connect", Until: &scenarios.Until{Connected: &all}, Timeout: time.Minute, OnTimeout: "abort"},
			{Name: "steady", For: 500 * time.Millisecond},
			{Name: "storm", Until: &scenarios.Until{Back: &all}, Timeout: time.Minute, OnTimeout: "continue", Waves: []scenarios.PlanWave{{
				Wave: 1, Horizon: time.Minute,
				Faults: []scenarios.PlanFault{{Kind: "close", Fleet: "devices", Count: clients, Digest: "d"}},
			}}},
			{Name: "drain", Until: &scenarios.Until{Quiet: &quiet}, Timeout: time.Minute, OnTimeout: "continue"},
		},
		Expect: []scenarios.Expectation{
			expectation("outage.p50", "each", "below", "5s", "s", 5),
			expectation("censored", "", "equals", "0", "", 0),
			expectation("lost.qos1", "", "equals", "0", "", 0),
		},
	}
}

func expectation(metric, wave, op, text, unit string, v float64) scenarios.Expectation {
	x := scenarios.Expectation{Metric: metric, Wave: wave, OnFail: "fail"}
	l := &scenarios.Limit{Text: text, Unit: unit, Value: v}
	switch op {
	case "below":
		x.Below = l
	case "at_most":
		x.AtMost = l
	case "at_least":
		x.AtLeast = l
	case "above":
		x.Above = l
	case "equals":
		x.Equals = l
	}
	return x
}

// stream adds the accounts of one stream to one client: n messages, sent 100
// ms apart from 200 ms on, all delivered in one epoch.
func (f *folder) stream(client int, qos byte, n uint64) {
	id := uint32(10*client) + uint32(qos)
	all := ledger.NewSet()
	all.AddRange(1, n)
	topic := map[byte]string{0: "tick", 1: "cmd"}[qos]
	s := &ledger.StreamAccount{
		ID: id, Publisher: "rb-control-r1-0", Topic: "rb/" + clientID(client) + "/" + topic, QoS: qos,
		Scheduled: int64(n), Attempted: all, SentinelSent: 3600 * ms, SentinelAcked: 3601 * ms,
	}
	d := &ledger.DeliveryAccount{
		Stream: id, Client: clientID(client), Epoch: 1, Began: 15 * ms, Granted: qos, Filters: 1,
		From: 1, To: n, Delivered: all.Clone(), Sentinel: 3602 * ms,
	}
	if qos == 1 {
		s.Acked = all.Clone()
	}
	f.records = append(f.records, ledger.Record{Stream: s}, ledger.Record{Delivery: d})
}

// lose takes messages away from a subscriber, with their instants: message k
// was sent at (100 + 100 k) ms.
func (f *folder) lose(client int, qos byte, seqs ...uint64) {
	id := uint32(10*client) + uint32(qos)
	for _, r := range f.records {
		if s := r.Stream; s != nil && s.ID == id {
			for _, seq := range seqs {
				at := timeline.Instant(100+100*seq) * ms
				m := ledger.Message{Seq: seq, Intended: at, Sent: at}
				if qos == 1 {
					m.Acked = at + ms
				}
				s.Open = append(s.Open, m)
			}
		}
		if d := r.Delivery; d != nil && d.Stream == id {
			d.Delivered = d.Delivered.Minus(ledger.NewSet(seqs...))
		}
	}
}

func (f *folder) fs(t *testing.T) fstest.MapFS {
	t.Helper()
	files := map[string]func(io.Writer) error{
		"plan.yaml":         func(w io.Writer) error { return scenarios.WritePlan(w, f.plan, false) },
		"env.json":          func(w io.Writer) error { return WriteEnv(w, f.env) },
		"events.jsonl.gz":   f.writeEvents,
		"accounts.jsonl.gz": f.writeAccounts,
	}
	if f.canary != nil {
		files["health.csv"] = f.writeHealth
	}
	if f.found != nil {
		files["findings.jsonl.gz"] = f.writeFindings
	}
	dir := fstest.MapFS{}
	for name, write := range files {
		if slices.Contains(f.drop, name) {
			continue
		}
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data := b.Bytes()
		if slices.Contains(f.cut, name) {
			data = data[:len(data)/2]
		}
		dir[name] = &fstest.MapFile{Data: data}
	}
	return dir
}

// events counts what is written before the closing mark.
func (f *folder) events() int {
	n := len(f.phases) + len(f.waves) + len(f.actions) + len(f.frames) + len(f.extents) + len(f.latency) + len(f.conns)
	if f.open.RunID != "" {
		n++
	}
	return n
}

func (f *folder) writeEvents(w io.Writer) error {
	out := timeline.NewWriter(w)
	if f.open.RunID != "" {
		out.Add(timeline.Event{Mark: &f.open})
	}
	for i := range f.phases {
		out.Add(timeline.Event{Phase: &f.phases[i]})
	}
	for i := range f.waves {
		out.Add(timeline.Event{Wave: &f.waves[i]})
	}
	for i := range f.actions {
		out.Add(timeline.Event{Action: &f.actions[i]})
	}
	for i := range f.extents {
		out.Add(timeline.Event{Extent: &f.extents[i]})
	}
	for i := range f.frames {
		out.Add(timeline.Event{Frame: &f.frames[i]})
	}
	for i := range f.latency {
		out.Add(timeline.Event{Latency: &f.latency[i]})
	}
	if err := out.Flush(); err != nil {
		return err
	}
	for i := range f.conns {
		out.Add(timeline.Event{Conn: &f.conns[i]})
	}
	if f.end != (timeline.Mark{}) {
		out.Add(timeline.Event{Mark: &f.end})
	}
	return out.Close()
}

func (f *folder) writeAccounts(w io.Writer) error {
	return timeline.WriteMember(w, func(w io.Writer) error { return ledger.WriteAccounts(w, slices.Values(f.records)) })
}

func (f *folder) writeFindings(w io.Writer) error {
	return timeline.WriteMember(w, func(w io.Writer) error { return timeline.WriteFindings(w, f.found) })
}

func (f *folder) writeHealth(w io.Writer) error {
	var rows []measure.HealthRow
	for _, p := range f.phases {
		h := measure.NewHist(measure.Nanoseconds)
		h.RecordN(int64(f.canary[p.Name]), 100)
		rows = append(rows, measure.HealthRow{
			Phase: p.Name, Start: p.Start, End: p.End, Canary: h.Encode(), Echo: h.Encode(), Sched: h.Encode(),
			Goroutines: 50, CPU: 1000, FDs: new(int64(20)), Heap: 1 << 20,
		})
	}
	if f.short {
		rows = rows[:len(rows)-1]
	}
	return measure.WriteHealth(w, rows)
}

// judge gives the report of the folder.
func (f *folder) judge(t *testing.T) *reports.Report {
	t.Helper()
	r, err := Judge(f.fs(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// find gives a check of a report by name.
func find(t *testing.T, r *reports.Report, name string) reports.Check {
	t.Helper()
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %s", name)
	return reports.Check{}
}
