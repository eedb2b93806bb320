package reports

import (
	"bytes"
	"math"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// parsed reads metrics.prom with the parser of Prometheus's own library.
func parsed(t *testing.T, r *Report) map[string]*dto.MetricFamily {
	t.Helper()
	var b bytes.Buffer
	if err := writeProm(&b, r); err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(&b)
	if err != nil {
		t.Fatal(err)
	}
	return families
}

// metricOf is the one sample of a family that has these labels, among others.
func metricOf(t *testing.T, families map[string]*dto.MetricFamily, name string, labels ...string) *dto.Metric {
	t.Helper()
	var found []*dto.Metric
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.Label {
			has[l.GetName()] = l.GetValue()
		}
		all := true
		for i := 0; i < len(labels); i += 2 {
			all = all && has[labels[i]] == labels[i+1]
		}
		if all {
			found = append(found, m)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s%q: %d samples", name, labels, len(found))
	}
	return found[0]
}

func TestMetricsReadBack(t *testing.T) {
	for name, r := range fixtures(t) {
		families := parsed(t, r)
		for _, row := range metricTable() {
			want, err := row.family(r)
			if err != nil {
				t.Fatal(err)
			}
			if got := families[row.name]; len(got.GetMetric()) != len(want.Metric) || len(want.Metric) > 0 && (got.GetType() != row.kind || got.GetHelp() != row.doc) {
				t.Errorf("%s: %s has %d samples, want %d", name, row.name, len(got.GetMetric()), len(want.Metric))
			}
			if row.unit != "" && !strings.HasSuffix(row.name, "_"+row.unit) {
				t.Errorf("%s does not end in its unit %s", row.name, row.unit)
			}
		}
		seen := map[string]bool{}
		for family, f := range families {
			for _, m := range f.Metric {
				key := family + " " + model.LabelSet(labelSet(m)).String()
				if seen[key] {
					t.Errorf("%s: %s stands twice", name, key)
				}
				seen[key] = true
			}
		}
		for _, w := range r.Waves {
			victims := 0.0
			for _, outcome := range []string{"back", "censored", "unaffected", "absent"} {
				victims += metricOf(t, families, "rebound_victims", "phase", w.Phase, "wave", itoa(w.Wave), "outcome", outcome).Gauge.GetValue()
			}
			if victims != float64(w.Victims) {
				t.Errorf("%s wave %d: %g victims", name, w.Wave, victims)
			}
		}
	}
}

func itoa(n int) string { return decimal(uint64(n)) }

func labelSet(m *dto.Metric) model.LabelSet {
	set := model.LabelSet{}
	for _, l := range m.Label {
		set[model.LabelName(l.GetName())] = model.LabelValue(l.GetValue())
	}
	return set
}

// Clients that never came back are in every count, and no quantile that was not
// reached has a value that an alert would not see.
func TestMetricsCountTheCensored(t *testing.T) {
	families := parsed(t, fail(t))
	s := metricOf(t, families, "rebound_outage_seconds", "wave", "1").Summary
	if s.GetSampleCount() != 995 || !math.IsInf(s.GetSampleSum(), 1) {
		t.Errorf("count %d, sum %g", s.GetSampleCount(), s.GetSampleSum())
	}
	got := map[float64]float64{}
	for _, q := range s.Quantile {
		got[q.GetQuantile()] = q.GetValue()
	}
	if got[0.5] != 0.161 || got[0.9] != 0.188 || !math.IsInf(got[0.99], 1) || !math.IsInf(got[0.999], 1) || !math.IsInf(got[1], 1) {
		t.Errorf("quantiles %v", got)
	}
	h := metricOf(t, families, "rebound_distribution_seconds", "metric", "outage").Histogram
	if h.GetSampleCount() != 995 || !math.IsInf(h.GetSampleSum(), 1) {
		t.Errorf("count %d, sum %g", h.GetSampleCount(), h.GetSampleSum())
	}
	if none := parsed(t, pass(t))["rebound_unscripted_outage_seconds"]; none != nil {
		t.Errorf("a distribution without values: %v", none)
	}
}

// The buckets hold what was recorded, to three digits at the bounds.
func TestMetricsBuckets(t *testing.T) {
	values := []int64{1000, 1e6, 1_000_400, 1_010_000, 59e9, 61e9, 601e9, 3599e9}
	r := healthy()
	r.Histograms = []Histogram{histogramOf(t, "f", "p", 0, "m", unitNS, 0, 1, values)}
	r.Histograms[0].Overflow, r.Histograms[0].Censored = 2, 3
	h := metricOf(t, parsed(t, r), "rebound_distribution_seconds").Histogram
	want := map[float64]uint64{0.001: 3, 0.0025: 4, 60: 5, 120: 6, 600: 6, math.Inf(1): 13}
	for _, b := range h.Bucket {
		if n, ok := want[b.GetUpperBound()]; ok && n != b.GetCumulativeCount() {
			t.Errorf("up to %g: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
		delete(want, b.GetUpperBound())
	}
	if len(want) > 0 {
		t.Errorf("no bounds %v", want)
	}
}

// Names from a scenario may hold what the format gives a meaning.
func TestMetricsEscape(t *testing.T) {
	odd := "a\"b\\c\nd{e=\"f\"} 1"
	r := pass(t)
	r.Run.Scenario, r.Expectations[0].Text = odd, odd
	m := metricOf(t, parsed(t, r), "rebound_expectation", "number", "1")
	if set := labelSet(m); set["scenario"] != model.LabelValue(odd) || set["expectation"] != model.LabelValue(odd) {
		t.Errorf("read back: %q", set)
	}
}

// A run of many waves stays readable for Prometheus, and its counts stay whole.
func TestMetricsOfManyWaves(t *testing.T) {
	for _, n := range []int{1, maxWaveSamples, maxWaveSamples + 1, 500} {
		r := pass(t)
		r.Waves = nil
		for k := range n {
			r.Waves = append(r.Waves, storm("storm", k+1, 10, float64(k)))
		}
		r.Total = storm("", 0, 10*n, 0)
		families := parsed(t, r)
		victims := 0.0
		for _, m := range families["rebound_victims"].Metric {
			victims += m.Gauge.GetValue()
		}
		if victims != float64(10*n) {
			t.Errorf("%d waves: %g victims, want %d", n, victims, 10*n)
		}
		if got := metricOf(t, families, "rebound_waves").Gauge.GetValue(); got != float64(n) {
			t.Errorf("%g waves, want %d", got, n)
		}
		metricOf(t, families, "rebound_outage_seconds", "wave", "all")
		var b bytes.Buffer
		if err := writeProm(&b, r); err != nil || b.Len() > 512<<10 {
			t.Errorf("%d waves: %d bytes, %v", n, b.Len(), err)
		}
	}
}
