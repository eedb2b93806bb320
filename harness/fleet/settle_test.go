package fleet

import (
	"testing"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// What a client writes after its DISCONNECT is told at the latest when the fleet
// closes: until then the socket may still refuse it.
func TestSettlesAtClose(t *testing.T) {
	_, f, s := lone(t, false)
	var found []timeline.Finding
	f.findings.pass = func(x timeline.Finding) { found = append(found, x) }
	w := open(t, s, 100, false, false)
	w.c.Packet(true, &mqtt.Packet{Type: mqtt.DISCONNECT, Size: 2}, 200)
	w.c.Packet(true, &mqtt.Packet{Type: mqtt.PINGREQ, Size: 2}, 201)
	if len(found) != 0 {
		t.Fatalf("told too early: %+v", found)
	}
	s.settle(300)
	if len(found) != 1 || found[0].Rule != "server-packet" || found[0].ClientID != s.id {
		t.Errorf("got %+v", found)
	}
	s.settle(301)
	if len(found) != 1 {
		t.Error("told twice")
	}
}
