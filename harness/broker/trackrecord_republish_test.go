package broker

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
)

// TestTrackRecordMosquittoRepublish: mosquitto 2.0.11 sends a QoS 2 PUBLISH
// again after its PUBREL, when a connection in between is lost before its
// CONNACK can be written.
//
// At a resume an outgoing message that waits for its PUBCOMP gets the state
// "resend PUBREL", and every other QoS 2 message "publish". If the CONNACK can
// not be written, nothing is sent and the state stays. At the next resume it is
// no longer "wait for PUBCOMP": the PUBLISH is sent again, with DUP
// [MQTT-4.3.3-1], to a client that may have forgotten the packet id by then,
// and delivers the message twice.
func TestTrackRecordMosquittoRepublish(t *testing.T) {
	addr := startTestCommand(t, "mosquitto", Options{Addresses: 1}).Info().Addresses[0]
	who := mqtt.ConnectInfo{ClientID: "sub", KeepAlive: 60}
	sub, _ := connectRaw(t, addr, who)
	sub.subscribe("t", 2)
	pub, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "pub", KeepAlive: 60})
	pub.write(mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", QoS: 2, ID: 7, Payload: []byte("x")}))
	pub.read(4)
	pub.write(mqtt.AppendPubrel(nil, 7))
	pub.read(4)
	want := mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", QoS: 2, ID: 1, Payload: []byte("x")})
	if got := sub.read(len(want)); string(got) != string(want) {
		t.Fatalf("PUBLISH % x", got)
	}
	sub.write(mqtt.AppendPubrec(nil, 1))
	if got := sub.read(4); string(got) != string(mqtt.AppendPubrel(nil, 1)) {
		t.Fatalf("PUBREL % x", got)
	}
	_ = sub.conn.Close() // without a PUBCOMP: the PUBREL is owed, and never the PUBLISH

	// Whether the reset comes before the CONNACK is written is a race.
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		resetAfterConnect(t, addr, who)
		again, present := connectRaw(t, addr, who)
		if !present {
			t.Fatal("the session was not kept")
		}
		switch first := again.read(1)[0]; first {
		case 0x62: // PUBREL, as it should be
			_ = again.conn.Close()
		case 0x3c: // PUBLISH, QoS 2, DUP
			t.Logf("PUBLISH again after its PUBREL: %x% x", first, again.read(len(want)-1))
			return
		default:
			t.Fatalf("first packet %x", first)
		}
	}
	t.Fatal("PUBREL each time: the defect is gone; take it out of the track record")
}

// resetAfterConnect writes a CONNECT and resets the connection.
func resetAfterConnect(t *testing.T, addr string, who mqtt.ConnectInfo) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // the reset
	if _, err := conn.Write(mqtt.AppendConnect(nil, who)); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
}
