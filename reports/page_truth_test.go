package reports

import (
	"bytes"
	"encoding/json"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"
)

// TestPercentilesCountTheCensored holds the percentile curve against sorted
// values with the censored behind them: it never gives a time for a share that
// was not reached, and else the value of that rank.
func TestPercentilesCountTheCensored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 400).Draw(t, "n")
		censored := rapid.IntRange(0, 50).Draw(t, "censored")
		values := rapid.SliceOfN(rapid.Int64Range(1e6, 60e9), n, n).Draw(t, "values")
		slices.Sort(values)
		hdr := hdrhistogram.New(1000, 3600e9, 3)
		for _, v := range values {
			if err := hdr.RecordValue(v); err != nil {
				t.Fatal(err)
			}
		}
		s := series{Histogram: Histogram{Unit: unitNS, N: int64(n), Censored: int64(censored)}}
		for _, p := range []float64{0, 0.1, 0.5, 0.9, 0.99, 0.999} {
			rank := max(1, int(math.Ceil(p*float64(n+censored)-1e-9)))
			got, ok := reachedAt(s, hdr, p)
			if ok != (rank <= n) {
				t.Fatalf("p=%v of %d and %d censored: reached %v", p, n, censored, ok)
			}
			if !ok {
				continue
			}
			if want := float64(values[rank-1]) / 1e9; math.Abs(got-want) > want*2e-3 {
				t.Fatalf("p=%v of %d and %d censored: %v, want %v", p, n, censored, got, want)
			}
		}
		curve := percentileCurve(s, hdr)
		if !slices.IsSorted(curve.X) || !slices.IsSorted(curve.Y) {
			t.Fatalf("a curve that turns back: %v %v", curve.X, curve.Y)
		}
		if k := len(curve.X); k > 0 && curve.X[k-1]*float64(n+censored) > float64(n)+1e-6 {
			t.Fatalf("drawn to %v of %d and %d censored", curve.X[k-1], n, censored)
		}
	})
}

// TestRecoveryEndsBelowOneWithCensored: what never came back is never drawn as back,
// and has a mark.
func TestRecoveryEndsBelowOneWithCensored(t *testing.T) {
	w := Wave{Victims: 10, Back: 8, Censored: 2, Horizon: 60, Curve: []CurvePoint{{0.1, 0.4, 10, 0}, {0.3, 0.8, 6, 0}}}
	end := curveEnd([]Wave{w})
	if end < 0.3 || end > 1 {
		t.Errorf("the chart ends at %v", end)
	}
	s := curveOf(w, "w", 1, end)
	if last := len(s.Y) - 1; s.Y[last] != 0.8 || s.X[last] != end || s.X[0] != 0 || s.Y[0] != 0 {
		t.Errorf("curve %v %v", s.X, s.Y)
	}
	if c := censorings(w, end); len(c.X) != 1 || c.X[0] != end || c.Y[0] != 0.8 {
		t.Errorf("marks %+v", c)
	}
	w.Curve[0].Censored = 1 // and one on the way
	if c := censorings(w, end); len(c.X) != 2 || c.X[0] != 0.1 {
		t.Errorf("marks %+v", c)
	}
}

// TestNoSpikeIsDropped plants one long outage and one late canary among
// thousands of samples, and looks for both in the data of the chart and in the table.
func TestNoSpikeIsDropped(t *testing.T) {
	r := pass(t)
	c := &Charts{}
	for i := range 600 {
		at := float64(i) / 20
		c.Health = append(c.Health, HealthPoint{Start: at, End: at + 0.05, CanaryP99: f(0.0003), CanaryMax: f(0.0004)})
		c.Outages = append(c.Outages, Envelope{Start: at, End: at + 0.05, N: 3, Min: f(0.1), Median: f(0.15), Max: f(0.2)})
	}
	c.Health[377].CanaryMax, c.Outages[411].Max = f(0.12345), f(7.7777)
	r.Charts = c
	var b bytes.Buffer
	if err := WriteHTML(&b, r); err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`(?s)<figure id="latency-chart">.*?<script type="application/json" class="data">(.*?)</script>`).FindSubmatch(b.Bytes())
	if m == nil {
		t.Fatal("no data behind the chart")
	}
	var data struct {
		Series []struct {
			Name string
			Y    []*float64
		}
	}
	if err := json.Unmarshal(m[1], &data); err != nil {
		t.Fatal(err)
	}
	top := map[string]float64{}
	for _, s := range data.Series {
		for _, y := range s.Y {
			if y != nil {
				top[s.Name] = max(top[s.Name], *y)
			}
		}
	}
	if top["outages, shortest to longest"] != 7.7777 || top["canary, longest"] != 0.12345 {
		t.Errorf("greatest values in the chart: %v", top)
	}
}

// TestPageSaysWhatIsMissing: without the data of its charts the page says so, and
// draws the rest.
func TestPageSaysWhatIsMissing(t *testing.T) {
	for name, r := range map[string]*Report{"pass": pass(t), "nothing at all": {}} {
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "Not in this report") {
			t.Errorf("%s: the page keeps silent", name)
		}
		if strings.Contains(b.String(), "PASS") != (name == "pass") {
			t.Errorf("%s: PASS", name)
		}
	}
}

// TestPageClaimsNoCleanAccountOfWhatIsNotThere: no account is not an account of
// nothing.
func TestPageClaimsNoCleanAccountOfWhatIsNotThere(t *testing.T) {
	const nothing, none = "No message was sent but probes.", "No message was lost, so there is no place"
	for _, tt := range []struct {
		name string
		edit func(*Report)
		says string
	}{
		{"no traffic", func(r *Report) { r.Messages = nil }, nothing},
		{"no account", func(r *Report) { r.Messages, r.Run.Complete = nil, false }, "There is no account of the messages"},
		{"no loss", func(r *Report) { r.Charts = &Charts{Windows: []LossWindow{{QoS: 1}}}; r.Messages = r.Messages[:1] }, none},
		{"losses that are not listed", func(r *Report) { r.Charts, r.Messages[0].Lost = &Charts{Windows: []LossWindow{{QoS: 1}}}, 7 }, "where they fell is not known"},
	} {
		r := pass(t)
		tt.edit(r)
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			t.Fatal(err)
		}
		for _, says := range []string{nothing, none, tt.says} {
			if strings.Contains(b.String(), says) != (says == tt.says) {
				t.Errorf("%s: %q", tt.name, says)
			}
		}
	}
}

// TestTilesOfDoubt: what is not known is not drawn as what is wrong, and is said once.
func TestTilesOfDoubt(t *testing.T) {
	r := pass(t)
	for i := range r.Expectations {
		r.Expectations[i].Verdict = Unknown
	}
	r.Harness.Fitness = "unknown"
	tiles := r.tiles()
	if first := tiles[0]; first.Class != "doubt" {
		t.Errorf("expectations that are unknown: %+v", first)
	}
	if last := tiles[len(tiles)-1]; last.Value != "? unknown" || last.Class != "doubt" {
		t.Errorf("a harness that is unknown: %+v", last)
	}
	r.Expectations[0].Verdict = Invalid
	if first := r.tiles()[0]; first.Class != "bad" {
		t.Errorf("an expectation that does not hold: %+v", first)
	}
	r.Expectations[0].OnFail = "warn"
	if first := r.tiles()[0]; first.Class != "doubt" || !strings.HasPrefix(first.Note, "1 excused · ") {
		t.Errorf("an expectation that is excused: %+v", first)
	}
}

// FuzzPage: whatever report.json says, the page is written, or the report is refused.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{
		`{"schema_version":1}`,
		`{"schema_version":1,"waves":[{"phase":"a","wave":1,"victims":-3,"back":1e9,"curve":[{"seconds":-1,"fraction_back":7}]}],"charts":{"herds":[{"bin_seconds":-1,"connects_per_10ms":[-5,3]}],"health":[{"start_seconds":9,"end_seconds":-9}],"outages":[{"n":1,"max_seconds":1e308,"min_seconds":-1e308}],"worst":[{"parts_seconds":{"dial":-4}}],"attempts":[{"dials":-1,"back":-1}],"faults":[{"start_seconds":5,"end_seconds":1}],"windows":[{"qos":9,"away":-4}],"sessions":[{"returns":-1}],"collateral":{"points":[{"p99_seconds":0}]}}}`,
		`{"schema_version":1,"histograms":[{"fleet":"a","phase":"b","metric":"outage","unit":"ns","n":1,"v2":"!"}]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := Read(bytes.NewReader(in))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteHTML(&b, r); err != nil {
			return // a histogram that is none
		}
		if !bytes.HasSuffix(bytes.TrimSpace(b.Bytes()), []byte("</html>")) {
			t.Error("the page is cut")
		}
		c := Compare([]*Report{r}, []*Report{r}, CompareOptions{})
		if err := writeCompareHTML(&b, c); err != nil {
			t.Error(err)
		}
	})
}
