package measure

import (
	"slices"

	"github.com/rebound-mqtt/rebound/reports"
)

// Scope says what a metric is a figure of.
type Scope string

// The scopes. A wave's metric without a wave is that of Report.Total.
const (
	ScopeWave Scope = "wave"
	ScopeRun  Scope = "run"
)

// Better is the direction in which a metric improves.
type Better string

// The directions. Neutral metrics describe; neither way is good.
const (
	Lower   Better = "lower"
	Higher  Better = "higher"
	Neutral Better = ""
)

// Metric is one row of the table of metrics: what expectations, comparison and
// benchmark output can name.
type Metric struct {
	Name   string
	Doc    string
	Unit   string // "s" | "" (a count or ratio) | "%" (a share, 0..1)
	Scope  Scope
	Better Better
	// Timed metrics are the ones that a saturated harness makes unknown.
	Timed bool
	// Live metrics are counted while the run goes on and never fall: on_fail
	// abort may watch them.
	Live bool
	// Check is the check that judges the same findings, "" = none: a known
	// defect that explains the check explains this metric's value, too.
	Check string
	// Value reads the metric out of a report: w is the wave, nil for all of
	// them. A nil v is unknown, and why says so; n is the number of samples
	// behind it, low that they are few for this quantile.
	Value func(r *reports.Report, w *reports.Wave) (v *float64, n int64, low bool, why string)
}

// The reasons for an unknown value.
const (
	WhyNone       = "no samples"
	WhyNotReached = "not reached (> horizon)"
	WhyOverflow   = "above the range of the histogram"
	WhyNotKnown   = "not known"
)

// waterfallParts is the one list of the parts of an outage.
var waterfallParts = []struct{ key, doc string }{
	{"lag", "intended instant of the fault to the start of our call"},
	{"close", "start of our call to just before the broker's close; empty where the target cannot say"},
	{"notice", "close at the broker to the first error that the client's tap saw"},
	{"retry", "attempts that ended before the client was back"},
	{"backoff", "gaps without an attempt; the client's choice, no score of the broker"},
	{"dial", "last attempt: from its start until the transport is connected"},
	{"connack", "last attempt: from there until CONNACK is read"},
	{"resubscribe", "last attempt: CONNACK until the subscriptions are restored; 0 with the session as expected"},
	{"first_message", "last attempt: from there until the first probe is read"},
}

// WaterfallParts names the parts of an outage, the keys of Wave.Waterfall, in
// the order of time. They add up to the outage of each client.
func WaterfallParts() []string {
	names := make([]string, len(waterfallParts))
	for i, p := range waterfallParts {
		names[i] = p.key
	}
	return names
}

// Metrics gives the table, in the order in which it is printed.
func Metrics() []Metric {
	var table []Metric
	for _, d := range distributions() {
		table = append(table, d.rows()...)
	}
	table = append(table, slices.Concat(times(), counts(), herds(), messages(), connections())...)
	for i := range table {
		table[i].Live = slices.Contains(live, table[i].Name)
	}
	return table
}

// live metrics are those of which the harness keeps a count that is never above
// what the evidence will say. Lost messages are none of them: what is missing
// may yet come.
var live = []string{"censored", "misrouted", "wrong_qos", "unexpected", "unscripted", "control_unscripted"}

// Lookup finds a metric by name.
func Lookup(name string) (Metric, bool) {
	for _, m := range Metrics() {
		if m.Name == name {
			return m, true
		}
	}
	return Metric{}, false
}

// pick is one figure of a distribution: its suffix in the metric's name, its
// words, and where it stands in a reports.Quantile.
type pick struct {
	suffix, words string
	of            func(q reports.Quantile) *float64
}

var (
	p50  = pick{"p50", "half of them are at or below", func(q reports.Quantile) *float64 { return q.P50 }}
	p90  = pick{"p90", "90 % are at or below", func(q reports.Quantile) *float64 { return q.P90 }}
	p99  = pick{"p99", "99 % are at or below", func(q reports.Quantile) *float64 { return q.P99 }}
	p999 = pick{"p999", "99.9 % are at or below", func(q reports.Quantile) *float64 { return q.P999 }}
	top  = pick{"max", "the largest", func(q reports.Quantile) *float64 { return q.Max }}
	all  = pick{"all", "all are back", func(q reports.Quantile) *float64 { return q.Max }}
	mean = pick{"mean", "the mean; unknown when anything is censored", func(q reports.Quantile) *float64 { return q.Mean }}
)

// distribution is a row that stands for several metrics: one for each pick.
type distribution struct {
	name, doc string
	unit      string
	scope     Scope
	timed     bool
	of        func(r *reports.Report, w *reports.Wave) reports.Quantile
	picks     []pick
}

func (d distribution) rows() []Metric {
	var rows []Metric
	for _, p := range d.picks {
		rows = append(rows, Metric{
			Name: d.name + "." + p.suffix, Doc: d.doc + ": " + p.words,
			Unit: d.unit, Scope: d.scope, Better: Lower, Timed: d.timed,
			Value: func(r *reports.Report, w *reports.Wave) (*float64, int64, bool, string) {
				q := d.of(r, waveOf(r, w))
				low := slices.Contains(q.LowN, p.suffix)
				v := p.of(q)
				if v == nil {
					return nil, q.N, low, whyNot(q)
				}
				return new(*v), q.N, low, ""
			},
		})
	}
	return rows
}

func whyNot(q reports.Quantile) string {
	switch {
	case q.N+q.Censored == 0:
		return WhyNone
	case q.Censored > 0:
		return WhyNotReached
	case q.Overflow > 0:
		return WhyOverflow
	}
	return WhyNotKnown
}

func waveOf(r *reports.Report, w *reports.Wave) *reports.Wave {
	if w == nil {
		return &r.Total
	}
	return w
}

// number makes a metric of one number and the samples behind it: without
// samples it is unknown, so that no expectation passes on nothing.
func number(m Metric, of func(r *reports.Report, w *reports.Wave) (v float64, n int64)) Metric {
	m.Value = func(r *reports.Report, w *reports.Wave) (*float64, int64, bool, string) {
		v, n := of(r, waveOf(r, w))
		if n == 0 {
			return nil, 0, false, WhyNone
		}
		return &v, n, false, ""
	}
	return m
}
