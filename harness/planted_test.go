package harness

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
)

// The planted suite: a fault is put below the evidence, and exactly the
// verdict that it deserves turns.

// cutDevices cuts every connection of a device as soon as it is used.
func cutDevices(clientID string, c net.Conn) net.Conn {
	if strings.HasPrefix(clientID, "dev-") {
		c.Close() //nolint:errcheck // that is the fault
	}
	return c
}

// TestPlantedNeverReturns: one client's transport fails at every attempt after
// its first connection. It is censored, it hides no percentile, and nobody
// else is blamed.
func TestPlantedNeverReturns(t *testing.T) {
	var mu sync.Mutex
	dials := 0
	door := broker.Options{Hooks: []mochi.Hook{&slowDoor{delay: 300 * time.Millisecond}}}
	o := Options{Broker: door, WrapConn: func(id string, c net.Conn) net.Conn {
		if !strings.HasSuffix(id, "-000007") {
			return c
		}
		mu.Lock()
		defer mu.Unlock()
		if dials++; dials > 1 {
			c.Close() //nolint:errcheck // that is the fault
		}
		return c
	}}
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "until: {back: 100%}\n    timeout: 4s",
		"{metric: victims, equals: 40}", "{metric: outage.p50, below: 3s}\n  - {metric: outage.max, below: 3s}")
	r, _ := play(t, sc, PlanOptions{}, o)
	w := r.Total
	if w.Victims != 40 || w.Back != 39 || w.Censored != 1 || w.Outage.N != 39 || w.Outage.Censored != 1 {
		t.Errorf("want 39 back and 1 censored: %+v", w)
	}
	if w.Outage.P50 == nil || w.Outage.P99 != nil {
		t.Errorf("p50 was reached and p99 was not: %+v", w.Outage)
	}
	onlyInvalid(t, r, "never-returned")
	if r.ExitCode != ExitFail {
		t.Errorf("exit %d", r.ExitCode)
	}
	for _, e := range r.Expectations {
		if want := map[string]reports.Verdict{"outage.p50": reports.Valid, "outage.max": reports.Invalid, "censored": reports.Invalid}[e.Metric]; e.Verdict != want {
			t.Errorf("%s is %s, want %s (%s)", e.Text, e.Verdict, want, e.Shown)
		}
	}
}

// slowDoor makes each CONNECT wait, so that outages are long beside the
// harness's own lateness and their times can be judged on a busy machine.
type slowDoor struct {
	mochi.HookBase
	delay time.Duration
}

func (h *slowDoor) ID() string           { return "slow-door" }
func (h *slowDoor) Provides(b byte) bool { return b == mochi.OnConnect }
func (h *slowDoor) OnConnect(*mochi.Client, packets.Packet) error {
	<-time.After(h.delay)
	return nil
}

// swallow acknowledges the first k QoS 1 data messages and delivers them
// nowhere.
type swallow struct {
	mochi.HookBase
	k    int64
	seen atomic.Int64
}

func (h *swallow) ID() string           { return "swallow" }
func (h *swallow) Provides(b byte) bool { return b == mochi.OnPublish }
func (h *swallow) OnPublish(_ *mochi.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Qos == 1 && strings.HasSuffix(pk.TopicName, "/cmd") && h.seen.Add(1) <= h.k {
		pk.TopicName = "nowhere"
	}
	return pk, nil
}

// TestPlantedLoss: a broker that loses k acknowledged messages gives k rows.
// Nobody is kicked, so that no other loss has a reason to be there.
func TestPlantedLoss(t *testing.T) {
	const k = 7
	hook := &swallow{k: k}
	sc := scenario(t, quick, quick[strings.Index(quick, "  - name: storm"):strings.Index(quick, "  - {name: drain")], "",
		"  - {metric: censored, equals: 0}\n  - {metric: victims, equals: 40}", "  - {metric: lost.qos1, equals: 7}")
	r, dir := play(t, sc, PlanOptions{}, Options{Broker: broker.Options{Hooks: []mochi.Hook{hook}}})
	if hook.seen.Load() <= k {
		t.Fatalf("only %d messages were published", hook.seen.Load())
	}
	if got := losses(t, dir)["lost"]; got != k {
		t.Errorf("%d rows of lost, want %d", got, k)
	}
	onlyInvalid(t, r, "lost")
	if r.ExitCode != ExitFail || r.Expectations[0].Verdict != reports.Valid {
		t.Errorf("exit %d, %+v", r.ExitCode, r.Expectations)
	}
}

// TestPlantedBrokerOutage: the broker is gone for a second in the middle of
// traffic. No kick was asked for, and yet the run does not say "no errors".
func TestPlantedBrokerOutage(t *testing.T) {
	for qos := range 2 {
		t.Run(fmt.Sprintf("qos%d", qos), func(t *testing.T) { brokerOutage(t, qos) })
	}
}

func brokerOutage(t *testing.T, qos int) {
	b, err := broker.StartEmbedded(t.Context(), broker.Options{Addresses: 1})
	if err != nil {
		t.Fatal(err)
	}
	addr := b.Info().Addresses[0]
	_, port, err := net.SplitHostPort(strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		t.Fatal(err)
	}
	var number int
	if _, err := fmt.Sscan(port, &number); err != nil {
		t.Fatal(err)
	}
	var again *broker.Embedded
	var restart sync.WaitGroup
	var once sync.Once
	o := Options{OnStatus: func(s Status) {
		if s.Phase != "steady" || s.Delivered == 0 {
			return
		}
		once.Do(func() {
			restart.Go(func() {
				b.Close()                 //nolint:errcheck // that is the fault
				<-time.After(time.Second) // how long the broker is gone
				again, err = broker.StartEmbedded(t.Context(), broker.Options{Addresses: 1, Port: number})
			})
		})
	}}
	text := fmt.Sprintf(`
name: outage
clients: 20
fleets:
  - name: devices
    client_id: "dev-{run}-{index:06}"
    connect: {rate: 2000/s}
    reconnect: {policy: paho, max: 200ms}
    subscribe: [{topic: "rb/{client}/x", qos: %d}]
traffic: [{from: control, to: devices, topic: "rb/{client}/x", qos: %d, each: 20/s}]
phases:
  - {name: connect, until: {connected: 100%%}, timeout: 20s}
  - {name: steady, for: 3s}
  - {name: drain, until: {quiet: 500ms}, timeout: 20s}
`, qos, qos)
	r, _ := play(t, scenario(t, text), PlanOptions{Target: addr, Kick: CloserFIN}, o)
	restart.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close() //nolint:errcheck // the test's own
	if r.ExitCode != ExitFail {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Checks)
	}
	if verdicts(r)["unscripted"] != reports.Invalid {
		t.Errorf("unscripted is %s", verdicts(r)["unscripted"])
	}
	if r.Unscripted.Ends < 20 || r.Unscripted.Clients != 20 || r.Unscripted.Control == 0 {
		t.Errorf("unscripted: %+v", r.Unscripted)
	}
}

// stall stops this whole process for half a second in the storm of a run.
type stall struct {
	t      *testing.T
	sh     string
	cmd    *exec.Cmd
	output bytes.Buffer
}

func newStall(t *testing.T) *stall {
	t.Helper()
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skipf("SKIPPED: no shell to stop this process from outside: %v", err)
	}
	return &stall{t: t, sh: sh}
}

func (s *stall) onStatus(st Status) {
	if st.Phase != "storm" || s.cmd != nil {
		return
	}
	s.cmd = exec.Command(s.sh, "-c", fmt.Sprintf("kill -STOP %d; sleep 0.6; kill -CONT %[1]d", os.Getpid()))
	s.cmd.Stderr = &s.output
	if err := s.cmd.Start(); err != nil {
		s.t.Error(err)
	}
}

// wait waits for the shell's end; the run is over.
func (s *stall) wait() {
	s.t.Helper()
	if err := s.cmd.Wait(); err != nil {
		s.t.Fatalf("%v: %s", err, s.output.String())
	}
}

// TestPlantedStall: the whole process is stopped for half a second in the
// storm. The times of that phase are then no one's fault: the harness reads as
// saturated, a time expectation is unknown, and nobody is blamed.
func TestPlantedStall(t *testing.T) {
	stall := newStall(t)
	sc := scenario(t, quick, "{metric: victims, equals: 40}", "{metric: outage.p99, phase: storm, below: 100ms}")
	r, _ := play(t, sc, PlanOptions{}, Options{OnStatus: stall.onStatus})
	stall.wait()
	for _, p := range r.Phases {
		if p.Name == "storm" && p.Fitness != "saturated" {
			t.Errorf("storm reads %s (canary %+v)", p.Fitness, p.Canary)
		}
	}
	onlyInvalid(t, r)
	for _, e := range r.Expectations {
		if e.Metric == "outage.p99" && e.Verdict != reports.Unknown {
			t.Errorf("%s is %s, want unknown: %s", e.Text, e.Verdict, e.Shown)
		}
	}
	if r.ExitCode != ExitUnknown {
		t.Errorf("exit %d", r.ExitCode)
	}
}

// TestPlantedKickWithoutEffect: the endpoint answers success and closes
// nothing for one client.
func TestPlantedKickWithoutEffect(t *testing.T) {
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "until: {back: 100%}\n    timeout: 1s",
		"{metric: victims, equals: 40}", "{metric: unaffected, equals: 1}")
	r, _ := play(t, sc, PlanOptions{}, Options{WrapClose: lieAbout("-000003")})
	onlyInvalid(t, r, "kick-effective")
	if w := r.Total; w.Back != 39 || w.Unaffected != 1 || w.NoEffect != 1 || w.Outage.N != 39 {
		t.Errorf("want 39 back and 1 without effect: %+v", w)
	}
}

// lieAbout answers success for one client without closing anything.
func lieAbout(suffix string) func(target.ConnectionCloser) target.ConnectionCloser {
	return func(next target.ConnectionCloser) target.ConnectionCloser {
		return closerFunc(func(ctx context.Context, id string) (target.Closed, error) {
			if strings.HasSuffix(id, suffix) {
				yes := true
				return target.Closed{Found: &yes}, nil
			}
			return next.CloseConnection(ctx, id)
		})
	}
}

// TestPlantedUnscriptedAfterIdleKick: every close is answered with success and
// does nothing; a second and a half later every connection ends for another
// reason. The closes must not be given those ends: the connections carried
// messages that were sent after the answers.
func TestPlantedUnscriptedAfterIdleKick(t *testing.T) {
	b, err := broker.StartEmbedded(t.Context(), broker.Options{Addresses: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close() //nolint:errcheck // the test's own
	var mu sync.Mutex
	var ids []string
	var later sync.WaitGroup
	o := Options{WrapClose: func(target.ConnectionCloser) target.ConnectionCloser {
		return closerFunc(func(_ context.Context, id string) (target.Closed, error) {
			mu.Lock()
			defer mu.Unlock()
			ids = append(ids, id)
			if len(ids) == 40 {
				later.Go(func() {
					<-time.After(1500 * time.Millisecond) // that long they live on
					for _, id := range ids {
						b.CloseClient(t.Context(), id) //nolint:errcheck // the fault
					}
				})
			}
			yes := true
			return target.Closed{Found: &yes}, nil
		})
	}}
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "until: {back: 100%}\n    timeout: 4s")
	r, _ := play(t, sc, PlanOptions{Target: b.Info().Addresses[0], Kick: CloserFIN}, o)
	later.Wait()
	if r.Total.Hit != 0 || r.Total.NoEffect != 40 || r.Unscripted.Ends != 40 {
		t.Errorf("want 40 without effect and 40 unscripted: %+v, unscripted %+v", r.Total, r.Unscripted)
	}
	onlyInvalid(t, r, "kick-effective", "unscripted")
	if r.ExitCode != ExitFail {
		t.Errorf("exit %d", r.ExitCode)
	}
}

// TestPlantedIdleKickBeforeRealOne: the first wave's close of one client does
// nothing, the second wave's does. The first must not be given the end that the
// second one caused.
func TestPlantedIdleKickBeforeRealOne(t *testing.T) {
	var calls atomic.Int64
	o := Options{WrapClose: func(next target.ConnectionCloser) target.ConnectionCloser {
		lie := lieAbout("-000003")(next)
		return closerFunc(func(ctx context.Context, id string) (target.Closed, error) {
			if strings.HasSuffix(id, "-000003") && calls.Add(1) == 1 {
				return lie.CloseConnection(ctx, id)
			}
			return next.CloseConnection(ctx, id)
		})
	}}
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "repeat: {times: 2, every: 2s}\n    until: {back: 100%}\n    timeout: 20s",
		"{metric: victims, equals: 40}", "{metric: no_effect, equals: 1}")
	r, _ := play(t, sc, PlanOptions{}, o)
	onlyInvalid(t, r, "kick-effective")
	if w := r.Waves; w[0].NoEffect != 1 || w[0].Hit != 39 || w[1].Hit != 40 {
		t.Errorf("want 39 hits and 1 without effect, then 40 hits: %+v", w)
	}
}

// TestPlantedChildCrash: the broker's own process dies in mid-run. That is an
// answer, not a failed run.
func TestPlantedChildCrash(t *testing.T) {
	var once sync.Once
	var pid int
	o := Options{OnPID: func(p int) { pid = p }, OnStatus: func(s Status) {
		if s.Phase == "steady" && s.Delivered > 0 {
			once.Do(func() { syscall.Kill(pid, syscall.SIGKILL) }) //nolint:errcheck // that is the fault
		}
	}}
	sc := scenario(t, quick, "until: {back: 100%}\n    timeout: 20s", "until: {back: 100%}\n    timeout: 1s",
		"reconnect: {policy: paho, max: 30s}", "", "connect: {rate: 2000/s}", "connect: {rate: 2000/s}\n    reconnect: {policy: paho, max: 1s}",
		"{metric: victims, equals: 40}", "{metric: unscripted, at_least: 40}")
	r, _ := play(t, sc, PlanOptions{Target: "child"}, o)
	if r.ExitCode != ExitFail || verdicts(r)["unscripted"] != reports.Invalid || verdicts(r)["never-returned"] != reports.Invalid {
		t.Errorf("exit %d: %+v", r.ExitCode, r.Checks)
	}
}
