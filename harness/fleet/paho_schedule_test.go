package fleet

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPahoSchedule(t *testing.T) {
	const s = time.Second
	p := pahoSchedule{max: 4 * s, attempt: 10 * s}
	now := time.Unix(1000, 0)
	losses := func(gaps ...time.Duration) (sleeps []time.Duration) {
		for _, gap := range gaps {
			now = now.Add(gap)
			sleeps = append(sleeps, p.lost(now))
		}
		return sleeps
	}
	// The limit is 6 s + the sleep before: reached exactly it is still continual.
	if d := cmp.Diff([]time.Duration{0, s, 2 * s, 4 * s, 4 * s, 0, 0}, losses(0, 6*s, 7*s, s, 10*s, 10*s+1, 6*s+1)); d != "" {
		t.Errorf("losses:\n%s", d)
	}
	fails := func(gaps ...time.Duration) (sleeps []time.Duration) {
		for _, gap := range gaps {
			now = now.Add(gap)
			sleeps = append(sleeps, p.again(now))
		}
		return sleeps
	}
	if d := cmp.Diff([]time.Duration{s, 2 * s, 4 * s, 4 * s, s, 2 * s}, fails(0, s, 2*s, 4*s, 24*s+1, 21*s)); d != "" {
		t.Errorf("failed attempts:\n%s", d)
	}
	// A longest sleep below the first one.
	p = pahoSchedule{max: 10 * time.Millisecond, attempt: s}
	if d := cmp.Diff([]time.Duration{0, p.max, p.max}, losses(s, s, s)); d != "" {
		t.Errorf("short sleeps:\n%s", d)
	}
	if d := cmp.Diff([]time.Duration{p.max, p.max}, fails(s, s)); d != "" {
		t.Errorf("short sleeps:\n%s", d)
	}
}
