package ledger

import (
	"maps"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// group is what makes a subscriber the account of a shared group. A group
// expects each message once, whichever member gets it (5.0 section 4.8.2; on
// 3.1.1 an extension of many brokers). Its members keep accounts of what they
// read, without expecting anything.
type group struct {
	members map[*subscriber]byte // QoS that each was granted
	ever    map[string]bool      // client ids of all that were members
	left    timeline.Instant     // the last time that a member's session ended or it unsubscribed
}

// holds is what the group's expectation follows from. Any member may get a
// message, so only the lowest QoS that one was granted can be owed.
func (g *group) holds() held {
	if len(g.members) == 0 {
		return held{}
	}
	lowest := byte(2)
	for _, q := range g.members {
		lowest = min(lowest, q)
	}
	return held{filters: 1, granted: lowest}
}

// share enters what a client holds of a shared filter. The caller holds the
// locks of topics and of the client.
func (b *Book) share(sub *subscriber, filter, inner string, granted byte, at timeline.Instant) {
	g := b.clients.open(filter)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.group == nil {
		g.group = &group{members: map[*subscriber]byte{}, ever: map[string]bool{}}
		g.known = map[string]bool{}
	}
	streams := b.topics.subscribe(inner, g, g.known[inner])
	g.known[inner] = true
	_, was := g.group.members[sub]
	switch {
	case granted < refused:
		g.group.members[sub], g.group.ever[sub.client] = granted, true
	case was:
		delete(g.group.members, sub)
		g.group.left = at
	}
	for _, st := range streams {
		g.expect(st, at)
	}
	if sub.groups == nil {
		sub.groups = map[string]*subscriber{}
	}
	_, joined := sub.groups[filter]
	sub.groups[filter] = g
	held := sub.filters[filter]
	for _, d := range sub.current {
		d.st.mu.Lock()
		for _, md := range d.shared {
			if md.group.sub == g {
				md.grant(held)
			}
		}
		d.st.mu.Unlock()
	}
	if joined {
		return
	}
	for _, st := range streams {
		if d := sub.current[st.id]; d != nil && d.epoch == max(sub.epoch, 1) {
			sub.joinLocked(d, g)
		}
	}
}

// join gives the account of a client the one of its group beside it. The
// caller holds the client's lock, and d is not yet shared.
func (sub *subscriber) join(d *delivery, g *subscriber) {
	g.mu.Lock()
	defer g.mu.Unlock()
	sub.joinLocked(d, g)
}

// joinLocked is join with the group's lock held.
func (sub *subscriber) joinLocked(d *delivery, g *subscriber) {
	gd := g.account(d.st)
	d.st.mu.Lock()
	defer d.st.mu.Unlock()
	md := newDelivery(d.st, sub)
	md.group, md.epoch, md.began, md.first, md.filters = gd, d.epoch, d.began, d.first, 1
	md.grant(sub.filters[g.client])
	d.shared = append(d.shared, md)
	sub.all = append(sub.all, md)
}

// grant brings the account of a member into line with what it holds. The
// caller holds the stream's lock.
func (d *delivery) grant(g grant) {
	d.legal = legal(g, d.st.qos)
	if q := min(g.granted, g.asked); q < refused {
		d.granted = q
	}
}

// leave takes a member out whose session has ended. The caller holds the
// member's lock.
func (g *subscriber) leave(sub *subscriber, at timeline.Instant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, member := g.group.members[sub]; !member {
		return
	}
	delete(g.group.members, sub)
	g.group.left = at
	for _, d := range g.current {
		g.expect(d.st, at)
	}
}

// pick gives the account that a copy read by the client belongs to: its own
// subscription's as long as that lacks it, then that of a group that lacks it.
func (d *delivery) pick(seq uint64) *delivery {
	own := d.delivered.Contains(seq)
	if d.legal != 0 && !own {
		return d
	}
	for _, md := range d.shared {
		if !md.group.newest().seen(seq) {
			return md
		}
	}
	if own {
		return d
	}
	return d.shared[0]
}

// taken books a message that a member read on the account of its group.
func (d *delivery) taken(seq uint64) {
	d.group = d.group.newest()
	g := d.group
	seen, owner := g.seen(seq), g.owner(seq)
	g.delivered.Add(seq)
	if seen {
		d.st.live.Duplicated++
		return
	}
	d.st.live.Delivered++
	if m := d.st.open.find(seq); owner != nil && m != nil {
		owner.passed(seq)
		m.owed--
		d.st.settle(m)
	}
}

// names gives all that ever were members.
func (sub *subscriber) names() ([]string, timeline.Instant) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.group == nil {
		return nil, 0
	}
	return slices.Sorted(maps.Keys(sub.group.ever)), sub.group.left
}
