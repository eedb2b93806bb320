package scenarios

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// hashLength is how much of a SHA-256 is shown: 64 bits tell apart any number
// of scenarios that people write.
const hashLength = 16

// Hash names the meaning of a scenario: two files with the same hash ask for
// the same thing, whatever their seed, summary, comments or spelling. A field
// at its default counts as left out, so that a field that a later version adds
// changes no old hash.
func Hash(sc *Scenario) string { return digest(canonical(sc)) }

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])[:hashLength]
}

// canonical is the hashed text: a line for each field that is not at its
// default, in the order of the language. Its form may never change.
func canonical(sc *Scenario) string {
	c := &canon{}
	field(c, "name", sc.Name, "")
	field(c, "clients", sc.Clients, DefaultClients)
	for i := range sc.Fleets {
		c.fleet(fmt.Sprintf("fleets.%d.", i), &sc.Fleets[i], len(sc.Fleets) == 1)
	}
	for i, t := range sc.Traffic {
		p := fmt.Sprintf("traffic.%d.", i)
		field(c, p+"from", t.From, DefaultFrom)
		field(c, p+"to", t.To, "")
		field(c, p+"topic", t.Topic, "")
		field(c, p+"qos", t.QoS, DefaultQoS)
		field(c, p+"each", t.Each, 0)
		field(c, p+"total", t.Total, 0)
		field(c, p+"payload", t.Payload, DefaultPayload)
		field(c, p+"burst", max(t.Burst, DefaultBurst), DefaultBurst)
		field(c, p+"at", t.At, "")
		field(c, p+"while", t.While, "")
		field(c, p+"retain", t.Retain, DefaultRetain)
	}
	defaults := make([]Phase, len(sc.Phases))
	for i, ph := range sc.Phases {
		defaults[i] = Phase{Timeout: ph.Timeout, Faults: ph.Faults, Until: ph.Until}
	}
	defaultOnTimeout(defaults)
	for i := range sc.Phases {
		c.phase(fmt.Sprintf("phases.%d.", i), &sc.Phases[i], defaults[i].OnTimeout)
	}
	for i := range sc.Expect {
		c.expectation(fmt.Sprintf("expect.%d.", i), &sc.Expect[i])
	}
	return c.String()
}

type canon struct{ strings.Builder }

// field writes one line unless the value is the default.
func field[T comparable](c *canon, path string, value, def T) {
	if value == def {
		return
	}
	text := fmt.Sprint(value)
	switch v := any(value).(type) {
	case string:
		text = strconv.Quote(v)
	case float64:
		text = strconv.FormatFloat(v, 'g', -1, 64)
	case time.Duration:
		text = strconv.FormatInt(int64(v), 10) + "ns"
	}
	fmt.Fprintf(c, "%s=%s\n", path, text)
}

func (c *canon) fleet(p string, f *Fleet, only bool) {
	name, share := "", 0.0
	if only {
		name, share = DefaultFleet, 1
	}
	field(c, p+"name", f.Name, name)
	field(c, p+"share", f.Share, share)
	field(c, p+"client_id", f.ClientID, DefaultClientID)
	field(c, p+"session.clean", f.Session.Clean, DefaultClean)
	field(c, p+"session.keep_alive", f.Session.KeepAlive, DefaultKeepAlive)
	field(c, p+"reconnect.policy", f.Reconnect.Policy, DefaultPolicy)
	if sleepsUpToMax(f.Reconnect.Policy) {
		field(c, p+"reconnect.max", f.Reconnect.Max, DefaultMaxSleep)
	}
	if sleepsFromBase(f.Reconnect.Policy) {
		field(c, p+"reconnect.base", f.Reconnect.Base, min(DefaultBaseSleep, f.Reconnect.Max))
	}
	field(c, p+"reconnect.delay", f.Reconnect.Delay, 0)
	field(c, p+"connect.rate", f.Connect.Rate, DefaultConnectRate)
	field(c, p+"resubscribe", f.Resubscribe, DefaultResubscribe)
	for i, s := range f.Subscribe {
		field(c, fmt.Sprintf("%ssubscribe.%d.topic", p, i), s.Topic, "")
		field(c, fmt.Sprintf("%ssubscribe.%d.qos", p, i), s.QoS, DefaultQoS)
	}
	field(c, p+"back", f.Back, DefaultBack)
	if w := f.Will; w != nil {
		field(c, p+"will.topic", w.Topic, "")
		field(c, p+"will.qos", w.QoS, DefaultQoS)
		field(c, p+"will.retain", w.Retain, DefaultRetain)
	}
	for _, label := range slices.Sorted(maps.Keys(f.Labels)) {
		for _, value := range slices.Sorted(maps.Keys(f.Labels[label])) {
			field(c, p+"labels."+label+"."+value, f.Labels[label][value], 0)
		}
	}
}

func (c *canon) phase(p string, ph *Phase, onTimeout string) {
	field(c, p+"name", ph.Name, "")
	field(c, p+"for", ph.For, 0)
	if u := ph.Until; u != nil {
		optional(c, p+"until.connected", u.Connected)
		optional(c, p+"until.back", u.Back)
		optional(c, p+"until.quiet", u.Quiet)
		field(c, p+"until.connected_count", u.ConnectedCount, 0)
		field(c, p+"until.back_count", u.BackCount, 0)
		field(c, p+"until.drained", u.Drained, false)
		for _, counter := range slices.Sorted(maps.Keys(u.Count)) {
			field(c, p+"until.count."+counter, u.Count[counter], 0)
		}
	}
	field(c, p+"timeout", ph.Timeout, 0)
	field(c, p+"on_timeout", ph.OnTimeout, onTimeout)
	for i, f := range ph.Faults {
		meaning := f.Meaning
		if meaning == "" && f.Params != nil { // not from Load, or asWritten
			meaning = canonicalValue(plainJSON(f.Params))
		}
		field(c, fmt.Sprintf("%sfaults.%d.%s", p, i, f.Kind), meaning, "")
		if meaning == "" {
			fmt.Fprintf(c, "%sfaults.%d.%s\n", p, i, f.Kind)
		}
	}
	if w := ph.Walk; w != nil {
		field(c, p+"walk.steps", w.Steps, 0)
		field(c, p+"walk.every", w.Every, DefaultEvery)
		field(c, p+"walk.jitter", w.Jitter, DefaultJitter)
		field(c, p+"walk.at_once", w.AtOnce, DefaultAtOnce)
	} else if len(ph.Faults) > 0 {
		field(c, p+"repeat.times", ph.Repeat.Times, DefaultTimes)
		if ph.Repeat.Times > 1 { // every has no meaning for one wave
			field(c, p+"repeat.every", ph.Repeat.Every, 0)
			field(c, p+"repeat.overlap", ph.Repeat.Overlap, false)
		}
	}
}

func (c *canon) expectation(p string, e *Expectation) {
	field(c, p+"metric", e.Metric, "")
	field(c, p+"fleet", e.Fleet, "")
	field(c, p+"phase", e.Phase, "")
	field(c, p+"wave", e.Wave, "")
	for _, l := range []struct {
		key   string
		limit *Limit
	}{{"below", e.Below}, {"at_most", e.AtMost}, {"at_least", e.AtLeast}, {"above", e.Above}, {"equals", e.Equals}} {
		if l.limit != nil {
			fmt.Fprintf(c, "%s%s=%s%s\n", p, l.key, strconv.FormatFloat(l.limit.Value, 'g', -1, 64), l.limit.Unit)
		}
	}
	field(c, p+"on_fail", e.OnFail, DefaultOnFail)
}

// optional writes a value that is there even when it is zero.
func optional[T comparable](c *canon, path string, value *T) {
	if value == nil {
		return
	}
	var zero T
	if *value == zero {
		fmt.Fprintf(c, "%s=0\n", path)
		return
	}
	field(c, path, *value, zero)
}

// meaning is the canonical text of a fault's parameters without those at the
// default that the kind's schema states; fleet is by default the first one.
func (s Schema) meaning(kind string, params *yaml.Node, firstFleet string) string {
	values, _ := plainJSON(params).(map[string]any)
	properties := at(s.raw, "$defs", "fault", "properties", kind, "properties")
	maps.DeleteFunc(values, func(key string, v any) bool {
		property, _ := properties[key].(map[string]any)
		def, has := property["default"]
		return has && canonicalValue(v) == canonicalValue(def) || key == "fleet" && v == firstFleet
	})
	if len(values) == 0 && kind == asWritten {
		return ""
	}
	return canonicalValue(values)
}

// asWritten is the kind of fault that is hashed as written when all of its
// parameters are at their default. It should be as good as left out, but the
// files of the first version, kick-all among them, keep their hash.
const asWritten = "close"

// canonicalValue writes a value so that equal meaning is equal text: keys
// sorted, 60s and 1m alike, 50% and 50.0% alike.
func canonicalValue(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, strconv.Quote(k)+":"+canonicalValue(v[k]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = canonicalValue(v[i])
		}
		return "[" + strings.Join(parts, ",") + "]"
	case string:
		if d, err := parseDuration(v); err == nil {
			return strconv.FormatInt(int64(d), 10) + "ns"
		}
		if x, err := parseShare(v); err == nil {
			return strconv.FormatFloat(x, 'g', -1, 64) + "share"
		}
		if x, err := parseRate(v); err == nil {
			return strconv.FormatFloat(x, 'g', -1, 64) + "/s"
		}
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}
