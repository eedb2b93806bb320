package ledger

import (
	"maps"
	"slices"
)

// shared closes one stream at one shared group: the group is judged, not the
// member. Its own accounts expect, its members' tell what each of them did. It
// gives what any member read.
func (c *closing) shared(s *closingStream, name string, accounts []*DeliveryAccount) Set {
	var own, all []*DeliveryAccount
	members := map[string][]*DeliveryAccount{}
	var read, expected Set
	for _, d := range accounts {
		if d.Client == name {
			own = append(own, d)
			expected = expected.Union(s.Attempted.Within(d.From, d.To).Minus(d.Except))
			continue
		}
		members[d.Client] = append(members[d.Client], d)
		all = append(all, d)
		read = read.Union(d.Delivered)
	}
	for i, d := range own {
		if d.From == 0 {
			continue
		}
		e := s.Attempted.Within(d.From, d.To).Minus(d.Except)
		if s.qos(d) == 0 {
			c.atQoS0(s, d, e, read)
		} else {
			c.ofGroup(s, epochOf(own, i), d, e.Intersect(s.acked), read)
		}
	}
	c.copies(s, name, all)
	for _, d := range all {
		c.wrong(s, d)
	}
	closed := slices.ContainsFunc(own, func(d *DeliveryAccount) bool { return d.Sentinel != 0 })
	for _, client := range slices.Sorted(maps.Keys(members)) {
		// What another member got was assigned again.
		alone := expected
		for _, d := range all {
			if d.Client != client {
				alone = alone.Minus(d.Delivered)
			}
		}
		c.exchanges(s, members[client], alone, closed)
	}
	return read
}

// ofGroup closes one account of a group where QoS 1 or 2 was owed. What was
// sent before a member's session ended may have gone with it: at QoS 1 it
// should be assigned to another, and at QoS 2 it must not.
func (c *closing) ofGroup(s *closingStream, ep epoch, d *DeliveryAccount, owed, read Set) {
	missing := owed.Minus(read)
	l := losses{s: s, d: d}
	var left Set
	for seq := range missing.Intersect(s.timed).All() {
		if s.open[seq].Sent <= d.Left {
			left.Add(seq)
		}
	}
	rest := missing.Minus(left)
	l.legal = left
	away := false
	for _, m := range d.Members {
		away = away || c.Away[m]
	}
	switch {
	case away:
		l.open, l.why = rest, "a member away at the end"
	case !c.Drained:
		l.open, l.why = rest, "no drain"
	case ep.sentinel:
		l.lost = rest
	default:
		l.open, l.why = rest, "sentinel not read"
	}
	c.owed(l, owed, read)
}
