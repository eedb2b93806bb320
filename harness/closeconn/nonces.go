package closeconn

import (
	"hash/maphash"
	"sync"
	"time"
)

// maxNonces bounds the nonces that are remembered for one key. A nonce is kept
// for 15 minutes after it came, and up to 30 when its timestamp is ahead, so
// this allows 4,660 calls a second without end, or any burst of 4 million. It
// costs MEASURED only when it is used.
const maxNonces = 1 << 22

// nonceSet remembers the nonces of one key while a request that carries one
// could be sent again. When it is full it refuses new ones: to forget one
// within its time would let a replay through.
type nonceSet struct {
	max  int
	seed maphash.Seed

	mu sync.Mutex
	// A nonce is known by a hash with a secret seed, so its length costs no
	// room: two of 4 million have the same by a chance of 5e-7, and then a good
	// request is refused.
	seen map[uint64]struct{}
	// ends holds the same by the minute in which they may be forgotten.
	ends   map[int64][]uint64
	oldest int64 // no minute before it is in ends
}

func newNonceSet(limit int) *nonceSet {
	return &nonceSet{max: limit, seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}, ends: map[int64][]uint64{}}
}

// use takes a nonce that was signed for the instant at. It is refused when it
// was used already, or when there is no room.
func (s *nonceSet) use(nonce string, at, now time.Time) *APIError {
	until := now
	if at.After(now) {
		until = at
	}
	end := minute(until.Add(window)) + 1 // the last minute has to be over
	hash := maphash.String(s.seed, nonce)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(minute(now))
	if _, used := s.seen[hash]; used {
		return coded("SignatureNonceUsed")
	}
	if len(s.seen) >= s.max {
		return coded("Throttling.User")
	}
	s.seen[hash] = struct{}{}
	s.ends[end] = append(s.ends[end], hash)
	return nil
}

// forget drops what ended in this minute or before.
func (s *nonceSet) forget(now int64) {
	if now <= s.oldest {
		return
	}
	s.oldest = now
	for end, hashes := range s.ends {
		if end > now {
			continue
		}
		for _, hash := range hashes {
			delete(s.seen, hash)
		}
		delete(s.ends, end)
	}
}

func minute(t time.Time) int64 { return t.Unix() / 60 }
