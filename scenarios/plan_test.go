package scenarios_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func ptr[T any](v T) *T { return &v }

func samplePlan() *scenarios.Plan {
	return &scenarios.Plan{
		SchemaVersion: scenarios.PlanVersion,
		Scenario:      "kick-all",
		Summary:       "Every connection is closed at once: # and \"quotes\" too.",
		ScenarioHash:  "0123456789abcdef",
		PlanHash:      "1e10",
		Seed:          1<<53 - 1,
		Target:        "embedded",
		Closer:        "close-connection",
		Clients:       3,
		Fleets: []scenarios.PlanFleet{{Clients: 3, Fleet: scenarios.Fleet{
			Name: "devices", Share: 1, ClientID: "{fleet}-{index}", Resubscribe: "when-absent", Back: "first-message",
			Session:   scenarios.Session{KeepAlive: 90 * time.Second},
			Reconnect: scenarios.Reconnect{Policy: "paho", Max: 30 * time.Second},
			Connect:   scenarios.Connect{Rate: 0.1},
			Subscribe: []scenarios.Subscription{{Topic: "rb/{client}/#", QoS: 1}},
		}}},
		Traffic: []scenarios.Traffic{{From: "control", To: "devices", Topic: "rb/{client}/x", QoS: 1, Each: 0.2, Payload: 64}},
		Phases: []scenarios.PlanPhase{
			{Name: "connect", Until: &scenarios.Until{Connected: ptr(1.0)}, Timeout: time.Minute, OnTimeout: "abort"},
			{Name: "storm", Until: &scenarios.Until{Back: ptr(0.95)}, Timeout: time.Minute, OnTimeout: "continue", Waves: []scenarios.PlanWave{{
				Wave: 1, Horizon: time.Minute, Faults: []scenarios.PlanFault{{
					Kind: "close", Fleet: "devices", Params: map[string]string{"who": "share 100%", "after": "0s"},
					Count: 2, Digest: "feed", Victims: []scenarios.Victim{{Client: 2}, {Client: 0, Offset: 1500 * time.Microsecond}},
				}},
			}}},
			{Name: "drain", Until: &scenarios.Until{Quiet: ptr(2 * time.Second)}, Timeout: time.Minute, OnTimeout: "continue"},
		},
		Expect: []scenarios.Expectation{
			{Metric: "outage.p99", Phase: "storm", Wave: "each", Below: &scenarios.Limit{Text: "5s", Unit: "s", Value: 5}, OnFail: "fail"},
			{Metric: "lost.qos1", Equals: &scenarios.Limit{Text: "0"}, OnFail: "warn"},
		},
	}
}

// oraclePlan is a plan with everything that samplePlan leaves out.
func oraclePlan() *scenarios.Plan {
	p := samplePlan()
	p.Driver = "strict"
	fl := &p.Fleets[0]
	fl.Reconnect = scenarios.Reconnect{Policy: scenarios.PolicyFixed, Delay: 250 * time.Millisecond}
	fl.Will = &scenarios.Will{Topic: "w/{client}", QoS: 2, Retain: true}
	fl.Subscribe = append(fl.Subscribe, scenarios.Subscription{Topic: "$share/g/jobs/+", QoS: 2})
	p.Traffic = []scenarios.Traffic{
		{From: "devices", To: "devices", Topic: "jobs/{from}", QoS: 2, Payload: 64, Burst: 40, At: scenarios.AtFault},
		{From: "control", To: "devices", Topic: "rb/{client}/x", QoS: 1, Each: 40, Payload: 64, While: scenarios.WhileAway, Retain: true},
	}
	return p
}

// TestPlanFileOfTheOracle pins the form of what the second version added.
func TestPlanFileOfTheOracle(t *testing.T) {
	var b bytes.Buffer
	if err := scenarios.WritePlan(&b, oraclePlan(), true); err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/plan-oracle.golden", b.String())
	got, err := scenarios.ReadPlan(&b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(oraclePlan(), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestPlanFile(t *testing.T) {
	for _, victims := range []bool{true, false} {
		var b bytes.Buffer
		if err := scenarios.WritePlan(&b, samplePlan(), victims); err != nil {
			t.Fatal(err)
		}
		golden(t, fmt.Sprintf("testdata/plan-victims-%v.golden", victims), b.String())
		got, err := scenarios.ReadPlan(&b)
		if err != nil {
			t.Fatal(err)
		}
		want := samplePlan()
		if !victims {
			want.Phases[1].Waves[0].Faults[0].Victims = nil
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("victims %v (-want +got):\n%s", victims, diff)
		}
	}
}

func TestWritePlanKeepsItsArgument(t *testing.T) {
	p := samplePlan()
	if err := scenarios.WritePlan(&bytes.Buffer{}, p, false); err != nil {
		t.Fatal(err)
	}
	scenarios.PlanHash(p)
	if diff := cmp.Diff(samplePlan(), p); diff != "" {
		t.Error(diff)
	}
}

func TestReadPlanIsStrict(t *testing.T) {
	var b bytes.Buffer
	if err := scenarios.WritePlan(&b, samplePlan(), true); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for name, change := range map[string]func(string) string{
		"empty":           func(string) string { return "" },
		"not YAML":        func(s string) string { return s + "\t[" },
		"unknown key":     func(s string) string { return s + "extra: 1\n" },
		"key twice":       func(s string) string { return s + "seed: 1\n" },
		"two documents":   func(s string) string { return s + "---\nseed: 1\n" },
		"other version":   func(s string) string { return strings.Replace(s, "schema_version: 1", "schema_version: 2", 1) },
		"no version":      func(s string) string { return strings.Replace(s, "schema_version: 1\n", "", 1) },
		"bad limit":       func(s string) string { return strings.Replace(s, "below: 5s", "below: soon", 1) },
		"bad duration":    func(s string) string { return strings.Replace(s, "horizon: 1m0s", "horizon: long", 1) },
		"count of others": func(s string) string { return strings.Replace(s, "count: 2", "count: 3", 1) },
		"negative count":  func(s string) string { return strings.Replace(s, "count: 2", "count: -2", 1) },
		"negative victim": func(s string) string { return strings.Replace(s, "client: 2,", "client: -2,", 1) },
		"too large":       func(s string) string { return s + strings.Repeat("#", 64<<20) },
	} {
		bad := change(good)
		if bad == good {
			t.Errorf("%s: the change changed nothing", name)
		}
		if p, err := scenarios.ReadPlan(strings.NewReader(bad)); !errors.Is(err, scenarios.ErrPlan) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
}

func TestPlanHash(t *testing.T) {
	base := scenarios.PlanHash(samplePlan())
	if base != "d7ada7a5589233de" {
		t.Errorf("a plan of the first version now has the hash %s: what is new must be left out where it is not used", base)
	}
	for name, tc := range map[string]struct {
		change func(*scenarios.Plan)
		same   bool
	}{
		"target":   {func(p *scenarios.Plan) { p.Target, p.Closer, p.Summary, p.PlanHash = "tcp", "fin", "", "" }, true},
		"driver":   {func(p *scenarios.Plan) { p.Driver = "paho" }, true},
		"unlisted": {func(p *scenarios.Plan) { p.Phases[1].Waves[0].Faults[0].Victims = nil }, true},
		"seed":     {func(p *scenarios.Plan) { p.Seed++ }, false},
		"victims":  {func(p *scenarios.Plan) { p.Phases[1].Waves[0].Faults[0].Digest = "beef" }, false},
		"limit":    {func(p *scenarios.Plan) { p.Expect[0].Below.Text = "6s" }, false},
		"clients":  {func(p *scenarios.Plan) { p.Clients++ }, false},
		"will":     {func(p *scenarios.Plan) { p.Fleets[0].Will = &scenarios.Will{Topic: "w"} }, false},
		"delay":    {func(p *scenarios.Plan) { p.Fleets[0].Reconnect.Delay = time.Second }, false},
		"burst":    {func(p *scenarios.Plan) { p.Traffic[0].Burst = 2 }, false},
		"at":       {func(p *scenarios.Plan) { p.Traffic[0].At = scenarios.AtFault }, false},
		"while":    {func(p *scenarios.Plan) { p.Traffic[0].While = scenarios.WhileAway }, false},
		"retain":   {func(p *scenarios.Plan) { p.Traffic[0].Retain = true }, false},
	} {
		p := samplePlan()
		tc.change(p)
		if same := scenarios.PlanHash(p) == base; same != tc.same {
			t.Errorf("%s: same hash is %v", name, same)
		}
	}
}

// TestPlanRoundTrip: any plan reads back as it was, and writes the same bytes.
func TestPlanRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlan(t)
		var first, second bytes.Buffer
		if err := scenarios.WritePlan(&first, p, true); err != nil {
			t.Fatal(err)
		}
		got, err := scenarios.ReadPlan(bytes.NewReader(first.Bytes()))
		if err != nil {
			t.Fatalf("%v\n%s", err, first.String())
		}
		if diff := cmp.Diff(p, got); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, first.String())
		}
		if err := scenarios.WritePlan(&second, got, true); err != nil || first.String() != second.String() {
			t.Fatalf("%v: the bytes differ", err)
		}
	})
}

func anyPlan(t *rapid.T) *scenarios.Plan {
	p := samplePlan()
	if rapid.Bool().Draw(t, "oracle") {
		p = oraclePlan()
		p.Driver = rapid.SampledFrom([]string{"", "paho", "strict"}).Draw(t, "driver")
		p.Fleets[0].Will.Retain = rapid.Bool().Draw(t, "will retained")
		p.Traffic[0].Burst = rapid.IntRange(0, 10_000).Draw(t, "burst")
		p.Traffic[1].Retain = rapid.Bool().Draw(t, "retained")
	}
	text := rapid.StringOf(rapid.RuneFrom([]rune("ab01{}:#'\"/+%-,[]&*!|> .\\~é日\n\t")))
	span := rapid.Custom(func(t *rapid.T) time.Duration { return time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "ns")) })
	p.Scenario, p.Summary = text.Draw(t, "scenario"), text.Draw(t, "summary")
	p.Seed = rapid.Uint64().Draw(t, "seed")
	fl := &p.Fleets[0]
	fl.Share = rapid.Float64Range(0, 1).Draw(t, "share")
	fl.Connect.Rate = rapid.Float64Range(1e-9, 1e6).Draw(t, "rate")
	fl.Subscribe[0].Topic = text.Draw(t, "filter")
	p.Traffic[0].Topic = text.Draw(t, "topic")
	p.Phases[1].Timeout, p.Phases[2].Until.Quiet = span.Draw(t, "timeout"), ptr(span.Draw(t, "quiet"))
	pf := &p.Phases[1].Waves[0].Faults[0]
	pf.Params = map[string]string{"who": text.Draw(t, "who"), text.Draw(t, "key"): text.Draw(t, "value")}
	pf.Victims = nil
	for range rapid.IntRange(0, 20).Draw(t, "victims") {
		pf.Victims = append(pf.Victims, scenarios.Victim{Client: rapid.IntRange(0, 1<<40).Draw(t, "client"), Offset: span.Draw(t, "offset")})
	}
	pf.Count = len(pf.Victims)
	limit, err := scenarios.ParseLimit(fmt.Sprintf("%d%s", rapid.IntRange(0, 100).Draw(t, "limit"), rapid.SampledFrom([]string{"s", "ms", "%", ""}).Draw(t, "unit")))
	if err != nil {
		t.Fatal(err)
	}
	p.Expect[0].Below = &limit
	return p
}
