//go:build race

package harness

// pcRaces: paho 1.5.1 races with itself when a message is published while its
// resume re-sends the store (eclipse-paho/paho.mqtt.golang issue 703).
const pcRaces = true
