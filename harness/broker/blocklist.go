package broker

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// The bounds of the block list: clients, more than any fleet has, and bytes of
// their ids, which a caller can make as long as a request. Both are less than
// 20 MB together.
const (
	maxBlocked    = 100_000
	maxBlockedIDs = 8 << 20
)

var (
	// ErrBlockListFull says that no more clients can be blocked.
	ErrBlockListFull = errors.New("the block list is full")
	// errBlocked ends a connection whose client is on the block list.
	errBlocked = errors.New("the client is on the block list")
)

// blockList holds the ids of the clients that are refused at CONNECT, in
// memory only.
type blockList struct {
	size atomic.Int64 // a CONNECT while nobody is blocked takes no lock

	mu  sync.RWMutex
	ids map[string]struct{}
	sum int // bytes of the ids
}

func newBlockList() *blockList { return &blockList{ids: make(map[string]struct{})} }

func (b *blockList) has(clientID string) bool {
	if b.size.Load() == 0 {
		return false
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, blocked := b.ids[clientID]
	return blocked
}

// Block refuses a client from now on: CONNACK 5 by MQTT 3.1.1, 0x8A (banned) by
// version 5. It closes no connection; one that is being set up right now may
// be let in and closed at once. The list is lost when the broker ends.
func (e *Embedded) Block(clientID string) error {
	b := e.gate.blocks
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.ids[clientID]; there {
		return nil
	}
	if len(b.ids) >= maxBlocked || b.sum+len(clientID) > maxBlockedIDs {
		return fmt.Errorf("%w: it holds %d clients, whose ids have %d bytes", ErrBlockListFull, len(b.ids), b.sum)
	}
	b.ids[strings.Clone(clientID)] = struct{}{} // it may be a part of a whole request
	b.sum += len(clientID)
	b.size.Store(int64(len(b.ids)))
	return nil
}

// Unblock lets a client in again. One that was not blocked is no error.
func (e *Embedded) Unblock(clientID string) {
	b := e.gate.blocks
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, there := b.ids[clientID]; there {
		delete(b.ids, clientID)
		b.sum -= len(clientID)
	}
	b.size.Store(int64(len(b.ids)))
}

// Blocked lists the blocked clients, sorted.
func (e *Embedded) Blocked() []string {
	b := e.gate.blocks
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Sorted(maps.Keys(b.ids))
}
