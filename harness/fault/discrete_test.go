package fault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// TestRepeats: each victim is hit so often, each hit in its slot, and jitter
// moves it forward by at most its share of the slot.
func TestRepeats(t *testing.T) {
	const every = 100 * time.Millisecond
	for _, kind := range Kinds() {
		if !strings.Contains(string(kind.Schema), `"times"`) {
			continue // it hits once
		}
		own := map[string]string{
			"swallow": "packet: PUBACK, direction: in, ", "cut": "packet: PUBACK, direction: in, side: after, ", "truncate": "packet: PUBACK, direction: in, ",
		}[kind.Name]
		for jitter, most := range map[string]time.Duration{"0%": 0, "50%": every / 2, "100%": every} {
			params := "{" + own + "who: {count: 4}, after: 1s, times: 50, every: 100ms, jitter: " + jitter + "}"
			pf, err := planAs(t, kind.Name, params, 10, 1)
			if err != nil {
				t.Fatal(err)
			}
			again, _ := planAs(t, kind.Name, params, 10, 1)
			other, _ := planAs(t, kind.Name, params, 10, 2)
			if pf.Count != 200 || len(pf.Victims) != 200 || again.Digest != pf.Digest || other.Digest == pf.Digest || pf.Digest != digest(pf.Victims) {
				t.Errorf("%s: %d of %d hits, digests %s %s %s", kind.Name, len(pf.Victims), pf.Count, pf.Digest, again.Digest, other.Digest)
			}
			hits := map[int][]time.Duration{}
			for _, v := range pf.Victims {
				hits[v.Client] = append(hits[v.Client], v.Offset)
			}
			var late time.Duration
			for client, offsets := range hits {
				if len(hits) != 4 || len(offsets) != 50 || !slices.IsSorted(offsets) {
					t.Errorf("%s: client %d of %d: %v", kind.Name, client, len(hits), offsets)
				}
				for i, o := range offsets {
					in := o - time.Second - time.Duration(i)*every
					late = max(late, in)
					if in < 0 || in > most || most > 0 && in == most {
						t.Errorf("%s, jitter %s: hit %d is %s into its slot", kind.Name, jitter, i, in)
					}
				}
			}
			if late < most*9/10 { // of 200 draws
				t.Errorf("%s, jitter %s moves by %s at most", kind.Name, jitter, late)
			}
			if want := "times:50"; !strings.Contains(fmt.Sprint(pf.Params), want) || (pf.Params["jitter"] == "") != (most == 0) {
				t.Errorf("%s: %v", kind.Name, pf.Params)
			}
		}
	}
}

// TestOnceIsAsBefore pins plans of versions without times: neither their
// victims nor their parameters may change.
func TestOnceIsAsBefore(t *testing.T) {
	for _, params := range []string{
		"{who: {share: 20%}, spread: 1s}",
		"{who: {share: 20%}, spread: 1s, times: 1}",
		"{who: {share: 20%}, spread: 1s, times: 1, every: 5s, jitter: 50%}",
	} {
		pf, err := plan(t, params, 100, 7)
		if err != nil || pf.Digest != "700e13f495ab372f" || fmt.Sprint(pf.Params) != "map[after:0s spread:1s who:share 20%]" {
			t.Errorf("%s: digest %s, %v, %v", params, pf.Digest, pf.Params, err)
		}
	}
}

func TestRepeatErrors(t *testing.T) {
	for params, want := range map[string]string{
		"{times: 2}":                          "x.yaml:1:9: times needs every",
		"{every: 2s}":                         "x.yaml:1:9: every needs times",
		"{times: 0, every: 1s}":               "x.yaml:1:9: times is 0: want a whole number from 1",
		"{times: 2, every: 0s}":               "x.yaml:1:19: every is 0s: the hits of one victim are apart",
		"{jitter: 10%}":                       "x.yaml:1:10: jitter needs every",
		"{times: 2, every: soon}":             `x.yaml:1:19: every is "soon": want a duration`,
		"{times: 2, every: 1s, jitter: some}": `x.yaml:1:31: jitter is "some": want a share`,
		"{times: 10001, every: 1ms}":          "x.yaml:1:9: 100 victims, 10001 times each, are more than 1000000 hits",
	} {
		wantError(t, "close", params, want)
	}
}

func wantError(t *testing.T, kind, params, want string) {
	t.Helper()
	_, err := planAs(t, kind, params, 100, 1)
	var errs scenarios.Errors
	if !errors.As(err, &errs) || !strings.HasPrefix(err.Error(), want) || len(errs) != 1 {
		t.Errorf("%s %s: %v, want %s", kind, params, err, want)
	}
}

// clients are fake clients; calls take as long as delay says.
type clients struct {
	clock *timeline.Clock
	delay time.Duration
	err   error

	mu    sync.Mutex
	calls []string
}

func (c *clients) LiveN(string, int) int { return 1 }

func (c *clients) Disconnect(ctx context.Context, fleet string, client int) error {
	return c.call(ctx, fmt.Sprintf("disconnect %s-%d", fleet, client))
}

func (c *clients) Takeover(ctx context.Context, fleet string, client int, hold time.Duration) (timeline.Instant, error) {
	err := c.call(ctx, fmt.Sprintf("takeover %s-%d %s", fleet, client, hold))
	at := c.clock.Now()
	if err == nil {
		time.Sleep(time.Millisecond) // of fake time: the answer comes after the CONNACK
	}
	return at, err
}

func (c *clients) call(ctx context.Context, what string) error {
	c.mu.Lock()
	c.calls = append(c.calls, what)
	c.mu.Unlock()
	select {
	case <-time.After(c.delay):
		return c.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *clients) Silence(fleet string, client int) (int, func(), error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("silence %s-%d", fleet, client))
	return 1, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.calls = append(c.calls, fmt.Sprintf("resume %s-%d", fleet, client))
	}, c.err
}

func (c *clients) Closing(fleet string, client int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("closing %s-%d", fleet, client))
}

func (c *clients) Holding(fleet string, client int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("holding %s-%d", fleet, client))
}

func (c *clients) Released(fleet string, client int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, fmt.Sprintf("released %s-%d", fleet, client))
}

// testEnv is an Env whose wave starts in a second, with what is recorded in it.
func testEnv(c *clients) (*Env, *[]timeline.Action) {
	clock := timeline.NewClock()
	if c != nil {
		c.clock = clock
	}
	var actions []timeline.Action // no lock: Record is never called twice at once
	env := &Env{
		Clock: clock, Phase: "storm", Wave: 2, Start: clock.Now() + timeline.Instant(time.Second),
		Record:   func(a timeline.Action) { actions = append(actions, a) },
		ClientID: func(fleet string, client int) string { return fmt.Sprintf("%s-%d", fleet, client) },
	}
	if c != nil {
		env.Clients = c
	}
	return env, &actions
}

func makeFault(t *testing.T, pf scenarios.PlanFault) Fault {
	t.Helper()
	row, err := Find(pf.Kind)
	if err != nil {
		t.Fatal(err)
	}
	f, err := row.New(pf)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestActOnClients: takeover and disconnect reach each victim at its instants,
// whatever the earlier ones take, and record the call and its answer.
func TestActOnClients(t *testing.T) {
	for kind, tc := range map[string]struct {
		params, call string
		took         time.Duration // from the call to Answered
	}{
		"takeover":   {"{who: {count: 2}, times: 3, every: 5ms, hold: 0s}", "takeover devices-%d 0s", time.Second},
		"disconnect": {"{who: {count: 2}, times: 3, every: 5ms}", "disconnect devices-%d", time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			pf, err := planAs(t, kind, tc.params, 10, 1)
			if err != nil {
				t.Fatal(err)
			}
			c := &clients{delay: time.Second}
			env, actions := testEnv(c)
			f := makeFault(t, pf)
			var order []string
			env.Before = func(fleet string, client int) {
				c.mu.Lock()
				defer c.mu.Unlock()
				order = append(order, fmt.Sprintf("%s-%d after %d", fleet, client, len(c.calls)))
			}
			env.Concurrency = 6
			if err := f.Inject(t.Context(), env); err != nil {
				t.Fatal(err)
			}
			if err := f.Heal(t.Context(), env); err != nil {
				t.Error(err)
			}
			slices.SortFunc(*actions, func(a, b timeline.Action) int {
				return cmp.Or(cmp.Compare(a.Intended, b.Intended), cmp.Compare(a.Client, b.Client))
			})
			victims := slices.Clone(pf.Victims)
			slices.SortFunc(victims, func(a, b scenarios.Victim) int {
				return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Client, b.Client))
			})
			if len(*actions) != 6 || len(order) != 6 {
				t.Fatalf("%d actions, %d times traffic", len(*actions), len(order))
			}
			for i, a := range *actions {
				at := env.Start + timeline.Instant(victims[i].Offset)
				want := timeline.Action{Fault: kind, Phase: "storm", Wave: 2, Fleet: "devices", Client: victims[i].Client,
					ClientID: fmt.Sprintf("devices-%d", victims[i].Client), Intended: at, Issued: at,
					Answered: at + timeline.Instant(tc.took), OK: true}
				if a != want {
					t.Errorf("action %d is\n%+v, want\n%+v", i, a, want)
				}
				if call := fmt.Sprintf(tc.call, a.Client); !slices.Contains(c.calls, call) {
					t.Errorf("no call %s in %v", call, c.calls)
				}
			}
		})
	}
}

// TestClientsErrors: a failed call is a record; a cancel ends it early; a run
// without clients says so in each record.
func TestClientsErrors(t *testing.T) {
	for _, kind := range []string{"takeover", "disconnect"} {
		synctest.Test(t, func(t *testing.T) {
			pf, err := planAs(t, kind, "{who: {count: 3}, rate: 1/s}", 10, 1)
			if err != nil {
				t.Fatal(err)
			}
			env, actions := testEnv(&clients{err: errors.New("refused")})
			if err := makeFault(t, pf).Inject(t.Context(), env); err != nil || len(*actions) != 3 {
				t.Errorf("%d actions, %v", len(*actions), err)
			}
			for _, a := range *actions {
				if a.OK || a.Err != "refused" || a.Answered == 0 {
					t.Errorf("%+v", a)
				}
			}
			env, actions = testEnv(nil)
			if err := makeFault(t, pf).Inject(t.Context(), env); err != nil || len(*actions) != 3 || (*actions)[0].Err != ErrNotOffered.Error() {
				t.Errorf("%+v, %v", *actions, err)
			}
			env, actions = testEnv(&clients{delay: time.Hour})
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond) // at 1 and 2 s
			defer cancel()
			if err := makeFault(t, pf).Inject(ctx, env); !errors.Is(err, ErrStopped) || len(*actions) != 2 || (*actions)[0].OK {
				t.Errorf("%+v, %v", *actions, err)
			}
		})
	}
}

// TestHold: the default, and what the plan says of it.
func TestHold(t *testing.T) {
	for params, want := range map[string]string{"{}": "1s", "{hold: 250ms}": "250ms", "{hold: 0s}": "0s"} {
		synctest.Test(t, func(t *testing.T) {
			pf, err := planAs(t, "takeover", params, 1, 1)
			if err != nil || pf.Params["hold"] != want {
				t.Fatalf("%v, %v", pf.Params, err)
			}
			c := &clients{}
			env, _ := testEnv(c)
			if err := makeFault(t, pf).Inject(t.Context(), env); err != nil || c.calls[0] != "takeover devices-0 "+want {
				t.Errorf("%v, %v", c.calls, err)
			}
		})
	}
	wantError(t, "takeover", "{hold: long}", `x.yaml:1:8: hold is "long": want a duration`)
	wantError(t, "disconnect", "{hold: 1s}", `x.yaml:1:2: unknown key "hold"`)
}

// TestBeforeClose: the traffic is under way when the close is called.
func TestBeforeClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &closer{}
		env, actions := testEnv(nil)
		env.Closer = c
		env.Before = func(_ string, client int) {
			if len(c.order) != 0 {
				t.Error("it was closed before its traffic was sent")
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := makeFault(t, mustPlan(t, "{who: {count: 1}}", 10)).Inject(t.Context(), env); err != nil || len(c.order) != 1 {
			t.Fatalf("%v, %v", c.order, err)
		}
		if a := (*actions)[0]; a.Issued-a.Intended != timeline.Instant(10*time.Millisecond) {
			t.Errorf("the time for the traffic is no lag: %+v", a)
		}
	})
}
