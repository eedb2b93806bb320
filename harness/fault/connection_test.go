package fault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

func TestPlanConnection(t *testing.T) {
	for _, tc := range []struct{ kind, params, resolved string }{
		{"fin", "{spread: 1s}", "map[after:0s spread:1s who:share 100%]"},
		{"rst", "{who: {count: 3}, times: 2, every: 1s}", "map[after:0s every:1s spread:0s times:2 who:count 3]"},
		{"rst", "{by: client}", "map[after:0s spread:0s who:share 100%]"},
		{"rst", "{by: broker}", "map[after:0s by:broker spread:0s who:share 100%]"},
		{"slow-close", "{}", "map[after:0s delay:1s spread:0s who:share 100%]"},
		{"slow-close", "{delay: 3s}", "map[after:0s delay:3s spread:0s who:share 100%]"},
		{"truncate", "{packet: PUBLISH, direction: out, bytes: 9}",
			"map[after:0s bytes:9 direction:out nth:1 packet:PUBLISH spread:0s who:share 100%]"},
		{"blackhole", "{for: 2s}", "map[after:0s dials:true direction:both for:2s spread:0s who:share 100%]"},
		{"blackhole", "{direction: up, dials: false}", "map[after:0s dials:false direction:up spread:0s who:share 100%]"},
		{"latency", "{delay: 80ms}", "map[after:0s delay:80ms direction:both spread:0s who:share 100%]"},
		{"jitter", "{up_to: 60ms, direction: down}", "map[after:0s direction:down seed:1 spread:0s up_to:60ms who:share 100%]"},
		{"bandwidth", "{per_second: 4KiB}", "map[after:0s direction:both per_second:4096B spread:0s who:share 100%]"},
		{"refuse", "{who: {count: 2}, after: 1s, for: 2s}", "map[after:1s for:2s who:count 2]"},
		{"dial-timeout", "{}", "map[after:0s who:share 100%]"},
	} {
		pf, err := planAs(t, tc.kind, tc.params, 10, 1)
		if err != nil || fmt.Sprint(pf.Params) != tc.resolved {
			t.Errorf("%s %s: %v, %v", tc.kind, tc.params, pf.Params, err)
			continue
		}
		if extent := tc.kind == "refuse" || tc.kind == "dial-timeout"; pf.Extent != extent || pf.Count != len(pf.Victims) || pf.Count == 0 {
			t.Errorf("%s %s: extent %v, %d of %d clients", tc.kind, tc.params, pf.Extent, len(pf.Victims), pf.Count)
		}
		row, _ := Find(tc.kind)
		if _, err := row.New(pf); err != nil {
			t.Errorf("%s: the fault is not made of its plan: %v", tc.kind, err)
		}
		pf.Victims = nil
		if _, err := row.New(pf); !errors.Is(err, ErrNoVictims) {
			t.Errorf("%s without victims: %v", tc.kind, err)
		}
	}
}

func TestPlanConnectionErrors(t *testing.T) {
	for _, tc := range []struct{ kind, params, want string }{
		{"fin", "{for: 1s}", `x.yaml:1:2: unknown key "for"`},
		{"slow-close", "{delay: soon}", `x.yaml:1:9: delay is "soon"`},
		{"truncate", "{packet: PUBLISH, direction: out, bytes: 0}", "x.yaml:1:42: bytes is 0: want a whole number from 1"},
		{"truncate", "{direction: out}", "x.yaml:1:1: truncate needs packet"},
		{"blackhole", "{direction: in}", `x.yaml:1:13: direction is "in", want both, up or down`},
		{"blackhole", "{dials: maybe}", `x.yaml:1:9: dials is "maybe"`},
		{"blackhole", "{for: 0s}", "x.yaml:1:7: for is 0s"},
		{"latency", "{}", "x.yaml:1:1: latency needs delay"},
		{"latency", "{delay: 0s}", "x.yaml:1:9: delay is 0s: that is no latency"},
		{"jitter", "{}", "x.yaml:1:1: jitter needs up_to"},
		{"bandwidth", "{}", "x.yaml:1:1: bandwidth needs per_second"},
		{"bandwidth", "{per_second: 0B}", "x.yaml:1:14: per_second is 0B: that is a blackhole"},
		{"refuse", "{spread: 1s}", "x.yaml:1:10: refuse acts on all of its clients at once: it has no spread"},
		{"dial-timeout", "{rate: 1/s}", "x.yaml:1:8: dial-timeout acts on all of its clients at once: it has no rate"},
	} {
		wantError(t, tc.kind, tc.params, tc.want)
	}
}

// linkRun is an Env with real links and clients 0 to 2 on them.
type linkRun struct {
	*Env
	actions *[]timeline.Action
	links   *netfault.Links
	ends    []net.Conn // the clients' ends, by client
	peers   []net.Conn // the broker's

	mu      sync.Mutex
	extents []timeline.Extent
}

func newLinkRun(t *testing.T) *linkRun {
	r := &linkRun{}
	c := &clients{}
	r.Env, r.actions = testEnv(c)
	r.Start = r.Clock.Now()
	c.clock = r.Clock
	r.links = netfault.NewLinks(r.Clock.Now)
	r.Env.Links = r.links
	r.Env.Extent = func(e *timeline.Extent) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.extents = append(r.extents, *e)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range 3 {
		end, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		end = r.links.Wrap(r.ClientID("devices", i), end)
		r.ends, r.peers = append(r.ends, end), append(r.peers, peer)
		t.Cleanup(func() { end.Close(); peer.Close() })
	}
	t.Cleanup(func() { _ = r.links.Close() })
	return r
}

// reads is what a Read gives within a moment.
func reads(c net.Conn, within time.Duration) (string, error) {
	_ = c.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 64)
	n, err := c.Read(b)
	return string(b[:n]), err
}

const patience = 10 * time.Second

// TestEndsOfConnections: each kind ends the connection of its victim as its name
// says, records that, notes the victim before, and leaves the others alone.
func TestEndsOfConnections(t *testing.T) {
	for kind, want := range map[string]error{"fin": io.EOF, "rst": syscall.ECONNRESET, "slow-close": io.EOF} {
		t.Run(kind, func(t *testing.T) {
			r := newLinkRun(t)
			pf, err := planAs(t, kind, "{who: {list: [1]}}", 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), r.Env); err != nil {
				t.Fatal(err)
			}
			if _, err := reads(r.ends[1], patience); !errors.Is(err, want) {
				t.Errorf("the client's Read gives %v", err)
			}
			if kind == "slow-close" {
				if _, err := reads(r.peers[1], 30*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("before Heal the broker's Read gives %v", err)
				}
			}
			for range 2 {
				if err := f.Heal(t.Context(), r.Env); err != nil {
					t.Error(err)
				}
			}
			if _, err := reads(r.peers[1], patience); !errors.Is(err, want) {
				t.Errorf("the broker's Read gives %v", err)
			}
			untouched(t, r, 0, 2)
			if a := *r.actions; len(a) != 1 || !a[0].OK || a[0].Client != 1 || a[0].Found == nil || !*a[0].Found || a[0].Closed < a[0].Issued || a[0].Answered < a[0].Closed {
				t.Errorf("%+v", a)
			}
			if calls := r.Clients.(*clients).calls; !slices.Equal(calls, []string{"closing devices-1"}) {
				t.Errorf("%v", calls)
			}
		})
	}
}

func untouched(t *testing.T, r *linkRun, clients ...int) {
	t.Helper()
	for _, i := range clients {
		for from, to := range map[net.Conn]net.Conn{r.ends[i]: r.peers[i], r.peers[i]: r.ends[i]} {
			if _, err := from.Write([]byte("echo")); err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			if got, err := reads(to, patience); got != "echo" || err != nil {
				t.Errorf("client %d: %q, %v", i, got, err)
			}
		}
	}
}

// TestImpairingsOfConnections: each kind impairs the link of its victim until
// Heal, and no other.
func TestImpairingsOfConnections(t *testing.T) {
	const moment = 40 * time.Millisecond
	for kind, tc := range map[string]struct {
		params   string
		up, down bool // late
	}{
		"blackhole": {"", true, true},
		"up":        {"direction: up, ", true, false},
		"down":      {"direction: down, ", false, true},
		"latency":   {"delay: 1h, ", true, true},
		"jitter":    {"up_to: 1h, direction: down, ", false, true},
		"bandwidth": {"per_second: 1B, direction: up, ", true, false},
	} {
		t.Run(kind, func(t *testing.T) {
			r := newLinkRun(t)
			name := kind
			if strings.HasPrefix(tc.params, "direction") {
				name = "blackhole"
			}
			pf, err := planAs(t, name, "{"+tc.params+"who: {list: [1]}}", 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), r.Env); err != nil {
				t.Fatal(err)
			}
			for _, way := range []struct {
				from, to net.Conn
				late     bool
			}{{r.ends[1], r.peers[1], tc.up}, {r.peers[1], r.ends[1], tc.down}} {
				text := strings.Repeat("x", 2000) // more than a bucket holds
				if _, err := way.from.Write([]byte(text)); err != nil {
					t.Fatal(err)
				}
				got := 0
				for got < len(text) {
					part, err := reads(way.to, moment)
					if got += len(part); err != nil {
						break
					}
				}
				if late := got < len(text); late != way.late {
					t.Errorf("up %v: %d of %d bytes came at once", way.to == r.peers[1], got, len(text))
				}
			}
			untouched(t, r, 0, 2)
			for range 2 {
				if err := f.Heal(t.Context(), r.Env); err != nil {
					t.Error(err)
				}
			}
			for _, c := range []net.Conn{r.peers[1], r.ends[1]} {
				for got, want := 0, map[bool]int{true: 1, false: 0}[tc.up && c == r.peers[1] || tc.down && c == r.ends[1]]; got < want; {
					part, err := reads(c, patience)
					if err != nil {
						t.Fatalf("after Heal: %v", err)
					}
					got += len(part)
				}
			}
			if a := *r.actions; len(a) != 2 || !a[0].Lasting || a[0].Until != 0 || a[1].Until == 0 || !a[1].OK {
				t.Errorf("%+v", a)
			}
		})
	}
}

// TestDials: the clients that are named, and no others, can not dial until it is
// healed; that is an extent, which counts.
func TestDials(t *testing.T) {
	for kind, want := range map[string]error{"refuse": syscall.ECONNREFUSED, "dial-timeout": os.ErrDeadlineExceeded} {
		t.Run(kind, func(t *testing.T) {
			r := newLinkRun(t)
			dial := func(client int) error {
				ctx, cancel := context.WithTimeout(t.Context(), 40*time.Millisecond)
				defer cancel()
				c, err := r.links.Dial(ctx, r.ClientID("devices", client), func(context.Context) (net.Conn, error) {
					end, peer := net.Pipe()
					t.Cleanup(func() { peer.Close() })
					return end, nil
				})
				if err == nil {
					c.Close()
				}
				return err
			}
			pf, err := planAs(t, kind, "{who: {list: [0, 1]}}", 3, 1)
			if err != nil {
				t.Fatal(err)
			}
			f := makeFault(t, pf)
			if err := f.Inject(t.Context(), r.Env); err != nil {
				t.Fatal(err)
			}
			for _, client := range []int{1, 1} {
				if err := dial(client); !errors.Is(err, want) {
					t.Errorf("a dial gives %v", err)
				}
			}
			if err := dial(2); err != nil {
				t.Errorf("another client's: %v", err)
			}
			untouched(t, r, 0, 1, 2)
			for range 2 {
				if err := f.Heal(t.Context(), r.Env); err != nil {
					t.Error(err)
				}
			}
			if err := dial(1); err != nil {
				t.Errorf("after Heal: %v", err)
			}
			if len(*r.actions) != 0 || len(r.extents) != 2 {
				t.Fatalf("%d actions, %d extents", len(*r.actions), len(r.extents))
			}
			if e := r.extents[1]; !e.OK || e.Ends || e.Healed == 0 || !strings.HasPrefix(e.Detail, "2 dials by 1 of 2 clients of devices ") {
				t.Errorf("%+v", e)
			}
		})
	}
}

// TestNoLinks: a run that does not offer links is told so, and nothing breaks.
func TestNoLinks(t *testing.T) {
	for _, kind := range []string{"fin", "rst", "slow-close", "blackhole", "refuse"} {
		r := newLinkRun(t)
		r.Links = nil
		pf, err := planAs(t, kind, "{who: {count: 1}}", 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		f := makeFault(t, pf)
		if err := errors.Join(f.Inject(t.Context(), r.Env), f.Heal(t.Context(), r.Env)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		said := fmt.Sprint(*r.actions, r.extents)
		if !strings.Contains(said, ErrNotOffered.Error()) {
			t.Errorf("%s: %s", kind, said)
		}
	}
}
