package check

import (
	"fmt"
	"slices"
	"strings"
)

// balance demands that the accounts add up: what does not cannot carry a
// verdict on loss, so it is unknown and says the difference.
func balance(ev Evidence) Result {
	if len(ev.Plan.Traffic) == 0 {
		return notApplicable("the plan has no traffic")
	}
	if !ev.Accounts {
		return unknown("there are no accounts of messages")
	}
	off := slices.Clone(ev.Problems)
	for _, m := range ev.Messages {
		if m.Balance != "" {
			off = append(off, fmt.Sprintf("QoS %d: %s", m.QoS, m.Balance))
		}
	}
	if len(off) > 0 {
		c := unknown("%s", strings.Join(off, "; "))
		c.Count = int64(len(off))
		return c
	}
	return valid("the accounts add up")
}
