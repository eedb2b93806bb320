package harness

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/reports"
)

// connackWindow holds the CONNACK of the first resume of a device until a message
// for it was written, and then for a time: in 0.3 s its library closes.
type connackWindow struct {
	mochi.HookBase
	then  time.Duration
	first atomic.Pointer[mochi.Client]
	sent  chan struct{}
	once  sync.Once
}

func (h *connackWindow) ID() string { return "connack-window" }

func (h *connackWindow) Provides(b byte) bool {
	return b == mochi.OnPacketEncode || b == mochi.OnPacketSent
}

func (h *connackWindow) OnPacketEncode(cl *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Connack && p.SessionPresent && strings.HasPrefix(cl.ID, "dev-") && h.first.CompareAndSwap(nil, cl) {
		within(h.sent)
		time.Sleep(h.then)
	}
	return p
}

func (h *connackWindow) OnPacketSent(cl *mochi.Client, p packets.Packet, _ []byte) {
	if cl == h.first.Load() && p.FixedHeader.Type == packets.Publish {
		h.once.Do(func() { close(h.sent) })
	}
}

// TestKnownPublishBeforeConnack: docs/track-record.md#mochi-publish-before-connack
// in a run with each driver: it is found, charged to the broker, and known, also
// where the CONNACK is read together with the message and the connection counts.
func TestKnownPublishBeforeConnack(t *testing.T) {
	for _, driver := range []string{"paho", "strict"} {
		for _, then := range []time.Duration{0, 300 * time.Millisecond} {
			t.Run(fmt.Sprint(driver, " ", then), func(t *testing.T) {
				sc := scenario(t, quick, "each: 2/s", "each: 20/s")
				hook := &connackWindow{then: then, sent: make(chan struct{})}
				r, _ := play(t, sc, PlanOptions{Driver: driver}, Options{Broker: broker.Options{Hooks: []mochi.Hook{hook}}})
				for _, c := range r.Checks {
					if c.Name == "first-packet" && (c.Verdict != reports.Invalid || c.Count != 1 || c.Known != "docs/track-record.md#mochi-publish-before-connack") {
						t.Errorf("%+v", c)
					}
				}
				onlyInvalid(t, r)
			})
		}
	}
}
