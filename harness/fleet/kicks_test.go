//go:build !race

package fleet

import "testing"

// Not under the race detector: paho 1.5.1 races with itself when a message is
// published while its resume re-sends the store, which sets DUP on the very
// packet that the writer is writing (eclipse-paho/paho.mqtt.golang issue 703).
func TestFleetsPublishAcrossKicks(t *testing.T) { fleetsPublish(t, true) }
