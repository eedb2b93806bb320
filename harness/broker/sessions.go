package broker

import (
	"bytes"
	"context"
	"sync/atomic"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// goodbyeWait bounds the DISCONNECT to a version 5 client that does not read.
const goodbyeWait = 250 * time.Millisecond

// kick is the cause of a stop by CloseClient. Its address tells one call from
// another, because mochi keeps only the first cause.
type kick struct {
	at timeline.Instant
	// told is of the first kick of a connection, whoever sent the DISCONNECT upon
	// which the client closed it by itself: it is taken by the one that counts.
	told atomic.Bool
}

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
	first := e.gate.trace.kicking(cl, cause)
	said := cl.Properties.ProtocolVersion >= 5 && sayGoodbye(ctx, cl, cause)
	cl.Stop(cause)
	if cl.StopCause() != error(cause) && !(said && first != nil && endedByClient(cl) && first.told.CompareAndSwap(false, true)) {
		return false, 0, nil // another end came first
	}
	return true, cause.at, nil
}

// endedByClient reports whether a connection that is closed was closed by its
// client without a DISCONNECT, or broke.
func endedByClient(cl *mochi.Client) bool {
	_, reason := endOf(cl, nil)
	return reason == reasonClientClosed || reason == reasonNetwork
}

// sayGoodbye writes a DISCONNECT with 0x98 (MQTT 5 section 3.14.2.1). The
// client is stopped when it doesn't take it in time, which ends the write and
// is false.
//
// It is written by hand, between two packets of mochi's: while messages are
// queued mochi would put it into a buffer, which the close throws away.
func sayGoodbye(ctx context.Context, cl *mochi.Client, cause *kick) bool {
	ctx, cancel := context.WithTimeout(ctx, goodbyeWait)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { cl.Stop(cause) })
	defer stop()
	props, code := cl.Properties.Props, packets.ErrAdministrativeAction
	pk := packets.Packet{
		FixedHeader:     packets.FixedHeader{Type: packets.Disconnect},
		ProtocolVersion: cl.Properties.ProtocolVersion,
		ReasonCode:      code.Code,
		Properties:      packets.Properties{ReasonString: code.Reason},
	}
	pk.Mods.MaxSize = props.MaximumPacketSize
	pk.Mods.DisallowProblemInfo = props.RequestProblemInfoFlag && props.RequestProblemInfo == 0 // [MQTT-3.1.2-29]
	var raw bytes.Buffer
	if pk.DisconnectEncode(&raw) != nil || pk.Mods.MaxSize > 0 && raw.Len() > int(pk.Mods.MaxSize) { // [MQTT-3.1.2-24]
		return false
	}
	cl.Lock()
	defer cl.Unlock()
	if cl.Closed() {
		return false
	}
	_, err := cl.Net.Conn.Write(raw.Bytes())
	return err == nil
}
