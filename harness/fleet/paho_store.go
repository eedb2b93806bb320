//go:build !race

package fleet

import paho "github.com/eclipse/paho.mqtt.golang"

// newPahoStore is the library's own store. The default one re-sends in random
// order.
func newPahoStore() paho.Store { return paho.NewOrderedMemoryStore() }
