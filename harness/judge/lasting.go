package judge

import (
	"cmp"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// explainLasting explains an action of a lasting fault, after those of discrete
// ones, which are sure of what they ended. It holds the client from its issue
// until it is lifted: each end in that time is its doing, also that of a
// connection that began under it, and so is a later one of which nothing shows
// that it lived when the fault was lifted. An action that names its connection
// acts on no other.
func explainLasting(conns []*timeline.Conn, a *timeline.Action, causes map[*timeline.Conn]*timeline.Action) (Outcome, *timeline.Conn) {
	var ended []*timeline.Conn
	for _, c := range conns {
		if endedUnder(c, a) && causes[c] == nil {
			ended = append(ended, c)
		}
	}
	at := liveAt(conns, a.Intended)
	switch {
	case !a.OK && a.Until == 0:
		if at == nil {
			return NoOp, nil
		}
		return Failed, nil // it never took effect
	case len(ended) > 0:
		for _, c := range ended[1:] {
			causes[c] = a
		}
		if ended[0] == at {
			return Hit, at
		}
		return LateHit, ended[0]
	case at == nil:
		return NoOp, nil
	case unscripted(at) && (at.End < a.Issued || causes[at] != nil && (a.Until == 0 || at.End <= a.Until)):
		return Missed, nil
	}
	return RodeOut, nil
}

// endedUnder reports whether a lasting action can have caused the end of c.
func endedUnder(c *timeline.Conn, a *timeline.Action) bool {
	if !unscripted(c) || c.End < a.Issued || a.N != 0 && a.N != c.N {
		return false
	}
	if a.Until == 0 || c.End <= a.Until {
		return true
	}
	// What it held back is released when it is lifted, and read a moment later.
	return c.Connack < a.Until && c.Alive <= a.Until && c.LastIn <= a.Until+lifeSign
}

// struckWithAll reports whether a fault on the broker's process ended a control
// connection: it does not name them, as they are nobody's victims, but the broker
// is theirs too. The rules are those of the actions on the clients.
func struckWithAll(c *timeline.Conn, list []timeline.Extent) bool {
	return slices.ContainsFunc(list, func(e timeline.Extent) bool {
		switch {
		case e.Process == "" || !e.OK && e.Healing == 0:
			return false
		case e.Process == timeline.Frozen:
			return endedUnder(c, &timeline.Action{Issued: e.Issued, Until: e.Healed})
		}
		return c.Connect <= e.Taken && e.Issued <= c.End && c.LastIn <= e.Taken+lifeSign
	})
}

// extents gives each end that no action explains the extent that may have
// caused it: the latest one that was in effect then, or had been in the same
// wave. An outside event, which has no wave, is watched to the end of its phase.
type extents struct {
	list []*timeline.Extent // that may end connections, by issue
	to   []timeline.Instant // how long each is watched
	// ended counts the ends that are charged to each, by id.
	ended map[int]int
}

func newExtents(list []timeline.Extent, horizon map[waveKey]timeline.Instant, phases []timeline.Phase, stop timeline.Instant) extents {
	x := extents{ended: map[int]int{}}
	for i := range list {
		if e := &list[i]; e.Ends && e.Issued != 0 && e.Skipped == "" {
			x.list = append(x.list, e)
		}
	}
	slices.SortFunc(x.list, func(a, b *timeline.Extent) int {
		return cmp.Or(cmp.Compare(a.Issued, b.Issued), cmp.Compare(a.ID, b.ID))
	})
	for _, e := range x.list {
		to := stop
		if h, found := horizon[waveKey{e.Phase, e.Wave}]; found {
			to = h
		} else if i := slices.IndexFunc(phases, func(p timeline.Phase) bool { return p.Name == e.Phase && p.End != 0 }); i >= 0 {
			to = phases[i].End
		}
		x.to = append(x.to, max(to, e.Healed))
	}
	return x
}

// cause is the extent that an end of a fleet's client at an instant is charged
// to; nil = none.
func (x extents) cause(fleet string, at timeline.Instant) *timeline.Extent {
	for i := len(x.list) - 1; i >= 0; i-- {
		if (x.list[i].Fleet == "" || x.list[i].Fleet == fleet) && x.list[i].Issued <= at && at <= x.to[i] {
			return x.list[i]
		}
	}
	return nil
}

// struckOutside reports whether a fault from outside may have ended a control
// connection: it knows no fleets.
func (x extents) struckOutside(c *timeline.Conn) bool {
	e := x.cause(ControlFleet, c.End)
	return e != nil && e.Outside
}
