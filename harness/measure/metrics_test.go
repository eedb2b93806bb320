package measure

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/rebound-mqtt/rebound/reports"
)

// fullQuantile has every figure, each with another value.
func fullQuantile(n int64) reports.Quantile {
	return reports.Quantile{N: n, Mean: ptr(0.15), P50: ptr(0.16), P90: ptr(0.19), P99: ptr(0.21), P999: ptr(0.22), Max: ptr(0.24), LowN: []string{"p999"}}
}

func fullWave() reports.Wave {
	w := reports.Wave{
		Phase: "storm", Wave: 1, Victims: 1000, Back: 990, Censored: 4, Unaffected: 3, Absent: 3, Hit: 994, NoEffect: 2,
		Spread: 0.094, Outage: fullQuantile(990), BackCurve: fullQuantile(990), RMTA: ptr(0.155), Answer: fullQuantile(994),
		ProbeNeeded: fullQuantile(990), Herd: reports.Herd{Connects: 1000, Peak: 61, PeakToMean: 1.9, Amplification: 1.006},
		Waterfall: map[string]reports.Quantile{},
	}
	for _, part := range WaterfallParts() {
		w.Waterfall[part] = fullQuantile(990)
	}
	return w
}

func fullReport() *reports.Report {
	return &reports.Report{
		Connect: reports.Connect{Clients: 1000, Connected: 990, Latency: fullQuantile(990)},
		Total:   fullWave(),
		Messages: []reports.Messages{
			{QoS: 0, Scheduled: 110, Missed: 1, Attempted: 100, Expected: 100, Delivered: 60, Lost: 42, LostAway: 41, Duplicated: 2, Reordered: 3, Unexpected: 4},
			{QoS: 1, Scheduled: 220, Missed: 5, Attempted: 200, Expected: 190, Delivered: 230, Lost: 7, Duplicated: 31, Reordered: 8, Unexpected: 9, Recovered: 6},
			{QoS: 2, Scheduled: 55, Attempted: 50, Expected: 45, Delivered: 44, Lost: 17, Duplicated: 20, Forbidden: 21, NotRedelivered: 22, LostInClient: 23, Stuck: 24, Misrouted: 25, WrongQoS: 26},
		},
		Unscripted: reports.Unscripted{Ends: 11, Control: 1},
		Harness:    reports.Harness{Canary: fullQuantile(500)},
	}
}

func TestMetricRows(t *testing.T) {
	full, empty := fullReport(), &reports.Report{}
	seen := map[string]bool{}
	for _, m := range Metrics() {
		switch {
		case seen[m.Name]:
			t.Errorf("%s stands twice", m.Name)
		case len(m.Doc) < 15:
			t.Errorf("%s: no doc: %q", m.Name, m.Doc)
		case m.Unit != "s" && m.Unit != "" && m.Unit != "%":
			t.Errorf("%s: unit %q", m.Name, m.Unit)
		case m.Scope != ScopeWave && m.Scope != ScopeRun:
			t.Errorf("%s: scope %q", m.Name, m.Scope)
		case m.Better != Lower && m.Better != Higher && m.Better != Neutral:
			t.Errorf("%s: better %q", m.Name, m.Better)
		case m.Timed && m.Unit != "s":
			t.Errorf("%s is timed but no time", m.Name)
		}
		seen[m.Name] = true
		if v, n, _, why := m.Value(full, nil); v == nil || n == 0 || why != "" {
			t.Errorf("%s of a full report: %v, n %d, why %q", m.Name, v, n, why)
		}
		if v, n, _, why := m.Value(empty, nil); v != nil || n != 0 || why != WhyNone {
			t.Errorf("%s of an empty report: %v, n %d, why %q: nothing must not pass", m.Name, v, n, why)
		}
		if got, ok := Lookup(m.Name); !ok || got.Doc != m.Doc {
			t.Errorf("Lookup(%s) finds another row", m.Name)
		}
	}
	for _, name := range strings.Fields(`outage.p50 outage.p90 outage.p99 outage.p999 outage.max outage.mean
		back.p50 back.p90 back.p99 back.all rmta waterfall.close.p50 waterfall.first_message.p99 waterfall.backoff.p90
		answer.p99 connect.p50 connect.p99 connect.max victims back censored unaffected absent no_effect
		herd.peak herd.peak_to_mean herd.amplification probes_needed.p99 spread lost.qos0 lost.qos1 lost_away.qos0
		duplicated.qos1 duplicated.qos0 reordered unexpected recovered missed_slots unscripted control_unscripted
		canary.p99 connected`) {
		if !seen[name] {
			t.Errorf("no metric %s", name)
		}
	}
	if _, ok := Lookup("outage.p98"); ok {
		t.Error("Lookup finds outage.p98")
	}
}

func TestMetricValues(t *testing.T) {
	r := fullReport()
	wave := fullWave()
	wave.Censored, wave.Outage.P99 = 5, ptr(3.5)
	for _, tc := range []struct {
		name string
		wave *reports.Wave
		want float64
		n    int64
		low  bool
	}{
		{"outage.p50", nil, 0.16, 990, false}, {"outage.p99", nil, 0.21, 990, false}, {"outage.p999", nil, 0.22, 990, true},
		{"outage.max", nil, 0.24, 990, false}, {"outage.mean", nil, 0.15, 990, false},
		{"outage.p99", &wave, 3.5, 990, false}, {"censored", &wave, 5, 1000, false}, {"censored", nil, 4, 1000, false},
		{"back.all", nil, 0.24, 990, false}, {"back", nil, 990, 1000, false}, {"rmta", nil, 0.155, 994, false},
		{"victims", nil, 1000, 1000, false}, {"unaffected", nil, 3, 1000, false}, {"absent", nil, 3, 1000, false}, {"no_effect", nil, 2, 1000, false},
		{"herd.peak", nil, 61, 1000, false}, {"herd.amplification", nil, 1.006, 994, false}, {"spread", nil, 0.094, 1000, false},
		{"lost.qos0", nil, 42, 100, false}, {"lost.qos1", nil, 7, 190, false}, {"lost_away.qos0", nil, 41, 100, false},
		{"duplicated.qos0", nil, 2, 60, false}, {"duplicated.qos1", nil, 31, 230, false},
		{"lost.qos2", nil, 17, 45, false}, {"duplicated.qos2", nil, 21, 44, false}, {"not_redelivered", nil, 22, 334, false},
		{"lost_in_client", nil, 23, 334, false}, {"stuck", nil, 24, 350, false}, {"misrouted", nil, 25, 334, false}, {"wrong_qos", nil, 26, 334, false},
		{"reordered", nil, 11, 334, false}, {"unexpected", nil, 13, 363, false}, {"recovered", nil, 6, 350, false},
		{"missed_slots", nil, 6, 385, false}, {"unscripted", nil, 11, 990, false}, {"control_unscripted", nil, 1, 990, false},
		{"connected", nil, 0.99, 1000, false},
	} {
		m, _ := Lookup(tc.name)
		v, n, low, why := m.Value(r, tc.wave)
		if v == nil || *v != tc.want || n != tc.n || low != tc.low {
			t.Errorf("%s: %v n %d low %v why %q, want %v n %d low %v", tc.name, v, n, low, why, tc.want, tc.n, tc.low)
		}
	}
}

// Each row reads a figure of its own: with every number of the report another
// one, no two metrics agree.
func TestMetricsReadDifferentFigures(t *testing.T) {
	b, err := json.Marshal(fullReport())
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	i := 0
	b, err = json.Marshal(walk(tree, func(float64) float64 { i++; return float64(1000 + i*i*i) }))
	if err != nil {
		t.Fatal(err)
	}
	var r reports.Report
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	for qos := range r.Messages {
		r.Messages[qos].QoS = qos
	}
	reads := map[float64]string{}
	for _, m := range Metrics() {
		v, _, _, why := m.Value(&r, nil)
		if v == nil {
			t.Errorf("%s: %s", m.Name, why)
			continue
		}
		if other, ok := reads[*v]; ok {
			t.Errorf("%s and %s read the same figure", m.Name, other)
		}
		reads[*v] = m.Name
	}
}

// walk replaces the numbers of a JSON tree, in the order of sorted keys.
func walk(v any, f func(float64) float64) any {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			v[k] = walk(v[k], f)
		}
	case []any:
		for i := range v {
			v[i] = walk(v[i], f)
		}
	case float64:
		return f(v)
	}
	return v
}

func TestUnknownSaysWhy(t *testing.T) {
	m, _ := Lookup("outage.p99")
	for _, tc := range []struct {
		q   reports.Quantile
		why string
	}{
		{reports.Quantile{}, WhyNone},
		{reports.Quantile{Censored: 9}, WhyNotReached},
		{reports.Quantile{N: 90, Censored: 9, P50: ptr(1.0)}, WhyNotReached},
		{reports.Quantile{N: 90, Overflow: 9, P50: ptr(1.0)}, WhyOverflow},
		{reports.Quantile{N: 90}, WhyNotKnown},
	} {
		if v, _, _, why := m.Value(&reports.Report{}, &reports.Wave{Outage: tc.q}); v != nil || why != tc.why {
			t.Errorf("%+v: %v, %q, want %q", tc.q, v, why, tc.why)
		}
	}
	rmta, _ := Lookup("rmta")
	if v, n, _, why := rmta.Value(&reports.Report{}, &reports.Wave{Back: 1, Censored: 1}); v != nil || n != 2 || why != WhyNotKnown {
		t.Errorf("rmta without its figure: %v, %d, %q", v, n, why)
	}
}

// A value is the caller's: changing it must not change the report.
func TestMetricValueIsACopy(t *testing.T) {
	r := fullReport()
	m, _ := Lookup("outage.p99")
	v, _, _, _ := m.Value(r, nil)
	*v = 99
	if *r.Total.Outage.P99 != 0.21 {
		t.Error("the report changed")
	}
}

func TestTimedMetrics(t *testing.T) {
	for name, want := range map[string]bool{
		"outage.p99": true, "rmta": true, "connect.max": true, "answer.p99": true, "waterfall.dial.p50": true,
		"canary.p99": false, "spread": false, "censored": false, "lost.qos1": false, "herd.peak": false,
	} {
		if m, ok := Lookup(name); !ok || m.Timed != want {
			t.Errorf("%s: timed %v, want %v", name, m.Timed, want)
		}
	}
}
