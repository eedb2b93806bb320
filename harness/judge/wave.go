package judge

import (
	"cmp"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// waveFacts is one wave with all that belongs to it.
type waveFacts struct {
	wave    timeline.Wave
	end     timeline.Instant // horizon, cut at the next wave and at the stop
	full    timeline.Instant // the same without the stop
	fleet   string           // whose it is alone; "" = of all fleets
	acted   []Acted
	outages []*Outage // of its hits and late hits
}

// length of the horizon, in ns. The stop cuts it only where it cut short the
// watch of a client: when all are back, nothing is lost by stopping early.
func (w *waveFacts) length() int64 {
	end := w.full
	for _, o := range w.outages {
		if o.Censored == CensoredStopped {
			end = w.end
		}
	}
	return max(0, int64(end-w.wave.Start))
}

// wavesOf groups actions and outages by wave, in the order in which the waves
// began. Actions whose wave has no record (the file was cut) get one that
// begins with their first intended instant.
func wavesOf(s *Storm, waves []timeline.Wave) []*waveFacts {
	byKey := make(map[waveKey]*waveFacts)
	ends, fulls := horizons(waves, s.Stop), horizons(waves, 0)
	for _, w := range waves {
		k := waveKey{w.Phase, w.Wave}
		byKey[k] = &waveFacts{wave: w, end: ends[k], full: max(ends[k], fulls[k])}
	}
	for _, a := range s.Acted {
		k := waveKey{a.Action.Phase, a.Action.Wave}
		w := byKey[k]
		if w == nil {
			w = &waveFacts{wave: timeline.Wave{Phase: k.phase, Wave: k.wave, Start: a.Action.Intended}, end: s.Stop, full: s.Stop}
			byKey[k] = w
		}
		if w.wave.End == 0 {
			w.wave.Start = min(w.wave.Start, a.Action.Intended)
		}
		w.acted = append(w.acted, a)
	}
	for _, o := range s.Outages {
		k, scripted := o.wave()
		if !scripted {
			continue
		}
		w := byKey[k]
		if w == nil {
			w = &waveFacts{wave: timeline.Wave{Phase: k.phase, Wave: k.wave, Start: o.Extent.Issued}, end: s.Stop, full: s.Stop}
			byKey[k] = w
		}
		w.outages = append(w.outages, o)
	}
	out := make([]*waveFacts, 0, len(byKey))
	for _, w := range byKey {
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b *waveFacts) int {
		return cmp.Or(cmp.Compare(a.wave.Start, b.wave.Start), cmp.Compare(a.wave.Phase, b.wave.Phase), cmp.Compare(a.wave.Wave, b.wave.Wave))
	})
	return out
}

// summer turns waves into their report.
type summer struct {
	rules    Rules
	connects map[string][]timeline.Instant // fleet -> of its CONNECTs, sorted; "" = of all device fleets
	loss     map[*Outage][qosLevels]lossOf
	carried  [qosLevels]bool // whether messages of a QoS were owed at all
	points   int             // of each recovery curve, 0 = maxCurve
}

// wave sums up one wave.
func (s *summer) wave(w *waveFacts) reports.Wave {
	r := s.base([]*waveFacts{w})
	r.Phase, r.Wave = w.wave.Phase, w.wave.Wave
	r.Spread = seconds(spread(w.acted))
	return r
}

// total sums up all waves together. Its spread is not defined, and its back
// curve runs from the first intended instant of each wave; it is one curve and
// has all of its points.
func (s *summer) total(waves []*waveFacts) reports.Wave {
	whole := *s
	whole.points = maxCurve
	return whole.base(waves)
}

func (s *summer) base(waves []*waveFacts) reports.Wave {
	r := reports.Wave{Waterfall: map[string]reports.Quantile{}}
	var horizon int64
	var outages []*Outage
	var own, fromStart []measure.Obs
	answer := measure.NewHist(measure.Nanoseconds)
	for i, w := range waves {
		if i == 0 {
			r.Start = seconds(w.wave.Start)
		}
		horizon = max(horizon, w.length())
		outages = append(outages, w.outages...)
		for _, a := range w.acted {
			count(&r, a.Outcome)
			r.IssueLag = max(r.IssueLag, seconds(max(0, a.Action.Issued-a.Action.Intended)))
			if a.Action.OK && a.Action.Answered != 0 {
				answer.Record(int64(a.Action.Answered - a.Action.Issued))
			}
			countCall(&r, a.Action)
		}
		begun := map[*timeline.Action]bool{}
		for _, o := range w.outages {
			switch {
			case o.Extent != nil:
				count(&r, Hit) // whom an extent reached only its ends tell
			case begun[o.Action]:
				count(&r, LateHit) // a lasting fault ended a newer connection, too
			}
			begun[o.Action] = true
			own = append(own, measure.Obs{Time: int64(o.Until - o.Start), Back: o.Back()})
			fromStart = append(fromStart, measure.Obs{Time: int64(o.Until - w.wave.Start), Back: o.Back()})
		}
		// Each wave is a stampede of its own: over all of them the highest peak
		// counts, and the quiet time between them is no part of any mean.
		herd := measure.Herd(between(s.connects[w.fleet], w.wave.Start, w.end), len(w.outages))
		r.Herd.Connects += herd.Connects
		r.Herd.Peak = max(r.Herd.Peak, herd.Peak)
		r.Herd.PeakToMean = max(r.Herd.PeakToMean, herd.PeakToMean)
	}
	horizon = watched(own, horizon)
	r.Regime = s.regime(outages)
	r.Horizon = float64(horizon) / 1e9
	r.Outage = measure.SurvivalSummary(own, horizon)
	r.BackCurve = measure.SurvivalSummary(fromStart, horizon)
	if len(own) > 0 {
		rmta := measure.KaplanMeier(own).RMTA(horizon) / 1e9
		r.RMTA = &rmta
	}
	r.Answer = answer.Summary(0)
	r.Curve = thin(measure.KaplanMeier(fromStart), cmp.Or(s.points, maxCurve))
	s.sumOutages(&r, outages)
	return r
}

// watched is the horizon that the outages of several waves have in common with
// the evidence: where somebody is censored, nobody was watched for longer than
// the longest outage, whatever the longest wave's own horizon is.
func watched(own []measure.Obs, horizon int64) int64 {
	longest, censored := int64(0), false
	for _, o := range own {
		longest = max(longest, o.Time)
		censored = censored || !o.Back
	}
	if censored {
		return min(horizon, longest)
	}
	return horizon
}

// sumOutages adds what the outages of a wave tell: back and censored, the
// waterfall, probes, attempts, backoff and losses.
func (s *summer) sumOutages(r *reports.Wave, outages []*Outage) {
	parts := newPartHists()
	probes, proberAway, lonely := measure.NewHist(measure.Count), measure.NewHist(measure.Nanoseconds), false
	var loss [qosLevels]*measure.Hist
	for q := range loss {
		loss[q] = measure.NewHist(measure.Count)
	}
	attempts, connects := 0, 0
	for _, o := range outages {
		for _, c := range o.Attempts {
			if c.Connect != 0 {
				connects++
			}
		}
		for q := range loss {
			if s.carried[q] {
				loss[q].Record(s.loss[o][q].n)
			}
		}
		if !o.Back() {
			r.Censored++
			continue
		}
		r.Back++
		attempts += len(o.Attempts)
		parts.add(o.Parts)
		if s.slept(o) {
			r.SlowBackoff++
		}
		if s.rules.Back[o.Fleet] == scenarios.BackFirstMessage {
			probes.Record(o.probes())
			proberAway.Record(int64(o.ProberAway))
			lonely = lonely || o.ProberAway > 0
		}
	}
	for i, name := range PartNames() {
		r.Waterfall[name] = parts[i].Summary(0)
	}
	r.ProbeNeeded = probes.Summary(0)
	if lonely {
		r.ProberAway = new(proberAway.Summary(0))
	}
	r.LossQoS0, r.LossQoS1, r.LossQoS2 = loss[0].Summary(0), loss[1].Summary(0), loss[2].Summary(0)
	if r.Back > 0 {
		r.Attempts = float64(attempts) / float64(r.Back)
	}
	if len(outages) > 0 {
		// A CONNECT belongs to the outage that it was part of, also where the
		// next wave has begun; by time alone it would count against that one.
		r.Herd.Amplification = float64(connects) / float64(len(outages))
	}
}

// probes is the number of probes that were sent until the client was back.
func (o *Outage) probes() int64 {
	n := 0
	for _, c := range o.Attempts {
		n += c.Probes
	}
	return int64(n)
}

// slept reports whether the client's reconnect slept in its policy's backoff:
// by what the policy asked for, and with the library's own, which does not tell,
// for as long as its shortest sleep, 1 s or its maximum.
func (s *summer) slept(o *Outage) bool {
	if s.rules.Policy[o.Fleet] != scenarios.PolicyPaho {
		return slices.ContainsFunc(o.Attempts, func(c *timeline.Conn) bool { return c.Backoff > 0 })
	}
	shortest := time.Second
	if longest := s.rules.Max[o.Fleet]; longest > 0 {
		shortest = min(shortest, longest)
	}
	return o.Parts.Backoff >= int64(shortest)
}

// regime is the backoff regime in which the clients of some outages were hit.
func (s *summer) regime(outages []*Outage) string {
	first, continual := 0, 0
	for _, o := range outages {
		switch {
		case s.rules.Policy[o.Fleet] != "paho":
		case o.Continual:
			continual++
		default:
			first++
		}
	}
	switch {
	case first+continual == 0:
		return "n/a"
	case continual == 0:
		return "first"
	case first == 0:
		return "continual"
	}
	return "mixed"
}

// partHists holds a histogram of each part, in the order of PartNames.
type partHists []*measure.Hist

func newPartHists() partHists {
	h := make(partHists, len(PartNames()))
	for i := range h {
		h[i] = measure.NewHist(measure.Nanoseconds)
	}
	return h
}

// add records the parts of one outage; close only where it was measured.
func (h partHists) add(p Parts) {
	for i, v := range p.Values() {
		if PartNames()[i] == "close" && !p.ClosedKnown {
			continue
		}
		h[i].Record(v)
	}
}

func count(r *reports.Wave, o Outcome) {
	r.Victims++
	switch o {
	case Hit:
		r.Hit++
	case LateHit:
		r.LateHit++
	case NoOp:
		r.NoOp++
		r.Absent++
	case Missed:
		r.Missed++
		r.Absent++
	case NoEffect:
		r.NoEffect++
		r.Unaffected++
	case Failed:
		r.Failed++
		r.Unaffected++
	case RodeOut:
		r.RodeOut++
		r.Unaffected++
	}
}

// countCall counts what an action took of an API; without tries it has none.
func countCall(r *reports.Wave, a *timeline.Action) {
	if a.Tries == 0 {
		return
	}
	if r.API == nil {
		r.API = new(reports.Calls)
	}
	r.API.Calls++
	r.API.Tries += a.Tries
	r.API.Throttled += a.Busy
	if !a.OK {
		r.API.Failed++
	}
}

// spread is the time from the first to the last issued action.
func spread(acted []Acted) timeline.Instant {
	if len(acted) == 0 {
		return 0
	}
	first, last := acted[0].Action.Issued, acted[0].Action.Issued
	for _, a := range acted {
		first, last = min(first, a.Action.Issued), max(last, a.Action.Issued)
	}
	return last - first
}

// between gives the part of sorted instants that lies in [from, to].
func between(at []timeline.Instant, from, to timeline.Instant) []timeline.Instant {
	i, _ := slices.BinarySearch(at, from)
	j, _ := slices.BinarySearch(at, to+1)
	return at[i:max(i, j)]
}

// A recovery curve is thinned to maxCurve points, and those of all waves to
// about maxCurves together: recovery.csv has every step.
const (
	maxCurve  = 200
	maxCurves = 5_000
)

func curvePoints(waves int) int { return max(20, min(maxCurve, maxCurves/max(1, waves))) }

// thin keeps the first and the last step of a curve and at most n in all.
func thin(c measure.Curve, n int) []reports.CurvePoint {
	steps := c.Steps
	keep := min(n, len(steps))
	out := make([]reports.CurvePoint, 0, keep)
	for k := range keep {
		i := k
		if len(steps) > n {
			i = k * (len(steps) - 1) / (n - 1)
		}
		st := steps[i]
		out = append(out, reports.CurvePoint{Seconds: float64(st.T) / 1e9, Back: 1 - st.S, AtRisk: st.AtRisk, Censored: st.Censored})
	}
	return out
}

// recovery gives every step of each wave's recovery curve.
func recovery(waves []*waveFacts) []reports.Recovery {
	var out []reports.Recovery
	for _, w := range waves {
		var obs []measure.Obs
		for _, o := range w.outages {
			obs = append(obs, measure.Obs{Time: int64(o.Until - w.wave.Start), Back: o.Back()})
		}
		for _, st := range measure.KaplanMeier(obs).Steps {
			out = append(out, reports.Recovery{
				Phase: w.wave.Phase, Wave: w.wave.Wave, Seconds: float64(st.T) / 1e9, Back: 1 - st.S,
				AtRisk: st.AtRisk, Censored: st.Censored, Low: 1 - st.High, High: 1 - st.Low,
			})
		}
	}
	return out
}

// seconds converts an instant or a length.
func seconds(t timeline.Instant) float64 { return float64(t) / 1e9 }

// connectsOf gives the instants of the CONNECTs of each fleet, and of all of
// them as "", sorted.
func connectsOf(clients []*Client) map[string][]timeline.Instant {
	at := make(map[string][]timeline.Instant)
	for _, cl := range clients {
		for _, c := range cl.Conns {
			if c.Connect != 0 {
				at[""] = append(at[""], c.Connect)
				at[cl.Fleet] = append(at[cl.Fleet], c.Connect)
			}
		}
	}
	for _, list := range at {
		slices.Sort(list)
	}
	return at
}
