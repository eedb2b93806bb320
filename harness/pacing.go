package harness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// A pace of the CloseConnection API is a limit of the service, not of the
// scenario: what it holds back is lag, a part of the outage like any other. It
// is no part of the plan, so it is looked at before the run and not hidden.

// pacedCloses is how a wave's closes lie in time under a pace.
type pacedCloses struct {
	n    int
	last time.Duration // when the last begins, from the start of the wave
	lag  time.Duration // the longest wait behind the timetable
}

// paced lays out the closes of a wave at a rate in calls per second; at most 0
// is no pace.
func paced(w scenarios.PlanWave, rate float64) pacedCloses {
	var due []time.Duration
	for _, f := range w.Faults {
		if f.Kind == "close" {
			for _, v := range f.Victims {
				due = append(due, v.Offset)
			}
		}
	}
	slices.Sort(due)
	p := pacedCloses{n: len(due)}
	next := time.Duration(0)
	for _, at := range due {
		p.last = max(at, next)
		p.lag = max(p.lag, p.last-at)
		if rate > 0 {
			next = p.last + time.Duration(float64(time.Second)/rate)
		}
	}
	return p
}

// checkPace refuses a pace at which the last closes of a wave would begin when
// nobody watches it any more.
func checkPace(p *scenarios.Plan, rate float64) error {
	if rate <= 0 || p.Closer != CloserAPI {
		return nil
	}
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			if c := paced(w, rate); c.last >= w.Horizon {
				return Usage(fmt.Errorf("--close-rate %g: at this pace the last of %d closes of phase %s begins %s after the start of its wave, which is watched for %s only: raise the rate (as far as the service allows), or lower --clients",
					rate, c.n, ph.Name, c.last.Round(time.Millisecond), w.Horizon))
			}
		}
	}
	return nil
}

// PaceNote says, in words, how far a pace is behind the timetable; "" = it
// never is by more than a tenth of a second.
func PaceNote(p *scenarios.Plan, rate float64) string {
	if rate <= 0 || p.Closer != CloserAPI {
		return ""
	}
	var worst pacedCloses
	phase := ""
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			if c := paced(w, rate); c.lag > worst.lag {
				worst, phase = c, ph.Name
			}
		}
	}
	if worst.lag <= 100*time.Millisecond {
		return ""
	}
	return fmt.Sprintf("closes are paced at %g/s (--close-rate): in phase %s some of %d begin up to %s late, which counts as lag of their outages",
		rate, phase, worst.n, worst.lag.Round(10*time.Millisecond))
}

// mostCloses is how many calls the faults of a phase can have open at once. Each
// has a connection to the endpoint: a wait for one here would read as the
// endpoint's answer time.
func mostCloses(p *scenarios.Plan) int {
	most := 1
	for _, ph := range p.Phases {
		n := 0
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if f.Kind == "close" {
					n += min(f.Count, fault.DefaultConcurrency)
				}
			}
		}
		most = max(most, n)
	}
	return most
}

// closedFleets are the fleets whose connections a plan closes through the
// closer; the first one where it closes none.
func closedFleets(p *scenarios.Plan) []scenarios.PlanFleet {
	hit := map[string]bool{}
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				hit[f.Fleet] = hit[f.Fleet] || f.Kind == "close"
			}
		}
	}
	var fleets []scenarios.PlanFleet
	for _, f := range p.Fleets {
		if hit[f.Name] {
			fleets = append(fleets, f)
		}
	}
	if len(fleets) == 0 {
		fleets = p.Fleets[:1]
	}
	return fleets
}

// ownEndpoint reports whether a target's endpoint is started by the run.
func ownEndpoint(target string) bool {
	return !strings.Contains(target, "://") && !broker.IsCommand(target)
}
