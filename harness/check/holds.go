package check

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// holds are the stretches in which a lasting fault held a client, by its id and
// start: what was due at once then, is due once the client is released.
type holds map[string][]Span

func (ev Evidence) holds() holds { return ev.holdsBy(func(*Action) bool { return true }) }

// holdsOfBroker are those in which the broker could not act on the client: not
// where the client itself was silent on one connection.
func (ev Evidence) holdsOfBroker() holds { return ev.holdsBy(func(a *Action) bool { return a.N == 0 }) }

func (ev Evidence) holdsBy(which func(*Action) bool) holds {
	h, known := holds{}, ev.roster()
	for i := range ev.Actions {
		if a := &ev.Actions[i]; a.Lasting && a.Issued != 0 && (a.OK || a.Until != 0) && which(a) {
			h[a.ClientID] = append(h[a.ClientID], Span{From: a.Issued, To: ev.released(a, known)})
		}
	}
	for _, spans := range h {
		slices.SortFunc(spans, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	}
	return h
}

// released is when an action held its client no longer: when it was lifted, or
// when the one connection ended that it is about.
func (ev Evidence) released(a *Action, known roster) timeline.Instant {
	until := cmp.Or(a.Until, ev.Stop)
	if a.N == 0 {
		return until
	}
	if c := known.conn(a.ClientID, a.N); c != nil && c.End != 0 {
		until = min(until, c.End)
	}
	return until
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
