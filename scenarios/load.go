package scenarios

import (
	"maps"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"
)

// The defaults of the language: what a key that is left out means. They are
// part of every scenario's meaning and hash; changing one is a breaking change.
const (
	DefaultSeed        = 1
	DefaultClients     = 1000
	DefaultFleet       = "devices"                  // the one fleet when none is written
	DefaultClientID    = "{fleet}-{run}-{index:06}" // unique over fleets and runs
	DefaultClean       = false                      // the broker keeps the session
	DefaultKeepAlive   = 30 * time.Second
	DefaultPolicy      = PolicyPaho
	DefaultBaseSleep   = time.Second      // from which the sleeps of the reconnect policy grow
	DefaultMaxSleep    = 30 * time.Second // longest sleep of the reconnect policy
	DefaultConnectRate = 500              // first connects per second
	DefaultResubscribe = "when-absent"
	DefaultBack        = "first-message"
	DefaultQoS         = 0 // of subscriptions and traffic
	DefaultFrom        = Control
	DefaultPayload     = 64    // bytes
	DefaultBurst       = 1     // messages per slot
	DefaultRetain      = false // of traffic and Wills
	DefaultTimes       = 1     // waves
	DefaultJitter      = 0     // of a walk's steps
	DefaultAtOnce      = 1     // faults of a walk's step
	// DefaultEvery spaces waves so that each starts in paho's first-loss regime:
	// it sleeps before its first retry when the last loss was less than about 6 s
	// ago, and remembers failed attempts for twice its connect time-out.
	DefaultEvery  = 30 * time.Second
	DefaultOnFail = "fail"
)

// Reconnect policies whose parameters the language knows.
const (
	PolicyPaho      = "paho"      // the library's own
	PolicyImmediate = "immediate" // dials again at once
	PolicyFixed     = "fixed"     // sleeps for Delay before each dial
	PolicyNone      = "none"      // never dials again by itself
)

// When messages of a traffic item are due.
const (
	AtFault   = "fault"
	WhileAway = "away"
)

const (
	// Control is the built-in fleet that publishes and probes; it is never a
	// victim, and no fleet of a scenario may have its name.
	Control = "control"
	// MinPayload is the measuring header that each message carries, in bytes;
	// a smaller payload can't be accounted for.
	MinPayload = 48
)

// Load reads a scenario: the text to a tree with positions, the tree against
// the schema, then each part into its type with the checks that a JSON Schema
// can't express. name stands in the positions. The error is an Errors with
// every mistake of the file; the Scenario has its defaults filled in.
func Load(name string, data []byte, schema Schema) (*Scenario, error) {
	if schema.compiled == nil {
		return nil, ErrSchema
	}
	l := &loader{file: name, schema: schema, bad: map[*yaml.Node]bool{}}
	var sc *Scenario
	if root := l.parse(data); root != nil {
		l.checkSchema(root)
		if root.Kind == yaml.MappingNode {
			sc = l.scenario(newFields(name, root, l.bad, &l.errs))
		}
	}
	if len(l.errs) > 0 {
		return nil, l.errs.finish(name, data)
	}
	return sc, nil
}

// scenario reads the whole file. Names come first, since references may look
// ahead.
func (l *loader) scenario(f *Fields) *Scenario {
	sc := &Scenario{
		Name:    f.Text("name", ""),
		Summary: f.Text("summary", ""),
		Seed:    uint64(f.Count("seed", DefaultSeed)),
		Clients: f.Count("clients", DefaultClients),
	}
	fleets := f.list("fleets")
	for _, ff := range fleets {
		sc.Fleets = append(sc.Fleets, l.fleet(ff, len(fleets) == 1))
	}
	if len(sc.Fleets) == 0 {
		sc.Fleets = []Fleet{l.fleet(newFields(l.file, nil, l.bad, &l.errs), true)}
		sc.Fleets[0].Name = DefaultFleet
	}
	phases := f.list("phases")
	for _, pf := range phases {
		sc.Phases = append(sc.Phases, l.phase(pf, sc))
	}
	defaultOnTimeout(sc.Phases)
	l.checkFleets(f, fleets, sc)
	l.checkPhases(phases, sc)
	for _, tf := range f.list("traffic") {
		sc.Traffic = append(sc.Traffic, l.traffic(tf, sc))
	}
	for _, ef := range f.list("expect") {
		sc.Expect = append(sc.Expect, l.expectation(ef, sc))
	}
	return sc
}

func (l *loader) fleet(f *Fields, only bool) Fleet {
	share := 0.0
	if only {
		share = 1
	}
	session := f.Sub("session")
	fl := Fleet{
		Name:     f.Text("name", ""),
		Share:    f.Share("share", share),
		ClientID: f.Text("client_id", DefaultClientID),
		Session: Session{
			Clean:     session.Bool("clean", DefaultClean),
			KeepAlive: session.Duration("keep_alive", DefaultKeepAlive),
		},
		Reconnect:   reconnect(f.Sub("reconnect")),
		Connect:     Connect{Rate: f.Sub("connect").Rate("rate", DefaultConnectRate)},
		Resubscribe: f.Text("resubscribe", DefaultResubscribe),
		Back:        f.Text("back", DefaultBack),
	}
	for _, sf := range f.list("subscribe") {
		sub := Subscription{Topic: sf.Text("topic", ""), QoS: byte(sf.Count("qos", DefaultQoS))}
		checkFilter(sf, sub.Topic, fl.Subscribe)
		fl.Subscribe = append(fl.Subscribe, sub)
	}
	if f.ok("will") {
		w := f.Sub("will")
		fl.Will = &Will{Topic: w.Text("topic", ""), QoS: byte(w.Count("qos", DefaultQoS)), Retain: w.Bool("retain", DefaultRetain)}
		checkName(w, fl.Will.Topic, clientField)
	}
	fl.Labels = labels(f.Sub("labels"))
	checkSession(session, fl.Session)
	return fl
}

func reconnect(f *Fields) Reconnect {
	r := Reconnect{Policy: f.Text("policy", DefaultPolicy), Delay: f.Duration("delay", 0)}
	if sleepsUpToMax(r.Policy) {
		r.Max = f.Duration("max", DefaultMaxSleep)
	}
	if sleepsFromBase(r.Policy) {
		r.Base = f.Duration("base", min(DefaultBaseSleep, r.Max))
	}
	checkReconnect(f, r)
	return r
}

// sleepsUpToMax tells the policies with a longest sleep. An own policy that
// joined the table by name keeps the one that the language has always given it.
func sleepsUpToMax(policy string) bool {
	return policy != PolicyImmediate && policy != PolicyFixed && policy != PolicyNone
}

// sleepsFromBase tells the policies whose sleeps grow from a shortest one: all
// with a longest one but paho, whose first sleep is its own.
func sleepsFromBase(policy string) bool { return sleepsUpToMax(policy) && policy != PolicyPaho }

func (l *loader) phase(f *Fields, sc *Scenario) Phase {
	p := Phase{
		Name:      f.Text("name", ""),
		For:       f.Duration("for", 0),
		Timeout:   f.Duration("timeout", 0),
		OnTimeout: f.Text("on_timeout", ""),
	}
	if f.ok("until") {
		p.Until = until(f.Sub("until"))
	}
	faults := f.list("faults")
	if f.ok("walk") {
		w := f.Sub("walk")
		faults = w.list("of")
		p.Walk = walk(w, len(faults))
	}
	for _, ff := range faults {
		if spec, ok := l.fault(ff, sc); ok {
			p.Faults = append(p.Faults, spec)
		} else {
			l.unread = true
		}
	}
	if len(p.Faults) > 0 && p.Walk == nil {
		r := f.Sub("repeat")
		p.Repeat = Repeat{Times: r.Count("times", DefaultTimes), Every: r.Duration("every", 0), Overlap: r.Bool("overlap", false)}
		switch {
		case p.Repeat.Times > 1 && !r.Has("every"):
			p.Repeat.Every = DefaultEvery
		case p.Repeat.Times > 1 && p.Repeat.Every <= 0:
			r.Fail("every", "more than one wave needs every, above 0s")
		case p.Repeat.Times == 1 && p.Repeat.Overlap:
			r.Fail("overlap", "overlap has no meaning for one wave")
		}
	}
	return p
}

func walk(f *Fields, faults int) *Walk {
	w := &Walk{
		Steps: f.Count("steps", 0), Every: f.Duration("every", DefaultEvery),
		Jitter: f.Share("jitter", DefaultJitter), AtOnce: f.Count("at_once", DefaultAtOnce),
	}
	if f.ok("every") && w.Every <= 0 {
		f.Fail("every", "every is 0s, want a time above 0s from one step to the next")
	}
	if w.Jitter >= 1 {
		f.Fail("jitter", "jitter is 100%%: a step could begin with the next one, want less")
	}
	if f.ok("at_once") && w.AtOnce > faults {
		f.Fail("at_once", "at_once is %d, and of has %d faults: a step draws none twice", w.AtOnce, faults)
	}
	return w
}

func until(f *Fields) *Until {
	u := &Until{Drained: f.Bool("drained", false)}
	u.Connected, u.ConnectedCount = f.reached("connected")
	u.Back, u.BackCount = f.reached("back")
	if f.ok("count") {
		count := f.Sub("count")
		for _, counter := range count.Keys() {
			u.Count = map[string]int{counter: count.Count(counter, 1)}
		}
	}
	if f.ok("quiet") {
		v := f.Duration("quiet", 0)
		u.Quiet = &v
		if v <= 0 {
			f.Fail("quiet", "quiet is 0, want a time above 0s")
		}
	}
	return u
}

// fault reads the kind; the kind's own decoder reads the parameters, which the
// schema has checked already.
func (l *loader) fault(f *Fields, sc *Scenario) (FaultSpec, bool) {
	for _, kind := range slices.Sorted(maps.Keys(f.vals)) {
		params := f.vals[kind]
		if params.Kind != yaml.MappingNode || l.bad[params] {
			continue
		}
		if _, known := at(l.schema.raw, "$defs", "fault", "properties")[kind]; !known {
			continue
		}
		pf := newFields(l.file, params, l.bad, &l.errs)
		if pf.ok("fleet") {
			if _, found := fleetRef(pf, "fleet", sc); !found {
				l.unread = true
			}
		}
		pos := Pos{l.file, f.keys[kind].Line, f.keys[kind].Column}
		return FaultSpec{Kind: kind, Params: params, Pos: pos, Meaning: l.schema.meaning(kind, params, sc.Fleets[0].Name)}, true
	}
	return FaultSpec{}, false
}

// defaultOnTimeout fills on_timeout: what fails before any fault makes the run
// worthless, what fails after one is a result.
func defaultOnTimeout(phases []Phase) {
	faulted := false
	for i := range phases {
		faulted = faulted || len(phases[i].Faults) > 0
		if phases[i].OnTimeout != "" || phases[i].Timeout == 0 {
			continue
		}
		phases[i].OnTimeout = "abort"
		if u := phases[i].Until; faulted || u != nil && u.Drained { // what is owed for ever is a result, too
			phases[i].OnTimeout = "continue"
		}
	}
}

func (l *loader) traffic(f *Fields, sc *Scenario) Traffic {
	t := Traffic{
		From:    f.Text("from", DefaultFrom),
		To:      f.Text("to", ""),
		Topic:   f.Text("topic", ""),
		QoS:     byte(f.Count("qos", DefaultQoS)),
		Each:    f.Rate("each", 0),
		Total:   f.Rate("total", 0),
		Payload: f.Bytes("payload", DefaultPayload),
		Burst:   f.Count("burst", 0),
		At:      f.Text("at", ""),
		While:   f.Text("while", ""),
		Retain:  f.Bool("retain", DefaultRetain),
	}
	if t.Burst == DefaultBurst { // one way to say it
		t.Burst = 0
	}
	l.checkTraffic(f, t, sc)
	return t
}

func (l *loader) expectation(f *Fields, sc *Scenario) Expectation {
	e := Expectation{
		Metric: f.Text("metric", ""),
		Fleet:  f.Text("fleet", ""),
		Phase:  f.Text("phase", ""),
		Wave:   f.Text("wave", ""),
		OnFail: f.Text("on_fail", DefaultOnFail),
		Pos:    Pos{l.file, f.node.Line, f.node.Column},
	}
	for key, limit := range map[string]**Limit{"below": &e.Below, "at_most": &e.AtMost, "at_least": &e.AtLeast, "above": &e.Above, "equals": &e.Equals} {
		if f.ok(key) {
			v := scalar(f, key, Limit{}, ParseLimit)
			*limit = &v
		}
	}
	l.checkExpectation(f, e, sc)
	return e
}
