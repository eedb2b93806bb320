package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/reports"
)

// unscriptedEnds demands that nothing but a fault ends an accepted connection.
// Ends that the harness's own starvation explains are charged to it: alone
// they make the verdict unknown and not the broker wrong.
func unscriptedEnds(ev Evidence) reports.Check {
	connected := 0
	for _, n := range ev.Connected {
		connected += n
	}
	ends := slices.Concat(ev.Unscripted, ev.Control)
	if connected == 0 && len(ends) == 0 {
		return unknown("no client was ever connected")
	}
	kinds := map[string]int{}
	var examples []string
	starved := 0
	for _, e := range ends {
		if e.Starved {
			starved++
			continue
		}
		kinds[string(e.Kind)]++
		if len(examples) < maxExamples {
			examples = append(examples, fmt.Sprintf("%s connection %d at %s in phase %s: %s", e.ClientID, e.N, clock(e.At), e.Phase, e.Kind))
		}
	}
	blamed := len(ends) - starved
	switch {
	case blamed > 0:
		c := invalid(int64(blamed), examples, "ends that no fault explains: %d (%s)", blamed, kindList(kinds))
		if starved > 0 {
			c.Detail += fmt.Sprintf("; %d more are charged to the starved harness", starved)
		}
		return c
	case starved > 0:
		c := unknown("ends that a starved harness explains (it was unfit, and the clients were silent beyond their keep alive): %d", starved)
		c.Count = int64(starved)
		return c
	}
	return valid("each end has its fault")
}

func kindList(kinds map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, kinds[k]))
	}
	return strings.Join(parts, ", ")
}
