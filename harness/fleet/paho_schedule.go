package fleet

import "time"

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
