package reports

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// The exit codes of rebound, which a Report carries.
const (
	ExitPass        = 0
	ExitFail        = 1   // an expectation failed, or a check is invalid and no known defect
	ExitUsage       = 2   // usage or scenario invalid
	ExitUnknown     = 3   // something is unknown
	ExitUnreachable = 4   // no broker at the preflight connection
	ExitWorse       = 5   // compare says worse
	ExitPartial     = 6   // an agent was lost
	ExitError       = 7   // the run could not be done
	ExitInterrupted = 130 // interrupted, report written
)

// exitOrder is the order of badness within a set of runs, worst first.
var exitOrder = []int{ExitInterrupted, ExitError, ExitUnreachable, ExitFail, ExitPartial, ExitUnknown, ExitPass}

// WorstExit is the exit code of a set: the worst of its runs in the order
// 130 > 7 > 4 > 1 > 6 > 3 > 0. A code outside of the order counts as 7, and a
// set without runs is 3: neither may look like a pass.
func WorstExit(codes []int) int {
	if len(codes) == 0 {
		return ExitUnknown
	}
	worst := len(exitOrder) - 1
	for _, c := range codes {
		worst = min(worst, exitRank(c))
	}
	return exitOrder[worst]
}

func exitRank(code int) int {
	for i, c := range exitOrder {
		if c == code {
			return i
		}
	}
	return 1
}

// word is the run's result in one word. It never says PASS of a run that is
// incomplete, unknown or contradicts its own exit code.
func (r *Report) word() string {
	switch {
	case r.Run.Interrupted || r.ExitCode == ExitInterrupted:
		return "INTERRUPTED"
	case r.ExitCode == ExitFail:
		return "FAIL"
	case r.ExitCode == ExitPartial:
		return "PARTIAL"
	case r.ExitCode == ExitUnknown:
		return "UNKNOWN"
	case r.ExitCode != ExitPass:
		return "ERROR"
	case !r.Run.Complete || r.Verdict == Unknown || r.Verdict == NotApplicable || r.Verdict == "":
		return "UNKNOWN"
	case !r.onlyKnown(): // whatever its verdict says
		return "FAIL"
	}
	return "PASS"
}

// onlyKnown says that nothing that is invalid may fail the run.
func (r *Report) onlyKnown() bool {
	return !slices.ContainsFunc(r.Checks, r.failsBy) && !slices.ContainsFunc(r.Expectations, r.failsOn)
}

// failsBy says that a check fails the run: it is invalid, and no known defect
// excuses it. A strict run has no excuses.
func (r *Report) failsBy(c Check) bool {
	return c.Verdict == Invalid && (c.Known == "" || r.Run.Strict)
}

// failsOn says the same of an expectation, which may also only warn.
func (r *Report) failsOn(e Expectation) bool {
	return e.Verdict == Invalid && e.OnFail != "warn" && (e.Known == "" || r.Run.Strict)
}

// held counts the expectations that hold, and all that apply.
func (r *Report) held() (ok, all int) {
	for _, e := range r.Expectations {
		if e.Verdict == NotApplicable {
			continue
		}
		all++
		if e.Verdict == Valid {
			ok++
		}
	}
	return ok, all
}

// horizon is that of the outages of all waves pooled: what the longest wave
// allows is more than anybody was watched for, where somebody is censored.
func (r *Report) horizon() float64 {
	if r.Total.Horizon > 0 {
		return r.Total.Horizon
	}
	return r.longestHorizon()
}

// longestHorizon is that of the longest wave.
func (r *Report) longestHorizon() float64 {
	h := r.Total.Horizon
	for _, w := range r.Waves {
		h = max(h, w.Horizon)
	}
	return h
}

// canaryOf is the canary of a phase, else that of the whole run.
func (r *Report) canaryOf(phase string) Quantile {
	for _, p := range r.Phases {
		if p.Name == phase && p.Canary.N > 0 {
			return p.Canary
		}
	}
	return r.Harness.Canary
}

// excused counts the expectations that failed and do not fail the run: by
// on_fail: warn, or by a known defect of the target.
func (r *Report) excused() int {
	n := 0
	for _, e := range r.Expectations {
		if e.Verdict == Invalid && !r.failsOn(e) {
			n++
		}
	}
	return n
}

// charged says whom the findings of a check charge: "broker 3, client-library 1".
func (c Check) charged() string {
	var who []string
	for _, k := range slices.Sorted(maps.Keys(c.Charges)) {
		who = append(who, plain(cmp.Or(k, "nobody"))+" "+commas(c.Charges[k]))
	}
	return strings.Join(who, ", ")
}
