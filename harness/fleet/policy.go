package fleet

import (
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/scenarios"
)

// policy is one row of the table of reconnect policies.
type policy struct {
	name    string
	backoff func(scenarios.Reconnect) func(attempt int) time.Duration // nil = the library's own
}

// policies is the table. A policy says how long a client sleeps before each
// dial after a loss; it never ends, and the first connect is not its matter.
var policies = []policy{
	// The schedule of eclipse/paho.mqtt.golang: the first dial at once, unless
	// the previous loss was short ago; then 1 s, doubled up to Max.
	{name: pahoPolicy},
	// No sleep at all: the hardest stampede that a fleet can make.
	{"immediate", func(scenarios.Reconnect) func(int) time.Duration {
		return func(int) time.Duration { return 0 }
	}},
	// Delay before each dial, the first one too.
	{"fixed", func(r scenarios.Reconnect) func(int) time.Duration {
		return func(int) time.Duration { return r.Delay }
	}},
}

// Policies are the names of the reconnect policies that every driver has.
func Policies() []string {
	names := make([]string, len(policies))
	for i, p := range policies {
		names[i] = p.name
	}
	return names
}

// Backoff gives the sleep before dial number attempt (from 1) after a loss; nil
// for the policy paho, which is the library's own, and for no name at all. An
// unknown name is ErrPolicy, a negative delay ErrConfig.
func Backoff(r scenarios.Reconnect) (func(attempt int) time.Duration, error) {
	if r.Delay < 0 {
		return nil, fmt.Errorf("%w: reconnect delay %s", ErrConfig, r.Delay)
	}
	for _, p := range policies {
		switch {
		case p.name != r.Policy && (p.name != pahoPolicy || r.Policy != ""):
		case p.backoff == nil:
			return nil, nil
		default:
			return p.backoff(r), nil
		}
	}
	return nil, fmt.Errorf("%w %q", ErrPolicy, r.Policy)
}

const (
	// pahoFirstSleep is the first sleep of the policy paho.
	pahoFirstSleep = time.Second
	// pahoLossTime: a loss is continual when the one before is less than twice
	// this and its sleep ago.
	pahoLossTime = 3 * time.Second
	// pahoMaxSleep is the library's longest sleep where none is set.
	pahoMaxSleep = 10 * time.Minute
)

// pahoSchedule is the policy paho for a driver that is not paho: the sleeps of
// its backoff.go, version 1.5.1. There are two sequences, of losses and of
// failed attempts, each with a memory of its own that outlives an outage.
type pahoSchedule struct {
	max            time.Duration // longest sleep
	attempt        time.Duration // time-out of one attempt
	losses, failed pahoSequence
}

type pahoSequence struct {
	at    time.Time // of the latest one; zero = none yet
	sleep time.Duration
}

// lost is the sleep before the first dial after a loss.
func (p *pahoSchedule) lost(now time.Time) time.Duration {
	return p.losses.next(now, p.max, pahoLossTime, 0)
}

// again is the sleep after a failed attempt.
func (p *pahoSchedule) again(now time.Time) time.Duration {
	return p.failed.next(now, p.max, p.attempt, min(pahoFirstSleep, p.max))
}

// next is the sleep at now; first is what it is when nothing came shortly
// before.
func (s *pahoSequence) next(now time.Time, longest, process, first time.Duration) time.Duration {
	last := s.at
	s.at = now
	switch {
	case last.IsZero(), now.Sub(last) > 2*process+s.sleep:
		s.sleep = first
	case s.sleep == 0:
		s.sleep = min(pahoFirstSleep, longest)
	default:
		s.sleep = min(2*s.sleep, longest)
	}
	return s.sleep
}
