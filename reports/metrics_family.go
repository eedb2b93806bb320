package reports

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// family is one metric family in the making.
type family struct {
	scenario string
	metrics  []*dto.Metric
}

func (m metricRow) family(r *Report) (*dto.MetricFamily, error) {
	f := &family{scenario: r.Run.Scenario}
	if err := m.fill(f, r); err != nil {
		return nil, err
	}
	out := &dto.MetricFamily{Name: new(m.name), Help: new(m.doc), Type: m.kind.Enum(), Metric: f.metrics}
	if m.unit != "" {
		out.Unit = new(m.unit)
	}
	return out, nil
}

// add appends a sample; labels are names and values by turns.
func (f *family) add(m *dto.Metric, labels []string) {
	m.Label = []*dto.LabelPair{{Name: new("scenario"), Value: new(f.scenario)}}
	for i := 0; i < len(labels); i += 2 {
		m.Label = append(m.Label, &dto.LabelPair{Name: new(labels[i]), Value: new(labels[i+1])})
	}
	f.metrics = append(f.metrics, m)
}

func (f *family) gauge(v float64, labels ...string) {
	f.add(&dto.Metric{Gauge: &dto.Gauge{Value: new(v)}}, labels)
}

// rankOf is the rank of each quantile that is written.
var rankOf = map[string]float64{"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1}

// summary adds a distribution, if it has any values. What was censored or lay
// above the range counts as +Inf, as a client library would count it: in the
// count, in the sum, and in the quantiles that were not reached. So no quantile
// is written without those that never came, and an alert on it does fire.
func (f *family) summary(q Quantile, labels ...string) {
	if q.N <= 0 && q.Censored <= 0 {
		return
	}
	s := &dto.Summary{SampleCount: new(natural(q.N + q.Censored)), SampleSum: new(sumOf(q))}
	for _, e := range q.each() {
		v := q.reached(e.Name)
		if v == nil && q.Censored > 0 {
			v = new(math.Inf(1))
		}
		if v != nil {
			s.Quantile = append(s.Quantile, &dto.Quantile{Quantile: new(rankOf[e.Name]), Value: new(*v)})
		}
	}
	f.add(&dto.Metric{Summary: s}, labels)
}

func sumOf(q Quantile) float64 {
	switch {
	case q.Censored > 0 || q.Overflow > 0:
		return math.Inf(1)
	case q.Mean == nil:
		return math.NaN()
	}
	return *q.Mean * float64(q.N)
}

// natural keeps a count of a damaged report from turning into a huge one.
func natural(n int64) uint64 { return uint64(max(0, n)) }

// timeBounds, in seconds, span what a reconnect takes: 1 ms to 10 min.
var timeBounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120, 300, 600}

var countBounds = []float64{0, 1, 2, 5, 10, 25, 50, 100, 250, 1000, 10_000, 100_000}

func distributionMetrics() []metricRow {
	row := func(name, unit, doc, of string, bounds []float64, scale float64) metricRow {
		return metricRow{name, unit, doc, dto.MetricType_HISTOGRAM, func(f *family, r *Report) error {
			for _, s := range allSeries(r.Histograms) {
				if s.Unit != of {
					continue
				}
				h, err := s.distribution(bounds, scale)
				if err != nil {
					return err
				}
				f.add(&dto.Metric{Histogram: h}, []string{"fleet", s.Fleet, "phase", s.Phase, "metric", s.Metric})
			}
			return nil
		}}
	}
	return []metricRow{
		row("rebound_distribution_seconds", "seconds", "Distributions of times, by metric. The bounds are sharp to three digits."+never, unitNS, timeBounds, 1e9),
		row("rebound_distribution_messages", "messages", "Distributions of messages for each outage, by metric.", unitCount, countBounds, 1),
	}
}

// distribution counts the values of a series up to each bound. An HDR histogram
// knows a value to three digits: one that can not be told from the bound counts
// as not above it.
func (s series) distribution(bounds []float64, scale float64) (*dto.Histogram, error) {
	h, err := s.merged()
	if err != nil {
		return nil, err
	}
	out := &dto.Histogram{SampleCount: new(natural(s.N + s.Overflow + s.Censored)), SampleSum: new(h.Mean() * float64(h.TotalCount()) / scale)}
	if s.Overflow > 0 || s.Censored > 0 {
		out.SampleSum = new(math.Inf(1))
	}
	below := map[float64]int64{}
	for _, bar := range h.Distribution() {
		i, _ := slices.BinarySearch(bounds, float64(bar.From)/scale)
		if bar.Count > 0 && i < len(bounds) {
			below[bounds[i]] += bar.Count
		}
	}
	total := int64(0)
	for _, bound := range bounds {
		total += below[bound]
		out.Bucket = append(out.Bucket, &dto.Bucket{UpperBound: new(bound), CumulativeCount: new(natural(total))})
	}
	return out, nil
}
