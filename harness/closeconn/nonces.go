package closeconn

import (
	"hash/maphash"
	"sync"
	"time"
)

// maxNonces bounds the nonces that are remembered for one key. A nonce is kept
// for 15 to 17 minutes after it came, up to 32 when its timestamp is ahead, so
// this allows 4,100 calls a second without end, or any burst of 4 million. A
// full set has 34 bytes a nonce, 140 MB; one that is little used costs little.
const maxNonces = 1 << 22

// nonceSet remembers the nonces of one key while a request that carries one
// could be sent again. When it is full it refuses new ones: to forget one
// within its time would let a replay through.
type nonceSet struct {
	max  int
	seed maphash.Seed

	mu    sync.Mutex
	count int
	// ends holds the nonces by the minute in which they may be forgotten, all of
	// a minute at once: 33 minutes at most, so a look into each is cheap, and
	// forgetting never holds up a call.
	//
	// A nonce is known by a hash with a secret seed, so its length costs no room.
	// One of 4 million has the hash of another by a chance of 3e-13 a call; then
	// a good request is refused, and no bad one is let in.
	ends map[int64]map[uint64]struct{}
}

func newNonceSet(limit int) *nonceSet {
	return &nonceSet{max: limit, seed: maphash.MakeSeed(), ends: map[int64]map[uint64]struct{}{}}
}

// use takes a nonce that was signed for the instant at. It is refused when it
// was used already, or when there is no room.
func (s *nonceSet) use(nonce string, at, now time.Time) *APIError {
	until := now
	if at.After(now) {
		until = at
	}
	end := minute(until.Add(window)) + 2 // the last minute has to be over, and its requests done
	hash := maphash.String(s.seed, nonce)
	s.mu.Lock()
	defer s.mu.Unlock()
	for end, hashes := range s.ends {
		if end <= minute(now) {
			s.count -= len(hashes)
			delete(s.ends, end)
		} else if _, used := hashes[hash]; used {
			return coded("SignatureNonceUsed")
		}
	}
	if s.count >= s.max {
		return coded("Throttling.User")
	}
	if s.ends[end] == nil {
		s.ends[end] = map[uint64]struct{}{}
	}
	s.ends[end][hash] = struct{}{}
	s.count++
	return nil
}

func minute(t time.Time) int64 { return t.Unix() / 60 }
