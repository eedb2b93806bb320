package fleet

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// Never is a sleep that does not end: the client gives up and dials no more,
// unless it is told to (the fault disconnect).
const Never time.Duration = -1

// Policy is one row of the table of reconnect policies. An own one joins by
// value.
type Policy struct {
	Name string
	Doc  string // one sentence
	// Backoff gives the sleeps of one client: before dial number attempt (from 1)
	// after a loss, or Never. The sequence restarts when a broker has accepted
	// the client, with CONNACK 0: attempt is 1 again, whether the client was back
	// by then or not. The first connect is not the policy's matter. draw is the
	// client's own, seeded by the run: with it, and nothing else that is random,
	// the sleeps repeat with the plan, whatever order clients are lost in. The
	// calls for one client never overlap. A nil Backoff is the library's own
	// schedule.
	Backoff func(r scenarios.Reconnect, draw *rand.Rand) func(attempt int) time.Duration
}

// Policies is the table of reconnect policies: the built-in rows, which every
// driver has, then the extra ones.
//
// In the formulas n counts the failed attempts since the loss, from 0: the
// sleep before the first dial after a loss is that of n = 0. base and max are
// scenarios.Reconnect.Base and Max, rand(a, b) is uniform from a to b.
func Policies(extra ...Policy) []Policy {
	return append([]Policy{
		{pahoPolicy, "The library's own: at once, without jitter; after a loss shortly before, and between attempts, 1 s, doubled up to max.", nil},
		{"immediate", "Dials again at once: the hardest stampede that a fleet can make.", immediate},
		{"fixed", "Sleeps for delay before each dial, the first one too.", fixed},
		{"exponential", "min(max, base × 2^n): clients that were lost together come together, ever more seldom.", exponential},
		{"full-jitter", "rand(0, min(max, base × 2^n)).", fullJitter},
		{"equal-jitter", "Half of min(max, base × 2^n), and as much again at random.", equalJitter},
		{"decorrelated", "min(max, rand(base, 3 × the sleep before)).", decorrelated},
		{"truncated-exponential", "min(max, base × 2^n + rand(0, base)).", truncatedExponential},
		{"percent-jitter", "min(max, base × 2^n) ± 25 % at random.", percentJitter},
		{scenarios.PolicyNone, "Never dials again by itself.", none},
	}, extra...)
}

// FindPolicy picks the row with that name, "" = paho; a later row wins, so that
// an own policy can replace a built-in one. An unknown name is ErrPolicy.
func FindPolicy(name string, rows []Policy) (Policy, error) {
	if name == "" {
		name = pahoPolicy
	}
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i].Name == name {
			return rows[i], nil
		}
	}
	return Policy{}, fmt.Errorf("%w %q", ErrPolicy, name)
}

// backoffOf gives the sleeps of one client; nil = the library's own. The seed is
// the fleet's, the stream the client's.
func backoffOf(r scenarios.Reconnect, rows []Policy, seed, stream uint64) (func(attempt int) time.Duration, error) {
	if r.Delay < 0 || r.Base < 0 || r.Max < 0 {
		return nil, fmt.Errorf("%w: a reconnect sleep below 0", ErrConfig)
	}
	p, err := FindPolicy(r.Policy, rows)
	if err != nil || p.Backoff == nil {
		return nil, err
	}
	return p.Backoff(r, rand.New(rand.NewPCG(seed, stream))), nil
}

// ownBackoff is the policy for a client without a fleet: of the built-in rows,
// and its draws are those of its id.
func ownBackoff(s Settings) (func(attempt int) time.Duration, error) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s.ClientID)) // never an error
	return backoffOf(s.Reconnect, Policies(), 0, h.Sum64())
}

func immediate(scenarios.Reconnect, *rand.Rand) func(int) time.Duration {
	return func(int) time.Duration { return 0 }
}

func fixed(r scenarios.Reconnect, _ *rand.Rand) func(int) time.Duration {
	return func(int) time.Duration { return r.Delay }
}

func none(scenarios.Reconnect, *rand.Rand) func(int) time.Duration {
	return func(int) time.Duration { return Never }
}

// exponential is min(cap, base × 2^n): "Exponential Backoff And Jitter", AWS
// Architecture Blog 2015, without jitter; ExpoBackoff of its simulator
// (aws-samples/aws-arch-backoff-simulator, src/backoff_simulator.py), whose n
// begins at 1.
func exponential(r scenarios.Reconnect, _ *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration { return doubled(r, attempt) }
}

// fullJitter is rand(0, min(cap, base × 2^n)): "Full Jitter" of the same article,
// ExpoBackoffFullJitter of its simulator.
func fullJitter(r scenarios.Reconnect, draw *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration { return upTo(draw, doubled(r, attempt)) }
}

// equalJitter is v/2 + rand(0, v/2) with v = min(cap, base × 2^n): "Equal Jitter"
// of the same article, ExpoBackoffEqualJitter of its simulator.
func equalJitter(r scenarios.Reconnect, draw *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration {
		half := doubled(r, attempt) / 2
		return half + upTo(draw, half)
	}
}

// decorrelated is sleep = min(cap, rand(base, 3 × sleep)), beginning with sleep =
// base: "Decorrelated Jitter" of the same article, ExpoBackoffDecorr of its
// simulator.
func decorrelated(r scenarios.Reconnect, draw *rand.Rand) func(int) time.Duration {
	sleep := r.Base
	return func(attempt int) time.Duration {
		if attempt <= 1 {
			sleep = r.Base
		}
		sleep = min(r.Max, r.Base+upTo(draw, 3*sleep-r.Base))
		return sleep
	}
}

// truncatedExponential is min(2^n s + up to 1,000 ms at random, cap), the cap
// 32 s or 64 s: "Retry strategy" of Cloud IoT Core, of Google and then of
// ClearBlade, whose base is 1 s and whose jitter is as long.
func truncatedExponential(r scenarios.Reconnect, draw *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration { return min(r.Max, doubled(r, attempt)+upTo(draw, r.Base)) }
}

// percentJitter is d ± up to d/4 with d = min(base × 2^n, max), so that a sleep
// reaches 1.25 × max: MqttClientAutoReconnectImpl.onDisconnect of the HiveMQ MQTT
// client (hivemq/hivemq-mqtt-client), whose defaults are 1 s and 2 min.
func percentJitter(r scenarios.Reconnect, draw *rand.Rand) func(int) time.Duration {
	return func(attempt int) time.Duration {
		d := doubled(r, attempt)
		return d - d/4 + upTo(draw, d/4*2)
	}
}

// doubled is min(max, base × 2^n), n being the attempts before this one.
func doubled(r scenarios.Reconnect, attempt int) time.Duration {
	d := r.Base
	for n := 1; n < attempt; n++ {
		if d > r.Max/2 {
			return r.Max
		}
		d *= 2
	}
	return min(d, r.Max)
}

// upTo draws from 0 to d, both included.
func upTo(draw *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(draw.Int64N(int64(max(d, 0)) + 1))
}
