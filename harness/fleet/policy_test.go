package fleet

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestBackoff(t *testing.T) {
	for _, tc := range []struct {
		r    scenarios.Reconnect
		want []time.Duration // of attempts 1, 2, 3; nil = the library's own
		err  error
	}{
		{scenarios.Reconnect{}, nil, nil},
		{scenarios.Reconnect{Policy: "paho", Max: time.Second}, nil, nil},
		{scenarios.Reconnect{Policy: "immediate", Delay: time.Second}, []time.Duration{0, 0, 0}, nil},
		{scenarios.Reconnect{Policy: "fixed", Delay: 3 * time.Second}, []time.Duration{3 * time.Second, 3 * time.Second, 3 * time.Second}, nil},
		{scenarios.Reconnect{Policy: "never"}, nil, ErrPolicy},
		{scenarios.Reconnect{Policy: "fixed", Delay: -1}, nil, ErrConfig},
	} {
		f, err := Backoff(tc.r)
		if !errors.Is(err, tc.err) || (f == nil) != (tc.want == nil) {
			t.Errorf("%+v: %v, own backoff %t", tc.r, err, f != nil)
			continue
		}
		for i, want := range tc.want {
			if got := f(i + 1); got != want {
				t.Errorf("%+v: attempt %d sleeps %s, want %s", tc.r, i+1, got, want)
			}
		}
	}
}

// Every driver has every policy of the table, and no other.
func TestDriversHaveThePolicies(t *testing.T) {
	names := Policies()
	if want := []string{"paho", "immediate", "fixed"}; !slices.Equal(names, want) {
		t.Errorf("policies %v, want %v", names, want)
	}
	for _, d := range Drivers() {
		for _, name := range names {
			c, err := d.New(Settings{ClientID: "c", Addr: "h:1", Reconnect: scenarios.Reconnect{Policy: name}})
			if err != nil {
				t.Errorf("%s, %s: %v", d.Info().Name, name, err)
				continue
			}
			c.Close()
		}
		if _, err := d.New(Settings{ClientID: "c", Addr: "h:1", Reconnect: scenarios.Reconnect{Policy: "never"}}); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: unknown policy: %v", d.Info().Name, err)
		}
	}
}

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
