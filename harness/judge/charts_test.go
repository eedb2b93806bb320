package judge

import (
	"fmt"
	"math"
	"os"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// TestChartsAgree holds every chart to the counts of the report that it is in:
// what is drawn is what is printed.
func TestChartsAgree(t *testing.T) {
	reportsOf := map[string]*reports.Report{}
	for name, bend := range map[string]func(f *folder){
		"clean":  func(*folder) {},
		"lossy":  func(f *folder) { f.lose(1, 0, 5, 8, 9, 10, 30); f.lose(2, 1, 9) },
		"broken": func(f *folder) { f.breakOff(3, 3000) },
		"gone":   func(f *folder) { f.conns = f.conns[:len(f.conns)-1] },
		"no fault": func(f *folder) {
			f.waves, f.actions, f.plan.Phases[2].Waves = nil, nil, nil
			f.conns = slices.DeleteFunc(f.conns, func(c timeline.Conn) bool { return c.N == 2 })
			for i := range f.conns {
				f.conns[i].End, f.conns[i].Scripted = f.stop+ms, true
			}
		},
		"copies": func(f *folder) {
			f.lose(2, 1, 9)
			for _, r := range f.records {
				if d := r.Delivery; d != nil && d.Granted == 1 {
					d.Extra = []ledger.Extra{{Seq: 5, Copies: 3, DUP: true, At: 700 * ms}}
				}
			}
		},
		"no env": func(f *folder) { f.drop = []string{"env.json"} },
		"no-op":  func(f *folder) { f.kick(1, 1007, 1007, 1008).Found = new(false) },
		"no effect": func(f *folder) {
			f.conns = f.conns[2:] // client 0
			f.last(0, 1, 10)
		},
	} {
		f := newFolder()
		bend(f)
		reportsOf[name] = f.judge(t)
	}
	for _, dir := range []string{"testdata/run", "testdata/schema1"} {
		r, err := Judge(os.DirFS(dir), Options{})
		if err != nil {
			t.Fatal(err)
		}
		reportsOf[dir] = r
	}
	for name, r := range reportsOf {
		t.Run(name, func(t *testing.T) {
			if r.Charts == nil {
				t.Fatal("no charts")
			}
			for what, bad := range chartFaults(r) {
				t.Errorf("%s: %s", what, bad)
			}
		})
	}
}

// chartFaults says, by chart, what of it the report's counts do not bear out.
func chartFaults(r *reports.Report) map[string]string {
	bad := map[string]string{}
	c := r.Charts
	hold := func(what string, got, want any) {
		if got != want {
			bad[what] = fmt.Sprintf("%v, the report says %v", got, want)
		}
	}
	acted := map[waveKey]int{}
	for _, f := range c.Faults {
		acted[waveKey{f.Phase, f.Wave}] += f.Actions
	}
	herds := map[waveKey]reports.HerdShape{}
	for _, h := range c.Herds {
		herds[waveKey{h.Phase, h.Wave}] = h
	}
	hold("herds", len(c.Herds), len(r.Waves))
	for _, w := range r.Waves {
		k := waveKey{w.Phase, w.Wave}
		hold("actions of "+w.Phase, acted[k], w.Victims)
		hold("bars of "+w.Phase, w.Hit+w.LateHit+w.NoOp+w.Missed+w.NoEffect+w.Failed+w.RodeOut, w.Victims)
		hold("CONNECTs of "+w.Phase, sumOf(herds[k].Counts), w.Herd.Connects)
		if n := len(w.Curve); n > 0 {
			// The estimate is the plain share but for clients that were hit again,
			// who count as watched for a while only.
			share := float64(w.Back) / float64(w.Back+w.Censored)
			if last := w.Curve[n-1].Back; w.Censored == 0 && last != share || last < share-1e-9 {
				bad["last point of "+w.Phase] = fmt.Sprintf("%v, the report says %v", last, share)
			}
			hold("censored of "+w.Phase, w.Curve[n-1].Censored, w.Censored)
		}
	}
	dials, back, censored := 0, 0, 0
	for _, a := range c.Attempts {
		dials, back, censored = dials+a.Dials*a.Back, back+a.Back, censored+a.Censored
	}
	hold("attempts, back", back, r.Total.Back)
	hold("attempts, censored", censored, r.Total.Censored)
	hold("dials", float64(dials), math.Round(r.Total.Attempts*float64(r.Total.Back)))

	var whole, waves [2]int // back and censored, in the histograms of the phases and in those of several waves
	for _, h := range r.Histograms {
		if h.Metric != "outage" {
			continue
		}
		to := &waves
		if h.Wave == 0 {
			to = &whole
		}
		to[0], to[1] = to[0]+int(h.N+h.Overflow), to[1]+int(h.Censored)
	}
	hold("histograms, back and censored", whole, [2]int{r.Total.Back, r.Total.Censored})
	perPhase := map[string][]reports.Wave{}
	for _, w := range r.Waves {
		perPhase[w.Phase] = append(perPhase[w.Phase], w)
	}
	var want [2]int
	for _, ws := range perPhase {
		for _, w := range ws {
			if len(ws) > 1 {
				want[0], want[1] = want[0]+w.Back, want[1]+w.Censored
			}
		}
	}
	hold("histograms of waves, back and censored", waves, want)

	n, most := 0, 0.0
	for _, e := range c.Outages {
		n, censored = n+e.N, censored-e.Censored
		if e.Max != nil {
			most = max(most, *e.Max)
		}
	}
	hold("outages", int64(n), r.Total.Outage.N+r.Total.Outage.Censored+r.Unscripted.Outage.N+r.Unscripted.Outage.Censored)
	hold("censored outages", int64(-censored), r.Unscripted.Outage.Censored)
	if r.Total.Outage.Censored == 0 && r.Unscripted.Outage.Censored == 0 && n > 0 {
		var greatest float64
		for _, q := range []reports.Quantile{r.Total.Outage, r.Unscripted.Outage} {
			if q.Max != nil {
				greatest = max(greatest, *q.Max)
			}
		}
		hold("longest outage", most, greatest)
		hold("worst outage", c.Worst[0].Seconds, greatest)
		if h := greatestOf(r.Histograms, "outage", "unscripted"); math.Abs(h-most) > most/500+1e-6 {
			bad["histograms"] = fmt.Sprintf("the longest outage is %v, in the histograms %v", most, h)
		}
	}
	for _, o := range c.Worst {
		sum := 0.0
		for _, part := range o.Parts {
			sum += part
		}
		hold("parts of "+o.Client, math.Round(sum*1e9), math.Round(o.Seconds*1e9))
	}
	for i, w := range c.Windows {
		m := r.Messages[i]
		hold("QoS of windows", w.QoS, m.QoS)
		hold("lost messages", w.Before+w.Away+w.Resume+w.After+w.Outside, m.Lost)
		if w.Away+w.Resume < m.LostAway {
			bad["lost while away"] = fmt.Sprintf("%d, the report says %d", w.Away+w.Resume, m.LostAway)
		}
	}
	for _, check := range r.Checks {
		missing, n := 0, 0
		for _, s := range c.Sessions {
			missing += s.PresentMissing
			n += s.PresentWanted
		}
		if check.Name == "session-forgotten" && n > 0 {
			hold("forgotten sessions", int64(missing), check.Count)
		}
	}
	var canary, heap float64
	for _, h := range c.Health {
		heap = max(heap, float64(h.Heap))
		if h.CanaryMax != nil {
			canary = max(canary, *h.CanaryMax)
		}
	}
	hold("heap", heap, float64(r.Harness.HeapBytes))
	if r.Harness.Canary.Max != nil {
		hold("canary", canary, *r.Harness.Canary.Max)
	}
	return bad
}

// greatestOf is the greatest value, in seconds, in the histograms of some times.
func greatestOf(list []reports.Histogram, metrics ...string) (most float64) {
	for _, h := range list {
		if !slices.Contains(metrics, h.Metric) {
			continue
		}
		values, err := measure.DecodeHist(measure.Nanoseconds, h.V2)
		if err != nil {
			return math.NaN()
		}
		ns, _ := values.Quantile(1)
		most = max(most, float64(ns)/1e9)
	}
	return most
}

func sumOf(list []int) (n int) {
	for _, v := range list {
		n += v
	}
	return n
}

// TestChartsCanFail: a chart that differs from the counts is seen.
func TestChartsCanFail(t *testing.T) {
	for name, bend := range map[string]func(r *reports.Report){
		"an action less":  func(r *reports.Report) { r.Charts.Faults[0].Actions-- },
		"a wave less":     func(r *reports.Report) { r.Charts.Herds = nil },
		"a CONNECT less":  func(r *reports.Report) { r.Charts.Herds[0].Counts[1]-- },
		"a dial more":     func(r *reports.Report) { r.Charts.Attempts[0].Dials++ },
		"an outage less":  func(r *reports.Report) { r.Charts.Outages[0].N-- },
		"a spike less":    func(r *reports.Report) { *r.Charts.Outages[0].Max -= 0.001 },
		"a part longer":   func(r *reports.Report) { r.Charts.Worst[0].Parts["dial"] += 0.001 },
		"a loss less":     func(r *reports.Report) { r.Charts.Windows[0].Away-- },
		"a stall less":    func(r *reports.Report) { r.Charts.Health[0].CanaryMax = nil; r.Charts.Health = r.Charts.Health[:1] },
		"a lower curve":   func(r *reports.Report) { w := r.Waves[0]; w.Curve[len(w.Curve)-1].Back = 0.5 },
		"a lost heap":     func(r *reports.Report) { r.Harness.HeapBytes++ },
		"a censored less": func(r *reports.Report) { r.Waves[0].Censored++; r.Total.Censored++ },
	} {
		f := newFolder()
		f.lose(1, 0, 9)
		r := f.judge(t)
		bend(r)
		if len(chartFaults(r)) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
}

// TestChartsOfRandomRuns holds the charts of whatever one client can live
// through to the counts beside them.
func TestChartsOfRandomRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := randomHistory(t)
		e := &evidence{plan: testPlan(), conns: h.conns, actions: h.actions, waves: h.waves, mark: timeline.Mark{Stop: h.stop}}
		j := newJudgement(e, false)
		j.frame()
		j.fleets()
		j.connect()
		j.messages()
		j.storms()
		j.unscripted()
		j.healths()
		j.histograms()
		j.charts()
		if len(j.r.Charts.Worst) != min(maxWorst, len(j.storm.Outages)) {
			t.Fatalf("%d of the worst of %d outages", len(j.r.Charts.Worst), len(j.storm.Outages))
		}
		for what, bad := range chartFaults(j.r) {
			t.Errorf("%s: %s", what, bad)
		}
	})
}

// TestNoEventsNoCharts: without events nothing is drawn, and what is not there
// is not drawn as zero.
func TestNoEventsNoCharts(t *testing.T) {
	f := newFolder()
	f.drop = []string{"events.jsonl.gz"}
	if c := f.judge(t).Charts; c != nil {
		t.Errorf("charts of nothing: %+v", c)
	}
	f = newFolder()
	f.canary = nil
	if c := f.judge(t).Charts; len(c.Health) != 0 || c.Health == nil || len(c.Outages) == 0 {
		t.Errorf("without health.csv: %d points of health, %d bins of outages", len(c.Health), len(c.Outages))
	}
	f = newFolder()
	f.drop = []string{"accounts.jsonl.gz"}
	if c := f.judge(t).Charts; len(c.Windows) != 0 || c.Windows == nil {
		t.Errorf("without accounts: windows %+v", c.Windows)
	}
}

// TestEnvelopes draws outages and holds the bins to them: in order, apart, each
// outage in the bin of its start, no extreme lost.
func TestEnvelopes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stop := timeline.Instant(rapid.Int64Range(0, 3600e9).Draw(t, "stop"))
		outages := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) *Outage {
			o := &Outage{Start: timeline.Instant(rapid.Int64Range(0, int64(stop)+5).Draw(t, "start"))}
			o.Until = o.Start + timeline.Instant(rapid.Int64Range(0, 60e9).Draw(t, "away"))
			o.Censored = rapid.SampledFrom([]string{"", "", CensoredStopped}).Draw(t, "censored")
			return o
		}), 0, 50).Draw(t, "outages")
		slices.SortFunc(outages, func(a, b *Outage) int { return int(a.Start - b.Start) })
		limit := rapid.IntRange(1, 20).Draw(t, "limit")
		bins := envelopes(outages, stop, limit)
		if len(bins) > limit {
			t.Fatalf("%d bins, want at most %d", len(bins), limit)
		}
		left := outages
		for i, e := range bins {
			if e.N == 0 || e.Start >= e.End || i > 0 && e.Start < bins[i-1].End {
				t.Fatalf("bin %+v after %+v", e, bins[max(0, i-1)])
			}
			checkEnvelope(t, e, left[:e.N], i == len(bins)-1)
			left = left[e.N:]
		}
		if len(left) != 0 {
			t.Fatalf("%d outages are in no bin", len(left))
		}
	})
}

func checkEnvelope(t *rapid.T, e reports.Envelope, in []*Outage, last bool) {
	var back []float64
	for _, o := range in {
		if at := seconds(o.Start); at < e.Start || at >= e.End && !last {
			t.Fatalf("outage at %v in the bin of %v to %v", at, e.Start, e.End)
		}
		if o.Back() {
			back = append(back, seconds(o.Until-o.Start))
		}
	}
	if e.Censored != len(in)-len(back) {
		t.Fatalf("%d censored, want %d", e.Censored, len(in)-len(back))
	}
	if len(back) == 0 {
		if e.Min != nil || e.Median != nil || e.Max != nil {
			t.Fatalf("times of nobody: %+v", e)
		}
		return
	}
	if *e.Min != slices.Min(back) || *e.Max != slices.Max(back) || !slices.Contains(back, *e.Median) {
		t.Fatalf("%v %v %v of %v", *e.Min, *e.Median, *e.Max, back)
	}
}

// TestWorst: censored outages first, each group by length, and no more than asked.
func TestWorst(t *testing.T) {
	var outages []*Outage
	for i := range 30 {
		o := &Outage{ClientID: fmt.Sprint(i), Until: timeline.Instant(i) * ms}
		if i%10 == 0 {
			o.Censored = CensoredHorizon
		}
		outages = append(outages, o)
	}
	var got []string
	for _, c := range worst(outages, 6) {
		got = append(got, c.Client)
	}
	if want := []string{"20", "10", "0", "29", "28", "27"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if outages[0].ClientID != "0" {
		t.Error("the caller's list was changed")
	}
	equal := []*Outage{{ClientID: "a"}, {ClientID: "b"}, {ClientID: "c"}}
	if w := worst(equal, 2); len(w) != 2 || w[0].Client != "a" || w[1].Client != "b" {
		t.Errorf("of equal ones the first: %+v", w)
	}
}
