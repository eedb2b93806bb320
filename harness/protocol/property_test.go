package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

// A client and a broker that keep the rules break none, whatever the network
// does to them, and each message is followed to its end.
func TestLegalHistoriesBreakNothing(t *testing.T) {
	packets, conns := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		s.retries = rapid.Bool().Draw(t, "retries")
		s.connect("resume")
		for range 500 {
			s.step()
		}
		s.drain()
		packets, conns = packets+len(s.trace), conns+s.conns
	})
	t.Logf("%d packets on %d connections", packets, conns)
}

// One persistent session over many connections, each cut with messages in
// flight in both directions.
func TestPersistentSessionOverManyConnections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		s.busy(60)
		s.drain()
		if got := s.s.epoch; got != 1 {
			t.Fatalf("%d epochs", got)
		}
		for _, table := range []*table{&s.s.ours, &s.s.theirs} {
			if table.n > 16+keep {
				t.Fatalf("%d exchanges are kept", table.n)
			}
		}
	})
}
