package judge

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// envelopes sums up the outages of a run, scripted or not, by the instant of
// their start, in bins of equal width over [0, stop]. Bins without any are left
// out. Outages come in the order of their starts.
func envelopes(outages []*Outage, stop timeline.Instant, limit int) []reports.Envelope {
	width := (max(stop, 0) + timeline.Instant(limit)) / timeline.Instant(limit) // rounded up, and never 0
	out := []reports.Envelope{}
	for i := 0; i < len(outages); {
		bin := binOf(outages[i], width, limit)
		e := reports.Envelope{Start: seconds(bin * width), End: seconds((bin + 1) * width)}
		var back []int64
		for ; i < len(outages) && binOf(outages[i], width, limit) == bin; i++ {
			e.N++
			if o := outages[i]; o.Back() {
				back = append(back, int64(o.Away()))
			} else {
				e.Censored++
			}
		}
		if n := len(back); n > 0 {
			slices.Sort(back)
			e.Min, e.Median, e.Max = timeOf(&back[0]), timeOf(&back[(n+1)/2-1]), timeOf(&back[n-1])
		}
		out = append(out, e)
	}
	return out
}

func binOf(o *Outage, width timeline.Instant, limit int) timeline.Instant {
	return min(max(o.Start, 0)/width, timeline.Instant(limit-1))
}

// attempts counts the outages of all waves by their dials.
func attempts(waves []*waveFacts) []reports.AttemptCount {
	var by [maxDials + 1]reports.AttemptCount
	for _, w := range waves {
		for _, o := range w.outages {
			c := &by[min(o.dials(), maxDials)]
			if o.Back() {
				c.Back++
			} else {
				c.Censored++
			}
		}
	}
	out := []reports.AttemptCount{}
	for n, c := range by {
		if c.Back+c.Censored > 0 {
			c.Dials = n
			out = append(out, c)
		}
	}
	return out
}

// dials counts the dials of an outage while it was watched.
func (o *Outage) dials() int {
	if o.Back() {
		return len(o.Attempts)
	}
	n := 0
	for _, c := range o.Attempts {
		if c.Dial <= o.Until {
			n++
		}
	}
	return n
}

// worst picks the longest outages: first those that nobody saw end.
func worst(outages []*Outage, limit int) []reports.ClientOutage {
	var top []*Outage // a million outages need no sorting for twenty
	for _, o := range outages {
		at, _ := slices.BinarySearchFunc(top, o, func(t, o *Outage) int {
			return cmp.Or(rankBack(t)-rankBack(o), cmp.Compare(o.Away(), t.Away()), -1) // equal ones in their order
		})
		if at < limit {
			top = slices.Insert(top, at, o)
			top = top[:min(len(top), limit)]
		}
	}
	out := []reports.ClientOutage{}
	for _, o := range top {
		c := reports.ClientOutage{
			Client: o.ClientID, Fleet: o.Fleet, Start: seconds(o.Start), Seconds: o.Away().Seconds(),
			Censored: !o.Back(), Dials: o.dials(), Parts: map[string]float64{},
		}
		if k, scripted := o.wave(); scripted {
			c.Phase, c.Wave = k.phase, k.wave
		}
		parts := o.Parts
		if !o.Back() {
			parts = Unfinished(o)
		}
		for i, name := range PartNames() {
			if name != "close" || parts.ClosedKnown {
				c.Parts[name] = seconds(timeline.Instant(parts.Values()[i]))
			}
		}
		out = append(out, c)
	}
	return out
}

func rankBack(o *Outage) int {
	if o.Back() {
		return 1
	}
	return 0
}
