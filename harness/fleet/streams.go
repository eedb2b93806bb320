package fleet

import (
	"fmt"
	"strings"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// DefaultControl is the number of connections of the control fleet.
const DefaultControl = 4

// Stream is one stream of messages: one publisher session, topic and QoS. It
// stays on its connection for the whole run and sends its messages in order.
type Stream struct {
	ID        uint32 // from 1, without gaps
	Item      int    // index of Plan.Traffic
	Publisher string // client id of the control connection
	Topic     string
	QoS       byte
	To        int     // index of the receiving client in its fleet; -1 = all of them share the topic
	Client    string  // its client id, "" = all
	Rate      float64 // messages per second

	conn int // index of the control connection
}

// Streams lays out the traffic of a plan: for each item one stream per
// receiving client, or a single one when the topic does not name the client.
// Equal arguments give equal streams. Control is the number of control
// connections, 0 = DefaultControl.
func Streams(plan *scenarios.Plan, run string, control int) ([]Stream, error) {
	if control <= 0 {
		control = DefaultControl
	}
	var streams []Stream
	for item, t := range plan.Traffic {
		if t.From != ControlFleet {
			return nil, fmt.Errorf("%w: traffic %d comes from %q: only %q publishes", ErrConfig, item, t.From, ControlFleet)
		}
		to := plan.Fleet(t.To)
		if to == nil {
			return nil, fmt.Errorf("%w: traffic %d goes to %q: no such fleet", ErrConfig, item, t.To)
		}
		receivers := to.Clients
		one := !strings.Contains(t.Topic, "{client}")
		if one {
			receivers = min(1, receivers)
		}
		for i := range receivers {
			s := Stream{ID: uint32(len(streams) + 1), Item: item, QoS: t.QoS, To: i, Rate: t.Each, conn: i % control}
			if one {
				s.To = -1
			} else {
				s.Client = ClientID(to.ClientID, run, to.Name, i)
			}
			if t.Total > 0 {
				s.Rate = t.Total / float64(receivers)
			}
			s.Topic = Topic(t.Topic, run, s.Client)
			s.Publisher = ClientID(controlID, run, ControlFleet, s.conn)
			streams = append(streams, s)
		}
	}
	return streams, nil
}
