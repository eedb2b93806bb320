package reports

import (
	"math"
	"slices"
)

// Limits of what is overlaid.
const (
	maxOverlays   = 60
	overlayPlaces = 100
)

// overlays are the curves of both sides: the recovery of each wave, and the
// percentiles of the outages of each phase.
func overlays(base, next []*Report, alpha float64) []Overlay {
	out := []Overlay{}
	first := base[0]
	for _, p := range first.Phases {
		n := first.wavesOf(p.Name)
		if n == 0 {
			continue
		}
		if o, ok := percentileOverlay(base, next, alpha, p.Name); ok {
			out = append(out, o)
		}
		for _, w := range first.Waves {
			if w.Phase == p.Name {
				if o, ok := recoveryOverlay(base, next, alpha, w, n > 1); ok {
					out = append(out, o)
				}
			}
		}
	}
	return out[:min(len(out), maxOverlays)]
}

// recoveryOverlay lays the recovery curves of one wave over each other, on a
// grid over the time that any of them took. It is denser at the start, where most
// clients come back: one straggler must not stretch it.
func recoveryOverlay(base, next []*Report, alpha float64, w Wave, several bool) (Overlay, bool) {
	curves := func(rs []*Report) (out [][]CurvePoint, end float64) {
		for _, r := range rs {
			if w, ok := r.wave(w.Phase, w.Wave); ok && len(w.Curve) > 0 {
				out = append(out, w.Curve)
				end = max(end, w.Curve[len(w.Curve)-1].Seconds)
			}
		}
		return out, end
	}
	a, aEnd := curves(base)
	b, bEnd := curves(next)
	if len(a) == 0 || len(b) == 0 {
		return Overlay{}, false
	}
	o := Overlay{Curve: "recovery", Phase: w.Phase}
	if several {
		o.Wave = w.Wave
	}
	for i := range overlayPlaces {
		part := float64(i) / (overlayPlaces - 1)
		o.X = append(o.X, max(aEnd, bEnd)*part*part)
	}
	o.fill(alpha, func(x float64) (old, new []float64) {
		at := func(cs [][]CurvePoint) (vs []float64) {
			for _, c := range cs {
				vs = append(vs, backAt(c, x))
			}
			return vs
		}
		return at(a), at(b)
	})
	return o, true
}

// backAt reads a recovery curve, which is a step curve from 0.
func backAt(curve []CurvePoint, x float64) float64 {
	back := 0.0
	for _, p := range curve {
		if p.Seconds > x {
			break
		}
		back = p.Back
	}
	return back
}

// overlayPercentiles are the places of the percentile curve: denser where the
// tail is, up to what runs of some thousand clients can hold.
var overlayPercentiles = []float64{0, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 97, 98, 99, 99.5, 99.9, 100}

// percentileOverlay lays the percentiles of the outages of a phase over each
// other, of the clients that came back.
func percentileOverlay(base, next []*Report, alpha float64, phase string) (Overlay, bool) {
	read := func(rs []*Report) (out [][]float64) {
		for _, r := range rs {
			if vs := r.outagePercentiles(phase); vs != nil {
				out = append(out, vs)
			}
		}
		return out
	}
	a, b := read(base), read(next)
	if len(a) == 0 || len(b) == 0 {
		return Overlay{}, false
	}
	o := Overlay{Curve: "outage", Phase: phase, X: overlayPercentiles}
	o.fill(alpha, func(x float64) (old, new []float64) {
		i := slices.Index(overlayPercentiles, x)
		at := func(runs [][]float64) (vs []float64) {
			for _, r := range runs {
				vs = append(vs, r[i])
			}
			return vs
		}
		return at(a), at(b)
	})
	return o, true
}

// outagePercentiles reads the histograms of a phase; nil without values.
func (r *Report) outagePercentiles(phase string) []float64 {
	var whole []Histogram
	for _, h := range r.Histograms {
		if h.Phase == phase && h.Metric == "outage" && h.Wave == 0 {
			whole = append(whole, h)
		}
	}
	if len(whole) == 0 {
		return nil
	}
	hdr, err := series{Histogram: whole[0], parts: whole}.merged()
	if err != nil || hdr.TotalCount() == 0 {
		return nil
	}
	var out []float64
	for _, p := range overlayPercentiles {
		out = append(out, float64(hdr.ValueAtQuantile(p))/1e9)
	}
	return out
}

// fill reads both sides at each place, and the difference between them.
func (o *Overlay) fill(alpha float64, at func(x float64) (old, new []float64)) {
	greatest := 0.0
	for _, x := range o.X {
		a, b := at(x)
		o.Base.add(slices.Min(a), middle(a), slices.Max(a))
		o.Next.add(slices.Min(b), middle(b), slices.Max(b))
		s := hodgesLehmann(a, b, alpha)
		o.Diff.add(s.low, s.mid, s.high)
		if gap := math.Abs(s.mid); gap > greatest {
			greatest, o.Gap = gap, finite(x)
		}
	}
}

func (b *Band) add(low, mid, high float64) {
	b.Low, b.Mid, b.High = append(b.Low, finite(low)), append(b.Mid, finite(mid)), append(b.High, finite(high))
}
