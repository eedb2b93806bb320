package ledger

import (
	"hash/maphash"
	"sync"
)

// table is a map in shards, each with a lock of its own, so that look-ups on
// the hot path of different keys do not meet.
type table[K comparable, V any] struct {
	hash   func(K) uint64
	shards [64]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu sync.RWMutex
	m  map[K]V
}

func newStreamTable() *table[uint32, *stream] {
	return &table[uint32, *stream]{hash: func(id uint32) uint64 { return uint64(id) }}
}

func newClientTable() *table[string, *subscriber] {
	seed := maphash.MakeSeed()
	return &table[string, *subscriber]{hash: func(client string) uint64 { return maphash.String(seed, client) }}
}

func (t *table[K, V]) shard(key K) *shard[K, V] { return &t.shards[t.hash(key)%uint64(len(t.shards))] }

// get gives the value of the key, or the zero value.
func (t *table[K, V]) get(key K) V {
	s := t.shard(key)
	s.mu.RLock()
	v := s.m[key]
	s.mu.RUnlock()
	return v
}

// add gives the value of the key, made on first use; added says that it was.
func (t *table[K, V]) add(key K, create func() V) (v V, added bool) {
	s := t.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.m[key]; ok {
		return v, false
	}
	if s.m == nil {
		s.m = make(map[K]V)
	}
	v = create()
	s.m[key] = v
	return v, true
}

// all gives all values, in no order.
func (t *table[K, V]) all() []V {
	var out []V
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.RLock()
		for _, v := range s.m {
			out = append(out, v)
		}
		s.mu.RUnlock()
	}
	return out
}
