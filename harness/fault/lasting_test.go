package fault

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// held plans a lasting fault on three clients, 100 ms apart, and counts who is held.
func held(t *testing.T, params map[string]string) (l *lasting, now func() []int) {
	t.Helper()
	pf := scenarios.PlanFault{Kind: "test", Fleet: "devices", Count: 3, Params: params, Victims: []scenarios.Victim{
		{Client: 4}, {Client: 2, Offset: 100 * time.Millisecond}, {Client: 7, Offset: 200 * time.Millisecond},
	}}
	var mu sync.Mutex
	holds := map[int]int{}
	l, err := newLasting(pf,
		func(_ context.Context, env *Env, a *timeline.Action) {
			mu.Lock()
			defer mu.Unlock()
			a.Issued = env.Clock.Now()
			holds[a.Client]++
			answered(env, a, nil)
		},
		func(_ *Env, a *timeline.Action) error {
			mu.Lock()
			defer mu.Unlock()
			holds[a.Client]--
			return nil
		})
	if err != nil {
		t.Fatal(err)
	}
	return l, func() (list []int) {
		mu.Lock()
		defer mu.Unlock()
		for c, n := range holds {
			if n < 0 || n > 1 {
				t.Errorf("client %d is held %d times", c, n)
			}
			if n == 1 {
				list = append(list, c)
			}
		}
		slices.Sort(list)
		return list
	}
}

// TestLastingReleasesInTime: each victim is held at its instant, for `for`.
func TestLastingReleasesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, now := held(t, map[string]string{"for": "150ms"})
		env, actions := testEnv(&clients{})
		done := make(chan error, 1)
		go func() { done <- l.Inject(t.Context(), env) }()
		for _, step := range []struct {
			wait time.Duration
			want []int
		}{
			{1010 * time.Millisecond, []int{4}},
			{100 * time.Millisecond, []int{2, 4}}, // 110 ms
			{50 * time.Millisecond, []int{2}},     // 160 ms
			{50 * time.Millisecond, []int{2, 7}},  // 210 ms
			{50 * time.Millisecond, []int{7}},     // 260 ms
			{100 * time.Millisecond, nil},         // 360 ms
		} {
			time.Sleep(step.wait)
			synctest.Wait()
			if got := now(); !slices.Equal(got, step.want) {
				t.Errorf("held are %v, want %v", got, step.want)
			}
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := errors.Join(l.Heal(t.Context(), env), l.Heal(t.Context(), env)); err != nil {
			t.Error(err)
		}
		if len(*actions) != 6 {
			t.Fatalf("%d records, want two a victim", len(*actions))
		}
		for _, a := range *actions {
			if !a.Lasting || !a.OK || a.Until != 0 && a.Until-a.Issued != timeline.Instant(150*time.Millisecond) {
				t.Errorf("%+v", a)
			}
		}
	})
}

// TestLastingHeals: Heal releases everybody, once, also after an Inject that
// was cut short, and without one.
func TestLastingHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, params := range []map[string]string{{}, {"for": "1h"}} {
			fresh, _ := held(t, params)
			c := &clients{}
			env, actions := testEnv(c)
			if err := fresh.Heal(t.Context(), env); err != nil {
				t.Error(err)
			}
			l, now := held(t, params)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(1150*time.Millisecond, cancel)
			if err := l.Inject(ctx, env); !errors.Is(err, ErrStopped) {
				t.Errorf("an Inject that was cut short: %v", err)
			}
			if got := now(); !slices.Equal(got, []int{2, 4}) {
				t.Errorf("held are %v", got)
			}
			if err := errors.Join(l.Heal(t.Context(), env), l.Heal(t.Context(), env)); err != nil {
				t.Error(err)
			}
			if got := now(); len(got) != 0 || len(*actions) != 4 {
				t.Errorf("held are %v after Heal, %d records", got, len(*actions))
			}
			slices.Sort(c.calls)
			if want := []string{"holding devices-2", "holding devices-4", "released devices-2", "released devices-4"}; !slices.Equal(c.calls, want) {
				t.Errorf("told %v, want %v", c.calls, want)
			}
		}
	})
}

// TestLastingNotLifted: a victim that can not be released is told of in its
// record and by Heal.
func TestLastingNotLifted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, _ := held(t, nil)
		broken := errors.New("broken")
		l.release = func(*Env, *timeline.Action) error { return broken }
		env, actions := testEnv(&clients{})
		if err := l.Inject(t.Context(), env); err != nil {
			t.Error(err)
		}
		if err := l.Heal(t.Context(), env); !errors.Is(err, broken) {
			t.Error(err)
		}
		if last := (*actions)[5]; last.OK || last.Err != "not lifted: broken" {
			t.Errorf("%+v", last)
		}
	})
}

// TestExtent: a fault without victims takes effect at its instant and is lifted
// after its time, or by Heal, once.
func TestExtent(t *testing.T) {
	broken := errors.New("broken")
	for name, tc := range map[string]struct {
		params          map[string]string
		take, heal      error
		skip            string
		length          time.Duration // it holds, 0 = it never did
		ok              bool
		err             error
		takes, healings int
	}{
		"to the end":         {params: map[string]string{"after": "1s"}, length: 9 * time.Second, ok: true, takes: 1, healings: 1},
		"for a time":         {params: map[string]string{"after": "1s", "for": "2s"}, length: 2 * time.Second, ok: true, takes: 1, healings: 1},
		"not taken":          {params: map[string]string{"after": "1s", "for": "2s"}, take: broken, takes: 1},
		"skipped":            {params: map[string]string{"after": "1s", "for": "2s"}, skip: "no nft", takes: 1},
		"not lifted in time": {params: map[string]string{"after": "1s", "for": "2s"}, heal: broken, length: 2 * time.Second, takes: 1, healings: 1},
		"not lifted":         {params: map[string]string{"after": "1s"}, heal: broken, length: 9 * time.Second, err: broken, takes: 1, healings: 1},
		"too late":           {params: map[string]string{"after": "20s"}, err: ErrStopped},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				takes, healings := 0, 0
				x, err := newExtent(scenarios.PlanFault{Kind: "test", Params: tc.params}, true,
					func(_ context.Context, _ *Env, e *timeline.Extent) error {
						takes++
						e.Skipped = tc.skip
						return tc.take
					},
					func(context.Context, *Env, *timeline.Extent) error { healings++; return tc.heal })
				if err != nil {
					t.Fatal(err)
				}
				env, _ := testEnv(nil)
				var last timeline.Extent
				env.Extent = func(e *timeline.Extent) { last = *e }
				env.Start = env.Clock.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				err = x.Inject(ctx, env)
				<-ctx.Done()
				synctest.Wait()
				err = errors.Join(err, x.Heal(t.Context(), env), x.Heal(t.Context(), env))
				if !errors.Is(err, tc.err) || (tc.err == nil) != (err == nil) {
					t.Errorf("error %v, want %v", err, tc.err)
				}
				if takes != tc.takes || healings != tc.healings {
					t.Errorf("taken %d times, lifted %d times", takes, healings)
				}
				if length := time.Duration(max(0, last.Healed-last.Taken)); length != tc.length || last.OK != tc.ok {
					t.Errorf("it held %s: %+v", length, last)
				}
			})
		})
	}
}
