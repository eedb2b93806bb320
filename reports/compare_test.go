package reports

import (
	"bytes"
	"math"
	"strings"
	"testing"
)

func sides(t *testing.T, edit func(*Report)) ([]*Report, []*Report) {
	base, next := pass(t), pass(t)
	next.Run.ID = "another"
	edit(next)
	return []*Report{base}, []*Report{next}
}

func TestCompareExit(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Report)
		exit int
		says string
	}{
		{"same", func(r *Report) {}, 0, "inconclusive, n = 1: run --repeat 5"},
		{"times alone never decide", func(r *Report) { r.Total.Outage.P99 = f(30) }, 0, "205 ms (n=1,000)   30 s (n=1,000)"},
		{"lost", func(r *Report) { r.Messages[0].Lost = 1 }, 5, "lost.qos1 0 → 1"},
		{"QoS 0 loss is counted", func(r *Report) { r.Messages[1].Lost = 4000 }, 0, "4,000"},
		{"censored", func(r *Report) { r.Total.Censored = 2 }, 5, "censored 0 → 2"},
		{"unexpected", func(r *Report) { r.Messages[1].Unexpected = 1 }, 5, "unexpected 0 → 1"},
		{"reordered", func(r *Report) { r.Messages[0].Reordered = 1 }, ExitWorse, "reordered 0 → 1"},
		{"a known defect decides nothing", func(r *Report) {
			r.Messages[0].Lost = 1
			for i := range r.Checks {
				if r.Checks[i].Name == "lost" {
					r.Checks[i].Verdict, r.Checks[i].Known = Invalid, "track-record#x"
				}
			}
		}, 0, "known defect of the target (track-record#x): no verdict"},
		{"unscripted", func(r *Report) { r.Unscripted.Control = 1 }, 5, "unscripted 0 → 1"},
		{"session", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "session-present", Verdict: Invalid, Count: 7})
		}, 5, "session faults 0 → 7"},
		{"a rule of the wire", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "dup-flag", Verdict: Invalid, Count: 3})
		}, 5, "wire rules 0 → 3"},
		{"another scenario", func(r *Report) { r.Run.ScenarioHash = "ffff" }, 2, "scenario_hash: old a11c1c4a (kick-all), new ffff (kick-all)"},
		{"another size", func(r *Report) { r.Run.Clients = 2000 }, 2, "clients: old 1,000, new 2,000"},
		{"another broker", func(r *Report) { r.Target.Broker = "mosquitto" }, 2, "broker: old mochi, new mosquitto"},
		{"another kind", func(r *Report) { r.Target.Kind = "child" }, 2, "target kind: old embedded, new child"},
		{"refused goes before worse", func(r *Report) { r.Run.Clients, r.Messages[0].Lost = 5, 5 }, 2, "REFUSED"},
		{"incomplete", func(r *Report) { r.Run.Complete = false }, 3, "new run another is incomplete"},
		{"incomplete goes before worse", func(r *Report) { r.Run.Interrupted, r.Messages[0].Lost = true, 1 }, 3, "was interrupted"},
		{"environment", func(r *Report) { r.Environment.Cores, r.Environment.GOGC = 64, "" }, 0, "GOGC: old 100, new none"},
		{"versions first", func(r *Report) { r.Rebound, r.Target.Version, r.Driver.Version = "0.2.0", "3.0.0", "1.6.0" }, 0, "mochi 3.0.0 embedded"},
		{"flipped", func(r *Report) { r.Expectations[0].Verdict, r.Expectations[0].Shown = Unknown, "nothing" }, 0, "valid → unknown   outage.p99"},
		{"length of a phase", func(r *Report) { r.Phases[0].End += 2 }, 0, "connect  length of phase"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := Compare(sides(t, tt.edit))
			var b bytes.Buffer
			if err := WriteText(&b, c); err != nil {
				t.Fatal(err)
			}
			if c.ExitCode() != tt.exit || !strings.Contains(b.String(), tt.says) {
				t.Errorf("exit %d, want %d, saying %q:\n%s", c.ExitCode(), tt.exit, tt.says, b.String())
			}
		})
	}
	if c := Compare(nil, []*Report{pass(t)}); c.ExitCode() != ExitUsage {
		t.Error("nothing to compare is not refused")
	}
}

// A count that was not 0 before needs statistics: it is shown and decides nothing.
func TestCompareRiseNotFromZero(t *testing.T) {
	base, next := sides(t, func(r *Report) { r.Messages[0].Lost = 50 })
	base[0].Messages[0].Lost = 5
	c := Compare(base, next)
	if c.ExitCode() != 0 || c.Rules[0].word() != "rose, but not from 0: no verdict" {
		t.Errorf("%d, %+v", c.ExitCode(), c.Rules[0])
	}
	base = append(base, pass(t))
	if c := Compare(base[1:], next); !c.Worse() {
		t.Error("from 0 to 50 is not worse")
	}
}

func TestComparePartsBySize(t *testing.T) {
	base, next := sides(t, func(r *Report) {
		w := r.Waves[0].Waterfall
		for part, by := range map[string]float64{"dial": 0.5, "connack": -0.02, "backoff": 2} {
			q := w[part]
			q.P50 = f(*q.P50 + by)
			w[part] = q
		}
	})
	var order []string
	for _, p := range Compare(base, next).Parts {
		order = append(order, p.What)
	}
	if got := strings.Join(order, ", "); got != "backoff p50, dial p50, connack p50" {
		t.Errorf("got %s", got)
	}
}

// Runs are medians over a side; one in which a quantile was not reached leaves it unknown.
func TestCompareSets(t *testing.T) {
	var base, next []*Report
	for i := range 5 {
		b, n := pass(t), pass(t)
		b.Total.Outage.P99, n.Total.Outage.P99 = f(0.1+float64(i)/100), f(0.1)
		n.Run.ID = "another"
		base, next = append(base, b), append(next, n)
	}
	next[3].Total.Outage.P99, next[3].Total.Outage.Censored = nil, 1
	c := Compare(base, next)
	for _, row := range c.Totals {
		if row.What == "outage p99" && (row.Base != "120 ms (n=5,000, median of 5 runs)" || row.Next != "> 60 s (n=5,000, 1 censored, median of 5 runs)") {
			t.Errorf("%+v", row)
		}
	}
	if !strings.Contains(c.Times, "n = 5 and 5") {
		t.Error(c.Times)
	}
}

func TestMedian(t *testing.T) {
	if m := median([]*float64{f(3), nil, f(1), f(math.NaN())}); m == nil || *m != 2 {
		t.Errorf("got %v", m)
	}
	if median([]*float64{nil}) != nil {
		t.Error("median of nothing")
	}
}
