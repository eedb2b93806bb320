package judge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// TestChartsStaySmall: a run of 100 long waves with everything in it leaves less
// than a megabyte of charts, printed as report.json prints them.
func TestChartsStaySmall(t *testing.T) {
	const waves, each, second = 100, 700, timeline.Instant(1e9)
	var list []*waveFacts
	var connects []timeline.Instant
	var outages []*Outage
	all := spans{}
	for k := range waves {
		start := timeline.Instant(k) * 60 * second
		w := &waveFacts{wave: timeline.Wave{Phase: "a-phase-with-a-long-name", Wave: k + 1, Start: start}, end: start + 60*second - 1}
		action := &timeline.Action{Phase: w.wave.Phase, Wave: k + 1, Fault: "takeover"}
		for i := range each {
			at := start + timeline.Instant(i)*60*second/each
			connects = append(connects, at+1)
			o := &Outage{ClientID: fmt.Sprintf("devices-0123456789-%06d", i), Fleet: "devices-of-the-north", Action: action, Start: at, Until: at + second, Parts: Parts{Lag: 123456789, ClosedKnown: true}}
			o.Attempts = make([]*timeline.Conn, i%25)
			w.outages, outages = append(w.outages, o), append(outages, o)
		}
		for f := range 20 {
			all.add(spanKey{"takeover", w.wave.Phase, fmt.Sprintf("fleet-%d", f), k + 1, 0}, start+1, start+second, each)
		}
		list = append(list, w)
	}
	row := measure.HealthRow{CanaryP99: new(int64(123456789)), EchoP99: new(int64(123456789)), Runnable: new(int64(1234)), CPU: 1234567, BrokerCPU: new(int64(1234567)), Heap: 123456789012}
	var rows []measure.HealthRow
	for i := range timeline.Instant(6000) {
		row.Start, row.End = i*second+123, (i+1)*second+122
		rows = append(rows, row)
	}
	c := reports.Charts{
		Faults: all.report(maxFaultSpans), Health: healthPoints(rows, maxHealth), Outages: envelopes(outages, waves*60*second, maxEnvelopes),
		Herds: herdShapes(list, connects), Attempts: attempts(list), Worst: worst(outages, maxWorst),
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("  ", "  ")
	if err := enc.Encode(c); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 1<<20 {
		t.Errorf("%d bytes of charts", b.Len())
	}
	bins, actions := 0, 0
	for _, h := range c.Herds {
		bins += len(h.Counts)
	}
	for _, f := range c.Faults {
		actions += f.Actions
	}
	if len(c.Faults) > maxFaultSpans || actions != waves*20*each || len(c.Health) > maxHealth || len(c.Outages) > maxEnvelopes || bins > maxHerdTotal || len(c.Herds) != waves {
		t.Errorf("%d spans with %d actions, %d points, %d bins of outages, %d of herds", len(c.Faults), actions, len(c.Health), len(c.Outages), bins)
	}
	t.Logf("%d bytes", b.Len())
}
