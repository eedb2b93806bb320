package scenarios

import (
	"slices"
	"strings"
)

// checkTraffic holds one item of the timetable against the fleets, and against
// the faults that it waits for.
func (l *loader) checkTraffic(f *Fields, t Traffic, sc *Scenario) {
	if t.Payload < MinPayload {
		f.Fail("payload", "payload is %dB, less than the measuring header of %dB", t.Payload, MinPayload)
	}
	checkName(f, t.Topic, clientField, fromField)
	known := publisher(f, t, sc)
	if known && t.From == Control {
		checkControl(f, t)
	}
	if f.ok("while") && f.ok("topic") && !strings.Contains(t.Topic, clientField) {
		f.Fail("while", "while: away needs %s in the topic: without it there is no single receiver that is away", clientField)
	}
	if !f.ok("to") {
		return
	}
	to, found := fleetRef(f, "to", sc)
	if !found || !known {
		return
	}
	l.checkOccasion(f, t, sc)
	if !f.ok("topic") {
		return
	}
	if !takes(to, t) {
		f.Fail("topic", "topic %s: no subscription of fleet %s takes it, so that nothing would be measured", quote(t.Topic), quote(to.Name))
		return
	}
	checkShared(f, t, sc)
}

// publisher checks that from names who publishes.
func publisher(f *Fields, t Traffic, sc *Scenario) bool {
	names := []string{Control}
	for _, fl := range sc.Fleets {
		names = append(names, fl.Name)
	}
	switch {
	case slices.Contains(names, t.From):
		return !f.Has("from") || f.ok("from")
	case f.ok("from"):
		f.hint("from", suggest(t.From, names), "from: no fleet is named %s", quote(t.From))
	}
	return false
}

// checkControl refuses what the built-in fleet can not do: its few connections
// publish everybody's streams and are never victims.
func checkControl(f *Fields, t Traffic) {
	if !f.ok("topic") {
		return
	}
	one := !strings.Contains(t.Topic, clientField)
	if at := strings.Index(t.Topic, fromField); at >= 0 {
		inside(f, "topic", t.Topic, at).Fail("", "topic: %s is the id of a publishing client: from must name a fleet", fromField)
		f.bad[f.vals["topic"]] = true
	}
	switch {
	case f.ok("each") && one:
		f.refuse("topic", "each sends to each client on a topic of its own: the topic needs %s; total sends to all", clientField)
	case f.ok("at") && one:
		f.Fail("at", "at: fault from %s waits for a fault on the receiver: the topic needs %s", Control, clientField)
	}
}

// checkOccasion refuses traffic that would never be due.
func (l *loader) checkOccasion(f *Fields, t Traffic, sc *Scenario) {
	victim := t.From
	if victim == Control {
		victim = t.To
	}
	if f.ok("at") && !l.actsOn(victim, sc) {
		f.Fail("at", "at: no fault of this scenario acts on fleet %s, so that nothing would be sent", quote(victim))
	}
	if f.ok("while") && !l.actsOn(t.To, sc) {
		f.Fail("while", "while: no fault of this scenario acts on fleet %s, so that none of its clients would be away", quote(t.To))
	}
}

// actsOn reports whether a fault may act on a fleet. A kind without a parameter
// fleet is one of the whole broker.
func (l *loader) actsOn(fleet string, sc *Scenario) bool {
	if l.unread {
		return true // it is a mistake already; this would be a second one
	}
	kinds := at(l.schema.raw, "$defs", "fault", "properties")
	for _, p := range sc.Phases {
		for _, spec := range p.Faults {
			_, names := at(kinds, spec.Kind, "properties")["fleet"]
			if !names || spec.Fields().Text("fleet", sc.Fleets[0].Name) == fleet {
				return true
			}
		}
	}
	return false
}

// takes reports whether a subscription of the fleet matches the topic.
func takes(fl Fleet, t Traffic) bool {
	return slices.ContainsFunc(t.seenBy(fl.Name), func(topic string) bool { return len(matching(fl, topic)) > 0 })
}

// matching gives the subscriptions of a fleet that match a topic.
func matching(fl Fleet, topic string) []Subscription {
	var out []Subscription
	for _, s := range fl.Subscribe {
		if _, filter, _ := sharedParts(s.Topic); Matches(filter, topic) {
			out = append(out, s)
		}
	}
	return out
}

// checkShared refuses a shared subscription beside another one of the same
// clients for the same topic. Each of the two owes a copy, the group's to any
// of its members: which copy is whose, nobody could say.
func checkShared(f *Fields, t Traffic, sc *Scenario) {
	for _, fl := range sc.Fleets {
		for _, topic := range t.seenBy(fl.Name) {
			subs := matching(fl, topic)
			shared := slices.IndexFunc(subs, func(s Subscription) bool { return Shared(s.Topic) })
			if shared < 0 || len(subs) < 2 {
				continue
			}
			other := subs[(shared+1)%len(subs)]
			f.Fail("topic", "topic %s: fleet %s takes it by %s and by %s: copies for a shared subscription and for another one can not be told apart",
				quote(t.Topic), quote(fl.Name), quote(subs[shared].Topic), quote(other.Topic))
			return
		}
	}
}

// seenBy gives the topics of an item as one client of a fleet sees them, its own
// id written {client}: it may be the receiver or not, the publisher or not. The
// ids of others stand for themselves as words that no filter names.
func (t Traffic) seenBy(fleet string) []string {
	topics := []string{strings.ReplaceAll(t.Topic, clientField, "{receiver}")}
	if fleet == t.To && strings.Contains(t.Topic, clientField) {
		topics = append(topics, t.Topic)
	}
	if fleet == t.From && strings.Contains(t.Topic, fromField) {
		for _, topic := range topics {
			topics = append(topics, strings.ReplaceAll(topic, fromField, clientField))
		}
	}
	return topics
}
