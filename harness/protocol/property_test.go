package protocol

import (
	"testing"

	"pgregory.net/rapid"
)

// A client and a broker that keep the rules break none, whatever the network
// does to them, and each message is followed to its end.
func TestLegalHistoriesBreakNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		s.retries = rapid.Bool().Draw(t, "retries")
		s.connect("resume")
		for range rapid.IntRange(50, 600).Draw(t, "steps") {
			s.step()
		}
		s.drain()
	})
}

// One persistent session over many connections, each cut with messages in
// flight in both directions.
func TestPersistentSessionOverManyConnections(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim(t)
		for s.conns < 60 {
			s.connect("resume")
			for range 12 {
				if s.link == nil {
					break
				}
				s.client.publish(byte(rapid.IntRange(1, 2).Draw(t, "QoS")))
				s.broker.publish(byte(rapid.IntRange(1, 2).Draw(t, "QoS")))
				s.arrive()
				s.read(s.link, true)
			}
			s.cut()
		}
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
