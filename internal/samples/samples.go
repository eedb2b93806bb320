// Package samples makes reports for tests: made up, but of every kind, and the
// same bytes each time. What they hold adds up as that of a run does.
package samples

import (
	"fmt"
	"math"
	"slices"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/rebound-mqtt/rebound/reports"
)

// Size of a sample.
type Size struct {
	Clients, Waves int
	Censored       int     // of each wave, never back
	Slow           float64 // factor on all times; 0 = 1
	Seed           int     // shifts what varies; runs of one seed and factor are the same run
}

// Storm is a run in which every wave closes all connections.
func Storm(s Size) (*reports.Report, error) {
	if s.Slow == 0 {
		s.Slow = 1
	}
	r := frame(s)
	var all []float64
	for k := 1; k <= s.Waves; k++ {
		times := s.outages(k)
		all = append(all, times...)
		w := s.wave("storm", k, times)
		r.Waves = append(r.Waves, w)
		h, err := histogram("outage", "ns", k, w.Start, times, 1e9, int64(s.Censored))
		if err != nil {
			return nil, err
		}
		r.Histograms = append(r.Histograms, h)
	}
	slices.Sort(all)
	whole, err := histogram("outage", "ns", 0, r.Waves[0].Start, all, 1e9, int64(s.Censored*s.Waves))
	if err != nil {
		return nil, err
	}
	r.Histograms = append(r.Histograms, whole)
	r.Total = s.wave("", 0, all)
	r.Total.Victims, r.Total.Back, r.Total.Hit, r.Total.Censored = s.Clients*s.Waves, len(all), s.Clients*s.Waves, s.Censored*s.Waves
	r.Total.Regime, r.Total.Curve, r.Total.Outage.Censored, r.Total.BackCurve.Censored = "", nil, int64(r.Total.Censored), int64(r.Total.Censored)
	lost := make([]float64, len(all))
	for i := range lost {
		lost[i] = float64(max(0, i%11-7))
	}
	h, err := histogram("loss.qos0", "count", 0, r.Waves[0].Start, lost, 1, 0)
	if err != nil {
		return nil, err
	}
	r.Histograms = append(r.Histograms, h)
	s.judge(r)
	r.Charts = s.charts(r)
	return r, nil
}

const (
	horizon  = 60.0
	firstAt  = 7.0
	interval = 90.0
)

// outages are the times of the clients that came back in wave k, in order.
func (s Size) outages(k int) []float64 {
	n := s.Clients - s.Censored
	out := make([]float64, n)
	for i := range out {
		x := float64(i) / float64(max(1, n-1))
		out[i] = s.Slow * (0.12 + 0.5*math.Pow(x, 2) + 0.02*float64((k*7+s.Seed)%5) + 9*math.Pow(x, 60))
	}
	return out
}

func (s Size) wave(phase string, k int, times []float64) reports.Wave {
	n := len(times)
	w := reports.Wave{
		Phase: phase, Wave: k, Regime: "first", Victims: s.Clients, Hit: s.Clients, Back: n, Censored: s.Censored,
		Start: firstAt + interval*float64(max(0, k-1)), Horizon: horizon, Spread: 0.09, IssueLag: 0.004,
		Outage: summary(times, s.Censored), BackCurve: summary(times, s.Censored), Waterfall: map[string]reports.Quantile{},
		Answer: summary([]float64{0.011, 0.013, 0.036}, 0), API: &reports.Calls{Calls: s.Clients, Tries: s.Clients + 12, Throttled: 12},
		Herd:     reports.Herd{Connects: 2 * s.Clients, Peak: s.Clients / 9, PeakToMean: 3.1, Amplification: 2},
		Attempts: 1.8, SlowBackoff: s.Clients / 3,
	}
	sum := 0.0
	for _, t := range times {
		sum += t
	}
	away := (sum + horizon*float64(s.Censored)) / float64(max(1, n+s.Censored))
	w.RMTA = &away
	for i, part := range partNames {
		shares := make([]float64, 0, 100)
		for j := range 100 {
			shares = append(shares, times[j*(n-1)/99]*partShares[i])
		}
		q := summary(shares, 0)
		q.N, q.Censored = int64(n), int64(s.Censored)
		w.Waterfall[part] = q
	}
	for i := 0; i < 200; i++ {
		at := times[i*(n-1)/199]
		w.Curve = append(w.Curve, reports.CurvePoint{Seconds: at, Back: float64(i+1) / 200 * float64(n) / float64(n+s.Censored), AtRisk: n - i*n/200})
	}
	return w
}

var (
	partNames  = []string{"lag", "close", "notice", "retry", "backoff", "dial", "connack", "resubscribe", "first_message"}
	partShares = []float64{0.01, 0.06, 0.09, 0.14, 0.3, 0.12, 0.14, 0.08, 0.06}
)

// summary is the summary of sorted values.
func summary(sorted []float64, censored int) reports.Quantile {
	q := reports.Quantile{N: int64(len(sorted)), Censored: int64(censored)}
	all := len(sorted) + censored
	at := func(p float64) *float64 {
		rank := int(math.Ceil(p * float64(all)))
		if rank < 1 || rank > len(sorted) {
			return nil
		}
		return &sorted[rank-1]
	}
	q.P50, q.P90, q.P99, q.P999, q.Max = at(0.5), at(0.9), at(0.99), at(0.999), at(1)
	if all < 299 {
		q.LowN = []string{"p99", "p999"}
	} else if all < 2995 {
		q.LowN = []string{"p999"}
	}
	return q
}

func histogram(metric, unit string, wave int, start float64, values []float64, scale float64, censored int64) (reports.Histogram, error) {
	hdr := hdrhistogram.New(1000, 3600e9, 3)
	if unit == "count" {
		hdr = hdrhistogram.New(1, 10_000_000, 3)
	}
	for _, v := range values {
		if err := hdr.RecordValue(int64(v * scale)); err != nil {
			return reports.Histogram{}, fmt.Errorf("sample: %w", err)
		}
	}
	v2, err := hdr.EncodeV2()
	if err != nil {
		return reports.Histogram{}, fmt.Errorf("sample: %w", err)
	}
	return reports.Histogram{Fleet: "devices", Phase: "storm", Wave: wave, Metric: metric, Unit: unit, Start: start, End: start + 10, N: hdr.TotalCount(), Censored: censored, V2: string(v2)}, nil
}
