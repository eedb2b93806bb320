package netfault

import (
	"net"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Act is what a frame rule does with a packet.
type Act string

// The acts.
const (
	Swallow   Act = "swallow"    // the packet does not pass; the connection lives on unless Rule.Close
	CutBefore Act = "cut-before" // the connection ends right before the packet, which does not pass
	CutAfter  Act = "cut-after"  // the connection ends right after the packet, which passes
)

// Rule is one armed frame fault on the connections of one client.
type Rule struct {
	Packet mqtt.Type
	Out    bool // from client to broker
	QoS    int  // of a PUBLISH; -1 = any
	Act    Act
	Close  bool // after a swallowed packet the connection ends

	Nth   int     // acts on the nth such packet since it was armed, from 1, and is then spent; 0 = by Share
	Share float64 // acts on each such packet with this probability, 0..1, by Seed
	Seed  uint64

	// Hit is told of each packet that was acted on, from the goroutine that
	// reads or writes the connection, before the act: it must be quick.
	Hit func(Hit)
}

// Hit is one packet that a rule acted on.
type Hit struct {
	N       int // number of the connection
	At      timeline.Instant
	Out     bool
	Packet  mqtt.Type
	ID      uint16      // packet id, 0 = none
	Message mqtt.Header // the message of ours that the packet, or the exchange of its id, carries; zero = not known
	Passed  bool        // the packet went through: CutAfter
}

// Frames acts on single control packets of connections, below the tap: what it
// swallows the library has written, or never reads. Make one with NewFrames.
type Frames struct{}

// NewFrames makes one without rules; now reads the run's clock.
func NewFrames(now func() timeline.Instant) *Frames { return &Frames{} }

// Wrap registers connection number n that clientID just dialled and returns it
// wrapped.
func (f *Frames) Wrap(clientID string, n int, c net.Conn) net.Conn { return c }

// Arm puts a rule on the present and later connections of a client. disarm
// takes it off and may be called twice.
func (f *Frames) Arm(clientID string, r Rule) (disarm func()) { return func() {} }
