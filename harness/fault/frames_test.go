package fault

import (
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

func TestPlanFrames(t *testing.T) {
	for _, tc := range []struct{ kind, params, resolved string }{
		{"swallow", "{packet: PUBACK, direction: in}",
			"map[after:0s direction:in nth:1 packet:PUBACK spread:0s then:go-on who:share 100%]"},
		{"swallow", "{packet: PUBLISH, direction: out, qos: 2, nth: 3, then: close, times: 2, every: 1s}",
			"map[after:0s direction:out every:1s nth:3 packet:PUBLISH qos:2 spread:0s then:close times:2 who:share 100%]"},
		{"swallow", "{packet: PUBREC, direction: out, share: 10%}",
			"map[after:0s direction:out packet:PUBREC seed:1 share:10% spread:0s then:go-on who:share 100%]"},
		{"cut", "{packet: PUBREL, direction: out, side: before, who: {count: 3}}",
			"map[after:0s direction:out nth:1 packet:PUBREL side:before spread:0s who:count 3]"},
		{"cut", "{packet: PUBLISH, qos: 0, direction: in, side: after, nth: 2}",
			"map[after:0s direction:in nth:2 packet:PUBLISH qos:0 side:after spread:0s who:share 100%]"},
	} {
		pf, err := planAs(t, tc.kind, tc.params, 10, 1)
		if err != nil || fmt.Sprint(pf.Params) != tc.resolved {
			t.Errorf("%s %s: %v, %v", tc.kind, tc.params, pf.Params, err)
			continue
		}
		// The fault is made from the resolved parameters alone: written again,
		// its rule gives them back.
		f := makeFault(t, pf).(*frameFault)
		params := map[string]string{}
		describePacket(f.rule, params)
		for key, value := range params {
			if pf.Params[key] != value && (key != "nth" || f.rule.Share == 0) {
				t.Errorf("%s %s: %s is %q in the fault", tc.kind, tc.params, key, value)
			}
		}
	}
}

func TestPlanFramesErrors(t *testing.T) {
	for params, want := range map[string]string{
		"{direction: in}":                                                  "x.yaml:1:1: swallow needs packet",
		"{packet: PUBACK}":                                                 "x.yaml:1:1: swallow needs direction",
		"{packet: PUBAK, direction: in}":                                   `x.yaml:1:10: packet is "PUBAK", want a control packet such as PUBACK`,
		"{packet: PUBACK, direction: up}":                                  `x.yaml:1:29: direction is "up", want in or out`,
		"{packet: CONNACK, direction: out}":                                "x.yaml:1:30: no client sends a CONNACK: direction can only be in",
		"{packet: SUBSCRIBE, direction: in}":                               "x.yaml:1:32: no broker sends a SUBSCRIBE: direction can only be out",
		"{packet: PUBACK, direction: in, qos: 1}":                          "x.yaml:1:38: only a PUBLISH has a qos, and packet is PUBACK",
		"{packet: PUBLISH, direction: in, qos: 3}":                         "x.yaml:1:39: qos is 3, want 0, 1 or 2",
		"{packet: PUBACK, direction: in, nth: 0}":                          "x.yaml:1:38: nth is 0: want a whole number from 1",
		"{packet: PUBACK, direction: in, nth: 1, share: 10%}":              "x.yaml:1:48: swallow has at most one of nth and share",
		"{packet: PUBACK, direction: in, share: 0%}":                       "x.yaml:1:40: share is none of the packets",
		"{packet: PUBACK, direction: in, then: stop}":                      `x.yaml:1:39: then is "stop", want go-on or close`,
		"{packet: PUBACK, direction: in, side: before}":                    `x.yaml:1:33: unknown key "side"`,
		"{packet: PUBACK, direction: in, seed: 4}":                         `x.yaml:1:33: unknown key "seed"`,
		"{packet: PUBACK, direction: in, times: 2}":                        "x.yaml:1:40: times needs every",
		"{packet: PUBACK, direction: in, share: 10%, times: 2, every: 1s}": "x.yaml:1:52: share acts to the end of the phase: it is armed once",
	} {
		wantError(t, "swallow", params, want)
	}
	for params, want := range map[string]string{
		"{direction: in, side: after}":                               "x.yaml:1:1: cut needs packet",
		"{packet: PUBREL, direction: out}":                           "x.yaml:1:1: cut needs side",
		"{packet: PUBREL, direction: out, side: left}":               `x.yaml:1:40: side is "left", want before or after`,
		"{packet: PUBREL, direction: out, side: after, share: 5%}":   `x.yaml:1:47: unknown key "share"`,
		"{packet: PUBREL, direction: out, side: after, then: close}": `x.yaml:1:47: unknown key "then"`,
	} {
		wantError(t, "cut", params, want)
	}
	for _, params := range []map[string]string{{}, {"packet": "PUBACK", "direction": "in", "share": "10%", "seed": "x"}} {
		if _, err := newFrames(scenarios.PlanFault{Kind: "swallow", Params: params}, readSwallow, "packet", "direction", "share", "seed"); err == nil {
			t.Errorf("a fault was made of %v", params)
		}
	}
}

// TestEveryPacketHasADirection: each type goes at least one way, and the four
// acknowledgements and PUBLISH go both.
func TestEveryPacketHasADirection(t *testing.T) {
	both := 0
	for kind := mqtt.CONNECT; kind <= mqtt.DISCONNECT; kind++ {
		ways := 0
		for _, direction := range []string{"in", "out"} {
			if _, err := planAs(t, "swallow", fmt.Sprintf("{packet: %v, direction: %s}", kind, direction), 10, 1); err == nil {
				ways++
			}
		}
		if ways == 0 {
			t.Errorf("%v goes no way", kind)
		}
		both += ways - 1
	}
	if both != 5 {
		t.Errorf("%d types go both ways", both)
	}
}

// frameRun is an Env with real Frames and what a frame fault records in it.
type frameRun struct {
	*Env
	actions *[]timeline.Action

	mu     sync.Mutex
	frames []timeline.Frame
}

func newFrameRun() *frameRun {
	r := &frameRun{}
	r.Env, r.actions = testEnv(nil)
	r.Env.Frames = netfault.NewFrames(r.Clock.Now)
	r.Frame = func(f timeline.Frame) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.frames = append(r.frames, f)
	}
	return r
}

// connect gives the client's end of connection n of a client of devices, whose
// broker takes all that comes and gives it when the connection has ended.
func (r *frameRun) connect(t *testing.T, client, n int) (net.Conn, <-chan []byte) {
	end, peer := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(peer)
		got <- b
	}()
	c := r.Frames.Wrap(r.ClientID("devices", client), n, end)
	t.Cleanup(func() { c.Close(); peer.Close() })
	return c, got
}

func pubrec(id uint16) []byte { return mqtt.AppendPubrec(nil, id) }

func message(seq uint64) []byte {
	b := make([]byte, mqtt.HeaderSize)
	mqtt.PutPayload(b, mqtt.Header{Kind: mqtt.KindData, Run: 1, Stream: 4, Seq: seq})
	return mqtt.AppendPublish(nil, mqtt.Publish{Topic: "t", ID: uint16(seq), QoS: 2, Payload: b})
}

// TestFrameFaults: the rule acts from the victim's instant on, on the traffic
// that Before sends, and everything about it is recorded.
func TestFrameFaults(t *testing.T) {
	for _, tc := range []struct {
		kind, params string
		passed, ends bool
		detail       string
		got          []byte
	}{
		{"swallow", "{packet: PUBLISH, direction: out, who: {count: 1}}", false, false, "", slices.Concat(message(1), pubrec(2))},
		{"swallow", "{packet: PUBLISH, direction: out, then: close, who: {count: 1}}", false, true, "instead of PUBLISH out, id 2", message(1)},
		{"cut", "{packet: PUBLISH, direction: out, side: before, who: {count: 1}}", false, true, "before PUBLISH out, id 2", message(1)},
		{"cut", "{packet: PUBLISH, qos: 2, direction: out, side: after, who: {count: 1}}", true, true, "after PUBLISH out, id 2", slices.Concat(message(1), message(2))},
	} {
		t.Run(tc.kind+" "+tc.detail, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				pf, err := planAs(t, tc.kind, tc.params, 1, 1)
				if err != nil {
					t.Fatal(err)
				}
				r := newFrameRun()
				c, got := r.connect(t, 0, 3)
				if _, err := c.Write(message(1)); err != nil {
					t.Fatal(err)
				}
				r.Before = func(string, int) { _, _ = c.Write(slices.Concat(message(2), pubrec(2))) }
				f := makeFault(t, pf)
				if err := f.Inject(t.Context(), r.Env); err != nil {
					t.Fatal(err)
				}
				c.Close()
				if b := <-got; string(b) != string(tc.got) {
					t.Errorf("passed %x, want %x", b, tc.got)
				}
				for range 2 {
					if err := f.Heal(t.Context(), r.Env); err != nil {
						t.Error(err)
					}
				}
				frame := timeline.Frame{Fault: tc.kind, Phase: "storm", Wave: 2, Fleet: "devices", ClientID: "devices-0", N: 3,
					At: r.Start, Out: true, Type: "PUBLISH", Passed: tc.passed, PacketID: 2, Stream: 4, Seq: 2}
				if diff := cmp.Diff([]timeline.Frame{frame}, r.frames); diff != "" {
					t.Error(diff)
				}
				var actions []timeline.Action
				if tc.ends {
					actions = []timeline.Action{{Fault: tc.kind, Phase: "storm", Wave: 2, Fleet: "devices", ClientID: "devices-0",
						Intended: r.Start, Issued: r.Start, Closed: r.Start, Answered: r.Start, OK: true, N: 3, Detail: tc.detail}}
				}
				if diff := cmp.Diff(actions, *r.actions); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// TestArmedAnew: with times the rule is armed at each instant, over
// connections, and each time is spent after one packet.
func TestArmedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pf, err := planAs(t, "cut", "{packet: PUBREC, direction: out, side: before, nth: 2, times: 3, every: 1s}", 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := newFrameRun()
		conns := [2]int{}
		var mu sync.Mutex
		r.Before = func(_ string, client int) { // a new connection each time, whose second PUBREC is cut off
			mu.Lock()
			conns[client]++
			n := conns[client]
			mu.Unlock()
			c, got := r.connect(t, client, n)
			if wrote, err := c.Write(slices.Concat(pubrec(1), pubrec(2), pubrec(3))); wrote != 4 || !errors.Is(err, io.EOF) {
				t.Errorf("wrote %d, %v", wrote, err)
			}
			<-got
		}
		f := makeFault(t, pf)
		if err := errors.Join(f.Inject(t.Context(), r.Env), f.Heal(t.Context(), r.Env)); err != nil {
			t.Fatal(err)
		}
		if len(*r.actions) != 6 || len(r.frames) != 6 || conns != [2]int{3, 3} {
			t.Fatalf("%d actions, %d frames, connections %v", len(*r.actions), len(r.frames), conns)
		}
		for i, a := range *r.actions {
			at := r.Start + timeline.Instant(time.Duration(i/2)*time.Second)
			if a.Intended != at || a.Issued != at || a.Closed != at || !a.OK || r.frames[i].PacketID != 2 {
				t.Errorf("action %d: %+v", i, a)
			}
		}
	})
}

// TestShareUntilHeal: a share acts on packet after packet, and no more after
// Heal.
func TestShareUntilHeal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pf, err := planAs(t, "swallow", "{packet: PUBREC, direction: out, share: 50%}", 2, 1)
		if err != nil {
			t.Fatal(err)
		}
		r := newFrameRun()
		f := makeFault(t, pf)
		if err := f.Inject(t.Context(), r.Env); err != nil {
			t.Fatal(err)
		}
		send := func(client int) string {
			c, got := r.connect(t, client, 1)
			for id := range uint16(200) {
				if _, err := c.Write(pubrec(id + 1)); err != nil {
					t.Fatal(err)
				}
			}
			c.Close()
			return string(<-got)
		}
		a, b := send(0), send(1)
		if n := 400 - (len(a)+len(b))/4; n != len(r.frames) || n < 150 || n > 250 || len(*r.actions) != 0 {
			t.Errorf("%d of 400 were swallowed, %d frames, actions %+v", n, len(r.frames), *r.actions)
		}
		if a == b {
			t.Error("both victims lost the same packets")
		}
		if err := f.Heal(t.Context(), r.Env); err != nil {
			t.Error(err)
		}
		if got := send(0); len(got) != 800 || len(*r.actions) != 0 {
			t.Errorf("after Heal %d bytes passed; actions %+v", len(got), *r.actions)
		}
	})
}

// TestNoSuchPacket: a rule that met nothing is recorded by Heal, once, as an
// action that was never issued; Heal without Inject is nothing.
func TestNoSuchPacket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pf, err := planAs(t, "cut", "{packet: PUBREL, direction: in, side: after, after: 1s, who: {count: 1}}", 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		r, f := newFrameRun(), makeFault(t, pf)
		if err := f.Heal(t.Context(), r.Env); err != nil || len(*r.actions) != 0 {
			t.Fatalf("%+v, %v", *r.actions, err)
		}
		if err := f.Inject(t.Context(), r.Env); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		for range 2 {
			if err := f.Heal(t.Context(), r.Env); err != nil {
				t.Error(err)
			}
		}
		want := []timeline.Action{{Fault: "cut", Phase: "storm", Wave: 2, Fleet: "devices", ClientID: "devices-0",
			Intended: r.Start + timeline.Instant(time.Second), Err: "no such packet passed", Detail: "after PUBREL in"}}
		if diff := cmp.Diff(want, *r.actions); diff != "" {
			t.Error(diff)
		}
		c, got := r.connect(t, 0, 1)
		_, _ = c.Write(mqtt.AppendPubrel(nil, 1))
		c.Close()
		<-got
		if len(r.frames) != 0 {
			t.Errorf("it acts after Heal: %+v", r.frames)
		}
	})
}

func TestNoFrames(t *testing.T) {
	pf, err := planAs(t, "cut", "{packet: PUBREL, direction: in, side: after}", 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	env, _ := testEnv(nil)
	if err := makeFault(t, pf).Inject(t.Context(), env); !errors.Is(err, ErrNotOffered) {
		t.Errorf("%v", err)
	}
}

// TestBusyVictims arms many victims with traffic on all of them, and heals in
// the midst of it, under the race detector.
func TestBusyVictims(t *testing.T) {
	pf, err := planAs(t, "swallow", "{packet: PUBREC, direction: out, times: 20, every: 1ms}", 20, 1)
	if err != nil {
		t.Fatal(err)
	}
	r, f := newFrameRun(), makeFault(t, pf)
	r.Start = r.Clock.Now()
	var group sync.WaitGroup
	stop := make(chan struct{})
	sent, passed := make([]int, 20), make([]int, 20)
	for client := range 20 {
		c, got := r.connect(t, client, 1)
		group.Go(func() {
			for {
				select {
				case <-stop:
					c.Close()
					passed[client] = len(<-got) / 4
					return
				default:
					_, _ = c.Write(pubrec(1))
					sent[client]++
				}
			}
		})
	}
	if err := errors.Join(f.Inject(t.Context(), r.Env), f.Heal(t.Context(), r.Env)); err != nil {
		t.Fatal(err)
	}
	close(stop)
	group.Wait()
	missing := 0
	for i := range sent {
		missing += sent[i] - passed[i]
	}
	if missing != len(r.frames) || len(r.frames)+len(*r.actions) != pf.Count {
		t.Errorf("%d packets are missing, %d frames, %d unmet, of %d", missing, len(r.frames), len(*r.actions), pf.Count)
	}
}
