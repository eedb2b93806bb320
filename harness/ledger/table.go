package ledger

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

// streamTable finds streams by id without a lock: a tree of three levels over
// the 32 bits, whose nodes are never changed once they are in place. Ids are
// given out from 1 on, so that it stays small and its nodes near each other.
type streamTable struct {
	root [1 << 11]atomic.Pointer[streamBranch]

	mu   sync.Mutex // serialises add
	list []*stream
}

type (
	streamBranch [1 << 11]atomic.Pointer[streamLeaf]
	streamLeaf   [1 << 10]atomic.Pointer[stream]
)

// get gives the stream with this id, or nil.
func (t *streamTable) get(id uint32) *stream {
	branch := t.root[id>>21].Load()
	if branch == nil {
		return nil
	}
	leaf := branch[id>>10&(1<<11-1)].Load()
	if leaf == nil {
		return nil
	}
	return leaf[id&(1<<10-1)].Load()
}

// add enters a stream, and reports false if its id is taken.
func (t *streamTable) add(st *stream) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := child(&child(&t.root[st.id>>21])[st.id>>10&(1<<11-1)])
	place := &at[st.id&(1<<10-1)]
	if place.Load() != nil {
		return false
	}
	place.Store(st)
	t.list = append(t.list, st)
	return true
}

// child gives the node at a place, made on first use.
func child[T any](place *atomic.Pointer[T]) *T {
	node := place.Load()
	if node == nil {
		node = new(T)
		place.Store(node)
	}
	return node
}

// all gives all streams as they were added. What it gives must not be changed.
func (t *streamTable) all() []*stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.list[:len(t.list):len(t.list)]
}

// clientTable is a map in shards, each with a lock of its own. Messages seldom
// need it: a stream remembers the client that it went to last.
type clientTable struct {
	seed   maphash.Seed
	shards [64]clientShard
}

type clientShard struct {
	mu sync.RWMutex
	m  map[string]*subscriber
}

func (t *clientTable) shard(client string) *clientShard {
	return &t.shards[maphash.String(t.seed, client)%uint64(len(t.shards))]
}

// get gives the client, or nil.
func (t *clientTable) get(client string) *subscriber {
	s := t.shard(client)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[client]
}

// open gives the client, made on first use.
func (t *clientTable) open(client string) *subscriber {
	if sub := t.get(client); sub != nil {
		return sub
	}
	s := t.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.m[client]; sub != nil {
		return sub
	}
	if s.m == nil {
		s.m = map[string]*subscriber{}
	}
	sub := &subscriber{client: client}
	s.m[client] = sub
	return sub
}

// all gives all clients, in no order.
func (t *clientTable) all() []*subscriber {
	var out []*subscriber
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, sub := range s.m {
			out = append(out, sub)
		}
		s.mu.RUnlock()
	}
	return out
}
