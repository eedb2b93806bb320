package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"go.yaml.in/yaml/v4"
)

// Build makes a scenario that is written in Go what Load makes of one that is
// written in YAML: defaults filled in, every mistake found. It is Load of what
// Encode writes, so that there is one language and one meaning; positions of
// mistakes are in that text. Start from New, NewFleet, NewTraffic and NewFault:
// their values have the defaults of the language where a zero means something
// else.
func Build(sc Scenario, schema Schema) (*Scenario, error) {
	text, err := Encode(&sc)
	if err != nil {
		return nil, err
	}
	return Load(sc.Name+".yaml", text, schema)
}

// New begins a scenario.
func New(name string) Scenario {
	return Scenario{Name: name, Seed: DefaultSeed, Clients: DefaultClients}
}

// NewFleet begins a fleet with a share of the clients, 0..1; 0 = all of them,
// of a fleet alone.
func NewFleet(name string, share float64, subscribe ...Subscription) Fleet {
	return Fleet{
		Name: name, Share: share, ClientID: DefaultClientID, Subscribe: subscribe,
		Session:   Session{Clean: DefaultClean, KeepAlive: DefaultKeepAlive},
		Reconnect: Reconnect{Policy: DefaultPolicy}, Connect: Connect{Rate: DefaultConnectRate},
		Resubscribe: DefaultResubscribe, Back: DefaultBack,
	}
}

// NewTraffic begins an item of traffic from the built-in fleet: each receives
// each messages per second.
func NewTraffic(to, topic string, qos byte, each float64) Traffic {
	return Traffic{From: DefaultFrom, To: to, Topic: topic, QoS: qos, Each: each, Payload: DefaultPayload}
}

// Connected is a condition: so great a share of all clients, 0..1, connected
// and subscribed.
func Connected(share float64) *Until { return &Until{Connected: &share} }

// Back is a condition: so great a share of the clients that were hit in the
// phase, 0..1, back.
func Back(share float64) *Until { return &Until{Back: &share} }

// Quiet is a condition, of the last phase: publishers stopped, and no message
// read for so long.
func Quiet(d time.Duration) *Until { return &Until{Quiet: &d} }

// Params are the parameters of a fault as a file writes them: text ("20%",
// "100/s"), bool, int, float64, time.Duration, []any, and Params.
type Params map[string]any

// NewFault is a fault of a kind. A value that Params does not know is a mistake
// that Encode and Build report.
func NewFault(kind string, params Params) FaultSpec {
	return FaultSpec{Kind: kind, Params: params.node()}
}

func (p Params) node() *yaml.Node {
	m := newMapping()
	for _, key := range slices.Sorted(maps.Keys(p)) {
		m.add(key, valueNode(p[key]))
	}
	return m.Node
}

func valueNode(v any) *yaml.Node {
	switch v := v.(type) {
	case string:
		return text(v)
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	case int:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.Itoa(v)}
	case float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: strconv.FormatFloat(v, 'g', -1, 64)}
	case time.Duration:
		return text(writeDuration(v))
	case Params:
		return v.node()
	case []any:
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Style: yaml.FlowStyle}
		for _, item := range v {
			list.Content = append(list.Content, valueNode(item))
		}
		return list
	}
	return &yaml.Node{Kind: 0, Value: fmt.Sprintf("%T", v)} // no kind: Encode refuses it
}
