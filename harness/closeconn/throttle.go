package closeconn

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxSources bounds the source addresses that are told apart.
const maxSources = 4096

// throttle bounds the calls of each source address: a bucket of one second's
// calls, filled at the rate. IPv6 hosts count by their /64, which is what one
// of them has to itself.
type throttle struct {
	rate  rate.Limit
	burst int
	max   int

	mu      sync.Mutex
	sources map[netip.Prefix]*rate.Limiter
	// rest is shared by all that come when the table is full of others that are
	// busy, so that memory stays bounded and nobody is locked out for good.
	rest  *rate.Limiter
	swept time.Time // when idle sources were last looked for
}

func newThrottle(perSecond float64) *throttle {
	t := &throttle{rate: rate.Limit(perSecond), burst: max(1, int(math.Ceil(perSecond))), max: maxSources, sources: map[netip.Prefix]*rate.Limiter{}}
	t.rest = rate.NewLimiter(t.rate, t.burst)
	return t
}

// allow takes one call of an address (IP:PORT) out of its bucket.
func (t *throttle) allow(remoteAddr string, now time.Time) bool {
	return t.limiter(source(remoteAddr), now).AllowN(now, 1)
}

func (t *throttle) limiter(from netip.Prefix, now time.Time) *rate.Limiter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.sources[from]; l != nil {
		return l
	}
	if len(t.sources) >= t.max && now.Sub(t.swept) >= time.Second { // not at each call of a flood
		t.swept = now
		for known, l := range t.sources {
			if l.TokensAt(now) >= float64(t.burst) {
				delete(t.sources, known) // full again: forgetting it changes nothing
			}
		}
	}
	if len(t.sources) >= t.max {
		return t.rest
	}
	l := rate.NewLimiter(t.rate, t.burst)
	t.sources[from] = l
	return l
}

// source is who an address counts as; all that can not be read are one.
func source(remoteAddr string) netip.Prefix {
	addr, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := addr.Addr().Unmap().WithZone("")
	bits := ip.BitLen()
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits)
	return p
}
