package kernel_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/internal/netns"
)

const (
	quiet    = 700 * time.Millisecond // how long silence is watched
	patience = 20 * time.Second       // bounds what must come
	exempt   = "127.0.0.254"
)

// echo is a broker for these tests: it sends back what it reads.
type echo struct {
	l    net.Listener
	port int
}

func startEcho(t *testing.T) echo {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	serve := func(c net.Conn) {
		b := make([]byte, 64)
		for {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			if _, err := c.Write(b[:n]); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			all.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for _, c := range conns {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return echo{l, l.Addr().(*net.TCPAddr).Port}
}

// dial connects to e, from a source address if one is given.
func (e echo) dial(t *testing.T, from string, within time.Duration) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: within}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", e.l.Addr().String())
	if err == nil {
		t.Cleanup(func() { _ = c.Close() })
	}
	return c, err
}

func (e echo) mustDial(t *testing.T, from string) net.Conn {
	t.Helper()
	c, err := e.dial(t, from, patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// said writes a text and reads it back; what an earlier call left unread comes
// first, in order.
func said(c net.Conn, write, want string, within time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(within))
	if _, err := c.Write([]byte(write)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("read %q, want %q", got, want)
	}
	return nil
}

func silent(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// conform holds a fault of the kernel to what it promises: what live, idle and
// new connections see while it is there, that others see nothing, and that all
// is as before when it is healed.
func conform(t *testing.T, kind string) error {
	ctx := t.Context()
	e, other := startEcho(t), startEcho(t)
	k := kernel.Open(ctx, kernel.Scope{Ports: []int{e.port}, Exempt: exempt}, "")
	live, idle, spared, beside := e.mustDial(t, ""), e.mustDial(t, ""), e.mustDial(t, exempt), other.mustDial(t, "")
	for _, c := range []net.Conn{live, idle, spared, beside} {
		if err := said(c, "a", "a", patience); err != nil {
			return fmt.Errorf("before: %w", err)
		}
	}
	rule, err := k.Lay(ctx, kernel.Rule{Kind: kind})
	if err != nil {
		return err
	}
	during := said(live, "b", "b", quiet)
	_, dialled := e.dial(t, "", quiet)
	for _, c := range []net.Conn{spared, beside} {
		if err := said(c, "b", "b", patience); err != nil {
			return fmt.Errorf("a connection of others: %w", err)
		}
	}
	var timeout net.Error
	switch kind {
	case kernel.Drop:
		if !silent(during) {
			return fmt.Errorf("live: %v, want silence", during)
		}
		if !errors.As(dialled, &timeout) || !timeout.Timeout() {
			return fmt.Errorf("dial: %v, want a time-out", dialled)
		}
	case kernel.Reject:
		if !errors.Is(during, syscall.ECONNRESET) {
			return fmt.Errorf("live: %v, want ECONNRESET", during)
		}
		if !errors.Is(dialled, syscall.ECONNREFUSED) {
			return fmt.Errorf("dial: %v, want ECONNREFUSED", dialled)
		}
	}
	for range 2 { // twice: idempotent
		if err := k.Remove(ctx, rule); err != nil {
			return err
		}
	}
	if err := said(e.mustDial(t, ""), "c", "c", patience); err != nil {
		return fmt.Errorf("healed: new: %w", err)
	}
	if err := said(idle, "c", "c", patience); err != nil {
		return fmt.Errorf("healed: idle: %w", err)
	}
	if kind == kernel.Drop { // TCP sends again: nothing is missing, nothing is twice
		if err := said(live, "c", "bc", patience); err != nil {
			return fmt.Errorf("healed: live: %w", err)
		}
	}
	return nothingLeft()
}

// nothingLeft asks the kernel itself.
func nothingLeft() error {
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil || len(bytes.TrimSpace(out)) > 0 {
		return fmt.Errorf("rules are left (%v):\n%s", err, out)
	}
	return nil
}

func TestConformance(t *testing.T) {
	if !netns.Enter(t, kernel.Drop, kernel.Reject) {
		return
	}
	for _, kind := range []string{kernel.Drop, kernel.Reject} {
		if err := conform(t, kind); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// TestPlantedHealThatLeavesTheRule: what the conformance test asks the kernel
// shows a rule that is left, and Close takes it away.
func TestPlantedHealThatLeavesTheRule(t *testing.T) {
	if !netns.Enter(t, kernel.Reject) {
		return
	}
	k := kernel.Open(t.Context(), kernel.Scope{Ports: []int{1}}, "")
	rule, err := k.Lay(t.Context(), kernel.Rule{Kind: kernel.Reject})
	if err != nil {
		t.Fatal(err)
	}
	if err := k.Remove(t.Context(), rule+1); err != nil { // heals another one
		t.Fatal(err)
	}
	if err := nothingLeft(); err == nil {
		t.Error("a heal that leaves the rule was not caught")
	}
	if err := k.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := nothingLeft(); err != nil {
		t.Error(err)
	}
}

// TestDirections: a drop of one direction lets the other pass.
func TestDirections(t *testing.T) {
	if !netns.Enter(t, kernel.Drop) {
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // the test is over
	k := kernel.Open(t.Context(), kernel.Scope{Ports: []int{l.Addr().(*net.TCPAddr).Port}}, "")
	for _, direction := range []string{kernel.Up, kernel.Down} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		broker, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		rule, err := k.Lay(t.Context(), kernel.Rule{Kind: kernel.Drop, Direction: direction})
		if err != nil {
			t.Fatal(err)
		}
		arrives := func(from, to net.Conn) bool {
			_ = to.SetReadDeadline(time.Now().Add(quiet))
			_, _ = from.Write([]byte("x"))
			n, _ := to.Read(make([]byte, 1))
			return n == 1
		}
		if up := arrives(client, broker); up == (direction == kernel.Up) {
			t.Errorf("drop %s: what the client sent arrived: %v", direction, up)
		}
		if down := arrives(broker, client); down == (direction == kernel.Down) {
			t.Errorf("drop %s: what the broker sent arrived: %v", direction, down)
		}
		if err := k.Remove(t.Context(), rule); err != nil {
			t.Error(err)
		}
		_, _ = client.Close(), broker.Close()
	}
}

// TestSYNLimit: as many connections as the burst at once, then by the rate;
// what is connected is left alone.
func TestSYNLimit(t *testing.T) {
	if !netns.Enter(t, kernel.SYNLimit) {
		return
	}
	e := startEcho(t)
	k := kernel.Open(t.Context(), kernel.Scope{Ports: []int{e.port}}, "")
	live := e.mustDial(t, "")
	rule, err := k.Lay(t.Context(), kernel.Rule{Kind: kernel.SYNLimit, Rate: 1, Burst: 5})
	if err != nil {
		t.Fatal(err)
	}
	made := 0
	for range 10 {
		if _, err := e.dial(t, "", 100*time.Millisecond); err == nil {
			made++
		}
	}
	if made < 5 || made > 7 { // 10 dials take up to a second, which is one more by the rate
		t.Errorf("%d of 10 dials came through a limit of 1/s, burst 5", made)
	}
	if err := said(live, "x", "x", patience); err != nil {
		t.Errorf("a live connection: %v", err)
	}
	if err := k.Remove(t.Context(), rule); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if _, err := e.dial(t, "", patience); err != nil {
			t.Errorf("healed: %v", err)
		}
	}
	if err := nothingLeft(); err != nil {
		t.Error(err)
	}
}

// TestNetem: the delay is there in each direction, and gone when healed.
func TestNetem(t *testing.T) {
	if !netns.Enter(t, kernel.Netem) {
		return
	}
	k := kernel.Open(t.Context(), kernel.Scope{}, "")
	e := startEcho(t)
	c := e.mustDial(t, "")
	rule, err := k.Lay(t.Context(), kernel.Rule{Kind: kernel.Netem, Delay: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := said(c, "x", "x", patience); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 200*time.Millisecond {
		t.Errorf("a round trip took %v under a delay of 100 ms in each direction", took)
	}
	for range 2 {
		if err := k.Remove(t.Context(), rule); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.Command("tc", "qdisc", "show", "dev", "lo").CombinedOutput()
	if err != nil || strings.Contains(string(out), "netem") {
		t.Errorf("left: %s (%v)", out, err)
	}
}

// TestOutside: nothing is tried in a namespace that others share.
func TestOutside(t *testing.T) {
	if kernel.Inside() {
		t.Fatal("this test is for the outside")
	}
	k := kernel.Open(t.Context(), kernel.Scope{Ports: []int{1}}, "why")
	for _, kind := range kernel.Kinds() {
		if k.Missing(kind) != "why" {
			t.Errorf("%s outside a namespace of our own: %q", kind, k.Missing(kind))
		}
		if _, err := k.Lay(t.Context(), kernel.Rule{Kind: kind}); !errors.Is(err, kernel.ErrMissing) {
			t.Errorf("%s outside a namespace of our own: %v", kind, err)
		}
	}
}

// TestMarkIsNotBelieved: a mark that leaked into an environment takes no process
// for one in a namespace of its own, whatever it names. The process that is asked
// is in one, which no rule of the machine's is in, and nobody has told it so.
func TestMarkIsNotBelieved(t *testing.T) {
	r := kernel.Probe(t.Context())
	netns.Need(t, r)
	for _, mark := range []string{"net:[1]", "1", "own"} {
		cmd := r.Command(t.Context(), "/proc/self/exe", "-test.run=^TestOutside$", "-test.v")
		cmd.ExtraFiles = nil
		if mark != "own" {
			cmd.Env = append(cmd.Env, "REBOUND_NETNS="+mark)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestOutside") {
			t.Errorf("the mark %s is believed: %v\n%s", mark, err, out)
		}
	}
}

// TestProbe prints what this machine can do: it can not fail for that.
func TestProbe(t *testing.T) {
	r := kernel.Probe(t.Context())
	t.Logf("%+v", r)
	for kind := range r.Missing {
		if !slices.Contains(kernel.Kinds(), kind) {
			t.Errorf("the probe tells of %s", kind)
		}
	}
}
