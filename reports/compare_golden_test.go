package reports

import (
	"bytes"
	"fmt"
	"testing"
)

// varied gives n runs of a report, each edited by its number.
func varied(t *testing.T, n int, make func(testing.TB) *Report, edit func(*Report, int)) []*Report {
	t.Helper()
	var out []*Report
	for i := range n {
		r := make(t)
		r.Run.ID, r.Run.Seed = fmt.Sprintf("%s-%d", r.Run.ID, i+1), uint64(i+1)
		edit(r, i)
		out = append(out, r)
	}
	return out
}

// scaled multiplies the outages of a run, and adds to the waterfall's CONNACK.
func scaled(r *Report, factor, connack float64) {
	scale := func(q *Quantile) {
		for _, v := range []**float64{&q.P50, &q.P90, &q.P99, &q.P999, &q.Max} {
			if *v != nil {
				*v = f(**v * factor)
			}
		}
	}
	for _, w := range append([]*Wave{&r.Total}, pointers(r.Waves)...) {
		scale(&w.Outage)
		scale(&w.BackCurve)
		w.RMTA = f(*w.RMTA * factor)
		if q, ok := w.Waterfall["connack"]; ok && connack != 0 {
			q.P50 = f(*q.P50 + connack)
			w.Waterfall["connack"] = q
		}
	}
}

func pointers(ws []Wave) (out []*Wave) {
	for i := range ws {
		out = append(out, &ws[i])
	}
	return out
}

// jitter is a spread of a percent or two from run to run.
func jitter(i int) float64 { return 1 + []float64{0, 0.012, -0.008, 0.005, -0.014}[i%5] }

func TestGoldenCompare(t *testing.T) {
	other := healthy()
	other.Run.Clients, other.Environment.Cores, other.Rebound = 500, 8, "0.2.0"
	old := varied(t, 5, pass, func(r *Report, i int) { scaled(r, jitter(i), 0) })
	for name, c := range map[string]Comparison{
		"one-run": Compare([]*Report{pass(t)}, []*Report{pass(t)}, CompareOptions{}),
		"lost":    Compare([]*Report{pass(t)}, []*Report{fail(t)}, CompareOptions{}),
		"refused": Compare([]*Report{pass(t)}, []*Report{other}, CompareOptions{}),
		"waves":   Compare(varied(t, 2, waves, func(*Report, int) {}), []*Report{waves(t)}, CompareOptions{}),
		"same":    Compare(old, varied(t, 5, pass, func(r *Report, i int) { scaled(r, jitter(i+2)*1.001, 0) }), CompareOptions{}),
		"worse": Compare(old, varied(t, 5, pass, func(r *Report, i int) {
			r.Run.ID = "new-" + r.Run.ID
			r.Target.Version = "2.8.0"
			scaled(r, jitter(i+1)*1.4, 0.03*jitter(i))
		}), CompareOptions{}),
	} {
		for _, f := range CompareFormats() {
			var b bytes.Buffer
			if err := f.Write(&b, c); err != nil {
				t.Fatal(err)
			}
			golden(t, "compare/"+name+"."+f.Name, b.Bytes())
		}
	}
}
