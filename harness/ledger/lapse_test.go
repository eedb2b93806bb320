package ledger

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// TestLapses: a message that would be lost is a legal loss if it was acknowledged
// in a lapse of the broker's, and lost if it was not, to the instant.
func TestLapses(t *testing.T) {
	const acked = 50
	records := func() []Record {
		return []Record{
			{Stream: &StreamAccount{
				ID: 1, Publisher: "p", Topic: "t", QoS: 1, Scheduled: 3, Attempted: NewSet(1, 2, 3), Acked: NewSet(1, 2, 3),
				Open: []Message{{Seq: 2, Sent: 49, Acked: acked}},
			}},
			{Delivery: &DeliveryAccount{Stream: 1, Client: "s", Epoch: 1, Granted: 1, Filters: 1, From: 1, To: 3, Delivered: NewSet(1, 3), Sentinel: 90}},
		}
	}
	for what, tc := range map[string]struct {
		lapses []Lapse
		legal  int64
	}{
		"none":                     {nil, 0},
		"it was acknowledged then": {[]Lapse{{From: acked - 1, To: acked}}, 1},
		"all before a restart":     {[]Lapse{{To: 60}}, 1},
		"just before":              {[]Lapse{{To: acked - 1}}, 0},
		"just after":               {[]Lapse{{From: acked, To: 60}}, 0},
		"the second of two":        {[]Lapse{{To: 10}, {From: 40, To: 60}}, 1},
	} {
		a := Close(records(), Situation{Drained: true, Lapses: tc.lapses})
		if q := a.QoS[1]; q.LegalLoss != tc.legal || q.Lost != 1-tc.legal || !a.Balanced() {
			t.Errorf("%s: %d legal, %d lost, %q", what, q.LegalLoss, q.Lost, q.Balance)
		}
		if len(a.Exceptions) != 1 || tc.legal == 1 && (a.Exceptions[0].Cause != CauseRestart || a.Exceptions[0].Fault) {
			t.Errorf("%s: %+v", what, a.Exceptions)
		}
	}
	// Without the instant of its acknowledgement nothing is excused.
	unknown := records()
	unknown[0].Stream.Open[0].Acked = 0
	if a := Close(unknown, Situation{Drained: true, Lapses: []Lapse{{To: timeline.Instant(1 << 60)}}}); a.QoS[1].Lost != 1 {
		t.Errorf("%+v", a.QoS[1])
	}
}
