package judge

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// evidence gathers what the checks look at.
func (j *judgement) evidence() check.Evidence {
	ev := check.Evidence{
		Plan: j.e.plan, Complete: j.e.closed, Interrupted: j.e.mark.Interrupted, Aborted: j.e.mark.Aborted,
		Missing: j.e.missing, Phases: j.e.phases, Health: len(j.e.health) > 0,
		Connected: j.connectedBy(j.e.firstFault()),
		Messages:  j.r.Messages, Problems: j.account.Problems, Accounts: j.e.counted, Drained: j.drained(),
	}
	ev.Recorded = j.e.env.SchemaVersion
	ev.Target, ev.Driver, ev.Stop, ev.Waves = j.r.Target, j.r.Driver, j.storm.Stop, j.e.waves
	ev.Findings, ev.Frames, ev.Wills = j.e.found, j.e.frames, j.e.wills
	ev.Exceptions, ev.Unlisted = j.account.Exceptions, j.account.Unlisted
	for _, cl := range j.storm.Clients {
		ev.Clients = append(ev.Clients, check.Client{Fleet: cl.Fleet, Index: cl.Index, ID: cl.ID, Conns: cl.Conns, Rivals: cl.Rivals})
	}
	ev.Unfit = j.unfit()
	ev.Extents = j.e.extents
	ev.WillWatch = j.willWatch()
	ev.Leak, ev.Lapses = j.leak(), j.lapses()
	for _, a := range j.storm.Acted {
		ev.Actions = append(ev.Actions, check.Action{Action: *a.Action, Outcome: string(a.Outcome)})
	}
	for _, c := range j.storm.Unscripted {
		ev.Unscripted = append(ev.Unscripted, j.end(c))
	}
	for _, c := range j.storm.Control {
		ev.Control = append(ev.Control, j.end(c))
	}
	ev.Returned, ev.Away = returns(j.storm)
	for _, l := range j.r.Losses {
		switch ledger.Verdict(l.Verdict) {
		case ledger.Lost:
			ev.Lost = append(ev.Lost, l)
		case ledger.Undetermined:
			if !j.away[l.Subscriber] {
				ev.Undecided++
			}
		}
	}
	ev.Undecided += j.account.Unlisted[ledger.Undetermined]
	for _, r := range j.e.records {
		if s := r.Stream; s != nil && s.Attempted.Len() > 0 {
			ev.Sentinels = append(ev.Sentinels, check.Sentinel{Stream: s.ID, Topic: s.Topic, Sent: s.SentinelSent, Acked: s.SentinelAcked})
		}
	}
	return ev
}

// willWatch gives the spans in which a control connection was subscribed: only
// the watcher of Wills subscribes to anything.
func (j *judgement) willWatch() []check.Span {
	var spans []check.Span
	for i := range j.e.conns {
		c := &j.e.conns[i]
		if c.Fleet != ControlFleet || len(c.Subs) == 0 || c.Restored == 0 {
			continue
		}
		spans = append(spans, check.Span{From: c.Restored, To: cmp.Or(c.End, j.storm.Stop)})
	}
	return spans
}

// leak compares the snapshot before the first fault with the one after the
// drain; nil without two.
func (j *judgement) leak() *check.Leak {
	if len(j.e.shots) < 2 {
		return nil
	}
	first, last := j.e.shots[0], j.e.shots[len(j.e.shots)-1]
	l := &check.Leak{Cycles: len(j.storm.Acted), HeapBytes: last.HeapBytes - first.HeapBytes, FDs: last.FDs - first.FDs}
	for _, creator := range slices.Sorted(maps.Keys(last.Goroutines)) {
		if more := last.Goroutines[creator] - first.Goroutines[creator]; more > 0 {
			l.Goroutines = append(l.Goroutines, check.Growth{Creator: creator, Charge: measure.CreatorCharge(creator), More: more})
		}
	}
	return l
}

func (j *judgement) end(c *timeline.Conn) check.End {
	phase := j.e.phaseAt(c.End)
	return check.End{ClientID: c.ClientID, N: c.N, At: c.End, Kind: c.EndKind, Phase: phase, Starved: silent(c) && j.starved(c)}
}

// silent reports whether the client let its keep alive pass: the broker then
// must close at 1.5 times of it [MQTT-3.1.2-24].
func silent(c *timeline.Conn) bool {
	gap := c.MaxOutGap
	if c.LastOut != 0 {
		gap = max(gap, int64(c.End-c.LastOut))
	}
	return c.KeepAlive > 0 && gap > int64(c.KeepAlive)*1_500_000_000
}

// starving is the lateness from which the harness itself may be why a client
// fell silent, or why something was read late: the bounds that this could break
// are 0.5 s and more (half a keep alive of 1 s). It is absolute, unlike the
// fitness of a phase, which is held against the times measured in it.
const starving = 500 * time.Millisecond

// unfit gives the stretches of the run in which the canary was that late.
func (j *judgement) unfit() []check.Span {
	if j.late != nil {
		return j.late
	}
	j.late = []check.Span{}
	for i := range j.e.health {
		r := &j.e.health[i]
		h, err := measure.MergeHealth(j.e.health[i:i+1], nil)
		if err != nil {
			continue // health.csv is named as unreadable already
		}
		if worst, _ := h.Canary.Quantile(1); worst >= int64(starving) {
			j.late = append(j.late, check.Span{From: r.Start - timeline.Instant(worst), To: r.End})
		}
	}
	return j.late
}

// starved reports whether the harness was late while a connection that ended
// was silent.
func (j *judgement) starved(c *timeline.Conn) bool {
	since := c.End - timeline.Instant(max(c.MaxOutGap, int64(c.End-c.LastOut)))
	return slices.ContainsFunc(j.unfit(), func(s check.Span) bool { return s.From <= c.End && since <= s.To })
}

// drained reports whether the run ended with a phase that became quiet.
func (j *judgement) drained() bool {
	for _, p := range j.e.plan.Phases {
		if !p.Until.Drains() {
			continue
		}
		if ran, found := j.e.phase(p.Name); found && check.Drained(p, ran, j.r.Target.Abilities.RedeliveryWait) {
			return true
		}
	}
	return false
}

// returns counts the outages whose client really was back before the stop, and
// names the clients whose last outage was still open then.
func returns(s *Storm) (returned int, away []string) {
	last := map[clientKey]*Outage{}
	for _, o := range s.Outages {
		if o.Returned != 0 && o.Returned <= s.Stop {
			returned++
		}
		// By the connection that was lost: an outage that began late by its action's
		// intended instant may be an earlier one, where actions overtake each other.
		k := clientKey{o.Fleet, o.Client}
		if before := last[k]; before == nil || o.Lost.N > before.Lost.N {
			last[k] = o
		}
	}
	for _, o := range last {
		if o.Returned == 0 || o.Returned > s.Stop {
			away = append(away, o.ClientID)
		}
	}
	slices.Sort(away)
	return returned, away
}

// gone names the clients that were not there when the run was stopped: without
// a live connection, or on one whose subscriptions were not restored. What is
// owed to them is undetermined.
func gone(s *Storm, rules Rules) map[string]bool {
	away := map[string]bool{}
	for _, cl := range s.Clients {
		c := liveAt(cl.Conns, s.Stop)
		if c == nil || rules.useful(c) == 0 {
			away[cl.ID] = true
		}
	}
	return away
}

// ofVersion reports whether a list of versions ("" = all) names one.
func ofVersion(list, version string) bool {
	if list == "" {
		return true
	}
	return slices.ContainsFunc(strings.Split(list, ","), func(v string) bool { return strings.TrimSpace(v) == version })
}
