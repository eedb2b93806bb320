package fleet

import (
	"cmp"
	"maps"
	"slices"
	"sync"

	"github.com/rebound-mqtt/rebound/harness/protocol"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// maxFindings is how many findings of one rule a fleet passes on one by one, with
// the last packets of their connections: a library that breaks a rule breaks it
// with each message. The others are counted, and no known defect can explain what
// is only counted.
const maxFindings = 10_000

// ring is what the tap of a connection offers beside net.Conn.
type ring interface {
	// Last gives the last packets until now, oldest first.
	Last() []timeline.Packet
}

// findings passes the broken rules of a fleet on.
type findings struct {
	pass func(timeline.Finding) // nil = nobody wants them

	mu     sync.Mutex
	passed map[string]int    // by rule
	more   map[surplus]int64 // counted since they were last told
}

// surplus names the findings that are counted together.
type surplus struct {
	rule   string
	charge timeline.Charge
	warn   bool
}

// keep reports whether a finding is passed on one by one; else it is counted.
func (f *findings) keep(b *protocol.Breach) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.passed[b.Rule] < maxFindings {
		if f.passed == nil {
			f.passed = map[string]int{}
		}
		f.passed[b.Rule]++
		return true
	}
	if f.more == nil {
		f.more = map[surplus]int64{}
	}
	f.more[surplus{b.Rule, b.Charge, b.Warn}]++
	return false
}

// flush tells how many findings were counted since the last flush, one line
// for each rule, charge and warn.
func (f *findings) flush(fleet string, at timeline.Instant) {
	f.mu.Lock()
	more := f.more
	f.more = nil
	f.mu.Unlock()
	keys := slices.SortedFunc(maps.Keys(more), func(a, b surplus) int {
		return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.charge, b.charge))
	})
	for _, k := range keys {
		f.pass(timeline.Finding{Rule: k.rule, Charge: k.charge, Warn: k.warn, Fleet: fleet, At: at, Count: more[k]})
	}
}

// found passes on the rules that a packet of c broke. The caller holds no lock
// and is inside the tap's call, so that the packet is among the last ones.
func (c *conn) found(broken []protocol.Breach, at timeline.Instant) {
	f := c.s.fleet
	if f.findings.pass == nil {
		return
	}
	for i := range broken {
		b := &broken[i]
		if c.rec.Rival && b.Charge != timeline.ChargeBroker && b.Charge != timeline.ChargeNobody {
			b.Charge = timeline.ChargeHarness // no library made this connection
		}
		if !f.findings.keep(b) {
			continue
		}
		f.findings.pass(timeline.Finding{
			Rule: b.Rule, Charge: b.Charge, Warn: b.Warn,
			Fleet: c.rec.Fleet, Client: c.rec.Client, ClientID: c.rec.ClientID, N: c.rec.N,
			At: at, Detail: b.Detail, PacketID: b.PacketID, Stream: b.Stream, Seq: b.Seq,
			Last: c.last(),
		})
	}
}

// last gives the last packets of a connection, where its tap can say.
func (c *conn) last() []timeline.Packet {
	c.s.mu.Lock()
	r := c.ring
	c.s.mu.Unlock()
	if r == nil {
		return nil
	}
	return r.Last()
}
