package fault

import (
	"context"
	"fmt"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Of swallow, cut and truncate: rules about packets that are armed on the victims and
// act when such a packet comes.

const (
	directionIn  = "in"
	directionOut = "out"
)

// readPacket reads which packet a rule is about.
func readPacket(f *scenarios.Fields, kind string) netfault.Rule {
	r := netfault.Rule{QoS: f.Count("qos", -1), Nth: f.Count("nth", 1)}
	name, direction := f.Text("packet", ""), f.Text("direction", "")
	for t := mqtt.CONNECT; t <= mqtt.DISCONNECT; t++ {
		if t.String() == name {
			r.Packet = t
		}
	}
	r.Out = direction == directionOut
	switch {
	case !f.Has("packet"):
		f.Fail("packet", "%s needs packet", kind)
	case r.Packet == 0:
		f.Fail("packet", "packet is %q, want a control packet such as PUBACK", name)
	case r.QoS >= 0 && r.Packet != mqtt.PUBLISH:
		f.Fail("qos", "only a PUBLISH has a qos, and packet is %s", name)
	}
	switch {
	case !f.Has("direction"):
		f.Fail("direction", "%s needs direction", kind)
	case direction != directionIn && direction != directionOut:
		f.Fail("direction", "direction is %q, want %s or %s", direction, directionIn, directionOut)
	case r.Out && sender(r.Packet) == directionIn:
		f.Fail("direction", "no client sends a %s: direction can only be %s", name, directionIn)
	case !r.Out && sender(r.Packet) == directionOut:
		f.Fail("direction", "no broker sends a %s: direction can only be %s", name, directionOut)
	}
	if r.QoS > 2 {
		f.Fail("qos", "qos is %d, want 0, 1 or 2", r.QoS)
	}
	if r.Nth == 0 {
		f.Fail("nth", "nth is 0: want a whole number from 1")
	}
	return r
}

// sender is the only direction of a packet, "" if it has both; MQTT 3.1.1,
// table 2.1.
func sender(t mqtt.Type) string {
	switch t {
	case mqtt.CONNECT, mqtt.SUBSCRIBE, mqtt.UNSUBSCRIBE, mqtt.PINGREQ, mqtt.DISCONNECT:
		return directionOut
	case mqtt.CONNACK, mqtt.SUBACK, mqtt.UNSUBACK, mqtt.PINGRESP:
		return directionIn
	}
	return ""
}

// describePacket is the reverse of readPacket.
func describePacket(r netfault.Rule, params map[string]string) {
	params["packet"], params["direction"] = r.Packet.String(), directionOf(r.Out)
	params["nth"] = strconv.Itoa(r.Nth)
	if r.QoS >= 0 {
		params["qos"] = strconv.Itoa(r.QoS)
	}
}

func directionOf(out bool) string {
	if out {
		return directionOut
	}
	return directionIn
}

// fieldsOf gives parameters of a plan, to be read as those of a file are.
func fieldsOf(pf scenarios.PlanFault, keys ...string) *scenarios.Fields {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, key := range keys {
		if value, has := pf.Params[key]; has {
			node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, &yaml.Node{Kind: yaml.ScalarNode, Value: value})
		}
	}
	return scenarios.FaultSpec{Kind: pf.Kind, Params: node, Pos: scenarios.Pos{File: "plan"}}.Fields()
}

// frameFault is one planned swallow, cut or truncate.
type frameFault struct {
	*discrete
	rule  netfault.Rule
	seed  uint64
	armed []func() // disarm the rules of the victims; guarded by discrete.mu
}

func newFrames(pf scenarios.PlanFault, read func(*scenarios.Fields) netfault.Rule, keys ...string) (Fault, error) {
	f := fieldsOf(pf, keys...)
	rule := read(f)
	f.Text("seed", "")
	if err := f.Err(); err != nil {
		return nil, err
	}
	seed, err := seedOf(pf)
	if err != nil {
		return nil, err
	}
	d, err := newDiscrete(pf, nil)
	if err != nil {
		return nil, err
	}
	return &frameFault{discrete: d, rule: rule, seed: seed}, nil
}

// Inject arms the rule on each victim. What it hits, it hits later.
func (f *frameFault) Inject(ctx context.Context, env *Env) error {
	if env.Frames == nil {
		return fmt.Errorf("%s: %w", f.kind, ErrNotOffered)
	}
	return f.run(ctx, env, func(v scenarios.Victim) {
		f.arm(env, v.Client)
		if env.Before != nil { // the traffic in which the packet is to come
			env.Before(f.fleet, v.Client)
		}
	})
}

// Heal disarms what is still armed.
func (f *frameFault) Heal(context.Context, *Env) error {
	f.mu.Lock()
	armed := f.armed
	f.armed = nil
	f.mu.Unlock()
	for _, disarm := range armed {
		disarm()
	}
	return nil
}

func (f *frameFault) arm(env *Env, client int) {
	at, rule := env.Clock.Now(), f.rule
	rule.Seed = seedFor(f.seed, client)
	rule.Hit = func(h netfault.Hit) { f.hit(env, client, h) }
	if rule.Act != netfault.Swallow || rule.Close {
		rule.Done = func(h netfault.Hit) { f.ended(env, client, h) }
	}
	rule.Unmet = func() { f.unmet(env, client, at) }
	disarm := env.Frames.Arm(env.ClientID(f.fleet, client), rule)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = append(f.armed, disarm)
}

// hit records a packet that is about to be acted on.
func (f *frameFault) hit(env *Env, client int, h netfault.Hit) {
	if env.Frame == nil {
		return
	}
	env.Frame(timeline.Frame{
		Fault: f.kind, Phase: env.Phase, Wave: env.Wave,
		Fleet: f.fleet, Client: client, ClientID: env.ClientID(f.fleet, client),
		N: h.N, At: h.At, Out: h.Out, Type: h.Packet.String(), Passed: h.Passed,
		PacketID: h.ID, Stream: h.Message.Stream, Seq: h.Message.Seq,
	})
}

// ended records a connection that was ended around a packet: the fault takes
// effect at that instant, and not when it was armed.
func (f *frameFault) ended(env *Env, client int, h netfault.Hit) {
	a := f.action(env, client)
	a.Intended, a.Issued, a.Closed, a.N = h.At, h.At, h.At, h.N
	a.Answered, a.OK, a.Detail = env.Clock.Now(), true, f.describe(h.ID)
	f.record(env, a)
}

// unmet records a rule that met none of its packets, as an action that was
// never issued.
func (f *frameFault) unmet(env *Env, client int, at timeline.Instant) {
	a := f.action(env, client)
	a.Intended, a.Err, a.Detail = at, "no such packet passed", f.describe(0)
	f.record(env, a)
}

// describe says what is done at a packet: "before PUBREL out, id 7".
func (f *frameFault) describe(id uint16) string {
	where := map[netfault.Act]string{netfault.Swallow: "instead of", netfault.CutBefore: "before", netfault.CutAfter: "after", netfault.Truncate: "inside"}[f.rule.Act]
	text := fmt.Sprintf("%s %s %s", where, f.rule.Packet, directionOf(f.rule.Out))
	if id != 0 {
		text += fmt.Sprintf(", id %d", id)
	}
	return text
}
