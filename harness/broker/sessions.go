package broker

import (
	"context"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// goodbyeWait bounds the DISCONNECT to a version 5 client that does not read.
const goodbyeWait = 250 * time.Millisecond

// kick is the cause of a stop by CloseClient. Its address tells one call from
// another, because mochi keeps only the first cause.
type kick struct{ at timeline.Instant }

func (*kick) Error() string { return "connection closed by administrative action" }

// Online reports whether a client has a connection: its CONNECT was accepted,
// though the CONNACK may be on its way still, and its socket is not closed.
func (e *Embedded) Online(clientID string) bool {
	cl, known := e.server.Clients.Get(clientID)
	return known && !cl.Closed()
}

// CloseClient closes the connection of one client and returns when its socket
// is closed. Its session stays. found says that it was online and that this
// call closed it; at is the instant just before the close call, 0 if not found.
//
// A 3.1.1 client gets a plain close: a server may not send it a DISCONNECT
// (MQTT 3.1.1 section 3.14). A version 5 client is first told 0x98.
//
// mochi's Stop closes the net.Conn inside a sync.Once: it closes in the calling
// goroutine, or waits for the one that does, and never takes the lock that a
// stalled writer holds. net.Conn.Close itself waits until the descriptor is
// closed, having woken all its readers and writers. So a stalled client can not
// hold a 3.1.1 kick, and holds a version 5 kick for goodbyeWait at most.
func (e *Embedded) CloseClient(ctx context.Context, clientID string) (found bool, at timeline.Instant, err error) {
	if err := ctx.Err(); err != nil {
		return false, 0, err
	}
	cl, known := e.server.Clients.Get(clientID)
	if !known || cl.Closed() {
		return false, 0, nil
	}
	cause := &kick{at: e.clock.Now()}
	e.gate.trace.kicking(cl, cause)
	if cl.Properties.ProtocolVersion >= 5 {
		sayGoodbye(ctx, cl, cause)
	}
	cl.Stop(cause)
	if cl.StopCause() != error(cause) {
		return false, 0, nil // another end came first
	}
	return true, cause.at, nil
}

// sayGoodbye writes a DISCONNECT with 0x98 (MQTT 5 section 3.14.2.1). The
// client is stopped when it doesn't take it in time, which ends the write.
func sayGoodbye(ctx context.Context, cl *mochi.Client, cause *kick) {
	ctx, cancel := context.WithTimeout(ctx, goodbyeWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { cl.Stop(cause) })
	defer stop()
	code := packets.ErrAdministrativeAction
	_ = cl.WritePacket(packets.Packet{ // the close that follows makes a failure plain
		FixedHeader: packets.FixedHeader{Type: packets.Disconnect},
		ReasonCode:  code.Code,
		Properties:  packets.Properties{ReasonString: code.Reason},
	})
}
