package scenarios

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// ErrEncode says that a scenario has no text: a fault has a parameter that no
// file could have.
var ErrEncode = errors.New("scenario can not be written")

// Encode writes a scenario as the YAML text of a file. Load of it gives an equal
// scenario, but for positions. Keys at their default are left out.
func Encode(sc *Scenario) ([]byte, error) {
	m := newMapping()
	m.text("name", sc.Name, "")
	m.text("summary", sc.Summary, "")
	if sc.Seed != DefaultSeed {
		m.add("seed", plain(strconv.FormatUint(sc.Seed, 10)))
	}
	m.count("clients", sc.Clients, DefaultClients)
	m.list("fleets", len(sc.Fleets), func(i int) *yaml.Node { return fleetNode(&sc.Fleets[i], len(sc.Fleets) == 1) })
	m.list("traffic", len(sc.Traffic), func(i int) *yaml.Node { return trafficNode(&sc.Traffic[i]) })
	m.list("phases", len(sc.Phases), func(i int) *yaml.Node { return phaseNode(&sc.Phases[i]) })
	m.list("expect", len(sc.Expect), func(i int) *yaml.Node { return expectNode(&sc.Expect[i]) })
	if bad := unwritable(m.Node); bad != nil {
		return nil, fmt.Errorf("%w: a parameter of a fault is %s", ErrEncode, bad.Value)
	}
	out, err := yaml.Dump(m.Node, yaml.WithV4Defaults())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEncode, err)
	}
	return out, nil
}

// unwritable finds a value that is none of YAML's.
func unwritable(n *yaml.Node) *yaml.Node {
	if n.Kind == 0 {
		return n
	}
	for _, c := range n.Content {
		if bad := unwritable(c); bad != nil {
			return bad
		}
	}
	return nil
}

func fleetNode(f *Fleet, only bool) *yaml.Node {
	m := newMapping()
	m.text("name", f.Name, "")
	share := 0.0
	if only {
		share = 1
	}
	if f.Share != share && f.Share != 0 {
		m.add("share", text(writeShare(f.Share)))
	}
	m.text("client_id", f.ClientID, DefaultClientID)
	session := newMapping()
	session.bool("clean", f.Session.Clean, DefaultClean)
	if f.Session.KeepAlive != DefaultKeepAlive {
		session.add("keep_alive", text(writeDuration(f.Session.KeepAlive)))
	}
	m.sub("session", session)
	reconnect := newMapping()
	reconnect.text("policy", f.Reconnect.Policy, DefaultPolicy)
	if f.Reconnect.Base != min(DefaultBaseSleep, f.Reconnect.Max) {
		reconnect.duration("base", f.Reconnect.Base)
	}
	if f.Reconnect.Max != DefaultMaxSleep {
		reconnect.duration("max", f.Reconnect.Max)
	}
	reconnect.duration("delay", f.Reconnect.Delay)
	m.sub("reconnect", reconnect)
	connect := newMapping()
	connect.rate("rate", f.Connect.Rate, DefaultConnectRate)
	m.sub("connect", connect)
	m.text("resubscribe", f.Resubscribe, DefaultResubscribe)
	m.list("subscribe", len(f.Subscribe), func(i int) *yaml.Node {
		s := newMapping()
		s.text("topic", f.Subscribe[i].Topic, "")
		s.count("qos", int(f.Subscribe[i].QoS), DefaultQoS)
		return s.Node
	})
	m.text("back", f.Back, DefaultBack)
	if w := f.Will; w != nil {
		will := newMapping()
		will.text("topic", w.Topic, "")
		will.count("qos", int(w.QoS), DefaultQoS)
		will.bool("retain", w.Retain, DefaultRetain)
		m.sub("will", will)
	}
	m.sub("labels", labelsNode(f.Labels))
	return m.Node
}

func labelsNode(all map[string]map[string]float64) mapping {
	m := newMapping()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		values := newMapping()
		for _, value := range slices.Sorted(maps.Keys(all[name])) {
			values.add(value, text(writeShare(all[name][value])))
		}
		m.sub(name, values)
	}
	return m
}

func trafficNode(t *Traffic) *yaml.Node {
	m := newMapping()
	m.text("from", t.From, DefaultFrom)
	m.text("to", t.To, "")
	m.text("topic", t.Topic, "")
	m.count("qos", int(t.QoS), DefaultQoS)
	m.rate("each", t.Each, 0)
	m.rate("total", t.Total, 0)
	m.text("at", t.At, "")
	if t.Payload != DefaultPayload && t.Payload != 0 {
		m.add("payload", text(strconv.Itoa(t.Payload)+"B"))
	}
	if t.Burst > 0 && (t.Burst != DefaultBurst || t.At != "") {
		m.add("burst", plain(strconv.Itoa(t.Burst)))
	} else if t.At != "" { // which needs it
		m.add("burst", plain(strconv.Itoa(DefaultBurst)))
	}
	m.text("while", t.While, "")
	m.bool("retain", t.Retain, DefaultRetain)
	return m.Node
}

func phaseNode(p *Phase) *yaml.Node {
	m := newMapping()
	m.text("name", p.Name, "")
	m.duration("for", p.For)
	if w := p.Walk; w != nil {
		m.sub("walk", walkNode(w, p.Faults))
	} else {
		m.list("faults", len(p.Faults), func(i int) *yaml.Node { return faultNode(&p.Faults[i]) })
	}
	if len(p.Faults) > 0 && p.Walk == nil {
		repeat := newMapping()
		repeat.count("times", p.Repeat.Times, DefaultTimes)
		if p.Repeat.Times > 1 && p.Repeat.Every != DefaultEvery || p.Repeat.Times <= 1 {
			repeat.duration("every", p.Repeat.Every)
		}
		repeat.bool("overlap", p.Repeat.Overlap, false)
		m.sub("repeat", repeat)
	}
	if p.Until != nil {
		m.add("until", untilNode(p.Until))
	}
	m.duration("timeout", p.Timeout)
	m.text("on_timeout", p.OnTimeout, "")
	return m.Node
}

func faultNode(spec *FaultSpec) *yaml.Node {
	params := newMapping().Node
	if spec.Params != nil {
		params = copyNode(spec.Params) // the writer changes what it writes
	}
	f := newMapping()
	f.add(spec.Kind, params)
	return f.Node
}

func walkNode(w *Walk, faults []FaultSpec) mapping {
	m := newMapping()
	m.count("steps", w.Steps, 0)
	if w.Every != DefaultEvery {
		m.duration("every", w.Every)
	}
	if w.Jitter != DefaultJitter {
		m.add("jitter", text(writeShare(w.Jitter)))
	}
	m.count("at_once", w.AtOnce, DefaultAtOnce)
	m.list("of", len(faults), func(i int) *yaml.Node { return faultNode(&faults[i]) })
	return m
}

func copyNode(n *yaml.Node) *yaml.Node {
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style}
	for _, c := range n.Content {
		out.Content = append(out.Content, copyNode(c))
	}
	return out
}

func untilNode(u *Until) *yaml.Node {
	m := newMapping()
	reached := func(key string, share *float64, count int) {
		switch {
		case share != nil:
			m.add(key, text(writeShare(*share)))
		case count > 0:
			m.add(key, plain(strconv.Itoa(count)))
		}
	}
	reached("connected", u.Connected, u.ConnectedCount)
	reached("back", u.Back, u.BackCount)
	if u.Quiet != nil {
		m.add("quiet", text(writeDuration(*u.Quiet)))
	}
	m.bool("drained", u.Drained, false)
	count := newMapping()
	for _, counter := range slices.Sorted(maps.Keys(u.Count)) {
		count.count(counter, u.Count[counter], 0)
	}
	m.sub("count", count)
	return m.Node
}

func expectNode(e *Expectation) *yaml.Node {
	m := newMapping()
	m.text("metric", e.Metric, "")
	m.text("fleet", e.Fleet, "")
	m.text("phase", e.Phase, "")
	m.text("wave", e.Wave, "")
	for _, l := range []struct {
		key   string
		limit *Limit
	}{{"below", e.Below}, {"at_most", e.AtMost}, {"at_least", e.AtLeast}, {"above", e.Above}, {"equals", e.Equals}} {
		switch {
		case l.limit == nil:
		case numberForm.MatchString(l.limit.Text):
			m.add(l.key, plain(l.limit.Text))
		default:
			m.add(l.key, text(l.limit.Text))
		}
	}
	m.text("on_fail", e.OnFail, DefaultOnFail)
	return m.Node
}

// mapping is a YAML mapping that is being written; a key whose value is the
// default, or zero where that means the default, is left out.
type mapping struct{ *yaml.Node }

func newMapping() mapping { return mapping{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

func (m mapping) add(key string, value *yaml.Node) { m.Content = append(m.Content, text(key), value) }

func (m mapping) text(key, value, def string) {
	if value != def && value != "" {
		m.add(key, text(value))
	}
}

func (m mapping) bool(key string, value, def bool) {
	if value != def {
		m.add(key, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(value)})
	}
}

func (m mapping) count(key string, value, def int) {
	if value != def && value != 0 {
		m.add(key, plain(strconv.Itoa(value)))
	}
}

func (m mapping) duration(key string, value time.Duration) {
	if value != 0 {
		m.add(key, text(writeDuration(value)))
	}
}

func (m mapping) rate(key string, value, def float64) {
	if value != def && value != 0 {
		m.add(key, text(writeRate(value)))
	}
}

func (m mapping) sub(key string, value mapping) {
	if len(value.Content) > 0 {
		m.add(key, value.Node)
	}
}

func (m mapping) list(key string, n int, item func(i int) *yaml.Node) {
	if n == 0 {
		return
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for i := range n {
		list.Content = append(list.Content, item(i))
	}
	m.add(key, list)
}

// text is a value that must be read as text, whatever it looks like; the writer
// quotes it where it would not be.
func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

// plain is a number.
func plain(s string) *yaml.Node {
	tag := "!!int"
	if strings.ContainsAny(s, ".eE") {
		tag = "!!float"
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: s}
}

func writeDuration(d time.Duration) string { return strings.ReplaceAll(d.String(), "µs", "us") }

// writeShare writes a fraction with as few digits as read back the same.
func writeShare(fraction float64) string {
	for digits := 0; digits <= 20; digits++ {
		s := strconv.FormatFloat(fraction*100, 'f', digits, 64) + "%"
		if v, err := parseShare(s); err == nil && v == fraction {
			return s
		}
	}
	return FormatShare(fraction)
}

// writeRate writes a number per second so that it reads back the same.
func writeRate(perSecond float64) string {
	return strconv.FormatFloat(perSecond, 'f', -1, 64) + "/s"
}
