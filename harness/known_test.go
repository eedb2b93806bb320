package harness

import (
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

// resumeWindow holds the first resume of a device after the client is in mochi's
// table, until a message for it is stored, and that message before it is queued,
// until the resume has sent it.
type resumeWindow struct {
	mochi.HookBase
	first        atomic.Pointer[mochi.Client]
	stored, sent chan struct{}
	once, twice  sync.Once
}

func newResumeWindow() *resumeWindow {
	return &resumeWindow{stored: make(chan struct{}), sent: make(chan struct{})}
}

func (h *resumeWindow) ID() string { return "resume-window" }

func (h *resumeWindow) Provides(b byte) bool {
	return b == mochi.OnPacketEncode || b == mochi.OnQosPublish || b == mochi.OnPacketSent
}

// within waits for it, and not so long that the run hangs.
func within(c <-chan struct{}) {
	select {
	case <-c:
	case <-time.After(5 * time.Second):
	}
}

func (h *resumeWindow) OnPacketEncode(cl *mochi.Client, p packets.Packet) packets.Packet {
	if p.FixedHeader.Type == packets.Connack && p.SessionPresent && strings.HasPrefix(cl.ID, "dev-") && h.first.CompareAndSwap(nil, cl) {
		within(h.stored)
	}
	return p
}

func (h *resumeWindow) OnQosPublish(cl *mochi.Client, p packets.Packet, _ int64, _ int) {
	if cl == h.first.Load() && p.FixedHeader.Type == packets.Publish && !p.FixedHeader.Dup {
		h.once.Do(func() { close(h.stored); within(h.sent) })
	}
}

func (h *resumeWindow) OnPacketSent(cl *mochi.Client, p packets.Packet, _ []byte) {
	if cl == h.first.Load() && p.FixedHeader.Type == packets.Publish && p.FixedHeader.Dup {
		h.twice.Do(func() { close(h.sent) })
	}
}

// TestKnownDupCleared: docs/track-record.md#mochi-dup-cleared in a run: it is
// found, charged to the broker, and known.
func TestKnownDupCleared(t *testing.T) {
	sc := scenario(t, quick, "each: 2/s", "each: 20/s")
	for range 8 { // the hook widens a window; whether a message falls into it is up to the scheduler
		r, _ := play(t, sc, PlanOptions{}, Options{Broker: broker.Options{Hooks: []mochi.Hook{newResumeWindow()}}})
		onlyInvalid(t, r)
		for _, c := range r.Checks {
			if c.Name != "dup-flag" || c.Verdict != reports.Invalid {
				continue
			}
			if c.Known != "docs/track-record.md#mochi-dup-cleared" {
				t.Errorf("%+v", c)
			}
			return
		}
	}
	t.Error("in eight runs no message was sent twice at a resume")
}

// dupCleared has the first device that resumes a session read a message twice
// that had been kept for it for more than a second, with DUP = 1 and 0.
type dupCleared struct {
	mochi.HookBase
	once sync.Once
}

func (h *dupCleared) ID() string           { return "dup-cleared" }
func (h *dupCleared) Provides(b byte) bool { return b == mochi.OnPacketSent }

func (h *dupCleared) OnPacketSent(cl *mochi.Client, p packets.Packet, _ []byte) {
	if p.FixedHeader.Type == packets.Publish && p.FixedHeader.Dup && p.Created <= time.Now().Unix()-3 {
		h.once.Do(func() {
			p.FixedHeader.Dup = false
			cl.WritePacket(p) //nolint:errcheck // the run shows it
		})
	}
}

// TestPlantedDupCleared: the same of a message that did not come to the broker
// while the session was resumed is not known, and fails the run.
func TestPlantedDupCleared(t *testing.T) {
	sc := scenario(t, quick, "connect: {rate: 2000/s}", "connect: {rate: 2000/s}\n    reconnect: {policy: fixed, delay: 4s}", "each: 2/s", "each: 5/s")
	r, _ := play(t, sc, PlanOptions{}, Options{Broker: broker.Options{Hooks: []mochi.Hook{&dupCleared{}}}})
	onlyInvalid(t, r, "dup-flag")
	if r.ExitCode != ExitFail {
		t.Errorf("exit %d", r.ExitCode)
	}
}
