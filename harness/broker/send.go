package broker

import (
	"context"
	"fmt"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// newPublisher makes the client that Send publishes as. mochi's own
// (Options.InlineClient) stands in its table of clients under the id "inline":
// it is counted there, and a device with that id would take it over. This one
// stands nowhere and has the id that no device can have.
func newPublisher(s *mochi.Server) *mochi.Client {
	return s.NewClient(nil, mochi.LocalListener, "", true)
}

// Send publishes a message with QoS 1, not retained, and returns when it is
// queued to every subscriber that is online and kept in every session that
// waits. mochi drops it for one whose queue is full, as it does for any
// publisher. The topic must be a topic name: mochi checks wildcards only.
func (e *Embedded) Send(ctx context.Context, topic string, payload []byte) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("send to %q: %w", topic, err)
	}
	err := e.server.InjectPacket(e.publisher, packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: 1},
		TopicName:   topic,
		Payload:     payload,
		PacketID:    1, // asked for with QoS 1, used for nothing
	})
	if err != nil {
		return fmt.Errorf("send to %q: %w", topic, err)
	}
	return nil
}
