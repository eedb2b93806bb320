package scenarios_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.yaml.in/yaml/v4"
	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// sameMeaning compares scenarios but for where they were written and how.
var sameMeaning = cmp.Options{
	cmpopts.IgnoreTypes(scenarios.Pos{}),
	cmpopts.IgnoreFields(yaml.Node{}, "Line", "Column", "Style"),
}

// reload writes a scenario and reads it again.
func reload(t testing.TB, sc *scenarios.Scenario, schema scenarios.Schema) *scenarios.Scenario {
	t.Helper()
	text, err := scenarios.Encode(sc)
	if err != nil {
		t.Fatal(err)
	}
	again, err := scenarios.Load("again.yaml", text, schema)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return again
}

func TestEncodeLibrary(t *testing.T) {
	schema := testSchema(t)
	for _, s := range scenarios.Library() {
		sc, err := scenarios.Load(s.File(), s.Data, schema)
		if err != nil {
			t.Fatal(err)
		}
		again := reload(t, sc, schema)
		if diff := cmp.Diff(sc, again, sameMeaning); diff != "" {
			t.Errorf("%s: %s", s.Name, diff)
		}
		if scenarios.Hash(again) != scenarios.Hash(sc) {
			t.Errorf("%s: another hash", s.Name)
		}
	}
}

// TestEncodeProperty: whatever is legal reads back as it was.
func TestEncodeProperty(t *testing.T) {
	schema := testSchema(t)
	rapid.Check(t, func(rt *rapid.T) {
		sc, err := scenarios.Build(drawScenario(rt), schema)
		if err != nil {
			rt.Fatalf("%v", err)
		}
		again := reload(t, sc, schema)
		if diff := cmp.Diff(sc, again, sameMeaning); diff != "" {
			rt.Fatalf("%s", diff)
		}
		if scenarios.Hash(again) != scenarios.Hash(sc) {
			rt.Fatalf("another hash")
		}
	})
}

// drawer draws parts of legal scenarios.
type drawer struct{ *rapid.T }

func (d drawer) num(name string, from, to int) int { return rapid.IntRange(from, to).Draw(d.T, name) }
func (d drawer) of(name string, values ...string) string {
	return rapid.SampledFrom(values).Draw(d.T, name)
}
func (d drawer) yes(name string) bool { return rapid.Bool().Draw(d.T, name) }
func (d drawer) time(name string) time.Duration {
	return time.Duration(rapid.Int64Range(1, int64(time.Hour)).Draw(d.T, name))
}
func (d drawer) share(name string) float64 {
	return float64(d.num(name, 1, 10000)) / 100 / 100
}
func (d drawer) shareText(name string) string {
	return fmt.Sprintf("%d.%02d%%", d.num(name, 0, 99), d.num(name, 1, 99))
}
func (d drawer) rate(name string) float64 { return rapid.Float64Range(0.001, 1e5).Draw(d.T, name) }

// parts splits 100% into n shares.
func (d drawer) parts(n int) []float64 {
	left, out := 100, make([]float64, n)
	for i := range out {
		k := left
		if i < n-1 {
			k = d.num("part", 1, left-(n-1-i))
		}
		out[i], left = float64(k)/100, left-k
	}
	return out
}

func drawScenario(rt *rapid.T) scenarios.Scenario {
	d := drawer{rt}
	sc := scenarios.New(d.of("name", "x", "kick-all", "null", "a1"))
	sc.Summary = rapid.StringMatching(`[ -~äπ]{0,40}`).Draw(rt, "summary")
	sc.Seed, sc.Clients = uint64(d.num("seed", 0, 1<<53-1)), d.num("clients", 100, 5000)
	for i, share := range d.parts(d.num("fleets", 1, 3)) {
		sc.Fleets = append(sc.Fleets, d.fleet(fmt.Sprintf("f%d", i), share))
	}
	faulted := d.yes("faulted")
	for i := range d.num("phases", 1, 4) {
		sc.Phases = append(sc.Phases, d.phase(fmt.Sprintf("p%d", i), faulted && i == 0, sc.Clients))
	}
	for range d.num("traffic", 0, 3) {
		sc.Traffic = append(sc.Traffic, d.traffic(faulted))
	}
	for range d.num("expect", 0, 3) {
		sc.Expect = append(sc.Expect, d.expect(faulted))
	}
	return sc
}

func (d drawer) fleet(name string, share float64) scenarios.Fleet {
	f := scenarios.NewFleet(name, share, scenarios.Subscription{Topic: "rb/{client}/+", QoS: byte(d.num("qos", 0, 2))})
	if share == 1 && d.yes("default share") {
		f.Share = 0
	}
	if d.yes("session") {
		f.Session = scenarios.Session{Clean: d.yes("clean"), KeepAlive: time.Duration(d.num("keep alive", 0, 65535)) * time.Second}
		f.ClientID = name + "-{index:04}"
	}
	switch f.Reconnect.Policy = d.of("policy", "", "paho", "immediate", "fixed", "none", "full-jitter"); f.Reconnect.Policy {
	case "full-jitter":
		if f.Reconnect.Max = d.time("max"); d.yes("base") {
			f.Reconnect.Base = time.Duration(rapid.Int64Range(1, int64(f.Reconnect.Max)).Draw(d.T, "base"))
		}
	case "fixed":
		f.Reconnect.Delay = d.time("delay")
	case "paho", "":
		f.Reconnect.Max = d.time("max")
	}
	f.Connect.Rate = d.rate("rate")
	f.Resubscribe, f.Back = d.of("resubscribe", "", "when-absent", "always", "never"), d.of("back", "", "connack", "subscribed", "first-message")
	if d.yes("will") {
		f.Will = &scenarios.Will{Topic: "w/{client}", QoS: byte(d.num("qos", 0, 2)), Retain: d.yes("retain")}
	}
	if d.yes("labels") {
		parts := d.parts(2)
		f.Labels = map[string]map[string]float64{"site": {"a": parts[0], "yes": parts[1]}, "7": {"x": 1}}
	}
	return f
}

func (d drawer) traffic(faulted bool) scenarios.Traffic {
	t := scenarios.NewTraffic("f0", "rb/{client}/t", byte(d.num("qos", 0, 2)), d.rate("each"))
	switch kind := d.of("kind", "each", "total", "at", "away"); {
	case kind == "total":
		t.Each, t.Total = 0, d.rate("total")
	case kind == "at" && faulted:
		t.Each, t.At, t.Burst = 0, scenarios.AtFault, d.num("burst", 1, 10)
		return t
	case kind == "away" && faulted:
		t.While = scenarios.WhileAway
	}
	t.Payload, t.Burst, t.Retain = d.num("payload", 48, 5000), d.num("burst", 0, 100), d.yes("retain")
	if d.yes("from") {
		t.From = "f0"
	}
	return t
}

func (d drawer) phase(name string, faulted bool, clients int) scenarios.Phase {
	p := scenarios.Phase{Name: name, For: d.time("for")}
	if faulted {
		for range d.num("faults", 1, 3) {
			p.Faults = append(p.Faults, d.fault())
		}
		if d.yes("walk") {
			p.Walk = &scenarios.Walk{Steps: d.num("steps", 1, 9), Every: d.time("every"), Jitter: d.share("jitter") / 2, AtOnce: d.num("at once", 0, len(p.Faults))}
		} else {
			p.Repeat.Times = d.num("times", 0, 3)
		}
		if p.Repeat.Times > 1 {
			p.Repeat.Every, p.Repeat.Overlap = d.time("every"), d.yes("overlap")
		}
	}
	if d.yes("for") {
		return p
	}
	p.For, p.Timeout, p.OnTimeout = 0, d.time("timeout"), d.of("on timeout", "", "continue", "abort")
	share, quiet := d.share("share"), d.time("quiet")
	conditions := []scenarios.Until{
		{Connected: &share}, {ConnectedCount: d.num("n", 1, clients)}, {Quiet: &quiet}, {Drained: true},
		{Count: map[string]int{d.of("counter", scenarios.CountConnects, scenarios.CountDelivered): d.num("n", 1, 1e6)}},
	}
	if faulted {
		conditions = append(conditions, scenarios.Until{Back: &share}, scenarios.Until{BackCount: d.num("n", 1, clients)},
			scenarios.Until{Count: map[string]int{scenarios.CountKicks: 3}})
	}
	p.Until = &conditions[d.num("until", 0, len(conditions)-1)]
	return p
}

func (d drawer) fault() scenarios.FaultSpec {
	who := []scenarios.Params{
		{"share": d.shareText("share")}, {"count": d.num("count", 1, 50)}, {"list": []any{0, "5-7", 9}},
		{"label": scenarios.Params{"site": "yes"}}, {"label": scenarios.Params{"7": "x"}, "count": 2, "seeded": d.num("seeded", 0, 99)},
	}
	params := scenarios.Params{"who": who[d.num("who", 0, len(who)-1)], "fleet": "f0", "after": d.time("after")}
	switch d.of("when", "at once", "spread", "rate", "poisson") {
	case "spread":
		params["spread"] = d.time("spread")
	case "rate":
		params["rate"] = "10.5/s"
	case "poisson":
		params["poisson"] = "1/5s"
	}
	if d.yes("again") {
		params["times"], params["every"], params["jitter"] = d.num("times", 1, 9), d.time("every"), "5%"
	}
	kind := d.of("kind", "close", "disconnect", "takeover", "swallow", "bare")
	switch kind {
	case "bare":
		return scenarios.NewFault("close", nil)
	case "takeover":
		params["hold"] = d.time("hold")
	case "swallow":
		params["packet"], params["direction"], params["nth"] = "PUBACK", "in", d.num("nth", 1, 9)
	}
	return scenarios.NewFault(kind, params)
}

func (d drawer) expect(faulted bool) scenarios.Expectation {
	number := &scenarios.Limit{Text: d.of("limit", "0", "12", "1.5", "1000000")}
	x := scenarios.Expectation{Metric: "unscripted", OnFail: d.of("on fail", "", "fail", "warn", "abort")}
	switch d.of("op", "at_most", "below", "equals") {
	case "at_most":
		x.AtMost = number
	case "below":
		x.Below = number
	case "equals":
		x.Equals = number
	}
	if faulted && d.yes("wave") {
		return scenarios.Expectation{Metric: "outage.p99", Fleet: "f0", Phase: "p0", Wave: "each", AtLeast: &scenarios.Limit{Text: d.of("time", "5s", "1m30s", "250us")}}
	}
	return x
}

// TestBuildFinds: a mistake in a built scenario has a place in its text.
func TestBuildFinds(t *testing.T) {
	schema := testSchema(t)
	for name, c := range map[string]struct {
		change func(*scenarios.Scenario)
		says   string
	}{
		"unknown kind": {func(sc *scenarios.Scenario) { sc.Phases[0].Faults[0].Kind = "clsoe" }, `did you mean "close"?`},
		"unknown parameter": {func(sc *scenarios.Scenario) {
			sc.Phases[0].Faults[0] = scenarios.NewFault("close", scenarios.Params{"woh": 1})
		}, `did you mean "who"?`},
		"a wrong limit": {func(sc *scenarios.Scenario) { sc.Expect[0].Below = &scenarios.Limit{Text: "5"} }, "outage.p99 is a time"},
		"two phases":    {func(sc *scenarios.Scenario) { sc.Phases = slices.Repeat(sc.Phases, 2) }, "two phases are named"},
		"no name":       {func(sc *scenarios.Scenario) { sc.Name = "" }, "the scenario needs name"},
	} {
		sc := built()
		c.change(&sc)
		_, err := scenarios.Build(sc, schema)
		if !errors.Is(err, scenarios.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sc := built()
	sc.Phases[0].Faults[0] = scenarios.NewFault("close", scenarios.Params{"who": scenarios.Params{"count": int64(3)}})
	if _, err := scenarios.Build(sc, schema); !errors.Is(err, scenarios.ErrEncode) || !strings.Contains(err.Error(), "int64") {
		t.Errorf("%v", err)
	}
}

func built() scenarios.Scenario {
	sc := scenarios.New("built")
	sc.Fleets = []scenarios.Fleet{scenarios.NewFleet("devices", 1, scenarios.Subscription{Topic: "rb/{client}/cmd", QoS: 1})}
	sc.Traffic = []scenarios.Traffic{scenarios.NewTraffic("devices", "rb/{client}/cmd", 1, 2)}
	sc.Phases = []scenarios.Phase{{
		Name: "storm", Until: scenarios.Back(1), Timeout: time.Minute,
		Faults: []scenarios.FaultSpec{scenarios.NewFault("close", scenarios.Params{"who": scenarios.Params{"share": "20%"}, "spread": time.Second})},
	}}
	sc.Expect = []scenarios.Expectation{{Metric: "outage.p99", Below: &scenarios.Limit{Text: "5s"}}}
	return sc
}

// TestBuildIsTheFile: the same scenario, written in Go and in YAML.
func TestBuildIsTheFile(t *testing.T) {
	file := load(t, `name: built
fleets: [{name: devices, subscribe: [{topic: "rb/{client}/cmd", qos: 1}]}]
traffic: [{to: devices, topic: "rb/{client}/cmd", qos: 1, each: 2/s}]
phases:
  - {name: storm, faults: [{close: {who: {share: 20%}, spread: 1s}}], until: {back: 100%}, timeout: 60s}
expect: [{metric: outage.p99, below: 5s}]
`)
	sc, err := scenarios.Build(built(), testSchema(t))
	if err != nil {
		t.Fatal(err)
	}
	unordered := cmpopts.SortSlices(func(a, b *yaml.Node) bool { return a.Value < b.Value })
	if diff := cmp.Diff(file, sc, sameMeaning, unordered); diff != "" || scenarios.Hash(file) != scenarios.Hash(sc) {
		t.Errorf("%s", diff)
	}
}

func ExampleBuild() {
	sc := scenarios.New("night-shift")
	sc.Clients = 200
	sc.Fleets = []scenarios.Fleet{scenarios.NewFleet("pumps", 1, scenarios.Subscription{Topic: "cmd/{client}", QoS: 1})}
	sc.Phases = []scenarios.Phase{
		{Name: "connect", Until: scenarios.Connected(1), Timeout: time.Minute},
		{Name: "storm", Until: scenarios.Back(1), Timeout: time.Minute, Faults: []scenarios.FaultSpec{
			scenarios.NewFault("close", scenarios.Params{"who": scenarios.Params{"share": "20%"}, "poisson": "10/s"}),
		}},
	}
	schema, err := scenarios.Compose(scenarios.Parts{Faults: fault.Parts(), Policies: []string{"paho"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	whole, err := scenarios.Build(sc, schema)
	if err != nil {
		fmt.Println(err)
		return
	}
	text, err := scenarios.Encode(whole)
	fmt.Printf("%s%v\n", text, err)
	// Output:
	// name: night-shift
	// clients: 200
	// fleets:
	// - name: pumps
	//   subscribe:
	//   - topic: cmd/{client}
	//     qos: 1
	// phases:
	// - name: connect
	//   until:
	//     connected: 100%
	//   timeout: 1m0s
	//   on_timeout: abort
	// - name: storm
	//   faults:
	//   - close:
	//       poisson: 10/s
	//       who:
	//         share: 20%
	//   until:
	//     back: 100%
	//   timeout: 1m0s
	//   on_timeout: continue
	// <nil>
}
