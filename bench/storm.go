package bench

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Main is for TestMain: it makes the child target work in a test binary, and
// prints the Unit lines that tell benchstat which way is better and which
// metrics are exact. They can't be printed inside a benchmark, whose name is
// on the line already.
func Main(m *testing.M, out io.Writer) int {
	harness.ChildMain()
	for _, metric := range metrics {
		fmt.Fprintf(out, "Unit %s better=lower", metric.unit)
		if metric.exact {
			fmt.Fprint(out, " assume=exact")
		}
		fmt.Fprintln(out)
	}
	return m.Run()
}

// metric is one value of a benchmark line, from the report of one run.
type metric struct {
	unit  string // times end in -ns: benchstat scales them
	exact bool   // a count: summed over the iterations, not averaged
	value func(*reports.Report) (float64, bool)
}

// metrics are the values of each benchmark line.
var metrics = []metric{
	{"p50-outage-ns", false, seconds(func(r *reports.Report) *float64 { return r.Total.Outage.P50 })},
	{"p99-outage-ns", false, seconds(func(r *reports.Report) *float64 { return r.Total.Outage.P99 })},
	{"rmta-ns", false, seconds(func(r *reports.Report) *float64 { return r.Total.RMTA })},
	{"all-back-ns", false, seconds(func(r *reports.Report) *float64 { return r.Total.BackCurve.Max })},
	{"censored-clients", true, func(r *reports.Report) (float64, bool) { return float64(r.Total.Censored), true }},
	{"lost-qos1-msgs", true, func(r *reports.Report) (float64, bool) {
		for _, m := range r.Messages {
			if m.QoS == 1 {
				return float64(m.Lost), true
			}
		}
		return 0, false
	}},
	{"unscripted-ends", true, func(r *reports.Report) (float64, bool) {
		return float64(r.Unscripted.Ends + r.Unscripted.Control), true
	}},
}

func seconds(pick func(*reports.Report) *float64) func(*reports.Report) (float64, bool) {
	return func(r *reports.Report) (float64, bool) {
		v := pick(r)
		if v == nil {
			return 0, false // a quantile that was not reached has no value to average
		}
		return *v * 1e9, true
	}
}

// Storm runs one wave of sc an iteration, each with a fleet of its own: no
// client has lost a connection before, so that paho starts each in its
// first-loss regime. Connecting and draining are outside the timer. The run
// folders go to b.ArtifactDir().
//
// A run that could not be done, or did not pass, or in which a
// client slept in its library's backoff, fails the benchmark: its times would
// be of another kind than the rest.
func Storm(b *testing.B, sc *scenarios.Scenario, clients int) {
	b.Helper()
	dir := b.ArtifactDir()
	sum := make([]float64, len(metrics))
	count := make([]int, len(metrics))
	n := 0
	for b.Loop() {
		b.StopTimer()
		n++
		r, err := wave(b.Context(), sc, clients, uint64(n), filepath.Join(dir, fmt.Sprintf("%03d", n)))
		if err != nil {
			b.Fatal(err)
		}
		if err := usable(r); err != nil {
			b.Fatal(err)
		}
		for i, m := range metrics {
			if v, ok := m.value(r); ok {
				sum[i] += v
				count[i]++
			}
		}
		b.StartTimer()
	}
	b.ReportMetric(0, "ns/op") // the harness's own loop says nothing
	for i, m := range metrics {
		switch {
		case count[i] == 0:
		case m.exact:
			b.ReportMetric(sum[i], m.unit)
		default:
			b.ReportMetric(sum[i]/float64(count[i]), m.unit)
		}
	}
}

// wave is one iteration: plan, run, write the reports.
func wave(ctx context.Context, sc *scenarios.Scenario, clients int, seed uint64, dir string) (*reports.Report, error) {
	tables := harness.DefaultTables()
	plan, err := harness.NewPlan(sc, harness.PlanOptions{Tables: tables, Seed: &seed, Clients: clients, Target: "embedded"})
	if err != nil {
		return nil, err
	}
	r, err := harness.Run(ctx, plan, harness.Options{Tables: tables, Dir: dir})
	if err != nil {
		return nil, err
	}
	return r, reports.WriteAll(dir, r)
}

// usable refuses a run whose times can not stand in a benchmark line.
func usable(r *reports.Report) error {
	if r.ExitCode != harness.ExitPass {
		// A known defect of the broker passes, as it does on the command line.
		return fmt.Errorf("run %s did not pass (exit %d): see its report", r.Run.ID, r.ExitCode)
	}
	if n := r.Total.SlowBackoff; n > 0 {
		return fmt.Errorf("run %s: %d clients slept in the library's backoff: not the first-loss regime", r.Run.ID, n)
	}
	if r.Total.Regime != "first" {
		return fmt.Errorf("run %s: the wave started in regime %q, want first", r.Run.ID, r.Total.Regime)
	}
	return nil
}

// shorten takes from a shipped scenario the parts that a benchmark does not
// measure: a quick connect, one second of steady traffic, a short drain.
func shorten(sc *scenarios.Scenario) {
	for i := range sc.Fleets {
		sc.Fleets[i].Connect.Rate = 1000
	}
	quiet := 500 * time.Millisecond
	for i := range sc.Phases {
		p := &sc.Phases[i]
		if p.For > time.Second {
			p.For = time.Second
		}
		if p.Until != nil && p.Until.Quiet != nil {
			p.Until.Quiet = &quiet
		}
	}
}
