package scenarios

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Template variables.
var (
	variable     = regexp.MustCompile(`\{[^{}]*\}?|\}`)
	clientIDVars = regexp.MustCompile(`^\{(run|fleet|index|index:0[1-9])\}$`)
)

// checkTemplate reports the first piece in braces that is no variable, at its
// own column where the text is written plainly.
func checkTemplate(f *Fields, key, text string, known func(word string) bool, names ...string) {
	for _, span := range variable.FindAllStringIndex(text, -1) {
		word := text[span[0]:span[1]]
		if known(word) {
			continue
		}
		inside(f, key, text, span[0]).hint("", suggest(word, names), "%s: unknown variable %s, known: %s", key, quote(word), strings.Join(names, ", "))
		return
	}
}

// inside is the place of a part of a text, at its own column where the text is
// written plainly; else that of the whole text.
func inside(f *Fields, key, text string, offset int) *Fields {
	n := *f.vals[key]
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0: // its text begins on another line
	case n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) == 0:
		n.Column += len([]rune(text[:offset]))
	case !strings.ContainsAny(text, `\"'`):
		n.Column += 1 + len([]rune(text[:offset]))
	}
	return newFields(f.file, &n, f.bad, f.errs)
}

func checkTopicTemplate(f *Fields, topic string, vars ...string) {
	checkTemplate(f, "topic", topic, func(word string) bool { return slices.Contains(vars, word) }, vars...)
}

// checkName checks the topic of a message (MQTT 3.1.1 section 4.7).
func checkName(f *Fields, topic string, vars ...string) {
	if !f.ok("topic") {
		return
	}
	checkTopicTemplate(f, topic, vars...)
	switch {
	case strings.ContainsAny(topic, "+#"): // [MQTT-3.3.2-2]
		f.refuse("topic", "topic %s: no message can be published to a wildcard", quote(topic))
	case strings.HasPrefix(topic, "$"): // the broker should keep clients from using them [MQTT-4.7.2-1]
		f.refuse("topic", "topic %s: what begins with $ is the broker's own", quote(topic))
	}
}

// checkFilter checks a topic filter (MQTT 3.1.1 section 4.7) and that it is no
// second one of the same name, which would replace the first [MQTT-3.8.4-3].
func checkFilter(f *Fields, filter string, others []Subscription) {
	if !f.ok("topic") {
		return
	}
	checkTopicTemplate(f, filter, clientField)
	group, plain, whole := sharedParts(filter)
	// [5.0 MQTT-4.8.2-1], [5.0 MQTT-4.8.2-2]
	if Shared(filter) && (!whole || group == "" || plain == "" || strings.ContainsAny(group, "+#")) {
		f.refuse("topic", "topic %s: a shared subscription is $share/GROUP/FILTER, the group without + and #", quote(filter))
		return
	}
	levels := strings.Split(plain, "/")
	for i, level := range levels {
		if strings.ContainsAny(level, "+#") && (level != "+" && level != "#" || level == "#" && i != len(levels)-1) {
			// [MQTT-4.7.1-2], [MQTT-4.7.1-3]
			f.refuse("topic", "topic %s: + stands for a whole level, # for the last ones", quote(filter))
			return
		}
	}
	if slices.ContainsFunc(others, func(s Subscription) bool { return s.Topic == filter }) {
		f.Fail("topic", "topic %s is subscribed twice: the second would replace the first", quote(filter))
	}
}

// checkReconnect refuses the sleeps that a policy does not have.
func checkReconnect(f *Fields, r Reconnect) {
	if f.Has("policy") && !f.ok("policy") {
		return // nobody knows which sleeps it would have
	}
	switch {
	case f.ok("max") && !sleepsUpToMax(r.Policy):
		f.Fail("max", "max has no meaning with policy %s, whose sleep does not grow", r.Policy)
	case f.ok("max") && r.Max <= 0:
		f.Fail("max", "max is 0, want a longest sleep above 0s")
	}
	switch {
	case f.ok("base") && r.Policy == PolicyPaho:
		f.Fail("base", "base has no meaning with policy %s, which begins at 0s and then 1s", r.Policy)
	case f.ok("base") && !sleepsFromBase(r.Policy):
		f.Fail("base", "base has no meaning with policy %s, whose sleep does not grow", r.Policy)
	case f.ok("base") && r.Base <= 0:
		f.Fail("base", "base is 0, want a shortest sleep above 0s; policy %s has none", PolicyImmediate)
	case f.ok("base") && r.Base > r.Max:
		f.Fail("base", "base is %s, and max, the longest sleep, is %s", r.Base, r.Max)
	}
	switch {
	case f.ok("delay") && r.Policy != PolicyFixed:
		f.Fail("delay", "delay has no meaning with policy %s: only %s sleeps for it", r.Policy, PolicyFixed)
	case f.ok("delay") && r.Delay <= 0:
		f.Fail("delay", "delay is 0, want a sleep above 0s; policy %s has none", PolicyImmediate)
	case r.Policy == PolicyFixed && !f.Has("delay"):
		f.Fail("policy", "policy %s needs delay, the sleep before each dial", PolicyFixed)
	}
}

func checkSession(f *Fields, s Session) {
	switch {
	case s.KeepAlive%time.Second != 0:
		f.Fail("keep_alive", "keep_alive is %s: MQTT knows whole seconds only", s.KeepAlive)
	case s.KeepAlive > math.MaxUint16*time.Second:
		f.Fail("keep_alive", "keep_alive is %s, the limit of MQTT is %s", s.KeepAlive, math.MaxUint16*time.Second)
	}
}

// checkFleets holds the fleets against each other.
func (l *loader) checkFleets(f *Fields, fleets []*Fields, sc *Scenario) {
	sum, complete := 0.0, true
	for i, ff := range fleets {
		fl := sc.Fleets[i]
		if ff.ok("name") && fl.Name == Control {
			ff.Fail("name", "the fleet name %s is taken: it is the built-in fleet", Control)
		}
		for j := range i {
			if ff.ok("name") && sc.Fleets[j].Name == fl.Name {
				ff.Fail("name", "two fleets are named %s", quote(fl.Name))
				break
			}
		}
		if len(fleets) > 1 && !ff.Has("share") {
			ff.Fail("share", "fleet %s needs share: there are several fleets", quote(fl.Name))
		}
		if ff.ok("share") && fl.Share == 0 {
			ff.Fail("share", "share is 0%%: the fleet would have no client")
		}
		complete = complete && (ff.ok("share") || len(fleets) == 1)
		sum += fl.Share
		l.checkClientID(ff, i, sc)
	}
	if complete && len(fleets) > 0 && math.Abs(sum-1) > 1e-9 {
		f.Fail("fleets", "the shares of the fleets add up to %s, want 100%%", FormatShare(sum))
	}
}

// checkClientID makes sure that no two clients have the same id: the broker
// would have them kick each other out [MQTT-3.1.4-2].
func (l *loader) checkClientID(f *Fields, i int, sc *Scenario) {
	fl := sc.Fleets[i]
	if !f.ok("client_id") {
		return
	}
	checkTemplate(f, "client_id", fl.ClientID, clientIDVars.MatchString, "{run}", "{fleet}", "{index}", "{index:06}")
	if n := math.Round(fl.Share * float64(sc.Clients)); n > 1 && !strings.Contains(fl.ClientID, "{index") {
		f.Fail("client_id", "client_id has no {index}, and the fleet has %.0f clients: each needs its own id", n)
		return
	}
	for j := range i {
		if sc.Fleets[j].ClientID == fl.ClientID && !strings.Contains(fl.ClientID, "{fleet}") {
			f.Fail("client_id", "client_id is that of fleet %s too: add {fleet}", quote(sc.Fleets[j].Name))
			return
		}
	}
}

func (l *loader) checkPhases(phases []*Fields, sc *Scenario) {
	for i, pf := range phases {
		p := sc.Phases[i]
		for j := range i {
			if pf.ok("name") && sc.Phases[j].Name == p.Name {
				pf.Fail("name", "two phases are named %s", quote(p.Name))
				break
			}
		}
		if pf.ok("for") && p.For <= 0 {
			pf.Fail("for", "for is 0, want a time above 0s")
		}
		if pf.ok("timeout") && p.Timeout <= 0 {
			pf.Fail("timeout", "timeout is 0, want a time above 0s")
		}
		faults := pf.Has("faults") || pf.Has("walk")
		if pf.ok("timeout") && !pf.Has("until") && !faults {
			pf.Fail("timeout", "timeout has no meaning here: the phase ends after its for")
		}
		if p.Until != nil {
			checkUntil(pf, p.Until, faults, sc)
		}
	}
}

// checkUntil refuses conditions that no run could reach.
func checkUntil(f *Fields, u *Until, faults bool, sc *Scenario) {
	until := f.Sub("until")
	switch {
	case (u.Back != nil || u.BackCount > 0) && !faults:
		f.Fail("until", "until back needs faults in this phase: it counts the clients that they hit")
	case u.Count[CountKicks] > 0 && !faults:
		until.Sub("count").Fail(CountKicks, "until count kicks needs faults in this phase: it counts their actions")
	}
	for key, n := range map[string]int{"connected": u.ConnectedCount, "back": u.BackCount} {
		if n > sc.Clients {
			until.Fail(key, "%s is %d, and there are %d clients", key, n, sc.Clients)
		}
	}
}

// fleetRef checks that a key names a fleet of the scenario.
func fleetRef(f *Fields, key string, sc *Scenario) (Fleet, bool) {
	name := f.Text(key, "")
	var names []string
	for _, fl := range sc.Fleets {
		if fl.Name == name {
			return fl, true
		}
		names = append(names, fl.Name)
	}
	if name == Control {
		f.Fail(key, "%s: the built-in fleet %s only publishes; it is never a victim or receiver", key, Control)
		return Fleet{}, false
	}
	f.hint(key, suggest(name, names), "%s: no fleet is named %s", key, quote(name))
	return Fleet{}, false
}

func (l *loader) checkExpectation(f *Fields, e Expectation, sc *Scenario) {
	if f.ok("fleet") {
		fleetRef(f, "fleet", sc)
	}
	if f.ok("phase") {
		var names []string
		for _, p := range sc.Phases {
			names = append(names, p.Name)
		}
		if !slices.Contains(names, e.Phase) {
			f.hint("phase", suggest(e.Phase, names), "phase: no phase is named %s", quote(e.Phase))
		}
	}
	if e.Wave != "" && !l.waves(e, sc) {
		f.Fail("wave", "wave: there are no waves, since no fault is in %s", waveScope(e))
	}
	if e.OnFail == "abort" {
		l.checkAbort(f, e)
	}
	unit, known := l.schema.units[e.Metric]
	if !known || !f.ok("metric") {
		return
	}
	for _, key := range []string{"below", "at_most", "at_least", "above", "equals"} {
		if !f.ok(key) {
			continue
		}
		limit := scalar(f, key, Limit{}, ParseLimit)
		if limit.Text != "" && limit.Unit != unit {
			f.Fail(key, "%s is %s, and %s is %s", key, f.vals[key].Value, e.Metric, unitWords[unit])
		}
	}
}

// checkAbort demands that a failure is certain while the run goes on: of a
// number that only grows, that it is above its limit.
func (l *loader) checkAbort(f *Fields, e Expectation) {
	switch {
	case !f.ok("metric"):
	case !slices.Contains(l.schema.live, e.Metric):
		f.Fail("on_fail", "on_fail abort: what %s is, only the end of the run decides; abort is for %s", e.Metric, strings.Join(l.schema.live, ", "))
	case e.AtLeast != nil || e.Above != nil:
		f.Fail("on_fail", "on_fail abort: until the end the number may still grow to its limit; abort needs below, at_most or equals")
	}
}

// unitWords says what a metric of a unit is measured in.
var unitWords = map[string]string{
	"s": "a time: write 5s",
	"%": "a share: write 95%",
	"":  "a plain number",
}

func (l *loader) waves(e Expectation, sc *Scenario) bool {
	return slices.ContainsFunc(sc.Phases, func(p Phase) bool {
		return (e.Phase == "" || e.Phase == p.Name) && len(p.Faults) > 0
	})
}

func waveScope(e Expectation) string {
	if e.Phase == "" {
		return "any phase"
	}
	return fmt.Sprintf("phase %s", quote(e.Phase))
}
