package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// writeProm writes metrics.prom: the text format 0.0.4 of Prometheus, for the
// text file collector of its node exporter or a push gateway.
func writeProm(w io.Writer, r *Report) error {
	return writeMetrics(w, r, expfmt.NewFormat(expfmt.TypeTextPlain))
}

// writeOpenMetrics writes metrics.om: the same in OpenMetrics 1.0.
func writeOpenMetrics(w io.Writer, r *Report) error {
	return writeMetrics(w, r, expfmt.NewFormat(expfmt.TypeOpenMetrics))
}

func writeMetrics(w io.Writer, r *Report, format expfmt.Format) error {
	enc := expfmt.NewEncoder(w, format)
	for _, row := range metricTable() {
		f, err := row.family(r)
		if err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
		if len(f.Metric) == 0 {
			continue
		}
		if err := enc.Encode(f); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	if end, ok := enc.(expfmt.Closer); ok {
		return end.Close()
	}
	return nil
}

// metricRow is one metric family: a snapshot of a run that has ended, so that
// its counts are gauges and no counters. Each sample has the label scenario.
type metricRow struct {
	name, unit, doc string // a name with a unit ends in it
	kind            dto.MetricType
	fill            func(f *family, r *Report) error
}

func gauges(name, unit, doc string, fill func(f *family, r *Report)) metricRow {
	return metricRow{name, unit, doc, dto.MetricType_GAUGE, func(f *family, r *Report) error { fill(f, r); return nil }}
}

// one is a gauge of the whole run.
func one(name, unit, doc string, get func(r *Report) float64) metricRow {
	return gauges(name, unit, doc, func(f *family, r *Report) { f.gauge(get(r)) })
}

func summaries(name, unit, doc string, fill func(f *family, r *Report)) metricRow {
	return metricRow{name, unit, doc, dto.MetricType_SUMMARY, func(f *family, r *Report) error { fill(f, r); return nil }}
}

// never ends the help of the families that count clients which did not come back.
const never = " What did not end in time counts as +Inf."

// metricTable is the table of metric families, in the order of the file.
func metricTable() []metricRow {
	return slices.Concat(runMetrics(), waveMetrics(), messageMetrics(), verdictMetrics(), harnessMetrics(), distributionMetrics())
}

func runMetrics() []metricRow {
	return []metricRow{
		gauges("rebound_run_info", "", "What was run, in its labels; always 1.", func(f *family, r *Report) {
			f.gauge(1, "scenario_hash", r.Run.ScenarioHash, "plan_hash", r.Run.PlanHash, "seed", strconv.FormatUint(r.Run.Seed, 10), "rebound", r.Rebound,
				"target", r.Target.Kind, "broker", r.Target.Broker, "broker_version", r.Target.Version, "driver", r.Driver.Name, "driver_version", r.Driver.Version)
		}),
		one("rebound_run_passed", "", "1 if the run passed, else 0.", func(r *Report) float64 { return float64(b2i(r.word() == "PASS")) }),
		one("rebound_run_exit_code", "", "Exit code of the run: 0 pass, 1 fail, 3 unknown.", func(r *Report) float64 { return float64(r.ExitCode) }),
		one("rebound_run_complete", "", "1 if the evidence ends with its closing mark, else 0.", func(r *Report) float64 { return float64(b2i(r.Run.Complete)) }),
		gauges("rebound_run_start_timestamp_seconds", "seconds", "Start of the run, in seconds of the Unix epoch.", func(f *family, r *Report) {
			if at, err := time.Parse(time.RFC3339, r.Run.StartedAt); err == nil {
				f.gauge(float64(at.UnixMilli()) / 1e3)
			}
		}),
		one("rebound_run_duration_seconds", "seconds", "Length of the run.", func(r *Report) float64 { return r.Run.Seconds }),
		one("rebound_clients", "", "Clients of the plan.", func(r *Report) float64 { return float64(r.Run.Clients) }),
		one("rebound_clients_connected", "", "Clients that reached CONNACK and their subscriptions in the first connect.", func(r *Report) float64 { return float64(r.Connect.Connected) }),
		summaries("rebound_connect_seconds", "seconds", "First connect of each client, from its intended start to subscriptions in place.", func(f *family, r *Report) {
			f.summary(r.Connect.Latency)
		}),
	}
}

// maxWaveSamples is how many waves have samples of their own: more would be a
// burden to Prometheus, and report.json has them.
const maxWaveSamples = 100

// eachWave walks the waves with their labels; those of a run that has too many
// only together.
func (r *Report) eachWave(do func(w Wave, labels ...string)) {
	if len(r.Waves) > maxWaveSamples {
		do(r.Total, "phase", "all", "wave", "all")
		return
	}
	for _, w := range r.Waves {
		do(w, "phase", w.Phase, "wave", strconv.Itoa(w.Wave))
	}
}

// andTotal walks them and all of them together, for what does not add up over waves.
func (r *Report) andTotal(do func(w Wave, labels ...string)) {
	r.eachWave(do)
	if n := len(r.Waves); n > 0 && n <= maxWaveSamples {
		do(r.Total, "phase", "all", "wave", "all")
	}
}

func waveMetrics() []metricRow {
	counts := func(name, doc string, outcomes []outcome) metricRow {
		return gauges(name, "", doc, func(f *family, r *Report) {
			r.eachWave(func(w Wave, labels ...string) {
				for _, o := range outcomes {
					f.gauge(float64(o.get(w)), append(labels, "outcome", strings.ReplaceAll(o.name, " ", "-"))...)
				}
			})
		})
	}
	each := func(name, doc string, get func(w Wave) float64) metricRow {
		return gauges(name, "", doc, func(f *family, r *Report) {
			r.eachWave(func(w Wave, labels ...string) { f.gauge(get(w), labels...) })
		})
	}
	quantiles := func(name, doc string, get func(w Wave) Quantile) metricRow {
		return summaries(name, "seconds", doc, func(f *family, r *Report) {
			r.andTotal(func(w Wave, labels ...string) { f.summary(get(w), labels...) })
		})
	}
	return []metricRow{
		one("rebound_waves", "", "Waves of faults. A run with more than 100 has only samples of all of them together, wave=\"all\".", func(r *Report) float64 { return float64(len(r.Waves)) }),
		counts("rebound_victims", "Victims of each wave, by what became of them.", victimOutcomes),
		counts("rebound_actions", "Issued actions of each wave, by what became of them.", actionOutcomes),
		quantiles("rebound_outage_seconds", "Outages of hit clients (Kaplan-Meier)."+never, func(w Wave) Quantile { return w.Outage }),
		quantiles("rebound_back_seconds", "From the first intended instant of the wave to each client back."+never, func(w Wave) Quantile { return w.BackCurve }),
		gauges("rebound_rmta_seconds", "seconds", "Restricted mean time away, to the horizon, the censored included.", func(f *family, r *Report) {
			r.andTotal(func(w Wave, labels ...string) {
				if w.RMTA != nil {
					f.gauge(*w.RMTA, labels...)
				}
			})
		}),
		summaries("rebound_waterfall_seconds", "seconds", "Parts of the outages of all waves; of each client they add up to its outage.", func(f *family, r *Report) {
			for _, part := range slices.Sorted(maps.Keys(r.Total.Waterfall)) {
				f.summary(r.Total.Waterfall[part], "part", part)
			}
		}),
		quantiles("rebound_answer_seconds", "From the call that closes a connection to its answer.", func(w Wave) Quantile { return w.Answer }),
		each("rebound_herd_connects", "CONNECTs of each wave, at the tap.", func(w Wave) float64 { return float64(w.Herd.Connects) }),
		each("rebound_herd_peak_connects", "Most CONNECTs in any 10 ms of each wave.", func(w Wave) float64 { return float64(w.Herd.Peak) }),
		each("rebound_herd_amplification", "CONNECTs for each hit of each wave.", func(w Wave) float64 { return w.Herd.Amplification }),
		gauges("rebound_unscripted_ends", "", "Connections that ended without a fault of the plan, by fleet: clients or control.", func(f *family, r *Report) {
			f.gauge(float64(r.Unscripted.Ends), "fleet", "clients")
			f.gauge(float64(r.Unscripted.Control), "fleet", "control")
		}),
		summaries("rebound_unscripted_outage_seconds", "seconds", "Outages that no fault explains."+never, func(f *family, r *Report) { f.summary(r.Unscripted.Outage) }),
	}
}

func messageMetrics() []metricRow {
	return []metricRow{gauges("rebound_messages", "", "Closing balance of the messages, by QoS and account.", func(f *family, r *Report) {
		for _, m := range r.Messages {
			for _, c := range messageCounts {
				if c.label != "" {
					f.gauge(float64(c.get(m)), "qos", strconv.Itoa(m.QoS), "account", c.label)
				}
			}
		}
	})}
}

func verdictMetrics() []metricRow {
	return []metricRow{
		gauges("rebound_check", "", "Verdict of each check, in its labels; always 1.", func(f *family, r *Report) {
			for _, c := range r.Checks {
				f.gauge(1, "check", c.Name, "verdict", string(c.Verdict), "known", strconv.FormatBool(c.Known != ""))
			}
		}),
		gauges("rebound_check_findings", "", "Findings of each check that applies.", func(f *family, r *Report) {
			for _, c := range r.Checks {
				if c.Verdict != NotApplicable {
					f.gauge(float64(c.Count), "check", c.Name)
				}
			}
		}),
		gauges("rebound_expectation", "", "Verdict of each expectation, in its labels; always 1.", func(f *family, r *Report) {
			for i, e := range r.Expectations {
				f.gauge(1, append(expectationLabels(i, e), "verdict", string(e.Verdict))...)
			}
		}),
		gauges("rebound_expectation_limit", "", "Limit of each expectation, in seconds, a fraction or a count.", func(f *family, r *Report) {
			for i, e := range r.Expectations {
				f.gauge(e.Limit, expectationLabels(i, e)...)
			}
		}),
		gauges("rebound_expectation_measured", "", "What was measured for each expectation; absent where it is not known or was not reached.", func(f *family, r *Report) {
			for i, e := range r.Expectations {
				if e.Measured != nil {
					f.gauge(*e.Measured, expectationLabels(i, e)...)
				}
			}
		}),
	}
}

// expectationLabels name an expectation; the number keeps equal ones apart.
func expectationLabels(i int, e Expectation) []string {
	return []string{"number", strconv.Itoa(i + 1), "expectation", e.Text}
}

func harnessMetrics() []metricRow {
	return []metricRow{
		gauges("rebound_harness_fitness", "", "Fitness of the measuring instrument in each phase, in its labels; always 1.", func(f *family, r *Report) {
			for _, p := range r.Phases {
				f.gauge(1, "phase", p.Name, "fitness", p.Fitness)
			}
		}),
		summaries("rebound_harness_canary_seconds", "seconds", "Lateness of the harness itself in each phase: what it may add to a time.", func(f *family, r *Report) {
			for _, p := range r.Phases {
				f.summary(p.Canary, "phase", p.Name)
			}
		}),
		one("rebound_harness_cpu_seconds", "seconds", "CPU time of the harness.", func(r *Report) float64 { return r.Harness.CPUSeconds }),
		one("rebound_harness_heap_max_bytes", "bytes", "Greatest heap of the harness.", func(r *Report) float64 { return float64(r.Harness.HeapBytes) }),
		one("rebound_harness_listen_overflows", "", "Connections that a listen queue of this machine dropped in the run.", func(r *Report) float64 { return float64(r.Harness.ListenDrops) }),
	}
}
