package check

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// holds are the stretches in which a lasting fault held a client, by its id and
// start: what was due at once then, is due once the client is released.
type holds map[string][]Span

func (ev Evidence) holds() holds {
	h := holds{}
	for i := range ev.Actions {
		if a := &ev.Actions[i]; a.Lasting && a.Issued != 0 && (a.OK || a.Until != 0) {
			h[a.ClientID] = append(h[a.ClientID], Span{From: a.Issued, To: cmp.Or(a.Until, ev.Stop)})
		}
	}
	for _, spans := range h {
		slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	}
	return h
}

// within is how much of a stretch a client was held.
func (h holds) within(id string, from, to timeline.Instant) (sum timeline.Instant) {
	for _, s := range h[id] {
		sum += max(0, min(to, s.To)-max(from, s.From))
		from = max(from, s.To) // where they overlap
	}
	return sum
}

// due moves the instant from which a bound counts for a client to the end of
// what holds it: nobody can meet the bound while the fault lasts.
func (h holds) due(id string, from timeline.Instant) timeline.Instant {
	for _, s := range h[id] {
		if s.From <= from+patience {
			from = max(from, s.To)
		}
	}
	return from
}
