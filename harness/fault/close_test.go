package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// plan plans a close with the parameters as written in a file.
func plan(t *testing.T, params string, clients int, seed uint64) (scenarios.PlanFault, error) {
	t.Helper()
	return planAs(t, "close", params, clients, seed)
}

// planAs plans a fault of any kind.
func planAs(t *testing.T, kind, params string, clients int, seed uint64) (scenarios.PlanFault, error) {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Load([]byte(params), &doc); err != nil {
		t.Fatal(err)
	}
	node := &doc
	if doc.Kind == yaml.DocumentNode {
		node = doc.Content[0]
	}
	row, err := Find(kind)
	if err != nil {
		t.Fatal(err)
	}
	spec := scenarios.FaultSpec{Kind: kind, Params: node, Pos: scenarios.Pos{File: "x.yaml", Line: 1, Column: 1}}
	fleets := []scenarios.PlanFleet{{Clients: clients, Fleet: scenarios.Fleet{Name: "devices"}}, {Clients: 3, Fleet: scenarios.Fleet{Name: "watchers"}}}
	return row.Plan(spec, fleets, seed)
}

func mustPlan(t *testing.T, params string, clients int) scenarios.PlanFault {
	t.Helper()
	pf, err := plan(t, params, clients, 1)
	if err != nil {
		t.Fatal(err)
	}
	return pf
}

func TestPlanClose(t *testing.T) {
	for _, tc := range []struct {
		params      string
		fleet       string
		count       int
		first, last time.Duration
		resolved    string
	}{
		{"{}", "devices", 100, 0, 0, "map[after:0s spread:0s who:share 100%]"},
		{"{who: {share: 5%}, after: 5s}", "devices", 5, 5 * time.Second, 5 * time.Second, "map[after:5s spread:0s who:share 5%]"},
		{"{who: {count: 10}, spread: 1s}", "devices", 10, 0, 900 * time.Millisecond, "map[after:0s spread:1s who:count 10]"},
		{"{rate: 1000/s, after: 1s}", "devices", 100, time.Second, 1099 * time.Millisecond, "map[after:1s rate:1000/s who:share 100%]"},
		{"{fleet: watchers, rate: 1/5s}", "watchers", 3, 0, 10 * time.Second, "map[after:0s rate:0.2/s who:share 100%]"},
	} {
		pf := mustPlan(t, tc.params, 100)
		if pf.Kind != "close" || pf.Fleet != tc.fleet || pf.Count != tc.count || len(pf.Victims) != tc.count || len(pf.Digest) != 16 {
			t.Errorf("%s: %s %s count %d of %d victims, digest %s", tc.params, pf.Kind, pf.Fleet, pf.Count, len(pf.Victims), pf.Digest)
			continue
		}
		first, last := pf.Victims[0].Offset, pf.Victims[tc.count-1].Offset
		if first != tc.first || last != tc.last || fmt.Sprint(pf.Params) != tc.resolved {
			t.Errorf("%s: offsets %s to %s, %v", tc.params, first, last, pf.Params)
		}
		again := mustPlan(t, tc.params, 100)
		if again.Digest != pf.Digest || !slices.Equal(again.Victims, pf.Victims) {
			t.Errorf("%s: the same seed gave other victims", tc.params)
		}
		other, err := plan(t, tc.params, 100, 2)
		if err != nil || other.Digest == pf.Digest {
			t.Errorf("%s: another seed gave the same digest, %v", tc.params, err)
		}
	}
}

func TestPlanCloseErrors(t *testing.T) {
	for params, want := range map[string]string{
		"{fleet: none}":           `x.yaml:1:9: fleet: no fleet is named "none"`,
		"{who: {count: 101}}":     "x.yaml:1:15: count is 101, and fleet devices has 100 clients",
		"{who: {share: 0%}}":      "x.yaml:1:7: who names no victim",
		"{who: {labels: x}}":      `x.yaml:1:8: unknown key "labels"`,
		"{colour: red}":           `x.yaml:1:2: unknown key "colour"`,
		"{spread: soon}":          `x.yaml:1:10: spread is "soon": want a duration`,
		"{spread: 1s, rate: 1/s}": "x.yaml:1:20: close has at most one of spread, rate and poisson",
		"{rate: [1]}":             "x.yaml:1:8: rate: want one value",
	} {
		_, err := plan(t, params, 100, 1)
		var errs scenarios.Errors
		if !errors.As(err, &errs) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", params, err, want)
		}
	}
	if _, err := planClose(scenarios.FaultSpec{Kind: "close", Pos: scenarios.Pos{File: "x.yaml", Line: 3, Column: 5}}, nil, 1); err == nil || !strings.HasPrefix(err.Error(), "x.yaml:3:5: ") {
		t.Errorf("no fleets: %v", err)
	}
}

func TestNewNeedsVictims(t *testing.T) {
	pf := mustPlan(t, "{}", 10)
	pf.Victims = nil
	if _, err := newClose(pf); !errors.Is(err, ErrNoVictims) {
		t.Errorf("%v", err)
	}
}

// closer is a fake: each call takes as long as delay says.
type closer struct {
	delay func(id string) time.Duration
	err   func(id string) error
	pace  func(ctx context.Context) error // of the Env
	tries int

	mu         sync.Mutex
	order      []string
	open, most int
}

func (c *closer) CloseConnection(ctx context.Context, id string) (target.Closed, error) {
	c.mu.Lock()
	c.order = append(c.order, id)
	c.open++
	c.most = max(c.most, c.open)
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.open--
	}()
	if c.delay != nil {
		select {
		case <-time.After(c.delay(id)):
		case <-ctx.Done():
			return target.Closed{}, context.Cause(ctx)
		}
	}
	if c.err != nil {
		if err := c.err(id); err != nil {
			return target.Closed{}, err
		}
	}
	found := true
	return target.Closed{Found: &found, At: 42, Tries: c.tries}, nil
}

// inject runs one close in a bubble of fake time and gives what it recorded.
// The wave starts a second after the call.
func inject(t *testing.T, ctx context.Context, pf scenarios.PlanFault, c *closer, concurrency int) ([]timeline.Action, *Env, error) {
	t.Helper()
	f, err := newClose(pf)
	if err != nil {
		t.Fatal(err)
	}
	clock := timeline.NewClock()
	var actions []timeline.Action // no lock: Record is never called twice at once
	last := 0
	env := &Env{
		Clock: clock, Closer: c, Phase: "storm", Wave: 2, Start: clock.Now() + timeline.Instant(time.Second), Concurrency: concurrency, Pace: c.pace,
		Record:   func(a timeline.Action) { actions = append(actions, a) },
		ClientID: func(fleet string, client int) string { return fmt.Sprintf("%s-%d", fleet, client) },
		Progress: func(issued int) {
			if issued != last+1 {
				t.Errorf("progress went from %d to %d", last, issued)
			}
			last = issued
		},
	}
	err = f.Inject(ctx, env)
	if len(actions) != last {
		t.Errorf("%d calls were begun and %d recorded", last, len(actions))
	}
	if err := f.Heal(ctx, env); err != nil {
		t.Error(err)
	}
	slices.SortStableFunc(actions, func(a, b timeline.Action) int { return int(a.Issued - b.Issued) })
	return actions, env, err
}

// TestInject: each victim once, in the order of the plan, each at its instant
// to the nanosecond of the fake clock, with everything recorded.
func TestInject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pf := mustPlan(t, "{rate: 100/s, after: 2s}", 50)
		slices.Reverse(pf.Victims) // a plan's order is not the timetable's
		c := &closer{delay: func(string) time.Duration { return 3 * time.Millisecond }}
		actions, env, err := inject(t, t.Context(), pf, c, 0)
		if err != nil || len(actions) != 50 {
			t.Fatalf("%d actions, %v", len(actions), err)
		}
		for i, a := range actions {
			v := pf.Victims[49-i]
			at := env.Start + timeline.Instant(2*time.Second+time.Duration(i)*10*time.Millisecond)
			want := timeline.Action{Fault: "close", Phase: "storm", Wave: 2, Fleet: "devices", Client: v.Client,
				ClientID: fmt.Sprintf("devices-%d", v.Client), Intended: at, Issued: at, Closed: 42,
				Answered: at + timeline.Instant(3*time.Millisecond), OK: true, Found: a.Found}
			if a != want || a.Found == nil || !*a.Found {
				t.Errorf("action %d is\n%+v, want\n%+v", i, a, want)
			}
		}
	})
}

// TestInjectBound: no more calls are open than allowed, all of them are used,
// and what had to wait shows as lag.
func TestInjectBound(t *testing.T) {
	for concurrency, want := range map[int]int{0: DefaultConcurrency, 10: 10, 1000: 200} {
		synctest.Test(t, func(t *testing.T) {
			c := &closer{delay: func(string) time.Duration { return time.Second }}
			actions, _, err := inject(t, t.Context(), mustPlan(t, "{}", 200), c, concurrency)
			if err != nil || len(actions) != 200 || c.most != want {
				t.Errorf("%d actions, %d open at most, want %d, %v", len(actions), c.most, want, err)
			}
			rounds := time.Duration((199 / want)) * time.Second
			if lag := time.Duration(actions[199].Issued - actions[199].Intended); lag != rounds {
				t.Errorf("the last call lags %s, want %s", lag, rounds)
			}
		})
	}
}

// TestInjectPaced: what a service's pace holds back is lag, to the nanosecond,
// and no part of its answer; the traffic before a kick waits with it.
func TestInjectPaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const step = 20 * time.Millisecond
		tick := time.NewTicker(step)
		defer tick.Stop()
		c := &closer{tries: 2, delay: func(string) time.Duration { return 7 * time.Millisecond }}
		c.pace = func(ctx context.Context) error {
			select {
			case <-tick.C:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		actions, env, err := inject(t, t.Context(), mustPlan(t, "{}", 10), c, 0)
		if err != nil || len(actions) != 10 {
			t.Fatalf("%d actions, %v", len(actions), err)
		}
		for i, a := range actions {
			lag, answer := time.Duration(a.Issued-a.Intended), time.Duration(a.Answered-a.Issued)
			// The first tick is one that came while the wave was waited for.
			if a.Intended != env.Start || lag != time.Duration(i)*step || answer != 7*time.Millisecond || a.Tries != 2 {
				t.Errorf("call %d lags %s and is answered in %s after %d tries", i, lag, answer, a.Tries)
			}
		}
	})
}

// TestInjectPaceEnds: a run that is stopped does not wait for the pace.
func TestInjectPaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c := &closer{pace: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		actions, _, err := inject(t, ctx, mustPlan(t, "{}", 10), c, 0)
		if len(actions) != 0 || !errors.Is(err, ErrStopped) {
			t.Errorf("%d actions, %v", len(actions), err)
		}
	})
}

// TestInjectSlowCloser: one stuck call delays no other while a worker is free;
// when none is, the delay is lag and not silence.
func TestInjectSlowCloser(t *testing.T) {
	for concurrency, lagging := range map[int]int{2: 0, 1: 9} {
		synctest.Test(t, func(t *testing.T) {
			pf := mustPlan(t, "{rate: 1/s}", 10)
			slow := fmt.Sprintf("devices-%d", pf.Victims[0].Client)
			c := &closer{delay: func(id string) time.Duration {
				if id == slow {
					return time.Hour
				}
				return 0
			}}
			actions, _, err := inject(t, t.Context(), pf, c, concurrency)
			if err != nil || len(actions) != 10 {
				t.Fatalf("%d actions, %v", len(actions), err)
			}
			late := 0
			for _, a := range actions {
				if a.Issued > a.Intended {
					late++
				}
				if a.Issued < a.Intended {
					t.Errorf("client %d was closed before its instant", a.Client)
				}
			}
			if late != lagging {
				t.Errorf("%d workers: %d calls lag, want %d", concurrency, late, lagging)
			}
		})
	}
}

// TestInjectErrors: a failed call is a record, not the end.
func TestInjectErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pf := mustPlan(t, "{}", 10)
		bad := fmt.Sprintf("devices-%d", pf.Victims[3].Client)
		c := &closer{err: func(id string) error {
			if id == bad {
				return errors.New("no such route")
			}
			return nil
		}}
		actions, _, err := inject(t, t.Context(), pf, c, 0)
		if err != nil || len(actions) != 10 {
			t.Fatalf("%d actions, %v", len(actions), err)
		}
		for _, a := range actions {
			failed := a.ClientID == bad
			if a.OK == failed || (a.Err == "no such route") != failed || (a.Found == nil) != failed || a.Answered == 0 {
				t.Errorf("%+v", a)
			}
		}
	})
}

// TestInjectCancel: after the cancel no call begins, open ones end and are
// recorded, and what was not issued is not recorded.
func TestInjectCancel(t *testing.T) {
	for name, tc := range map[string]struct {
		after, delay time.Duration
		concurrency  int
		issued       int
	}{
		"before the wave":      {500 * time.Millisecond, 0, 0, 0},
		"between two victims":  {3500 * time.Millisecond, 0, 0, 3}, // at 1, 2 and 3 s
		"with open calls":      {3500 * time.Millisecond, time.Hour, 0, 3},
		"with no free worker":  {3500 * time.Millisecond, time.Hour, 2, 2},
		"before it is called":  {0, 0, 0, 0},
		"after the last of it": {time.Hour, 0, 0, 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			stopped := errors.New("stopped by a test")
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			if tc.after == 0 {
				cancel(stopped)
			} else {
				defer time.AfterFunc(tc.after, func() { cancel(stopped) }).Stop()
			}
			c := &closer{delay: func(string) time.Duration { return tc.delay }}
			actions, _, err := inject(t, ctx, mustPlan(t, "{rate: 1/s}", 10), c, tc.concurrency)
			if len(actions) != tc.issued || len(c.order) != tc.issued {
				t.Errorf("%s: %d calls, %d recorded, want %d", name, len(c.order), len(actions), tc.issued)
			}
			if early := tc.issued < 10; early != (errors.Is(err, ErrStopped) && errors.Is(err, stopped)) {
				t.Errorf("%s: %v", name, err)
			}
			for _, a := range actions {
				if a.OK == (tc.delay > 0) || a.Answered == 0 {
					t.Errorf("%s: %+v", name, a)
				}
			}
		})
	}
}

// BenchmarkInject is the cost of one victim: the dispatcher's own rate must be
// far above what any endpoint answers.
func BenchmarkInject(b *testing.B) {
	victims := make([]scenarios.Victim, b.N)
	f, err := newClose(scenarios.PlanFault{Kind: "close", Fleet: "devices", Count: b.N, Victims: victims})
	if err != nil {
		b.Fatal(err)
	}
	clock := timeline.NewClock()
	env := &Env{Clock: clock, Closer: instant{}, Start: clock.Now(), Record: func(timeline.Action) {}, ClientID: func(string, int) string { return "x" }}
	b.ReportAllocs()
	if err := f.Inject(b.Context(), env); err != nil {
		b.Fatal(err)
	}
}

type instant struct{}

func (instant) CloseConnection(context.Context, string) (target.Closed, error) {
	return target.Closed{}, nil
}
