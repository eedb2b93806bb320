package formats

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
)

// promtool finds no fault with metrics.prom, and does with a broken one.
func TestPromtool(t *testing.T) {
	promtool := program(t, "promtool", "apt-get install prometheus")
	lint := func(text []byte) (string, error) {
		cmd := exec.Command(promtool, "check", "metrics")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	each(t, func(t *testing.T, dir string, _ report) {
		text := readFile(t, dir, "metrics.prom")
		if out, err := lint(text); err != nil || strings.TrimSpace(out) != "" {
			t.Errorf("%v\n%s", err, out)
		}
		if _, err := lint(append(text, "rebound_odd{\n"...)); err == nil {
			t.Error("a broken file passes: the test shows nothing")
		}
	})
}

// samples are the values of a file, by name and labels.
func samples(t *testing.T, p textparse.Parser) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var l labels.Labels
		p.Labels(&l)
		_, _, v := p.Series()
		if _, twice := out[l.String()]; twice {
			t.Errorf("%s stands twice", l)
		}
		out[l.String()] = v
	}
}

// Prometheus's own parsers read both files to the same samples, and those are
// the numbers of report.json.
func TestPrometheusReadsBoth(t *testing.T) {
	infinite := 0
	each(t, func(t *testing.T, dir string, r report) {
		om := samples(t, textparse.NewOpenMetricsParser(readFile(t, dir, "metrics.om"), labels.NewSymbolTable()))
		prom := samples(t, textparse.NewPromParser(readFile(t, dir, "metrics.prom"), labels.NewSymbolTable(), false))
		if len(om) < 100 || len(om) != len(prom) {
			t.Errorf("%d samples of OpenMetrics, %d of the text format", len(om), len(prom))
		}
		for name, v := range prom {
			if got, ok := om[name]; !ok || got != v && !(math.IsNaN(got) && math.IsNaN(v)) {
				t.Errorf("%s is %g, in OpenMetrics %g (%v)", name, v, got, ok)
			}
			if math.IsInf(v, 1) {
				infinite++
			}
		}
		want := func(v float64, name string, pairs ...string) {
			t.Helper()
			l := labels.FromStrings(append(pairs, model.MetricNameLabel, name, "scenario", r.Run.Scenario)...)
			if got, ok := om[l.String()]; !ok || got != v {
				t.Errorf("%s is %g (%v), want %g", l, got, ok, v)
			}
		}
		want(float64(r.ExitCode), "rebound_run_exit_code")
		for _, w := range r.Waves {
			at := []string{"phase", w.Phase, "wave", strconv.Itoa(w.Wave)}
			for outcome, n := range map[string]int{"back": w.Back, "censored": w.Censored, "unaffected": w.Unaffected, "absent": w.Absent} {
				want(float64(n), "rebound_victims", append(at, "outcome", outcome)...)
			}
			want(float64(w.Outage.N+w.Censored), "rebound_outage_seconds_count", at...)
			p50 := math.Inf(1)
			if w.Outage.P50 != nil {
				p50 = *w.Outage.P50
			}
			want(p50, "rebound_outage_seconds", append(at, "quantile", "0.5")...)
		}
		for name, n := range whole(r.Histograms) {
			family, at := "rebound_distribution_seconds", []string{"fleet", name.Fleet, "phase", name.Phase, "metric", name.Metric}
			if name.Unit == "count" {
				family = "rebound_distribution_messages"
			}
			want(float64(n), family+"_count", at...)
			want(float64(n), family+"_bucket", append(at, "le", "+Inf")...)
		}
	})
	if infinite == 0 {
		t.Error("no fixture has clients that never came back")
	}
}

// whole counts the values of each metric over the whole of its phase, with
// those above the range and those that never came.
func whole(all []histogram) map[histogram]int64 {
	out := map[histogram]int64{}
	for _, h := range all {
		if h.Wave == 0 {
			out[histogram{Fleet: h.Fleet, Phase: h.Phase, Metric: h.Metric, Unit: h.Unit}] += h.N + h.Overflow + h.Censored
		}
	}
	return out
}

func readFile(t *testing.T, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
