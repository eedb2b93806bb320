package protocol

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// view is what a session knows when entry i of a legal history is next.
type view struct {
	trace []entry
	i     int
	s     *Session
}

func (v *view) next() entry { return v.trace[v.i] }

func (v *view) exchange(out bool) *exchange {
	t := &v.s.theirs
	if out {
		t = &v.s.ours
	}
	return t.find(v.next().id)
}

// current reports whether the next entry is a packet of the latest connection,
// after its CONNACK.
func (v *view) current() bool {
	e := v.next()
	c := v.s.find(int32(e.conn))
	return e.conn == int(v.s.last) && c != nil && c.accepted && (e.what == "out" || e.what == "in")
}

// a mutation breaks a legal history in one place: it says what comes instead
// of the next entry, nil where it does not apply.
type mutation struct {
	name   string
	rule   string
	charge timeline.Charge
	warn   bool
	make   func(*view) []entry
}

func out(e entry) bool { return e.what == "out" }

var mutations = []mutation{
	{name: "DUP dropped by the client", rule: "dup-flag", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		if e := v.next(); v.current() && out(e) && e.dup && !e.lapsed && !v.exchange(true).maybe {
			e.dup = false
			return []entry{e}
		}
		return nil
	}},
	{name: "DUP dropped by the broker", rule: "dup-flag", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		e := v.next()
		if x := v.exchange(false); v.current() && !out(e) && e.dup && x != nil && x.stage < over && x.seq == uint64(e.m) {
			e.dup = false
			return []entry{e}
		}
		return nil
	}},
	{name: "DUP on a first transmission", rule: "dup-flag", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		if e := v.next(); v.current() && out(e) && e.t == mqtt.PUBLISH && e.qos > 0 && e.m > int(v.s.newest) {
			e.dup = true
			return []entry{e}
		}
		return nil
	}},
	{name: "resend under another id", rule: "packet-id", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		if e := v.next(); v.current() && out(e) && e.dup && !e.lapsed && !v.exchange(true).maybe {
			e.id += 100
			return []entry{e}
		}
		return nil
	}},
	{name: "the broker resends under another id", rule: "packet-id", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		e := v.next()
		if x := v.exchange(false); v.current() && !out(e) && e.dup && x != nil && x.stage == published && x.pub < int32(e.conn) {
			e.id += 100
			return []entry{e}
		}
		return nil
	}},
	{name: "new message under an id in use", rule: "packet-id", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		if v.current() {
			return v.inUse(&v.s.ours, "out")
		}
		return nil
	}},
	{name: "the broker's new message under an id in use", rule: "packet-id", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		if v.current() {
			return v.inUse(&v.s.theirs, "in")
		}
		return nil
	}},
	{name: "PUBLISH after PUBREL", rule: "publish-after-pubrel", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		if v.current() {
			return v.afterPubrel(&v.s.ours, "out")
		}
		return nil
	}},
	{name: "the broker's PUBLISH after PUBREL", rule: "publish-after-pubrel", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		if v.current() {
			return v.afterPubrel(&v.s.theirs, "in")
		}
		return nil
	}},
	{name: "two resends swapped", rule: "resend-order", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		return v.swap("out", mqtt.PUBLISH, &v.s.ours)
	}},
	{name: "two PUBRELs swapped", rule: "resend-order", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		return v.swap("out", mqtt.PUBREL, &v.s.ours)
	}},
	{name: "two of the broker's resends swapped", rule: "resend-order", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		return v.swap("in", mqtt.PUBLISH, &v.s.theirs)
	}},
	{name: "a resend in a clean session", rule: "resend-after-clean", charge: timeline.ChargePublisher, make: func(v *view) []entry {
		e := v.next()
		x := v.exchange(true)
		if !v.current() || !out(e) || e.t != mqtt.PUBLISH || !e.dup || x.maybe || e.lapsed || x.identity != identify(e.packet()) || x.stage >= released {
			return nil
		}
		n := e.conn + 1
		e.conn = n
		return []entry{
			{conn: n, what: "out", pkt: pkt{t: mqtt.CONNECT, clean: true}},
			{conn: n, what: "in", pkt: pkt{t: mqtt.CONNACK}},
			e,
		}
	}},
	{name: "RETAIN without SUBSCRIBE", rule: "retained-on-resume", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		if e := v.next(); v.current() && !out(e) && e.t == mqtt.PUBLISH && !e.dup {
			e.retain = true
			return []entry{e}
		}
		return nil
	}},
	{name: "PUBACK of nothing read", rule: "unknown-ack", charge: timeline.ChargeBroker, make: insert("in", mqtt.PUBACK)},
	{name: "PUBREC of nothing read", rule: "unknown-ack", charge: timeline.ChargeBroker, make: insert("in", mqtt.PUBREC)},
	{name: "PUBCOMP of nothing read", rule: "unknown-ack", charge: timeline.ChargeBroker, make: insert("in", mqtt.PUBCOMP)},
	{name: "PUBACK of nothing written", rule: "unknown-ack", charge: timeline.ChargeSubscriber, make: insert("out", mqtt.PUBACK)},
	{name: "PUBREC of nothing written", rule: "unknown-ack", charge: timeline.ChargeSubscriber, make: insert("out", mqtt.PUBREC)},
	{name: "PUBCOMP of nothing written", rule: "unknown-ack", charge: timeline.ChargeSubscriber, make: insert("out", mqtt.PUBCOMP)},
	{name: "second CONNACK", rule: "first-packet", charge: timeline.ChargeBroker, make: insert("in", mqtt.CONNACK)},
	{name: "second CONNECT", rule: "server-packet", charge: timeline.ChargeClient, make: insert("out", mqtt.CONNECT)},
	{name: "DISCONNECT of the broker", rule: "server-packet", charge: timeline.ChargeBroker, make: insert("in", mqtt.DISCONNECT)},
	{name: "SUBACK of nothing", rule: "suback", charge: timeline.ChargeBroker, make: insert("in", mqtt.SUBACK)},
	{name: "CONNACK lost", rule: "first-packet", charge: timeline.ChargeBroker, make: func(v *view) []entry {
		if e := v.next(); e.t == mqtt.CONNACK {
			e.t = mqtt.PINGRESP
			return []entry{e}
		}
		return nil
	}},
	{name: "CONNECT late", rule: "server-packet", charge: timeline.ChargeClient, make: func(v *view) []entry {
		if e := v.next(); e.t == mqtt.CONNECT {
			return []entry{{conn: e.conn, what: "out", pkt: pkt{t: mqtt.PINGREQ}}}
		}
		return nil
	}},
}

// insert puts a packet with an unused id before the next entry.
func insert(what string, typ mqtt.Type) func(*view) []entry {
	return func(v *view) []entry {
		if e := v.next(); v.current() && (v.s.owed == owed{}) && (v.s.find(int32(e.conn)).owed == owed{}) {
			return []entry{{conn: e.conn, what: what, pkt: pkt{t: typ, id: 999}}}
		}
		return nil
	}
}

func (v *view) inUse(t *table, what string) []entry {
	for _, x := range t.slots {
		if x.stage != free && x.stage != over && !x.maybe && x.epoch == v.s.epoch && x.conn <= int32(v.next().conn) {
			return []entry{{conn: v.next().conn, what: what, pkt: pkt{t: mqtt.PUBLISH, id: x.id, m: 1e6, qos: x.qos}}}
		}
	}
	return nil
}

func (v *view) afterPubrel(t *table, what string) []entry {
	for _, x := range t.slots {
		if x.qos == 2 && x.pubs > 0 && x.stage >= released && x.epoch == v.s.epoch && x.conn <= int32(v.next().conn) {
			return []entry{{conn: v.next().conn, what: what, pkt: pkt{t: mqtt.PUBLISH, id: x.id, m: int(x.seq), qos: 2, dup: true}}}
		}
	}
	return nil
}

// swap exchanges the next entry and the next one of its kind, both resends of
// which the session has the order.
func (v *view) swap(what string, typ mqtt.Type, t *table) []entry {
	a := v.next()
	resent := func(e entry) bool {
		x := t.find(e.id)
		if e.what != what || e.t != typ || !e.resend || e.lapsed || x == nil || x.maybe || x.epoch != v.s.epoch {
			return false
		}
		if typ == mqtt.PUBREL {
			return x.turn > 0 && x.rel < int32(e.conn)
		}
		return !x.loose && x.seq == uint64(e.m) && x.pub < int32(e.conn) && (x.qos == 1 || x.stage < released)
	}
	if !v.current() || !resent(a) {
		return nil
	}
	for _, b := range v.trace[v.i+1:] {
		if b.what == what && b.t == typ {
			if b.conn != a.conn || b.id == a.id || !resent(b) {
				return nil
			}
			return []entry{b, a}
		}
	}
	return nil
}

// One fault in a legal history is reported under exactly its rule, and not
// before it happens.
func TestOneFaultBreaksExactlyItsRule(t *testing.T) {
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			applied, tried := 0, 0
			rapid.Check(t, func(t *rapid.T) {
				sim := newSim(t)
				sim.busy(rapid.IntRange(5, 10).Draw(t, "connections"))
				for range rapid.IntRange(0, 100).Draw(t, "steps") {
					sim.step()
				}
				if m.check(t, sim.trace, rapid.IntRange(0, len(sim.trace)-1).Draw(t, "place")) {
					applied++
				}
				tried++
			})
			if t.Logf("applied %d times of %d", applied, tried); applied*4 < tried {
				t.Error("that is not often enough to mean something")
			}
		})
	}
}

// check replays the trace and breaks it at the first chance from place on, or
// else at the last one before.
func (m mutation) check(t *rapid.T, trace []entry, place int) bool {
	try := func(from, to int) bool {
		var s Session
		at := timeline.Instant(1000)
		for i := range to {
			v := view{trace, i, &s}
			if broken := m.make(&v); broken != nil && i >= from {
				m.broken(t, &s, at, broken, trace[:i])
				return true
			}
			at++
			trace[i].feed(&s, at, func(b Breach) { t.Fatalf("%v breaks %+v", trace[i], b) })
		}
		return false
	}
	return try(place, len(trace)) || try(0, place)
}

func (m mutation) broken(t *rapid.T, s *Session, at timeline.Instant, broken, before []entry) {
	var got []Breach
	for i, e := range broken {
		if len(got) > 0 {
			t.Fatalf("%+v before %v", got, broken[i:])
		}
		at++
		e.feed(s, at, func(b Breach) { got = append(got, b) })
	}
	if len(got) != 1 || got[0].Rule != m.rule || got[0].Charge != m.charge || got[0].Warn != m.warn {
		t.Fatalf("%v breaks %+v, not %s\n%v", broken, got, m.rule, slices.Collect(lines(before)))
	}
}

func lines(es []entry) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, e := range es[max(0, len(es)-60):] {
			if !yield(e.String() + "\n") {
				return
			}
		}
	}
}
