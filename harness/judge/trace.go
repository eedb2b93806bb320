package judge

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// ControlFleet is the name of the built-in fleet that publishes and probes. It
// is never a victim, and its ends are counted apart.
const ControlFleet = "control"

// Rules are the choices of the plan that tell what an outage is.
type Rules struct {
	Back       map[string]string        // fleet -> connack | subscribed | first-message, after any fall
	Policy     map[string]string        // fleet -> row of the reconnect policy table
	Max        map[string]time.Duration // fleet -> longest sleep of the reconnect policy
	Subscribes map[string]bool          // fleet -> its clients subscribe to something
}

// Client is one client with its connections in the order of its attempts.
type Client struct {
	Fleet  string
	Index  int
	ID     string
	Conns  []*timeline.Conn // of its library
	Rivals []*timeline.Conn // opened under its id by the fault takeover: never an attempt of its own
}

// Storm is what the connections and actions of a run say together.
type Storm struct {
	Clients    []*Client        // of device fleets, by fleet and index
	Acted      []Acted          // each issued action with its outcome, by issue
	Unissued   int              // actions that were planned, recorded and never issued
	Outages    []*Outage        // by start, then fleet and client
	Unscripted []*timeline.Conn // ends of device connections that nothing explains, by end
	Control    []*timeline.Conn // the same of the control fleet
	Charged    map[int]int      // ends of device connections that are charged to extents, by their ids
	Controls   []*Client        // the control fleet, by index
	Stop       timeline.Instant // horizon of all that is open
}

// Events is what a run recorded, in any order.
type Events struct {
	Conns   []timeline.Conn
	Actions []timeline.Action
	Extents []timeline.Extent
	Waves   []timeline.Wave  // horizons of their actions
	Phases  []timeline.Phase // of extents of no wave
	Stop    timeline.Instant // horizon of everything
}

// Trace joins connections and faults into outcomes and outages.
func Trace(ev Events, rules Rules) *Storm {
	s := &Storm{Stop: ev.Stop}
	clients, control := sortConns(ev.Conns)
	s.Clients, s.Controls = clients, control
	horizon := horizons(ev.Waves, ev.Stop)
	faults := newExtents(ev.Extents, horizon, ev.Phases, ev.Stop)
	s.Charged = faults.ended
	for _, cl := range control {
		for _, c := range cl.Conns {
			if unscripted(c) && !struckWithAll(c, ev.Extents) && !faults.struckOutside(c) {
				s.Control = append(s.Control, c)
			}
		}
	}
	byClient := make(map[clientKey][]*timeline.Action)
	for i := range ev.Actions {
		a := &ev.Actions[i]
		if a.Issued == 0 {
			s.Unissued++
			continue
		}
		k := clientKey{a.Fleet, a.Client}
		byClient[k] = append(byClient[k], a)
	}
	for _, cl := range clients {
		k := clientKey{cl.Fleet, cl.Index}
		acted, causes := explain(cl.Conns, cl.Rivals, byClient[k])
		delete(byClient, k)
		s.Acted = append(s.Acted, acted...)
		outages, loose := outagesOf(cl, causes, faults, rules)
		for _, o := range outages {
			o.close(horizon, ev.Stop)
			o.ProberAway = o.proberAway(control, rules)
		}
		s.Outages = append(s.Outages, outages...)
		s.Unscripted = append(s.Unscripted, loose...)
	}
	// Clients that never dialled still had actions: no-ops.
	for _, rest := range byClient {
		acted, _ := explain(nil, nil, rest)
		s.Acted = append(s.Acted, acted...)
	}
	s.sort()
	return s
}

type clientKey struct {
	fleet  string
	client int
}

func (s *Storm) sort() {
	slices.SortFunc(s.Acted, func(a, b Acted) int { return compareActions(a.Action, b.Action) })
	slices.SortStableFunc(s.Outages, func(a, b *Outage) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Client, b.Client))
	})
	slices.SortStableFunc(s.Unscripted, func(a, b *timeline.Conn) int {
		return cmp.Or(cmp.Compare(a.End, b.End), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Client, b.Client), cmp.Compare(a.N, b.N))
	})
}

func compareActions(a, b *timeline.Action) int {
	return cmp.Or(cmp.Compare(a.Issued, b.Issued), cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Client, b.Client),
		cmp.Compare(a.Intended, b.Intended), cmp.Compare(a.Phase, b.Phase), cmp.Compare(a.Wave, b.Wave))
}

// sortConns gives each client its connections by attempt number; of several
// records of one connection the last one stands.
func sortConns(conns []timeline.Conn) (clients, control []*Client) {
	type connKey struct {
		clientKey
		n int
	}
	last := make(map[connKey]*timeline.Conn, len(conns))
	byClient := make(map[clientKey]*Client)
	for i := range conns {
		c := &conns[i]
		last[connKey{clientKey{c.Fleet, c.Client}, c.N}] = c
	}
	for _, c := range last {
		k := clientKey{c.Fleet, c.Client}
		if byClient[k] == nil {
			byClient[k] = &Client{Fleet: c.Fleet, Index: c.Client, ID: c.ClientID}
		}
		if c.Rival {
			byClient[k].Rivals = append(byClient[k].Rivals, c)
			continue
		}
		byClient[k].Conns = append(byClient[k].Conns, c)
	}
	for _, cl := range byClient {
		slices.SortFunc(cl.Rivals, func(a, b *timeline.Conn) int { return cmp.Compare(a.N, b.N) })
		slices.SortFunc(cl.Conns, func(a, b *timeline.Conn) int { return cmp.Compare(a.N, b.N) })
		clients = append(clients, cl)
	}
	slices.SortFunc(clients, func(a, b *Client) int {
		return cmp.Or(cmp.Compare(a.Fleet, b.Fleet), cmp.Compare(a.Index, b.Index))
	})
	devices := clients[:0]
	for _, cl := range clients {
		if cl.Fleet == ControlFleet {
			control = append(control, cl)
			continue
		}
		devices = append(devices, cl)
	}
	return devices, control
}

// accepted reports whether the broker took the connection: CONNACK with return
// code 0 was read [MQTT-3.2.2-4].
func accepted(c *timeline.Conn) bool { return c.Connack != 0 && c.ConnackCode == 0 }

// unscripted reports whether a connection is one whose end something must
// explain: accepted, ended, and not by the harness itself.
func unscripted(c *timeline.Conn) bool { return accepted(c) && c.End != 0 && !c.Scripted }

// live reports whether c was live at t. A connection that the harness itself
// ended counts as live up to and at its end.
func live(c *timeline.Conn, t timeline.Instant) bool {
	return c.Live(t) || (accepted(c) && c.Scripted && c.Connack <= t && t <= c.End)
}

// useful is the instant at which a client on this connection had its
// subscriptions, or, with nothing to subscribe to, its CONNACK; 0 = never.
func (r Rules) useful(c *timeline.Conn) timeline.Instant {
	switch {
	case !accepted(c):
		return 0
	case r.Subscribes[c.Fleet]:
		return c.Restored
	}
	return c.Connack
}

type waveKey struct {
	phase string
	wave  int
}

// fromFirstIntended moves each wave to its first intended instant, which a
// fault may have set later than the start of the wave, and its end with it. Where
// it acts on nobody, that is the instant of the first fault that may end connections.
func fromFirstIntended(waves []timeline.Wave, actions []timeline.Action, list []timeline.Extent) []timeline.Wave {
	first := make(map[waveKey]timeline.Instant, len(waves))
	for _, a := range actions {
		k := waveKey{a.Phase, a.Wave}
		if at, found := first[k]; !found || a.Intended < at {
			first[k] = a.Intended
		}
	}
	acted := maps.Clone(first)
	for _, x := range list {
		k := waveKey{x.Phase, x.Wave}
		if _, has := acted[k]; has || !x.Ends || x.Skipped != "" {
			continue
		}
		if at, found := first[k]; !found || x.Intended < at {
			first[k] = x.Intended
		}
	}
	moved := slices.Clone(waves)
	for i := range moved {
		w := &moved[i]
		if at, found := first[waveKey{w.Phase, w.Wave}]; found && at > w.Start {
			w.Start, w.End = at, w.End+at-w.Start
		}
	}
	return moved
}

// horizons gives the instant up to which each wave's clients are watched: the
// wave's own end, cut at the next wave and at the stop.
func horizons(waves []timeline.Wave, stop timeline.Instant) map[waveKey]timeline.Instant {
	out := make(map[waveKey]timeline.Instant, len(waves))
	for _, w := range waves {
		end := w.End
		if end == 0 || (stop != 0 && stop < end) {
			end = stop
		}
		for _, next := range waves {
			if next.Start > w.Start && next.Start < end && !(w.Overlap && next.Phase == w.Phase) {
				end = next.Start
			}
		}
		out[waveKey{w.Phase, w.Wave}] = end
	}
	return out
}
