package netfault

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"

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
	Truncate  Act = "truncate"   // the connection ends inside the packet, of which Rule.Keep bytes pass
)

// Rule is one armed frame fault on the connections of one client.
type Rule struct {
	Packet mqtt.Type
	Out    bool // from client to broker
	QoS    int  // of a PUBLISH; -1 = any
	Act    Act
	Close  bool // after a swallowed packet the connection ends
	Keep   int  // of a truncated packet: how many bytes pass, at most all but the last

	Nth   int     // acts on the nth such packet since it was armed, from 1, and is then spent; 0 = by Share
	Share float64 // acts on each such packet with this probability, 0..1, by Seed
	Seed  uint64

	// Hit is told of each packet that was acted on, from the goroutine that
	// reads or writes the connection, before the act: it must be quick.
	Hit func(Hit)
	// Done, if set, is told the same again when the act has taken effect.
	Done func(Hit)
	// Unmet, if set, is told once of a rule that was disarmed and acted on no
	// packet: at the disarming, or when a packet that was under way then does
	// not come whole. Of a rule it is either Unmet or Hit that is told.
	Unmet func()
}

// ends reports whether the connection ends by the rule.
func (r *Rule) ends() bool { return r.Act != Swallow || r.Close }

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
// It is safe for concurrent use and starts no goroutine. What it remembers of a
// client is bounded by the messages in flight.
type Frames struct {
	now func() timeline.Instant

	mu      sync.Mutex
	clients map[string]*client
}

// NewFrames makes one without rules; now reads the run's clock.
func NewFrames(now func() timeline.Instant) *Frames {
	return &Frames{now: now, clients: make(map[string]*client)}
}

// Wrap registers connection number n that clientID just dialled and returns it
// wrapped. The connection must be fresh: its first bytes are a CONNECT and a
// CONNACK. It may come from Links.Wrap.
func (f *Frames) Wrap(clientID string, n int, c net.Conn) net.Conn {
	below, registered := c.(*conn)
	if !registered {
		below = &conn{Conn: c} // a FIN is needed here too
	}
	w := &framed{conn: below, now: f.now, client: f.client(clientID), n: n}
	w.in.framed, w.out.framed, w.out.out = w, w, true
	return w
}

// Arm puts a rule on the present and later connections of a client. Rules are
// asked in the order in which they were armed, and a packet on which one acts is
// not shown to later ones. disarm takes it off and may be called twice; a packet
// that was under way by then is still acted on.
func (f *Frames) Arm(clientID string, r Rule) (disarm func()) {
	c, a := f.client(clientID), &armed{Rule: r}
	if r.Nth == 0 {
		a.draw = rand.New(rand.NewPCG(r.Seed, shareStream))
	}
	c.arm(a)
	return func() { c.disarm(a) }
}

func (f *Frames) client(id string) *client {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.clients[id]
	if c == nil {
		c = new(client)
		f.clients[id] = c
	}
	return c
}

// shareStream keeps the draws of a rule apart from other uses of its seed.
const shareStream = 0x6672_616d_6573

// armed is a rule that waits for its packets; guarded by its client's lock.
type armed struct {
	Rule
	seen     int        // packets that matched
	underWay int        // packets that it is to act on when they are whole
	met      bool       // it acted on one
	draw     *rand.Rand // of Share
	off      bool
}

// matches reports whether a packet with this first byte is meant.
func (a *armed) matches(out bool, head byte) bool {
	return a.Out == out && a.Packet == mqtt.Type(head>>4) &&
		(a.QoS < 0 || a.Packet != mqtt.PUBLISH || a.QoS == int(head>>1&3))
}

// client is what is known of one client over all its connections.
type client struct {
	rules atomic.Int32 // armed; 0 = nothing to ask

	mu        sync.Mutex
	armed     []*armed
	exchanges exchanges
}

func (c *client) arm(a *armed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = append(c.armed, a)
	c.rules.Store(int32(len(c.armed)))
}

func (c *client) disarm(a *armed) {
	c.mu.Lock()
	first := !a.off
	a.off = true
	c.remove(a)
	unmet := first && a.unmet()
	c.mu.Unlock()
	if unmet && a.Unmet != nil {
		a.Unmet()
	}
}

// unmet reports whether a rule can not act any more and never did.
func (a *armed) unmet() bool { return a.off && !a.met && a.underWay == 0 }

// remove takes a rule off the list; c.mu is held.
func (c *client) remove(a *armed) {
	c.armed = slices.DeleteFunc(c.armed, func(x *armed) bool { return x == a })
	c.rules.Store(int32(len(c.armed)))
}

// ask gives the rule that acts on the packet that begins with head, nil for
// none. Of a connection that a rule ends nothing more is asked.
func (c *client) ask(w *framed, out bool, head byte) *armed {
	if c.rules.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.ending {
		return nil
	}
	for _, a := range c.armed {
		if !a.matches(out, head) {
			continue
		}
		a.seen++
		if a.Nth > 0 && a.seen != a.Nth || a.Nth == 0 && a.draw.Float64() >= a.Share {
			continue
		}
		if a.Nth > 0 {
			c.remove(a)
		}
		a.underWay++
		w.ending = a.ends()
		return a
	}
	return nil
}

// acts says that the packet came whole, and the rule acts on it.
func (c *client) acts(a *armed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a.underWay--
	a.met = true
}

// giveBack takes back that a rule was to act: the packet never came whole.
func (c *client) giveBack(a *armed) {
	c.mu.Lock()
	a.underWay--
	if a.seen--; a.Nth > 0 && !a.off {
		c.armed = append(c.armed, a)
		c.rules.Store(int32(len(c.armed)))
	}
	unmet := a.unmet()
	c.mu.Unlock()
	if unmet && a.Unmet != nil {
		a.Unmet()
	}
}

// follow takes note of a whole packet and gives the message that it, or the
// exchange of its id, carries.
func (c *client) follow(out, passed bool, p *mqtt.Packet) mqtt.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exchanges.follow(out, passed, p)
}
