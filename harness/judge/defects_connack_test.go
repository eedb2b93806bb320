package judge

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// startsWith adds the finding that the client's connection n began with a packet
// of the broker, 1 ms before its CONNACK.
func (f *folder) startsWith(client, n int, p timeline.Packet) *timeline.Conn {
	for i := range f.conns {
		c := &f.conns[i]
		if c.Client != client || c.N != n {
			continue
		}
		p.At = c.Connack - ms
		f.found = append(f.found, timeline.Finding{
			Rule: "first-packet", Charge: timeline.ChargeBroker, Fleet: c.Fleet, Client: client, ClientID: c.ClientID, N: n,
			At: p.At, PacketID: p.ID, Detail: "first packet is " + p.Type,
			Last: []timeline.Packet{{At: c.Connect, Out: true, Type: "CONNECT"}, p},
		})
		return c
	}
	panic("no such connection")
}

// TestPublishBeforeConnack: the known defect explains a PUBLISH before the CONNACK
// of a resumed session, and a run that has one finding of any other kind fails.
func TestPublishBeforeConnack(t *testing.T) {
	publish := timeline.Packet{Type: "PUBLISH", Flags: 2, ID: 7}
	for name, c := range map[string]struct {
		plant func(f *folder)
		known string
		exit  int
	}{
		"explained":            {func(*folder) {}, "page#x", 0},
		"on a new session":     {func(f *folder) { f.startsWith(1, 1, publish) }, "", 1},
		"the session was gone": {func(f *folder) { f.startsWith(1, 2, publish).SessionPresent = false }, "", 1},
		"another packet":       {func(f *folder) { f.startsWith(1, 2, timeline.Packet{Type: "PUBREL", Flags: 2, ID: 7}) }, "", 1},
		"sent again":           {func(f *folder) { f.startsWith(1, 2, timeline.Packet{Type: "PUBLISH", Flags: 0x0a, ID: 7}) }, "", 1},
		"no CONNACK at all": {func(f *folder) {
			c := f.startsWith(1, 2, publish)
			c.Connack, c.SessionPresent, c.SessionWanted, c.Restored, c.FirstMessage = 0, false, false, 0, 0
		}, "", 1},
		"only counted": {func(f *folder) {
			f.found = append(f.found, timeline.Finding{Rule: "first-packet", Charge: timeline.ChargeBroker, Fleet: "devices", At: 2000 * ms, Count: 3})
		}, "", 1},
		"strict": {func(f *folder) { f.env.Strict = true }, "page#x", 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFolder()
			f.know(reports.KnownDefect{Check: "first-packet", Condition: "publish-before-the-connack", Reference: "page#x", Versions: "2.7.9"})
			f.startsWith(0, 2, publish)
			c.plant(f)
			r := f.judge(t)
			if k := find(t, r, "first-packet"); k.Verdict != reports.Invalid || k.Known != c.known {
				t.Errorf("%+v", k)
			}
			if r.ExitCode != c.exit {
				t.Errorf("exit %d, want %d", r.ExitCode, c.exit)
			}
		})
	}
}
