package protocol_test

import (
	"fmt"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/protocol"
)

// A message is published on one connection, and sent again on the next one
// without DUP.
func ExampleSession() {
	var s protocol.Session
	packet := func(conn int, out bool, p mqtt.Packet) {
		seen := s.Packet(conn, out, &p, 0, func(b protocol.Breach) {
			fmt.Printf("%s, charged to the %s: %s\n", b.Rule, b.Charge, b.Detail)
		})
		if seen.Step != protocol.None {
			fmt.Println(seen.Step, "message", seen.Message.Seq)
		}
	}
	publish := mqtt.Packet{
		Type: mqtt.PUBLISH, ID: 7, Flags: 1 << 1, Topic: []byte("t"),
		Header: mqtt.Header{Kind: mqtt.KindData, Stream: 1, Seq: 42},
	}
	packet(1, true, mqtt.Packet{Type: mqtt.CONNECT})
	packet(1, false, mqtt.Packet{Type: mqtt.CONNACK, Body: []byte{0, 0}})
	packet(1, true, publish)
	s.End(1, 0)
	packet(2, true, mqtt.Packet{Type: mqtt.CONNECT})
	packet(2, false, mqtt.Packet{Type: mqtt.CONNACK, Body: []byte{1, 0}}) // session present
	packet(2, true, publish)
	packet(2, false, mqtt.Packet{Type: mqtt.PUBACK, ID: 7})
	// Output:
	// published message 42
	// dup-flag, charged to the publisher-library: DUP=0 on a resend of PUBLISH 7
	// published message 42
	// acked message 42
}
