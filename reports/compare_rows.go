package reports

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
)

// pick gives one number of a run, nil when it is not known.
type pick func(*Report) *float64

func over(rs []*Report, get pick) *float64 {
	var vs []*float64
	for _, r := range rs {
		vs = append(vs, get(r))
	}
	return median(vs)
}

// change compares one number. size is its change in the number's own unit.
func change(where, what string, base, next []*Report, get pick, s scale) Change {
	a, b := over(base, get), over(next, get)
	c := Change{Where: where, What: what, Base: known(a, s), Next: known(b, s)}
	if a != nil && b != nil {
		c.Delta, c.size = percent(*a, *b), *b-*a
		if c.Delta == "" && *a != *b {
			c.Delta = signed(*b-*a, s)
		}
	}
	return c
}

func known(v *float64, s scale) string {
	if v == nil {
		return "–"
	}
	return s(*v)
}

func signed(v float64, s scale) string {
	if v > 0 {
		return "+" + s(v)
	}
	return s(v)
}

// quantileChange compares one quantile, with the counts of both sides beside
// it. get gives the distribution of a run and its horizon; false = it has none.
func quantileChange(where, what, name string, base, next []*Report, s scale, get func(*Report) (Quantile, float64, bool)) (Change, bool) {
	a, n, ok := quantileOver(base, name, get)
	b, m, ok2 := quantileOver(next, name, get)
	if !ok && !ok2 {
		return Change{}, false
	}
	text := func(rs []*Report, q Quantile, h float64) string {
		t := q.text(name, s, h) + " (" + q.counts(name)
		if len(rs) > 1 {
			t += fmt.Sprintf(", median of %d runs", len(rs))
		}
		return t + ")"
	}
	c := Change{Where: where, What: what, Base: text(base, a, n), Next: text(next, b, m)}
	av, bv := a.get(name), b.get(name)
	if av != nil && bv != nil {
		c.size = *bv - *av
		if *av != *bv {
			c.Delta = signed(*bv-*av, s)
		}
		if p := percent(*av, *bv); p != "" {
			c.Delta += " (" + p + ")"
		}
	} else if (av == nil) != (bv == nil) {
		c.Delta, c.size = "reached on one side only", math.MaxFloat64
		if !ok || !ok2 {
			c.Delta = "on one side only"
		}
	}
	return c, true
}

// quantileOver is the median of a quantile over runs, its counts summed. A run
// in which it was not reached leaves the whole not reached.
func quantileOver(rs []*Report, name string, get func(*Report) (Quantile, float64, bool)) (Quantile, float64, bool) {
	var sum Quantile
	var values []*float64
	var horizon float64
	found, missing := false, false
	for _, r := range rs {
		q, h, ok := get(r)
		if !ok || q.N == 0 && q.Censored == 0 {
			continue
		}
		found = true
		horizon = max(horizon, h)
		sum.N, sum.Censored, sum.Overflow = sum.N+q.N, sum.Censored+q.Censored, sum.Overflow+q.Overflow
		for _, l := range q.LowN {
			if !slices.Contains(sum.LowN, l) {
				sum.LowN = append(sum.LowN, l)
			}
		}
		v := q.reached(name)
		missing = missing || v == nil
		values = append(values, v)
	}
	m := median(values)
	if missing {
		m = nil
	}
	sum.set(name, m)
	return sum, horizon, found
}

// count makes a pick of a whole number.
func count(get func(*Report) int64) pick {
	return func(r *Report) *float64 {
		v := float64(get(r))
		return &v
	}
}

func totalChanges(base, next []*Report) []Change {
	outage := func(r *Report) (Quantile, float64, bool) { return r.Total.Outage, r.horizon(), len(r.Waves) > 0 }
	connect := func(r *Report) (Quantile, float64, bool) { return r.Connect.Latency, 0, true }
	canary := func(r *Report) (Quantile, float64, bool) { return r.Harness.Canary, 0, true }
	var out []Change
	q := func(what, name string, get func(*Report) (Quantile, float64, bool)) {
		if c, ok := quantileChange("", what+" "+name, name, base, next, seconds, get); ok {
			out = append(out, c)
		}
	}
	n := func(what string, get func(*Report) int64) {
		out = append(out, change("", what, base, next, count(get), number))
	}
	waves := len(base[0].Waves) > 0 || len(next[0].Waves) > 0
	if waves {
		n("victims", func(r *Report) int64 { return int64(r.Total.Victims) })
		n("back", func(r *Report) int64 { return int64(r.Total.Back) })
		n("censored", func(r *Report) int64 { return int64(r.Total.Censored) })
		n("unaffected", func(r *Report) int64 { return int64(r.Total.Unaffected) })
		n("absent", func(r *Report) int64 { return int64(r.Total.Absent) })
		for _, name := range []string{"p50", "p90", "p99", "max"} {
			q("outage", name, outage)
		}
		out = append(out, change("", "RMTA", base, next, func(r *Report) *float64 { return r.Total.RMTA }, seconds))
		out = append(out, change("", "amplification", base, next, func(r *Report) *float64 { return &r.Total.Herd.Amplification }, three))
	}
	n("connected", func(r *Report) int64 { return int64(r.Connect.Connected) })
	q("connect", "p50", connect)
	q("connect", "p99", connect)
	n("lost QoS 0", func(r *Report) int64 { return sumMessages(r, 0, func(m Messages) int64 { return m.Lost }) })
	n("duplicated", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Duplicated }) })
	q("canary", "p99", canary)
	return out
}

// waveKey names a wave on both sides.
type waveKey struct {
	phase string
	wave  int
}

// partChanges compares the lengths of phases and the medians of waterfalls, the
// greatest change first.
func partChanges(base, next []*Report) []Change {
	var out []Change
	for _, p := range base[0].Phases {
		c := change(p.Name, "length of phase", base, next, func(r *Report) *float64 { return phaseLength(r, p.Name) }, seconds)
		if c.Delta != "" {
			out = append(out, c)
		}
	}
	for _, w := range base[0].Waves {
		key := waveKey{w.Phase, w.Wave}
		for _, part := range waterfallParts {
			get := func(r *Report) (Quantile, float64, bool) {
				w, ok := findWave(r, key)
				q, has := w.Waterfall[part]
				return q, w.Horizon, ok && has
			}
			c, ok := quantileChange(base[0].waveLabel(w), strings.ReplaceAll(part, "_", " ")+" p50", "p50", base, next, seconds, get)
			if ok && c.Delta != "" {
				out = append(out, c)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b Change) int { return cmp.Compare(math.Abs(b.size), math.Abs(a.size)) })
	return out
}

func phaseLength(r *Report, name string) *float64 {
	for _, p := range r.Phases {
		if p.Name == name {
			v := p.End - p.Start
			return &v
		}
	}
	return nil
}

func findWave(r *Report, k waveKey) (Wave, bool) {
	for _, w := range r.Waves {
		if w.Phase == k.phase && w.Wave == k.wave {
			return w, true
		}
	}
	return Wave{}, false
}
