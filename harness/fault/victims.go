package fault

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// pickStream keeps the choice of victims apart from other uses of one seed.
const pickStream = 0x7665_7469_6d73

// pick chooses count of n clients, each as likely as the other, in an order
// that is random too: the same seed gives the same clients in the same order.
func pick(n, count int, seed uint64) []int {
	rng := rand.New(rand.NewPCG(seed, pickStream))
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	for i := range count { // Fisher and Yates, as far as needed
		j := i + int(rng.Uint64N(uint64(n-i)))
		all[i], all[j] = all[j], all[i]
	}
	return all[:count:count]
}

// countOf is the number of clients that a share means: rounded to the nearest,
// and at least one, so that a small fleet is not spared in silence.
func countOf(share float64, n int) int {
	if share <= 0 || n == 0 {
		return 0
	}
	return min(n, max(1, int(math.Round(share*float64(n)))))
}

// digest names the victims with their offsets and order.
func digest(victims []scenarios.Victim) string {
	h := sha256.New()
	var b [16]byte
	for _, v := range victims {
		binary.BigEndian.PutUint64(b[:8], uint64(v.Client))
		binary.BigEndian.PutUint64(b[8:], uint64(v.Offset))
		h.Write(b[:]) // a hash never fails to write
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
