package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func sides(t *testing.T, edit func(*Report)) ([]*Report, []*Report) {
	t.Helper()
	base, next := pass(t), pass(t)
	next.Run.ID = "another"
	edit(next)
	return []*Report{base}, []*Report{next}
}

func textOf(t *testing.T, c Comparison) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.page().writeText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// One run a side: the exact rules decide, and no time does.
func TestCompareOneRun(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(*Report)
		is   Outcome
		exit int
		says string
	}{
		{"nothing", func(r *Report) {}, Inconclusive, 0, "needs about 5 runs a side: run --repeat 5"},
		{"times alone never decide", func(r *Report) { r.Total.Outage.P99 = f(30) }, Inconclusive, 0, "205 ms (n=1,000)     30 s (n=1,000)"},
		{"lost", func(r *Report) { r.Messages[0].Lost = 1 }, Worse, 5, "lost.qos1 0 → 1"},
		{"QoS 0 loss is counted", func(r *Report) { r.Messages[1].Lost = 4000 }, Inconclusive, 0, "4,000"},
		{"censored", func(r *Report) { r.Total.Censored = 2 }, Worse, 5, "censored 0 → 2"},
		{"unexpected", func(r *Report) { r.Messages[1].Unexpected = 1 }, Worse, 5, "unexpected 0 → 1"},
		{"reordered", func(r *Report) { r.Messages[0].Reordered = 1 }, Worse, 5, "reordered 0 → 1"},
		{"a known defect decides nothing", func(r *Report) {
			r.Messages[0].Lost = 1
			for i := range r.Checks {
				if r.Checks[i].Name == "lost" {
					r.Checks[i].Verdict, r.Checks[i].Known = Invalid, "track-record#x"
				}
			}
		}, Inconclusive, 0, "known defect (track-record#x): no verdict"},
		{"unscripted", func(r *Report) { r.Unscripted.Control = 1 }, Worse, 5, "unscripted 0 → 1"},
		{"session", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "session-present", Verdict: Invalid, Count: 7})
		}, Worse, 5, "session faults 0 → 7"},
		{"a rule of the wire", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "dup-flag", Verdict: Invalid, Count: 3})
		}, Worse, 5, "wire rules 0 → 3"},
		{"closes without effect", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "kick-effective", Verdict: Invalid, Count: 500})
		}, Worse, 5, "kick_effective 0 → 500"},
		{"closes without effect, a known defect", func(r *Report) {
			r.Checks = append(r.Checks, Check{Name: "kick-effective", Verdict: Invalid, Count: 500, Known: "#k"})
		}, Inconclusive, 0, "known defect (#k): no verdict"},
		{"a leak", func(r *Report) { r.Checks = append(r.Checks, Check{Name: "leak", Verdict: Invalid}) }, Worse, 5, "leak 0 → 1"},
		{"refused goes before worse", func(r *Report) { r.Run.Clients, r.Messages[0].Lost = 5, 5 }, Refused, 2, "REFUSED"},
		{"incomplete", func(r *Report) { r.Run.Complete = false }, Unfinished, 3, "new run 1 of 1 (another, seed 1): incomplete"},
		{"aborted", func(r *Report) { r.Run.Aborted = "connect: 3 of 1,000 clients" }, Unfinished, 3, "new run 1 of 1 (another, seed 1): aborted"},
		{"interrupted goes before worse", func(r *Report) { r.Run.Interrupted, r.Messages[0].Lost = true, 1 }, Unfinished, 3, "new run 1 of 1 (another, seed 1): interrupted"},
		{"saturated goes before worse", func(r *Report) { r.Phases[2].Fitness, r.Messages[0].Lost = "saturated", 1 }, Saturated, 3, "new run 1 of 1 (another, seed 1): saturated"},
		{"saturated where no wave was", func(r *Report) { r.Phases[0].Fitness, r.Harness.Fitness = "saturated", "saturated" }, Inconclusive, 0, "needs about 5 runs"},
		{"versions first", func(r *Report) { r.Rebound, r.Target.Version, r.Driver.Version = "0.2.0", "3.0.0", "1.6.0" }, Inconclusive, 0, "mochi 3.0.0 embedded"},
		{"flipped", func(r *Report) { r.Expectations[0].Verdict, r.Expectations[0].Shown = Unknown, "nothing" }, Inconclusive, 0, "valid   unknown   205 ms → nothing"},
		{"length of a phase", func(r *Report) { r.Phases[0].End += 2 }, Inconclusive, 0, "connect length"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, next := sides(t, tt.edit)
			c := Compare(base, next, CompareOptions{})
			if text := textOf(t, c); c.Verdict != tt.is || c.ExitCode != tt.exit || !strings.Contains(text, tt.says) {
				t.Errorf("%s, exit %d, want %s, %d, saying %q:\n%s", c.Verdict, c.ExitCode, tt.is, tt.exit, tt.says, text)
			}
		})
	}
	for _, none := range [][2][]*Report{{nil, {pass(t)}}, {{pass(t)}, nil}, {}} {
		if c := Compare(none[0], none[1], CompareOptions{}); c.ExitCode != ExitUsage {
			t.Error("nothing to compare is not refused")
		}
	}
}

// What makes numbers incomparable refuses, by name of the line, and compares
// all the same where that is allowed. Of what only may explain, it warns.
func TestCompareRefuses(t *testing.T) {
	seen := map[string]bool{}
	for _, tt := range []struct {
		allow string // "" = a warning
		edit  func(*Report)
		says  string
	}{
		{"scenario", func(r *Report) { r.Run.ScenarioHash = "ffff" }, "run.scenario_hash: old a11c1c4a (kick-all), new ffff (kick-all)"},
		{"clients", func(r *Report) { r.Run.Clients = 2000 }, "run.clients: old 1,000, new 2,000"},
		{"broker", func(r *Report) { r.Target.Broker = "mosquitto" }, "target.broker: old mochi, new mosquitto"},
		{"placement", func(r *Report) { r.Target.Kind = "child" }, "target.kind: old embedded, new child"},
		{"transport", func(r *Report) { r.Target.Transport = "ws" }, "target.transport: old tcp, new ws"},
		{"tls", func(r *Report) { r.Target.Transport = "tls" }, "target.transport over TLS: old no, new yes"},
		{"abilities", func(r *Report) { r.Target.Abilities.Persistence = "sync" }, "target.abilities.persistence: old none, new sync"},
		{"abilities", func(r *Report) { q := 1; r.Target.Abilities.MaxQoS = &q }, "target.abilities.max_qos: old none, new 1"},
		{"os", func(r *Report) { r.Environment.OS = "darwin" }, "environment.os: old linux, new darwin"},
		{"arch", func(r *Report) { r.Environment.Arch = "arm64" }, "environment.arch: old amd64, new arm64"},
		{"cpu", func(r *Report) { r.Environment.CPU = "Other CPU" }, "environment.cpu: old Example CPU @ 2.00GHz, new Other CPU"},
		{"cores", func(r *Report) { r.Environment.Cores = 64 }, "environment.cores: old 2, new 64"},
		{"quota", func(r *Report) { r.Environment.CPUQuota = 1.5 }, "environment.cpu_quota_cores: old 0, new 1.5"},
		{"", func(r *Report) { r.Environment.Kernel = "6.9" }, "kernel: old 6.8, new 6.9"},
		{"", func(r *Report) { r.Environment.Go = "go1.26.9" }, "Go: old go1.26.8, new go1.26.9"},
		{"", func(r *Report) { r.Environment.MemoryByte *= 2 }, "memory: old 8 GiB, new 16 GiB"},
		{"", func(r *Report) { r.Environment.Load1 = 2 }, "load before: old below a quarter of the cores, new about all cores"},
		{"", func(r *Report) { r.Environment.GOGC = "" }, "GOGC: old 100, new none"},
		{"", func(r *Report) { r.Target.Abilities.KnownDefects = []KnownDefect{{Check: "will", Reference: "#9"}} }, "known defects of the broker: old none, new will #9"},
		{"", func(r *Report) { r.Phases[2].Fitness = "degraded" }, "harness fitness: old fit, new degraded"},
	} {
		t.Run(tt.says, func(t *testing.T) {
			base, next := sides(t, tt.edit)
			c := Compare(base, next, CompareOptions{})
			text := textOf(t, c)
			if !strings.Contains(text, tt.says) || (c.Verdict == Refused) != (tt.allow != "") {
				t.Fatalf("want %q:\n%s", tt.says, text)
			}
			if tt.allow == "" {
				return
			}
			seen[tt.allow] = true
			allow := []string{tt.allow}
			if tt.allow == "tls" {
				allow = append(allow, "transport")
			}
			c = Compare(base, next, CompareOptions{Allow: allow})
			if text := textOf(t, c); c.Verdict == Refused || !strings.Contains(text, tt.says) {
				t.Errorf("allowed:\n%s", text)
			}
		})
	}
	for _, name := range AllowNames() {
		if !seen[name] {
			t.Errorf("no row for %s", name)
		}
	}
	// A side that is not of one kind is no side.
	base, next := sides(t, func(*Report) {})
	if c := Compare(append(base, base...), next, CompareOptions{Allow: AllowNames()}); c.Verdict != Refused || c.Refused[0].Base != base[0].Run.ID {
		t.Errorf("a run named twice: %+v", c.Refused)
	}
	mixed := pass(t)
	mixed.Run.ID = "mixed"
	mixed.Environment.Cores = 4
	if c := Compare(append(base, mixed), next, CompareOptions{}); c.Verdict != Refused || c.Refused[0].Base != "2, 4" {
		t.Errorf("%+v", c.Refused)
	}
}

// A count that was not 0 before decides nothing.
func TestCompareRiseNotFromZero(t *testing.T) {
	base, next := sides(t, func(r *Report) { r.Messages[0].Lost = 50 })
	base[0].Messages[0].Lost = 5
	c := Compare(base, next, CompareOptions{})
	if c.ExitCode != 0 || c.Rules[0].word() != "rose, but not from 0: no verdict" {
		t.Errorf("%d, %+v", c.ExitCode, c.Rules[0])
	}
	if c := Compare([]*Report{pass(t)}, next, CompareOptions{}); c.Verdict != Worse {
		t.Error("from 0 to 50 is not worse")
	}
	// Beside times that are the same or better it is said.
	for _, tt := range []struct {
		factor   float64
		was, now int64
		is       Outcome
		said     bool
	}{{1, 5, 50, Same, true}, {0.6, 5, 6, Better, true}, {1, 5, 5, Same, false}, {1, 5, 4, Same, false}, {1, 0, 0, Same, false}} {
		base, next := fiveRuns(t, tt.factor, func(r *Report, i int) { r.Messages[0].Lost = tt.now })
		for _, r := range base[1:] { // 4 old runs: a sum over more runs is no rise
			r.Messages[0].Lost = tt.was
		}
		c := Compare(base[1:], next, CompareOptions{})
		if tt.is == Better { // 5 against 4 can not be better: 2/126 × 5
			base[0].Messages[0].Lost = tt.was
			c = Compare(base, next, CompareOptions{})
		}
		text := textOf(t, c)
		if c.Verdict != tt.is || strings.Contains(text, "it rose, and not from 0") != tt.said {
			t.Errorf("%+v: %s", tt, text)
		}
	}
}

// A metric that one side alone has may be worse: its runs are not the same.
func TestCompareMetricOfOneSide(t *testing.T) {
	gone := func(r *Report) { r.Total.BackCurve = Quantile{} }
	for _, both := range []bool{false, true} {
		base, next := fiveRuns(t, 1, func(r *Report, i int) { gone(r) })
		if both {
			for _, r := range base {
				gone(r)
			}
		}
		c := Compare(base, next, CompareOptions{})
		text := textOf(t, c)
		if both && (c.Verdict != Same || len(c.Gates) != 4) {
			t.Errorf("on neither side: %s", text)
		}
		if !both && (c.Verdict != Inconclusive || !strings.Contains(text, "back.p99: 5 runs without a value") || !strings.Contains(text, "no value")) {
			t.Errorf("on one side: %s", text)
		}
	}
}

// What a known defect explains is left out on both sides: it is no worse, and no
// leave for a loss that nothing explains.
func TestCompareKnownDefects(t *testing.T) {
	lost := func(id string, n int64, known string) *Report {
		r := pass(t)
		r.Run.ID, r.Messages[0].Lost = id, n
		for i := range r.Checks {
			if r.Checks[i].Name == "lost" && n > 0 {
				r.Checks[i].Verdict, r.Checks[i].Known = Invalid, known
			}
		}
		return r
	}
	for _, tt := range []struct {
		name      string
		base      *Report
		next      []*Report
		is        Outcome
		says      string
		nextKnown int64
	}{
		{"known before and after", lost("a", 2, "#x"), []*Report{lost("b", 5, "#x")}, Inconclusive, "known defect (#x): no verdict", 5},
		{"known before, nothing explains it now", lost("a", 2, "#x"), []*Report{lost("b", 50, "")}, Worse, "lost.qos1 0 → 50", 0},
		{"one known run and one that is not", lost("a", 0, ""), []*Report{lost("b", 5, "#x"), lost("c", 3, "")}, Worse, "lost.qos1 0 → 3", 5},
		{"lost before, known now", lost("a", 2, ""), []*Report{lost("b", 5, "#x")}, Inconclusive, "known defect (#x)", 5},
	} {
		c := Compare([]*Report{tt.base}, tt.next, CompareOptions{})
		if text := textOf(t, c); c.Verdict != tt.is || c.Rules[0].NextKnown != tt.nextKnown || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %s, %+v, want %q in\n%s", tt.name, c.Verdict, c.Rules[0], tt.says, text)
		}
	}
}

// fiveRuns are two sides of five runs, new ones scaled and edited.
func fiveRuns(t *testing.T, factor float64, edit func(*Report, int)) (base, next []*Report) {
	t.Helper()
	base = varied(t, 5, pass, func(r *Report, i int) { scaled(r, jitter(i), 0) })
	next = varied(t, 5, pass, func(r *Report, i int) {
		r.Run.ID = "new-" + r.Run.ID
		scaled(r, jitter(i+1)*factor, 0)
		edit(r, i)
	})
	return base, next
}

func TestCompareFiveRuns(t *testing.T) {
	none := func(*Report, int) {}
	for _, tt := range []struct {
		name   string
		factor float64
		edit   func(*Report, int)
		o      CompareOptions
		is     Outcome
		exit   int
		says   string
	}{
		{"worse", 1.4, none, CompareOptions{}, Worse, 5, "outage.p99 205 ms → 287 ms, shift +82 ms (+40.0 %), p 0.0079 (corrected 0.040), margin ± 10 %"},
		{"better", 0.7, none, CompareOptions{}, Better, 0, "outage.p99 205 ms → 144 ms"},
		{"same", 1.002, none, CompareOptions{}, Same, 0, "SAME"},
		{"a sure shift below the margin", 1.05, none, CompareOptions{}, Same, 0, "SAME"},
		{"a margin of one's own", 1.4, none, CompareOptions{Margin: 0.5}, Same, 0, "margin ± 50 %"},
		{"a narrow margin", 1.05, none, CompareOptions{Margin: 0.01}, Worse, 5, "margin ± 1 %"},
		{"a strict level", 1.4, none, CompareOptions{Alpha: 0.01}, Inconclusive, 0, "runs a side"},
		{"a decision required", 1.4, none, CompareOptions{Alpha: 0.01, Require: true}, Inconclusive, 3, "INCONCLUSIVE"},
		{"saturated in one run", 1.4, func(r *Report, i int) {
			if i == 3 {
				r.Phases[2].Fitness = "saturated"
			}
		}, CompareOptions{}, Saturated, 3, "new run 4 of 5 (new-20261124T101500Z-2-4, seed 4): saturated"},
		{"degraded runs decide, and it is said", 1.4, func(r *Report, i int) { r.Phases[2].Fitness = "degraded" }, CompareOptions{}, Worse, 5, "5, harness degraded in 5"},
		{"unknown health", 1.4, func(r *Report, i int) { r.Phases[2].Fitness = "unknown" }, CompareOptions{}, Inconclusive, 0, "the health of the harness is not known in a run"},
		{"all p99 not reached any more", 1, func(r *Report, i int) {
			for _, q := range []*Quantile{&r.Total.Outage, &r.Total.BackCurve} {
				q.P99, q.Censored = nil, 15
			}
			r.Total.RMTA = f(1.2 + float64(i)/100)
		}, CompareOptions{}, Worse, 5, "outage.p99 205 ms → not reached, shift beyond the horizon, p 0.0079"},
		{"a run without a value", 1, func(r *Report, i int) { r.Total.RMTA = nil }, CompareOptions{}, Inconclusive, 0, "no value"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, next := fiveRuns(t, tt.factor, tt.edit)
			if tt.name == "a run without a value" {
				next[0].Total.RMTA, tt.says = f(1), "rmta: 4 runs without a value"
			}
			c := Compare(base, next, tt.o)
			if text := textOf(t, c); c.Verdict != tt.is || c.ExitCode != tt.exit || !strings.Contains(text, tt.says) {
				t.Errorf("%s, exit %d, want %s, %d, saying %q:\n%s", c.Verdict, c.ExitCode, tt.is, tt.exit, tt.says, text)
			}
		})
	}
}

// Censored runs on both sides: no exact rule speaks, and RMTA decides.
func TestCompareCensoringByRMTA(t *testing.T) {
	censored := func(r *Report, n int, rmta float64) {
		for _, q := range []*Quantile{&r.Total.Outage, &r.Total.BackCurve} {
			q.N, q.Censored = int64(1000-n), int64(n)
		}
		r.Total.Back, r.Total.Censored, r.Total.RMTA = 1000-n, n, f(rmta)
	}
	base, next := fiveRuns(t, 1, func(r *Report, i int) { censored(r, 8, 0.65*jitter(i)) })
	for i, r := range base {
		censored(r, 1, 0.21*jitter(i))
	}
	c := Compare(base, next, CompareOptions{})
	if c.Verdict != Worse || c.Gates[0].Verdict != Worse || c.Rules[2].Name != "censored" || c.Rules[2].Worse {
		t.Errorf("%s\n%s", c.Verdict, textOf(t, c))
	}
	if len(c.Why) != 1 || !strings.HasPrefix(c.Why[0], "rmta ") {
		t.Errorf("%q", c.Why)
	}
}

// Where the old runs did not reach a quantile there is no margin to be within.
func TestCompareNotReachedBefore(t *testing.T) {
	unreached := func(r *Report) {
		for _, q := range []*Quantile{&r.Total.Outage, &r.Total.BackCurve} {
			q.P99, q.Censored = nil, 15
		}
	}
	p99 := func(c Comparison) Metric { return c.Gates[3] }
	for _, tt := range []struct {
		name     string
		old, new int // runs that do not reach p99
		is       Outcome
	}{
		{"on neither side", 5, 5, Same},
		{"reached now", 5, 0, Better},
		{"not reached now", 0, 5, Worse},
		{"most before, all now", 3, 5, Inconclusive},
		{"all before, most now", 5, 4, Inconclusive},
	} {
		base, next := fiveRuns(t, 1, func(*Report, int) {})
		for i := range 5 {
			if i < tt.old {
				unreached(base[i])
			}
			if i < tt.new {
				unreached(next[i])
			}
		}
		c := Compare(base, next, CompareOptions{})
		if said := strings.Contains(textOf(t, c), "not reached on either side: the same as far as the horizon shows"); said != (tt.is == Same) {
			t.Errorf("%s: said %v", tt.name, said)
		}
		if m := p99(c); m.Name != "outage.p99" || m.Verdict != tt.is {
			t.Errorf("%s: %s is %s, want %s (%s)", tt.name, m.Name, m.Verdict, tt.is, m.Why)
		}
	}
}

// Noise widens the margin of worse. It must not make the same of what may be worse by half.
func TestCompareNoiseIsNotSame(t *testing.T) {
	wild := []float64{0.6, 1.5, 0.9, 1.3, 1.1, 0.7, 1.4, 1}
	make := func(id string, from int) []*Report {
		return varied(t, 8, pass, func(r *Report, i int) {
			r.Run.ID = id + r.Run.ID
			scaled(r, wild[(i+from)%8], 0)
		})
	}
	c := Compare(make("old", 0), make("new", 3), CompareOptions{})
	m := c.Gates[0]
	if c.Verdict != Inconclusive || m.Verdict != Inconclusive || m.Margin < 0.4 || m.Within != leastMargin || m.raw.shift.high > m.margin() {
		t.Errorf("%s, %+v\n%s", c.Verdict, m, textOf(t, c))
	}
	if want := "the interval reaches over ± 10 %"; m.Why != want || m.Need <= 8 {
		t.Errorf("%q, needs %d", m.Why, m.Need)
	}
	// Whoever says that so much does not matter gets his answer.
	if c := Compare(make("old", 0), make("new", 3), CompareOptions{Margin: m.Margin}); c.Verdict != Same {
		t.Errorf("%s with a margin of one's own\n%s", c.Verdict, textOf(t, c))
	}
}

// Better needs that nothing may be worse.
func TestCompareBetterButUnsure(t *testing.T) {
	wild := []float64{0.7, 1.5, 0.9, 1.3, 1.1}
	base, next := fiveRuns(t, 0.6, func(r *Report, i int) { r.Total.Outage.P99 = f(0.205 * wild[i]) })
	c := Compare(base, next, CompareOptions{})
	if c.Verdict != Inconclusive || c.Gates[0].Verdict != Better {
		t.Errorf("%s\n%s", c.Verdict, textOf(t, c))
	}
	if c.NeedRuns <= 5 {
		t.Errorf("needs %d runs", c.NeedRuns)
	}
}

// A slower CONNACK in one of two phases is named with its phase and part.
func TestCompareNamesThePart(t *testing.T) {
	two := func(t testing.TB) *Report {
		r := pass(t)
		again := storm("again", 1, 1000, 9.4)
		r.Waves = append(r.Waves, again)
		r.Phases = append(r.Phases, Phase{Name: "again", Start: 9.4, End: 9.7, Fitness: "fit"})
		return r
	}
	slow := func(r *Report, i int) {
		for _, w := range r.Waves {
			if w.Phase == "again" {
				q := w.Waterfall["connack"]
				q.P50 = f(*q.P50 + 0.03*jitter(i))
				w.Waterfall["connack"] = q
			}
		}
		for _, v := range []**float64{&r.Total.RMTA, &r.Total.Outage.P50, &r.Total.Outage.P90, &r.Total.Outage.P99, &r.Total.BackCurve.P99} {
			*v = f((**v + 0.03) * jitter(i+3))
		}
	}
	c := Compare(varied(t, 5, two, func(r *Report, i int) { scaled(r, jitter(i), 0) }), varied(t, 5, two, slow), CompareOptions{})
	lines := c.explanation().lines
	if c.Verdict != Worse || len(lines) != 1 || !strings.HasPrefix(lines[0], "again waterfall.connack.p50 38 ms → 68 ms, shift +30 ms") {
		t.Errorf("%s %q", c.Verdict, lines)
	}
}

// Fleets and phases of several waves are read out of the histograms.
func TestComparePartsOfFleets(t *testing.T) {
	make := func(t testing.TB) *Report {
		r := waves(t)
		r.Histograms = append(r.Histograms,
			histogramOf(t, "devices", "storm", 0, "outage", unitNS, 7, 8, []int64{1e9, 2e9, 3e9, 4e9}),
			histogramOf(t, "gateways", "storm", 0, "outage", unitNS, 7, 8, []int64{10e9, 20e9, 30e9}))
		r.Histograms[len(r.Histograms)-1].Censored = 2
		return r
	}
	r := make(t)
	for _, tt := range []struct {
		fleet, q    string
		want        float64 // 0 = not reached
		n, censored int64
	}{{"devices", "p50", 2, 4, 0}, {"gateways", "p50", 30, 3, 2}, {"gateways", "p99", 0, 3, 2}, {"", "p50", 10, 7, 2}} {
		s := r.histSample("storm", tt.fleet, "outage", tt.q)
		switch {
		case !s.known || s.n != tt.n || s.censored != tt.censored:
			t.Errorf("%+v: %+v", tt, s)
		case (s.value == nil) != (tt.want == 0), s.value != nil && math.Abs(*s.value-tt.want) > 0.01*tt.want:
			t.Errorf("%+v: got %v", tt, s.value)
		}
	}
	if s := r.histSample("storm", "nobody", "outage", "p50"); s.known {
		t.Error("a fleet that is not there has a value")
	}
	r.Histograms[len(r.Histograms)-1].V2 = "broken"
	if s := r.histSample("storm", "gateways", "outage", "p50"); s.known {
		t.Error("a broken histogram has a value")
	}
	slow := func(t testing.TB) *Report {
		r := make(t)
		last := len(r.Histograms) - 1
		r.Histograms[last] = histogramOf(t, "gateways", "storm", 0, "outage", unitNS, 7, 8, []int64{40e9, 50e9, 60e9})
		return r
	}
	none := func(*Report, int) {}
	c := Compare(varied(t, 5, make, none), varied(t, 5, slow, none), CompareOptions{})
	if !slices.ContainsFunc(c.Parts, func(m Metric) bool { return m.label() == "storm fleet gateways outage.p50" && *m.Shift > 10 }) {
		t.Errorf("%s", textOf(t, c))
	}
	if slices.ContainsFunc(c.Parts, func(m Metric) bool { return m.Fleet == "devices" }) {
		t.Error("a fleet that did not change is listed")
	}
}

// The JSON holds all: it reads back as it was, without a NaN or an Inf anywhere.
func TestCompareJSON(t *testing.T) {
	base, next := fiveRuns(t, 1.3, func(r *Report, i int) { r.Total.Outage.P99, r.Total.Outage.Censored = nil, 3 })
	c := Compare(base, next, CompareOptions{})
	var b bytes.Buffer
	if err := writeIndented(&b, c); err != nil {
		t.Fatal(err)
	}
	var back Comparison
	if err := json.Unmarshal(b.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	for _, list := range [][]Metric{c.Gates, c.Parts, c.Totals} {
		for i := range list {
			list[i].raw = raw{}
		}
	}
	if d := cmp.Diff(c, back, cmp.AllowUnexported(Metric{}, raw{}, shift{})); d != "" {
		t.Error(d)
	}
	refused := Compare([]*Report{pass(t)}, []*Report{waves(t)}, CompareOptions{})
	b.Reset()
	if err := writeIndented(&b, refused); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "null") {
		t.Errorf("a list is null:\n%s", b.String())
	}
}

func TestOverlays(t *testing.T) {
	base, next := fiveRuns(t, 1, func(r *Report, i int) {
		r.Waves[0].Curve = []CurvePoint{{Seconds: 0.2, Back: 0.1, AtRisk: 1000}, {Seconds: 0.5, Back: 1, AtRisk: 1}}
	})
	c := Compare(base, next, CompareOptions{})
	var kinds []string
	for _, o := range c.Overlays {
		kinds = append(kinds, fmt.Sprintf("%s %s %d", o.Curve, o.Phase, o.Wave))
		for _, b := range []Band{o.Base, o.Next, o.Diff} {
			if len(b.Low) != len(o.X) || len(b.Mid) != len(o.X) || len(b.High) != len(o.X) {
				t.Fatalf("%s: bands are not as long as X", o.Curve)
			}
		}
		if o.Curve != "recovery" {
			continue
		}
		// Old runs are all back at 0.242 s, new ones at 0.5 s: there the gap is.
		if o.Gap == nil || *o.Gap < 0.24 || *o.Gap > 0.5 {
			t.Errorf("largest gap at %v", o.Gap)
		}
		end := len(o.X) - 1
		if o.X[end] != 0.5 || *o.Base.Mid[end] != 1 || *o.Next.Mid[end] != 1 || *o.Diff.Mid[end] != 0 || *o.Base.Mid[0] != 0 {
			t.Errorf("ends at %v: %v %v", o.X[end], *o.Base.Mid[end], *o.Next.Mid[end])
		}
		if at := slices.IndexFunc(o.X, func(x float64) bool { return x > 0.3 }); *o.Diff.Mid[at] > -0.89 || o.Diff.High[at] == nil {
			t.Errorf("difference %v", *o.Diff.Mid[at])
		}
	}
	if got := strings.Join(kinds, ", "); got != "outage storm 0, recovery storm 0" {
		t.Error(got)
	}
}

// A/A noise is that of halves: a known spread gives a known noise.
func TestNoise(t *testing.T) {
	if n := aaNoise([]float64{1, 1, 1, 1, 1}); n == nil || *n != 0 {
		t.Errorf("%v", n)
	}
	for _, none := range [][]float64{{1, 2, 3}, {1, 2, 3, math.Inf(1)}, {0, 0, 0, 0}} {
		if n := aaNoise(none); n != nil {
			t.Errorf("%v: %v", none, *n)
		}
	}
	if n := aaNoise([]float64{0.9, 1.1, 0.9, 1.1}); n == nil || *n < 0.05 || *n > 0.2 {
		t.Errorf("%v", n)
	}
	if got := len(halves(5)); got != 10 {
		t.Errorf("%d halves of 5", got)
	}
	if got := halves(12); len(got) != maxSplits || len(got[0]) != 6 {
		t.Errorf("%d halves of 12", len(got))
	}
	if _, m := margin([]float64{1, 1.5, 0.6, 1.3, 0.8}, 0); m <= leastMargin {
		t.Errorf("margin %v of noisy runs", m)
	}
}
