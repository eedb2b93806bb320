//go:build race

package fleet

import (
	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// newPahoStore is the store of builds with the race detector, which are those
// of tests. paho 1.5.1 races with itself: its resume sets DUP on the very packet
// that the writer is writing (eclipse-paho/paho.mqtt.golang issue 703), so that
// any test with traffic over a lost connection could fail. Here the store holds
// copies. What is measured runs with the library's own.
func newPahoStore() paho.Store { return copyingStore{paho.NewOrderedMemoryStore()} }

type copyingStore struct{ *paho.OrderedMemoryStore }

// Put keeps a copy: the library calls it before its writer gets the packet.
func (s copyingStore) Put(key string, m packets.ControlPacket) {
	s.OrderedMemoryStore.Put(key, copyOf(m))
}

func (s copyingStore) Get(key string) packets.ControlPacket {
	return copyOf(s.OrderedMemoryStore.Get(key))
}

func copyOf(m packets.ControlPacket) packets.ControlPacket {
	if p, ok := m.(*packets.PublishPacket); ok {
		c := *p
		return &c
	}
	return m
}
