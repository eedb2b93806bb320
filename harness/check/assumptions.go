package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// assumptions asks whether the run met the premises on which all other
// verdicts rest. It never says invalid: a premise that was not met makes the
// judgement impossible and not the broker wrong.
func assumptions(ev Evidence) Result {
	var unmet []string
	say := func(format string, args ...any) { unmet = append(unmet, fmt.Sprintf(format, args...)) }

	unmet = append(unmet, ev.Missing...)
	if !ev.Complete {
		say("the evidence ends without its closing mark")
	}
	if ev.Interrupted {
		say("the run was interrupted")
	}
	if ev.Aborted != "" {
		say("the run was aborted: %s", ev.Aborted)
	}
	if !ev.Health {
		say("there are no health samples of the harness")
	}
	unmet = append(unmet, unmetPhases(ev)...)
	unmet = append(unmet, unmetClients(ev)...)
	unmet = append(unmet, unmetActions(ev)...)
	unmet = append(unmet, unmetExtents(ev)...)
	unmet = append(unmet, unmetFrames(ev)...)
	unmet = append(unmet, unmetSentinels(ev)...)
	unmet = append(unmet, jumps(ev)...)

	if len(unmet) == 0 {
		return valid("all premises met")
	}
	c := unknown("%s", strings.Join(unmet, "; "))
	c.Count = int64(len(unmet))
	return c
}

// unmetPhases demands that each phase ran, that those before the first fault
// reached their condition, and that the drain became quiet.
func unmetPhases(ev Evidence) []string {
	ran := map[string]timeline.Phase{}
	for _, p := range ev.Phases {
		ran[p.Name] = p
	}
	var unmet []string
	faulted := false
	for _, p := range ev.Plan.Phases {
		faulted = faulted || len(p.Waves) > 0
		r, found := ran[p.Name]
		switch {
		case !found:
			if ev.Complete && !ev.Interrupted && ev.Aborted == "" {
				unmet = append(unmet, fmt.Sprintf("phase %s did not run", p.Name))
			}
		case p.Until.Drains() && !Drained(p, r, ev.Target.Abilities.RedeliveryWait):
			unmet = append(unmet, fmt.Sprintf("phase %s did not become quiet: it ended by %s", p.Name, r.Reason))
		case !faulted && !p.Until.Drains() && r.Reason != "until" && r.Reason != "for":
			unmet = append(unmet, fmt.Sprintf("phase %s, before the first fault, did not reach its condition: it ended by %s", p.Name, r.Reason))
		}
	}
	return unmet
}

// drainQuiet is how long nobody may have read a message when a drain that waits
// until nothing is owed gives up: what is owed then is lost, and not on its way.
const drainQuiet = 2 * time.Second

// Drained reports whether the drain was complete: it reached its condition, or,
// where that is that no message is owed, nothing came any more for drainQuiet,
// and for the time that the broker may wait before it sends again, in seconds.
func Drained(p scenarios.PlanPhase, ran timeline.Phase, redelivery float64) bool {
	if ran.Reason == "until" {
		return true
	}
	enough := max(drainQuiet, time.Duration((redelivery+1)*float64(time.Second)))
	return p.Until.Drained && ran.Reason == "timeout" && time.Duration(ran.Quiet) >= enough
}

// unmetClients demands that the clients were there before the first fault: all
// of them, or the share with which the plan itself is content.
func unmetClients(ev Evidence) []string {
	share := wanted(ev.Plan)
	var unmet []string
	for i := range ev.Plan.Fleets {
		f := &ev.Plan.Fleets[i]
		n := ev.Connected[f.Name]
		if float64(n) < share*float64(f.Clients)-1e-9 {
			unmet = append(unmet, fmt.Sprintf("only %d of %d clients of fleet %s had connected and subscribed before the first fault", n, f.Clients, f.Name))
		}
	}
	return unmet
}

// wanted is the share of clients that the plan waits for.
func wanted(p *scenarios.Plan) float64 {
	for _, ph := range p.Phases {
		switch {
		case ph.Until == nil:
		case ph.Until.Connected != nil:
			return *ph.Until.Connected
		case ph.Until.ConnectedCount > 0:
			return float64(ph.Until.ConnectedCount) / float64(max(1, p.Clients))
		}
	}
	return 1
}

// unmetActions demands that each planned action was issued, that each issued
// one was answered, and that the closer did what it was asked to. A frame fault
// issues an action for each packet that it meets, however many are planned.
func unmetActions(ev Evidence) []string {
	planned := ev.plannedActions()
	issued, counted, unanswered, failed := 0, 0, 0, 0
	why := ""
	for _, a := range ev.Actions {
		if a.Issued == 0 {
			continue
		}
		issued++
		if !frameFault(a.Fault) && !ev.counted(a.Phase) {
			counted++
		}
		switch {
		case a.Answered == 0:
			unanswered++
		case a.Outcome == "failed":
			failed++
			if why == "" && a.Err != "" {
				why = ", the first with: " + a.Err
			}
		}
	}
	var unmet []string
	if counted != planned && !ev.Interrupted && ev.Aborted == "" {
		unmet = append(unmet, fmt.Sprintf("%d of %d planned actions were issued", counted, planned))
	}
	if unanswered > 0 && !ev.Interrupted {
		unmet = append(unmet, fmt.Sprintf("%d of %d calls of the closer were not answered", unanswered, issued))
	}
	if failed > 0 {
		unmet = append(unmet, fmt.Sprintf("%d of %d calls of the closer were answered with an error and changed nothing%s", failed, issued, why))
	}
	return unmet
}

// plannedActions counts the actions that the plan issues at an instant.
func (ev *Evidence) plannedActions() (n int) {
	for _, f := range faults(ev.Plan, func(kind string) bool { return !frameFault(kind) }) {
		if (!f.Extent || f.Everyone) && !ev.counted(f.phase) { // of an extent the clients are not acted on
			n += f.Count
		}
	}
	return n
}

// counted reports whether a phase ended because it had counted enough: then what
// was still planned in it is not missed.
func (ev *Evidence) counted(phase string) bool {
	p := ev.Plan.Phase(phase)
	return p != nil && p.Until != nil && len(p.Until.Count) > 0 &&
		slices.ContainsFunc(ev.Phases, func(r timeline.Phase) bool { return r.Name == phase && r.Reason == "until" })
}

// unmetExtents demands that each fault without victims took effect and was
// lifted: what this machine can not do was not shown.
func unmetExtents(ev Evidence) []string {
	if ev.Interrupted || ev.Aborted != "" {
		return nil
	}
	var unmet []string
	for _, x := range ev.Extents {
		where := fmt.Sprintf("the fault %s (phase %s wave %d)", x.Fault, x.Phase, x.Wave)
		switch {
		case x.Skipped != "":
			unmet = append(unmet, fmt.Sprintf("%s was SKIPPED: %s", where, x.Skipped))
		case !x.OK:
			unmet = append(unmet, fmt.Sprintf("%s failed: %s", where, x.Err))
		}
	}
	type of struct {
		kind, phase string
		wave        int
	}
	took := map[of]int{}
	for _, x := range ev.Extents {
		took[of{x.Fault, x.Phase, x.Wave}]++
	}
	for _, f := range faults(ev.Plan, func(string) bool { return true }) {
		k := of{f.Kind, f.phase, f.wave}
		if !f.Extent || ev.counted(f.phase) {
			continue
		}
		if took[k]--; took[k] < 0 {
			unmet = append(unmet, fmt.Sprintf("the fault %s did not take effect (phase %s wave %d)", f.Kind, f.phase, f.wave))
		}
	}
	return unmet
}

// unmetFrames demands that each frame fault of a wave met a packet: whether
// there is one to meet is up to the traffic, and without one the run shows
// nothing of what it was made for.
func unmetFrames(ev Evidence) []string {
	if ev.Interrupted || ev.Aborted != "" {
		return nil
	}
	var unmet []string
	for _, f := range faults(ev.Plan, frameFault) {
		met := slices.ContainsFunc(ev.Frames, func(x timeline.Frame) bool {
			return x.Fault == f.Kind && x.Phase == f.phase && x.Wave == f.wave && x.Fleet == f.Fleet
		})
		if !met {
			unmet = append(unmet, fmt.Sprintf("the fault %s did not meet its packet (phase %s wave %d)", f.Kind, f.phase, f.wave))
		}
	}
	return unmet
}

// unmetSentinels demands that the broker took the last message of each stream,
// where the run drained: without it nothing says that the stream was read to
// its end.
func unmetSentinels(ev Evidence) []string {
	if !ev.Drained {
		return nil // the checks that need the drain say so themselves
	}
	var open []string
	for _, s := range ev.Sentinels {
		if s.Acked == 0 {
			open = append(open, s.Topic)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("the sentinel of %d of %d streams was not acknowledged (%s)", len(open), len(ev.Sentinels), some(open))}
}

// some lists the first few of many names.
func some(names []string) string {
	s := strings.Join(names[:min(len(names), maxExamples)], ", ")
	if len(names) > maxExamples {
		s += ", …"
	}
	return s
}
