package fleet

import (
	"fmt"
	"strings"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// DefaultControl is the number of connections of the control fleet.
const DefaultControl = 4

// The words of a traffic item.
const (
	atFault   = "fault" // Traffic.At
	whileAway = "away"  // Traffic.While

	clientField = "{client}"
	fromField   = "{from}"
)

// Stream is one stream of messages: one publisher session, topic and QoS. It
// keeps its publisher for the whole run and sends its messages in order.
type Stream struct {
	ID        uint32 // from 1, without gaps
	Item      int    // index of Plan.Traffic
	From      string // fleet of the publisher, or "control"
	Index     int    // of the publisher in it
	Publisher string // its client id
	Topic     string
	QoS       byte
	To        int     // index of the receiving client in its fleet; -1 = all of them share the topic
	Client    string  // its client id, "" = all
	Rate      float64 // messages per second; 0 = at faults only
}

// Streams lays out the traffic of a plan, as scenarios.Traffic says. The
// publisher of a stream is, for receiver i, client i modulo their number of
// From, so that a fleet that publishes to itself has each client publish to
// itself. Equal arguments give equal streams. Control is the number of control
// connections, 0 = DefaultControl.
func Streams(plan *scenarios.Plan, run string, control int) ([]Stream, error) {
	if control <= 0 {
		control = DefaultControl
	}
	var streams []Stream
	for item := range plan.Traffic {
		more, err := layOut(plan, item, run, control)
		if err != nil {
			return nil, fmt.Errorf("%w: traffic %d: %w", ErrConfig, item, err)
		}
		for i := range more {
			more[i].ID = uint32(len(streams) + 1 + i)
		}
		streams = append(streams, more...)
	}
	return streams, nil
}

// layOut makes the streams of one item, without their ids.
func layOut(plan *scenarios.Plan, item int, run string, control int) ([]Stream, error) {
	t := plan.Traffic[item]
	to := plan.Fleet(t.To)
	if to == nil {
		return nil, fmt.Errorf("goes to %q: no such fleet", t.To)
	}
	from, template, publishers := t.From, controlID, control
	if from != ControlFleet {
		f := plan.Fleet(from)
		if f == nil {
			return nil, fmt.Errorf("comes from %q: no such fleet", from)
		}
		template, publishers = f.ClientID, f.Clients
	}
	each := strings.Contains(t.Topic, clientField)
	switch {
	case t.At != "" && t.At != atFault:
		return nil, fmt.Errorf("at %q: only %q is known", t.At, atFault)
	case t.While != "" && t.While != whileAway:
		return nil, fmt.Errorf("while %q: only %q is known", t.While, whileAway)
	case t.While == whileAway && !each:
		return nil, fmt.Errorf("while %s: %q names no receiver that could be away", whileAway, t.Topic)
	}

	count := min(to.Clients, publishers) // 0 when there is nobody to send, or to receive
	switch {
	case count == 0:
	case each:
		count = to.Clients
	case from == ControlFleet:
		count = 1
	default:
		count = publishers
	}
	streams := make([]Stream, count)
	for i := range streams {
		s := Stream{Item: item, From: from, Index: i % publishers, QoS: t.QoS, To: -1, Rate: t.Each}
		if each {
			s.To, s.Client = i, ClientID(to.ClientID, run, to.Name, i)
		}
		if t.Total > 0 {
			s.Rate = t.Total / float64(count)
		}
		if t.At == atFault {
			s.Rate = 0
		}
		s.Publisher = ClientID(template, run, from, s.Index)
		s.Topic = Topic(strings.ReplaceAll(t.Topic, fromField, s.Publisher), run, s.Client)
		streams[i] = s
	}
	return streams, nil
}
