package check

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// patience is how long the checks wait for what is due at once: an old
// connection to close, a Will, a message that was acknowledged. The standard
// sets no bound; this one is ours.
const patience = timeline.Instant(5 * time.Second)

// roster finds device clients by their ids: there can be as many of them as of
// what is looked up.
type roster map[string]*Client

func (ev Evidence) roster() roster {
	r := make(roster, len(ev.Clients))
	for i := range ev.Clients {
		r[ev.Clients[i].ID] = &ev.Clients[i]
	}
	return r
}

// conn finds connection number n that the library of a client opened; nil if
// there is none.
func (r roster) conn(id string, n int) *timeline.Conn {
	if cl := r[id]; cl != nil {
		for _, c := range cl.Conns {
			if c.N == n {
				return c
			}
		}
	}
	return nil
}

// all gives the client's connections with those of its rivals, in the order in
// which their CONNECT was written.
func (cl *Client) all() []*timeline.Conn {
	list := slices.Concat(cl.Conns, cl.Rivals)
	slices.SortStableFunc(list, func(a, b *timeline.Conn) int {
		return cmp.Or(cmp.Compare(a.Connect, b.Connect), cmp.Compare(a.Dial, b.Dial))
	})
	return list
}

// accepted reports whether CONNACK with return code 0 was read.
func accepted(c *timeline.Conn) bool { return c.Connack != 0 && c.ConnackCode == 0 }

// connacks counts the CONNACKs that were read.
func (ev Evidence) connacks() (n int) {
	for i := range ev.Clients {
		for _, c := range ev.Clients[i].all() {
			if c.Connack != 0 {
				n++
			}
		}
	}
	return n
}

// until is the last instant to which a connection was watched: its end, or the
// stop of the run.
func (ev Evidence) until(c *timeline.Conn) timeline.Instant {
	if c.End != 0 && (ev.Stop == 0 || c.End < ev.Stop) {
		return c.End
	}
	return ev.Stop
}

// starved reports whether the harness was unfit at some time between the two
// instants: what it saw late may not have been late.
func (ev Evidence) starved(from, to timeline.Instant) bool {
	return slices.ContainsFunc(ev.Unfit, func(s Span) bool { return s.From <= to && from <= s.To })
}

// covers reports whether one of the spans holds both instants.
func covers(spans []Span, from, to timeline.Instant) bool {
	return slices.ContainsFunc(spans, func(s Span) bool { return s.From <= from && to <= s.To })
}

// actionsByClient sorts the issued actions.
func (ev Evidence) actionsByClient() map[string][]Action {
	by := map[string][]Action{}
	for _, a := range ev.Actions {
		if a.Issued != 0 {
			by[a.ClientID] = append(by[a.ClientID], a)
		}
	}
	return by
}

// lacks reports whether a file of the evidence is missing, cut or unreadable.
func (ev Evidence) lacks(file string) bool {
	return slices.ContainsFunc(ev.Missing, func(s string) bool { return strings.HasPrefix(s, file+" ") })
}
