package broker

import (
	"bytes"
	"errors"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/target"
)

// gate is the one hook of this package (mochi asks every hook at every packet):
// it lets clients in unless they are blocked or a barrier holds them, remembers
// their connects and ends, and stops deliveries once the broker closes.
type gate struct {
	mochi.HookBase
	shut     atomic.Bool
	blocks   *blockList
	barriers *barriers
	trace    *trace
}

func (g *gate) ID() string { return "rebound-gate" }

func (g *gate) Provides(event byte) bool {
	if event == mochi.OnPacketRead || event == mochi.OnSubscribe {
		return g.barriers.list() != nil // asked at each packet
	}
	return bytes.IndexByte([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablished, mochi.OnDisconnect,
	}, event) >= 0
}

// OnConnect answers a client that is not let in itself: mochi closes without a
// CONNACK when this hook fails, and has one code only for a failed
// authentication. mochi calls it in the goroutine of the connection, which has
// no session yet, so that a client that is held here holds nobody else.
func (g *gate) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	if g.blocks.has(cl.ID) {
		code := packets.Err3NotAuthorized
		if cl.Properties.ProtocolVersion >= 5 {
			code = packets.ErrBanned
		}
		g.refuse(cl, code)
		return errBlocked
	}
	err := g.barriers.connect(cl)
	if r, ok := errors.AsType[refusal](err); ok {
		g.refuse(cl, r.codeFor(cl.Properties.ProtocolVersion))
	}
	return err
}

// refuse answers a CONNECT with a code that is not 0; mochi closes then.
func (g *gate) refuse(cl *mochi.Client, code packets.Code) {
	reason := reasonBlocked
	if code.Code == target.RefusedUnavailable || code == packets.ErrServerUnavailable {
		reason = reasonBusy
	}
	g.trace.refused(cl, reason)
	_ = cl.WritePacket(packets.Packet{ // the close that follows makes a failure plain
		FixedHeader: packets.FixedHeader{Type: packets.Connack},
		ReasonCode:  code.Code,
		Properties:  packets.Properties{ReasonString: code.Reason},
	})
}

// OnSubscribe comes before a SUBSCRIBE is handled.
func (g *gate) OnSubscribe(cl *mochi.Client, pk packets.Packet) packets.Packet {
	g.barriers.subscribe(cl)
	return pk
}

// OnPacketRead comes before a packet is handled. This error ends the connection
// as a broken one, so that its Will is sent.
func (g *gate) OnPacketRead(cl *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Type == packets.Publish && g.barriers.publish(cl) != nil {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

func (g *gate) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }

// OnACLCheck is asked before each delivery (write false) as well.
func (g *gate) OnACLCheck(_ *mochi.Client, _ string, write bool) bool { return write || !g.shut.Load() }

// OnSessionEstablished comes after the CONNACK. A client that passed OnConnect
// just before it was blocked could not be found by a kick until now; it is
// closed here, so that none slips through a block and a kick after it.
func (g *gate) OnSessionEstablished(cl *mochi.Client, _ packets.Packet) {
	g.trace.connected(cl)
	if g.blocks.has(cl.ID) {
		cl.Stop(errBlocked)
	}
}

func (g *gate) OnDisconnect(cl *mochi.Client, err error, _ bool) {
	g.barriers.forget(cl)
	g.trace.ended(cl, err)
}
