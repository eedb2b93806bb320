package target

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"time"
)

// Gatekeeper is a target whose door can be made slow or narrow.
type Gatekeeper interface {
	// SetGate puts up a gate, in the place of the one of the same name. Gates of
	// different names stand one behind the other. A gate without a rule takes
	// that of its name away, which is no error if there is none: who waited at it
	// is let in, and who was left to hang is closed, before SetGate returns.
	//
	// The tally is of the gate that was there before, to its end.
	SetGate(ctx context.Context, g Gate) (GateTally, error)
}

// ErrGate says that a gate can not be put up as described.
var ErrGate = errors.New("gate")

// Gate is one thing that a broker does to clients at its door. At most one of
// the rules is set; with none, the door is open.
type Gate struct {
	Name string `json:"name"`
	// Clients is a regular expression of the whole client id; "" = every client.
	// What its groups catch, or else the id, decides for a share of the clients
	// together with Seed, so that the same ones are picked again.
	Clients string `json:"clients,omitempty"`
	Seed    uint64 `json:"seed,omitempty"`

	SlowAuth      *SlowAuth      `json:"slow_auth,omitempty"`
	RejectAuth    *RejectAuth    `json:"reject_auth,omitempty"`
	ConnectLimit  *ConnectLimit  `json:"connect_limit,omitempty"`
	SubscribeSlow *SubscribeSlow `json:"subscribe_slow,omitempty"`
	PublishQuota  *PublishQuota  `json:"publish_quota,omitempty"`
}

// SlowAuth is an authentication backend that takes its time. Attempts beyond
// its workers queue, first come first served, and beyond the queue they are
// refused as by a server that is unavailable (CONNACK 3). As the backend does
// not know it, the attempt of a client that has given up meanwhile keeps its
// place and its worker.
type SlowAuth struct {
	Delay        time.Duration `json:"delay_ns"`               // of one attempt, on average
	Distribution string        `json:"distribution,omitempty"` // DelayFixed, …; "" = DelayFixed
	Max          time.Duration `json:"max_ns,omitempty"`       // no attempt takes longer; 0 = no bound
	Workers      int           `json:"workers,omitempty"`      // attempts under way at once; 0 = no bound
	Queue        int           `json:"queue,omitempty"`        // attempts that wait for a worker; of no use without Workers
}

// The distributions of a delay.
const (
	DelayFixed       = "fixed"       // always Delay
	DelayUniform     = "uniform"     // evenly from 0 to 2 × Delay
	DelayExponential = "exponential" // with the mean Delay
)

// RejectAuth refuses a share of the clients at CONNECT, always the same ones.
type RejectAuth struct {
	Share float64 `json:"share"` // of the clients, 0 to 1
	// Code is the CONNACK return code of MQTT 3.1.1 section 3.2.2.3: RefusedUser
	// or RefusedAuthorization. A version 5 client is told 0x86 or 0x87.
	Code byte `json:"code"`
}

// The return codes of a refused CONNECT, MQTT 3.1.1 section 3.2.2.3.
const (
	RefusedUnavailable   = 3 // server unavailable; by version 5, 0x88 or 0x9F
	RefusedUser          = 4 // bad user name or password
	RefusedAuthorization = 5 // not authorized
)

// ConnectLimit is a token bucket of CONNECTs.
type ConnectLimit struct {
	Rate  float64 `json:"rate"`  // per second
	Burst int     `json:"burst"` // size of the bucket, which is full at first; at least 1
	Then  string  `json:"then"`  // what becomes of a CONNECT beyond it: ThenRefuse, ThenHang or ThenClose
}

// SubscribeSlow holds each SUBSCRIBE back. The broker handles the packets of one
// client one after another, so that those behind it, a PINGREQ too, wait as well.
type SubscribeSlow struct {
	Delay time.Duration `json:"delay_ns"`
}

// PublishQuota is a token bucket of PUBLISHes for each connection.
type PublishQuota struct {
	Rate  float64 `json:"rate"`  // per second
	Burst int     `json:"burst"` // size of the bucket, which is full at first; at least 1
	// Then is what becomes of a PUBLISH beyond it: ThenDelay (nothing more is
	// read of that connection until its turn has come) or ThenClose. None is
	// dropped.
	Then string `json:"then"`
}

// What becomes of what is beyond a limit.
const (
	ThenRefuse = "refuse" // CONNACK 3
	ThenHang   = "hang"   // no answer, until the gate is taken away, which closes it, or the client leaves
	ThenClose  = "close"  // no answer and a close
	ThenDelay  = "delay"
)

// GateTally is what came to a gate and what became of it: Seen is the sum of
// the next five.
type GateTally struct {
	Seen    int64 `json:"seen"`    // packets of its kind (CONNECT, SUBSCRIBE or PUBLISH) of its clients
	Passed  int64 `json:"passed"`  // let in, or handled
	Refused int64 `json:"refused"` // CONNECTs answered with a CONNACK that is not 0
	Closed  int64 `json:"closed"`  // connections closed without an answer
	Gone    int64 `json:"gone"`    // those whose client had given up before its turn came
	Held    int64 `json:"held"`    // those that wait now; none are left in the last tally of a gate
	Delayed int64 `json:"delayed"` // of all those, how many had to wait
	// Partial says that the broker ended while the gate stood, and with it what
	// had been counted until then: the counts are of the broker after it, if any.
	Partial bool `json:"partial,omitempty"`
}

// Open reports whether a gate has no rule.
func (g Gate) Open() bool { return g.rules() == 0 }

func (g Gate) rules() int {
	n := 0
	for _, set := range []bool{
		g.SlowAuth != nil, g.RejectAuth != nil, g.ConnectLimit != nil, g.SubscribeSlow != nil, g.PublishQuota != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// Check says what is wrong with a gate; the error wraps ErrGate.
func (g Gate) Check() error {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("%w %q: "+format, append([]any{ErrGate, g.Name}, args...)...)
	}
	if _, err := regexp.Compile(g.Clients); err != nil {
		return fail("clients: %w", err)
	}
	if g.rules() > 1 {
		return fail("it has %d rules, want one", g.rules())
	}
	switch {
	case g.SlowAuth != nil:
		s := g.SlowAuth
		known := s.Distribution == "" || s.Distribution == DelayFixed || s.Distribution == DelayUniform || s.Distribution == DelayExponential
		if s.Delay < 0 || s.Max < 0 || s.Workers < 0 || s.Queue < 0 || !known {
			return fail("slow-auth: %+v", *s)
		}
	case g.RejectAuth != nil:
		r := g.RejectAuth
		if !(r.Share >= 0 && r.Share <= 1) || r.Code != RefusedUser && r.Code != RefusedAuthorization {
			return fail("reject-auth: %+v", *r)
		}
	case g.ConnectLimit != nil:
		l := g.ConnectLimit
		if !bucket(l.Rate, l.Burst) || l.Then != ThenRefuse && l.Then != ThenHang && l.Then != ThenClose {
			return fail("connect-limit: %+v", *l)
		}
	case g.SubscribeSlow != nil && g.SubscribeSlow.Delay < 0:
		return fail("subscribe-slow: %+v", *g.SubscribeSlow)
	case g.PublishQuota != nil:
		q := g.PublishQuota
		if !bucket(q.Rate, q.Burst) || q.Then != ThenDelay && q.Then != ThenClose {
			return fail("publish-quota: %+v", *q)
		}
	}
	return nil
}

// bucket reports whether a token bucket can be made.
func bucket(rate float64, burst int) bool { return rate > 0 && !math.IsInf(rate, 1) && burst >= 1 }
