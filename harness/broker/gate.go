package broker

import (
	"bytes"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// gate is the one hook of this package (mochi asks every hook at every packet):
// it lets clients in unless they are blocked, remembers their connects and
// ends, and stops deliveries once the broker closes.
type gate struct {
	mochi.HookBase
	shut   atomic.Bool
	blocks *blockList
	trace  *trace
}

func (g *gate) ID() string { return "rebound-gate" }

func (g *gate) Provides(event byte) bool {
	return bytes.IndexByte([]byte{
		mochi.OnConnect, mochi.OnConnectAuthenticate, mochi.OnACLCheck, mochi.OnSessionEstablished, mochi.OnDisconnect,
	}, event) >= 0
}

// OnConnect answers a blocked client itself: mochi closes without a CONNACK
// when this hook fails, and has one code only for a failed authentication.
func (g *gate) OnConnect(cl *mochi.Client, _ packets.Packet) error {
	if !g.blocks.has(cl.ID) {
		return nil
	}
	g.trace.refused(cl)
	code := packets.Err3NotAuthorized
	if cl.Properties.ProtocolVersion >= 5 {
		code = packets.ErrBanned
	}
	_ = cl.WritePacket(packets.Packet{ // the close that follows makes a failure plain
		FixedHeader: packets.FixedHeader{Type: packets.Connack},
		ReasonCode:  code.Code,
		Properties:  packets.Properties{ReasonString: code.Reason},
	})
	return errBlocked
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

func (g *gate) OnDisconnect(cl *mochi.Client, err error, _ bool) { g.trace.ended(cl, err) }
