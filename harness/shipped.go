package harness

import (
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Cost is what a scenario asks for.
type Cost struct {
	Clients int
	// AtLeast is the shortest time that a run takes: its timetable, without what
	// it waits for.
	AtLeast time.Duration
	Targets []string // rows of the target table that can do its faults
	Needs   []string // what else it needs, in words
}

// CostOf says what a scenario asks for.
func CostOf(sc *scenarios.Scenario, t Tables) (Cost, error) {
	c := Cost{Clients: sc.Clients, Targets: t.TargetsFor(sc)}
	needs := t.needs(sc)
	if !slices.Contains(c.Targets, broker.KindEmbedded) && len(c.Targets) > 0 {
		c.Needs = append(c.Needs, "--target "+strings.Join(c.Targets, " or "))
	}
	if slices.Contains(needs, fault.NeedsNamespace) {
		c.Needs = append(c.Needs, "a network namespace (rebound doctor)")
	}
	plan, err := NewPlan(sc, PlanOptions{Tables: t, Target: t.TargetOf(sc)})
	if err != nil {
		return Cost{}, err
	}
	if CheckExec(plan, false) != nil {
		c.Needs = append(c.Needs, "--allow-exec")
	}
	c.AtLeast = plan.Shortest()
	return c, nil
}

// needs are the abilities that the faults of a scenario ask of a target.
func (t Tables) needs(sc *scenarios.Scenario) (needs []string) {
	for _, ph := range sc.Phases {
		for _, f := range ph.Faults {
			if k, err := t.fault(f.Kind); err == nil {
				needs = append(needs, k.AllNeeds(f)...)
			}
		}
	}
	return needs
}

// TargetsFor names the targets that have what the faults of a scenario need.
func (t Tables) TargetsFor(sc *scenarios.Scenario) []string { return t.targetsWith(t.needs(sc)) }

// TargetOf is the target that a scenario is planned for where none is named: the
// embedded broker, or the first that can do its faults.
func (t Tables) TargetOf(sc *scenarios.Scenario) string {
	if all := t.TargetsFor(sc); len(all) > 0 && !slices.Contains(all, broker.KindEmbedded) {
		return all[0]
	}
	return broker.KindEmbedded
}
