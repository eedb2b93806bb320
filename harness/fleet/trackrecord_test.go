package fleet

import (
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// The tests of this file show true finds in paho.mqtt.golang 1.5.1 again, of
// docs/track-record.md; a broker of the test's own writes each packet. Each
// passes while the defect is there; when a new version of the library mends it,
// the test fails, and the entry goes: here, there and among the known defects.

// TestTrackRecordPahoPubrel: after a cut between PUBREL and PUBCOMP the library
// sends the PUBLISH again [MQTT-4.3.3-1], and not the PUBREL [MQTT-4.4.0-1]. Its
// store keeps the PUBLISH until the PUBCOMP, and no PUBREL.
func TestTrackRecordPahoPubrel(t *testing.T) {
	s := newScript(t)
	c, conn := s.startPaho(s.settings())
	if err := c.Publish("t", 2, false, []byte("out")); err != nil {
		t.Fatal(err)
	}
	conn.expect("PUBLISH2 1 out")
	conn.send(mqtt.AppendPubrec(nil, 1))
	conn.expect("PUBREL 1")
	conn.cut()
	conn = s.accept(true)
	if got := conn.read(); got != "PUBLISH2 dup 1 out" {
		t.Fatalf("after the resume: %s: the defect is gone; remove it from the table of known defects", got)
	}
	t.Log("PUBREL 1, a cut, session present 1: PUBLISH 1 again")
}

// TestTrackRecordPahoHandledTwice: a QoS 2 PUBLISH that is sent again because
// its PUBREC was lost is handed to the application again [MQTT-4.3.3-2].
func TestTrackRecordPahoHandledTwice(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	got := make(chan string, 9)
	set.OnMessage = func(_ string, p []byte) { got <- string(p) }
	_, conn := s.startPaho(set)
	conn.send(pub(2, 5, "in"))
	conn.expect("PUBREC 5")
	conn.cut() // the PUBREC never came to the broker
	conn = s.accept(true)
	conn.send(pub(2, 5, "in", true))
	conn.expect("PUBREC 5")
	conn.send(mqtt.AppendPubrel(nil, 5))
	conn.expect("PUBCOMP 5")
	conn.send(pub(2, 5, "marker")) // handed over after all that came before it
	conn.expect("PUBREC 5")
	var handled []string
	for len(handled) == 0 || handled[len(handled)-1] != "marker" {
		select {
		case p := <-got:
			handled = append(handled, p)
		case <-time.After(patience):
			t.Fatalf("handled %q, and never the marker", handled)
		}
	}
	if len(handled) != 3 {
		t.Fatalf("handled %q: the defect is gone; remove it from the table of known defects", handled)
	}
	t.Logf("one delivery of one message; handled: %q", handled[:2])
}

// TestTrackRecordPahoClean: with CleanSession 1 the library sends what its store
// holds again after it has reconnected by itself: state of a session is reused in
// a later one [MQTT-3.1.2-6]. Client.Connect clears the store, the reconnect does
// not.
func TestTrackRecordPahoClean(t *testing.T) {
	s := newScript(t)
	set := s.settings()
	set.Clean = true
	c, conn := s.startPaho(set)
	if err := c.Publish("t", 2, false, []byte("old")); err != nil {
		t.Fatal(err)
	}
	conn.expect("PUBLISH2 1 old")
	conn.cut()
	conn = s.accept(false)
	if err := c.Publish("t", 1, false, []byte("new")); err != nil {
		t.Fatal(err)
	}
	got := conn.read()
	if got == "PUBLISH1 2 new" { // which may overtake what the library sends again
		got = conn.read()
	}
	if got != "PUBLISH2 dup 1 old" {
		t.Fatalf("after a clean start: %s: the defect is gone; remove it from the table of known defects", got)
	}
	t.Log("a cut, CONNECT with CleanSession 1: the PUBLISH of the session before, with DUP")
}

// TestTrackRecordPahoDup: a message that the application gave while the library
// was away goes out with DUP = 1, though it is sent for the first time: the
// resume sets it on all that the store holds (section 3.3.1.1).
func TestTrackRecordPahoDup(t *testing.T) {
	s := newScript(t)
	c, conn := s.startPaho(s.settings())
	conn.cut()
	conn = s.next()
	conn.expect("CONNECT") // the library is reconnecting now
	if err := c.Publish("t", 1, false, []byte("first")); err != nil {
		t.Fatal(err)
	}
	conn.send(mqtt.AppendConnack(nil, true, 0))
	if got := conn.read(); got != "PUBLISH1 dup 1 first" {
		t.Fatalf("sent for the first time: %s: the defect is gone; remove it from the table of known defects", got)
	}
	t.Log("given while reconnecting, sent once: DUP is 1")
}

// TestTrackRecordPahoPing: an idle client sends its PINGREQ up to a quarter of
// the keep alive too late [MQTT-3.1.2-23] (with a keep alive above 10 s: up to
// 5 s). Its keepalive looks every quarter whether the keep alive has passed since
// the last packet, and at the fourth look that is not quite so, or just so.
func TestTrackRecordPahoPing(t *testing.T) {
	const keepAlive = time.Second
	s := newScript(t)
	set := s.settings()
	set.KeepAlive = keepAlive
	_, conn := s.startPaho(set)
	conn.expect("PINGREQ")
	longest := time.Duration(0)
	for range 10 {
		if longest > keepAlive+keepAlive/5 {
			break
		}
		began := time.Now()
		conn.send([]byte{0xd0, 0}) // PINGRESP
		conn.expect("PINGREQ")
		longest = max(longest, time.Since(began))
	}
	if longest <= keepAlive+keepAlive/5 {
		t.Fatalf("longest gap of ten: %s: the defect is gone; remove it from the track record", longest)
	}
	t.Logf("keep alive %s: a gap of %s between two packets", keepAlive, longest.Round(time.Millisecond))
}
