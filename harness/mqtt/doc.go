// Package mqtt knows the bytes of MQTT 3.1.1: it cuts a stream into control
// packets, writes them, and puts the harness's own header into payloads.
//
// In: chunks of one direction of one connection, split anywhere.
// Out: whole packets with the fields that the tap records; bytes of packets for
// the strict driver, rivals, the preflight connection and tests.
// It imports nothing of this module.
package mqtt
