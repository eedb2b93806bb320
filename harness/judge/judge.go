package judge

import (
	"cmp"
	"io/fs"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Options of a judgement.
type Options struct {
	// Strict takes away the excuses: known defects fail, and a quantile with
	// too few samples is unknown. A run that was made strict is judged strictly
	// whatever this says.
	Strict bool
}

// Judge reads the folder of a run and gives its report. Missing or cut
// evidence is no error: the report then says that it is incomplete and its
// verdict is at best unknown. Without a plan there is no run to judge:
// ErrNoEvidence.
func Judge(dir fs.FS, opts Options) (*reports.Report, error) {
	e, err := readEvidence(dir)
	if err != nil {
		return nil, err
	}
	j := newJudgement(e, opts.Strict || e.env.Strict)
	j.frame()
	j.fleets()
	j.connect()
	j.messages()
	j.storms()
	j.extents()
	j.unscripted()
	j.healths()
	j.checks()
	j.expectations()
	j.histograms()
	j.charts()
	j.warn()
	j.verdict()
	return j.r, nil
}

// judgement is a report in the making. Each step fills its own part of the
// report from the evidence and from what earlier steps found.
type judgement struct {
	byClient map[string]*Client // by id, made on demand
	e        *evidence
	strict   bool
	r        *reports.Report

	rules   Rules
	storm   *Storm
	waves   []*waveFacts
	sum     summer
	account ledger.Account
	away    map[string]bool // clients that are not there at the stop
	byID    outagesByID
	late    []check.Span // stretches in which the harness was late; made on demand

	findings map[messageKey]int // line of the first finding about a message, made on demand

	connects map[string][]int64 // phase -> latencies of the first connects in it, ns
}

func newJudgement(e *evidence, strict bool) *judgement {
	rules := RulesOf(e.plan)
	j := &judgement{e: e, strict: strict, r: &reports.Report{SchemaVersion: reports.SchemaVersion}, rules: rules}
	e.waves = fromFirstIntended(e.waves, e.actions, e.extents)
	j.storm = Trace(Events{e.conns, e.actions, e.extents, e.waves, e.phases, e.stop()}, rules)
	j.waves = wavesOf(j.storm, e.waves)
	return j
}

// frame fills in what the run was.
func (j *judgement) frame() {
	e, p := j.e, j.e.plan
	j.r.Rebound = e.env.Rebound
	j.r.Run = reports.Run{
		ID: cmp.Or(e.mark.RunID, e.env.RunID), Scenario: p.Scenario, Summary: p.Summary,
		ScenarioHash: p.ScenarioHash, PlanHash: p.PlanHash, Seed: p.Seed, Clients: p.Clients,
		StartedAt: e.mark.StartedAt, Seconds: seconds(e.stop()),
		Complete: e.complete(), Interrupted: e.mark.Interrupted, Aborted: e.mark.Aborted,
		Strict: j.strict,
	}
	j.r.Target, j.r.Driver, j.r.Environment = e.env.Target, e.env.Driver, e.env.Environment
}

// fleets fills in each fleet and how many of its clients were ever useful.
func (j *judgement) fleets() {
	connected := j.connectedBy(j.e.stop())
	for i := range j.e.plan.Fleets {
		f := &j.e.plan.Fleets[i]
		j.r.Fleets = append(j.r.Fleets, reports.Fleet{
			Name: f.Name, Clients: f.Clients, Back: j.rules.Back[f.Name],
			Policy: f.Reconnect.Policy, Clean: f.Session.Clean, Connected: connected[f.Name],
		})
	}
}

// connectedBy counts, by fleet, the clients that had reached CONNACK and their
// subscriptions by an instant.
func (j *judgement) connectedBy(t timeline.Instant) map[string]int {
	n := map[string]int{}
	for _, cl := range j.storm.Clients {
		if at := j.rules.firstUseful(cl); at != 0 && at <= t {
			n[cl.Fleet]++
		}
	}
	return n
}

// firstUseful is when a client first had its subscriptions; 0 = never.
func (r Rules) firstUseful(cl *Client) timeline.Instant {
	for _, c := range cl.Conns {
		if at := r.useful(c); at != 0 {
			return at
		}
	}
	return 0
}

// connect fills in the first connect of the whole fleet: from the instant at
// which the schedule wanted each first dial, so that a late harness shows.
func (j *judgement) connect() {
	j.connects = map[string][]int64{}
	r := reports.Connect{}
	for _, f := range j.r.Fleets {
		r.Clients += f.Clients
		r.Connected += f.Connected
	}
	latency := measure.NewHist(measure.Nanoseconds)
	var first, last timeline.Instant
	for _, cl := range j.storm.Clients {
		if len(cl.Conns) == 0 {
			continue // known by a rival only
		}
		c := cl.Conns[0]
		from := cmp.Or(c.Intended, c.Dial)
		if first == 0 || c.Dial < first {
			first = c.Dial
		}
		at := j.rules.firstUseful(cl)
		if at == 0 {
			continue
		}
		last = max(last, at)
		ns := int64(max(0, at-from))
		latency.Record(ns)
		phase := j.e.phaseAt(c.Dial)
		j.connects[phase] = append(j.connects[phase], ns)
	}
	if last > first {
		r.Seconds = seconds(last - first)
		r.Rate = float64(r.Connected) / r.Seconds
	}
	r.Latency = latency.Summary(int64(r.Clients - r.Connected))
	j.r.Connect = r
}

// storms fills in the waves.
func (j *judgement) storms() {
	j.sum = summer{rules: j.rules, connects: connectsOf(j.storm.Clients), loss: joinLosses(j.byID, j.account), points: curvePoints(len(j.waves))}
	for q := range j.sum.carried {
		j.sum.carried[q] = j.account.QoS[q].Expected > 0
	}
	for _, w := range j.waves {
		j.r.Waves = append(j.r.Waves, j.sum.wave(w))
	}
	j.r.Total = j.sum.total(j.waves)
	j.r.Recovery = recovery(j.waves)
}

// extents fills in the faults without victims, and the notes on how faults were
// made.
func (j *judgement) extents() {
	for _, x := range j.e.extents {
		e := reports.Extent{
			Fault: x.Fault, Phase: x.Phase, Wave: x.Wave, Start: seconds(x.Issued), OK: x.OK,
			Err: x.Err, Detail: x.Detail, Skipped: x.Skipped, Ended: j.storm.Charged[x.ID],
		}
		if x.Healed != 0 {
			e.Seconds = new(seconds(x.Healed - x.Issued))
		}
		if x.Process != "" {
			e.Broker = &reports.BrokerLife{Ended: x.Process, Kept: x.Kept}
			if x.Healed != 0 && x.Process != timeline.Frozen {
				e.Broker.Ready = new(seconds(x.Healed - x.Healing))
			}
		}
		j.r.Extents = append(j.r.Extents, e)
	}
	slices.SortStableFunc(j.r.Extents, func(a, b reports.Extent) int { return cmp.Compare(a.Start, b.Start) })
	for _, ph := range j.e.plan.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if note := f.Kind + ": " + f.Note; f.Note != "" && !slices.Contains(j.r.Notes, note) {
					j.r.Notes = append(j.r.Notes, note)
				}
			}
		}
	}
}

// unscripted fills in the ends that no fault explains. The outages that they
// opened are watched to the stop.
func (j *judgement) unscripted() {
	u := reports.Unscripted{Kinds: map[string]int{}, Ends: len(j.storm.Unscripted), Control: len(j.storm.Control)}
	clients := map[clientKey]bool{}
	for _, c := range j.storm.Unscripted {
		u.Kinds[string(c.EndKind)]++
		clients[clientKey{c.Fleet, c.Client}] = true
	}
	u.Clients = len(clients)
	var obs []measure.Obs
	for _, o := range j.storm.Outages {
		if o.Cause == Unscripted {
			obs = append(obs, measure.Obs{Time: int64(o.Until - o.Start), Back: o.Back()})
		}
	}
	u.Outage = measure.SurvivalSummary(obs, int64(j.storm.Stop))
	j.r.Unscripted = u
}

// checks runs the table of checks and marks those that known defects of the
// target or the driver explain.
func (j *judgement) checks() {
	for _, r := range check.Run(j.evidence()) {
		r.Known = j.explain(r)
		j.r.Checks = append(j.r.Checks, r.Check)
	}
}
