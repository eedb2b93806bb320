package judge

import (
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestExpectations holds each way that an expectation can be judged. In the
// clean folder the outages are 20, 22, 24 and 26 ms.
func TestExpectations(t *testing.T) {
	never := func(f *folder) { f.conns = f.conns[:len(f.conns)-1] } // one of four never returns
	for name, c := range map[string]struct {
		bend    func(f *folder)
		x       scenarios.Expectation
		verdict reports.Verdict
		shown   string
		why     string
	}{
		"holds":             {nil, expectation("outage.p50", "", "below", "5s", "s", 5), reports.Valid, "22.0 ms", "low-n"},
		"fails":             {nil, expectation("outage.max", "", "below", "10ms", "s", 0.01), reports.Invalid, "26 ms", ""},
		"each":              {nil, expectation("outage.max", "each", "below", "10ms", "s", 0.01), reports.Invalid, "26 ms", ""},
		"at most, equal":    {nil, expectation("victims", "", "at_most", "4", "", 4), reports.Valid, "4", ""},
		"at least":          {nil, expectation("connected", "", "at_least", "95%", "%", 0.95), reports.Valid, "100 %", ""},
		"above, equal":      {nil, expectation("victims", "", "above", "4", "", 4), reports.Invalid, "4", ""},
		"equals":            {nil, expectation("back", "", "equals", "4", "", 4), reports.Valid, "4", ""},
		"not reached":       {never, expectation("outage.p99", "", "below", "1s", "s", 1), reports.Invalid, "> 3 s", "not reached"},
		"not reached, each": {never, expectation("outage.p99", "each", "below", "1s", "s", 1), reports.Invalid, "> 3 s", "not reached"},
		"not reached by a limit beyond the horizon": {never, expectation("outage.p99", "", "below", "1h", "s", 3600), reports.Unknown, "> 3 s", "not reached"},
		"not reached is at least the horizon":       {never, expectation("outage.p99", "", "at_least", "1s", "s", 1), reports.Valid, "> 3 s", "not reached"},
		"a mean with a censored client":             {never, expectation("outage.mean", "", "below", "1s", "s", 1), reports.Unknown, "unknown", ""},
		"censored counts":                           {never, expectation("censored", "", "equals", "0", "", 0), reports.Invalid, "1", ""},
		"no samples": {func(f *folder) { f.plan.Traffic, f.records = nil, nil },
			expectation("lost.qos1", "", "equals", "0", "", 0), reports.Unknown, "unknown", measure.WhyNone},
		"no wave": {func(f *folder) { f.waves, f.actions = nil, nil },
			expectation("outage.p50", "each", "below", "5s", "s", 5), reports.Unknown, "", "no wave"},
		"no waves at all": {func(f *folder) { f.waves, f.actions = nil, nil },
			expectation("censored", "", "equals", "0", "", 0), reports.Unknown, "unknown", measure.WhyNone},
		"unheard-of metric": {nil, expectation("fun", "", "equals", "0", "", 0), reports.Unknown, "", "no such metric"},
		"no limit":          {nil, scenarios.Expectation{Metric: "back"}, reports.Unknown, "", "no limit"},
		"saturated: a time is unknown": {func(f *folder) { f.canary["storm"] = 20 * time.Millisecond },
			expectation("outage.p50", "", "below", "30ms", "s", 0.03), reports.Unknown, "22.0 ms", "saturated in phase storm"},
		"saturated: a time that is clear of its limit stands": {func(f *folder) { f.canary["storm"] = 20 * time.Millisecond },
			expectation("outage.p50", "", "below", "5s", "s", 5), reports.Valid, "22.0 ms", "low-n"},
		"saturated: a lower limit within the canary is unknown": {func(f *folder) { f.canary["storm"] = 20 * time.Millisecond },
			expectation("outage.p50", "", "at_least", "5ms", "s", 0.005), reports.Unknown, "22.0 ms", "saturated"},
		"saturated: a time that fails is unknown": {func(f *folder) { f.canary["storm"] = 20 * time.Millisecond },
			expectation("outage.p50", "", "below", "1ms", "s", 0.001), reports.Unknown, "22.0 ms", "saturated"},
		"saturated: a count stands": {func(f *folder) { f.canary["storm"] = 20 * time.Millisecond },
			expectation("censored", "", "equals", "0", "", 0), reports.Valid, "0", ""},
		"saturated elsewhere": {func(f *folder) { f.canary["connect"] = 20 * time.Millisecond },
			expectation("outage.p50", "", "below", "5s", "s", 5), reports.Valid, "22.0 ms", ""},
		"degraded passes": {func(f *folder) { f.canary["storm"] = 5 * time.Millisecond },
			expectation("outage.p50", "", "below", "5s", "s", 5), reports.Valid, "22.0 ms", ""},
		"no health: a time is unknown": {func(f *folder) { f.canary = nil },
			expectation("outage.p50", "", "below", "5s", "s", 5), reports.Unknown, "22.0 ms", "health"},
		"low-n under strict": {func(f *folder) { f.env.Strict = true },
			expectation("outage.p50", "", "below", "5s", "s", 5), reports.Unknown, "22.0 ms", "low-n"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			if c.bend != nil {
				c.bend(f)
			}
			f.plan.Expect = []scenarios.Expectation{c.x}
			x := only(t, f.judge(t).Expectations)
			if x.Verdict != c.verdict || x.Shown != c.shown || !strings.Contains(x.Why, c.why) {
				t.Errorf("%s is %s, shown %q, why %q; want %s, %q, %q", x.Text, x.Verdict, x.Shown, x.Why, c.verdict, c.shown, c.why)
			}
		})
	}
}

// TestWorstWave shows the wave that is worst and not the last one.
func TestWorstWave(t *testing.T) {
	f := newFolder()
	f.plan.Phases[2].Waves = append(f.plan.Phases[2].Waves, scenarios.PlanWave{Wave: 2, At: time.Second, Horizon: time.Minute,
		Faults: []scenarios.PlanFault{{Kind: "close", Fleet: "devices", Count: 1}}})
	f.waves = append(f.waves, timeline.Wave{Phase: "storm", Wave: 2, Start: 2000 * ms, End: 62_000 * ms})
	f.breakOff(0, 2003) // back at 2023: 23 ms, less than the 26 ms of wave 1
	f.kick(0, 2000, 2001, 2002).Wave = 2
	f.plan.Expect = []scenarios.Expectation{
		expectation("outage.max", "each", "below", "25ms", "s", 0.025),
		expectation("outage.max", "each", "at_least", "1ms", "s", 0.001),
	}
	r := f.judge(t)
	if x := r.Expectations[0]; x.Wave != 1 || x.Shown != "26 ms" || x.Verdict != reports.Invalid {
		t.Errorf("below: wave %d, %s, %s", x.Wave, x.Shown, x.Verdict)
	}
	if x := r.Expectations[1]; x.Wave != 2 || x.Shown != "23 ms" || x.Verdict != reports.Valid {
		t.Errorf("at least: wave %d, %s, %s", x.Wave, x.Shown, x.Verdict)
	}
	if r.Waves[1].Regime != "continual" || r.Waves[0].Regime != "first" || r.Total.Regime != "mixed" || r.Total.Victims != clients+1 {
		t.Errorf("regimes %s, %s, total %s of %d", r.Waves[0].Regime, r.Waves[1].Regime, r.Total.Regime, r.Total.Victims)
	}
}

// TestFleetFilter judges each fleet by its own clients.
func TestFleetFilter(t *testing.T) {
	f := newFolder()
	other := f.plan.Fleets[0]
	other.Name, other.Clients = "sensors", 1
	f.plan.Fleets[0].Clients = clients - 1
	f.plan.Fleets = append(f.plan.Fleets, other)
	for i := range f.conns { // the last and slowest client is a sensor
		if f.conns[i].Client == clients-1 {
			f.conns[i].Fleet = "sensors"
		}
	}
	f.actions[clients-1].Fleet = "sensors"
	a := expectation("outage.max", "", "below", "25ms", "s", 0.025)
	b, c := a, expectation("lost.qos1", "", "equals", "0", "", 0)
	a.Fleet, b.Fleet, c.Fleet = "devices", "sensors", "sensors"
	f.plan.Expect = []scenarios.Expectation{a, b, c}
	r := f.judge(t)
	for i, want := range []reports.Verdict{reports.Valid, reports.Invalid, reports.Unknown} {
		if x := r.Expectations[i]; x.Verdict != want {
			t.Errorf("%s is %s, want %s", x.Text, x.Verdict, want)
		}
	}
}

func TestShow(t *testing.T) {
	for _, c := range []struct {
		unit string
		v    float64
		want string
	}{
		{"s", 0.205, "205 ms"}, {"s", 60, "60 s"}, {"s", 1.2449, "1.24 s"}, {"s", 0.0000215, "21.5 µs"}, {"s", 0, "0 s"},
		{"s", 0.0021, "2.10 ms"}, {"%", 0.955, "95.5 %"}, {"", 12, "12"}, {"", 1.5, "1.50"}, {"s", 123.4, "123 s"},
	} {
		if got := show(c.unit, c.v); got != c.want {
			t.Errorf("show(%q, %v) = %q, want %q", c.unit, c.v, got, c.want)
		}
	}
}

func TestSpreadIsSaid(t *testing.T) {
	f := newFolder()
	if r := f.judge(t); warns(r, "planned within") {
		t.Errorf("warnings %q", r.Warnings)
	}
	a := &f.actions[1]
	a.Issued, a.Closed, a.Answered = 1901*ms, 1905*ms, 1906*ms
	for i := range f.conns {
		if c := &f.conns[i]; c.Client == 1 {
			if c.N == 1 {
				c.End = 1907 * ms
			} else {
				*c = timeline.Conn{}
			}
		}
	}
	f.last(1, 2, 1910)
	if r := f.judge(t); !warns(r, "planned within 0 s, issued within 900 ms") {
		t.Errorf("warnings %q", r.Warnings)
	}
}
