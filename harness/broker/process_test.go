package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

// living is a target whose broker is a process of ours.
type living interface {
	target.Target
	target.Killer
	target.Stopper
	target.Starter
	target.Pauser
	PID() int
}

// onProcesses runs a test on each target whose broker is a process of ours. None
// of them loses what it keeps when it is stopped.
func onProcesses(t *testing.T, test func(t *testing.T, b living)) {
	t.Helper()
	t.Run(KindChild, func(t *testing.T) { test(t, startTestChild(t, Options{Persist: true})) })
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) { test(t, startTestCommand(t, p.name, Options{})) })
	}
	t.Run(KindCommand, func(t *testing.T) { test(t, startTestProgram(t, testProgram(t), Options{})) })
}

// frozen is how long a paused broker is watched for an answer that must not come.
const frozen = 200 * time.Millisecond

// The conformance of the process abilities. Each gives what it found wrong, so
// that planted wrong ones can be held against it.

// killConforms: whatever is ended is gone at once, for everyone, and comes back
// at the same place, another process with nothing in it.
func killConforms(ctx context.Context, b living) error {
	return downConforms(ctx, b, b.Kill)
}

func stopConforms(ctx context.Context, b living) error {
	return downConforms(ctx, b, b.Stop)
}

func downConforms(ctx context.Context, b living, down func() error) error {
	was, pid := b.Info(), b.PID()
	conn, err := net.Dial("tcp", strings.TrimPrefix(was.Addresses[0], "tcp://"))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := Preflight(ctx, was.Addresses[0], nil); err != nil {
		return err
	}
	for range 2 { // it may be called twice
		if err := down(); err != nil {
			return err
		}
	}
	if !gone(pid) || b.PID() != 0 {
		return fmt.Errorf("pid %d lives on, told as %d", pid, b.PID())
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return errors.New("a connection lives on")
	}
	for _, addr := range was.Addresses {
		if err := Preflight(ctx, addr, nil); !errors.Is(err, target.ErrUnreachable) {
			return fmt.Errorf("%s while the broker is down: %v", addr, err)
		}
	}
	if err := b.Start(ctx, false); err != nil {
		return err
	}
	if is := b.Info(); !reflect.DeepEqual(is, was) {
		return fmt.Errorf("%+v became %+v", was, is)
	}
	for _, addr := range was.Addresses {
		if err := Preflight(ctx, addr, nil); err != nil {
			return fmt.Errorf("after the restart: %w", err)
		}
	}
	if b.PID() == pid || gone(b.PID()) {
		return fmt.Errorf("pid %d after %d", b.PID(), pid)
	}
	return nil
}

// pauseConforms: a paused broker answers nobody, also those whose connections
// the kernel takes, and goes on where it stood.
func pauseConforms(ctx context.Context, b living) error {
	addr, pid := b.Info().Addresses[0], b.PID()
	for range 2 {
		if err := b.Pause(true); err != nil {
			return err
		}
	}
	hello := mqtt.AppendConnect(nil, mqtt.ConnectInfo{ClientID: "waits", Clean: true})
	conn, err := net.Dial("tcp", strings.TrimPrefix(addr, "tcp://"))
	if err != nil {
		return fmt.Errorf("the kernel takes no connection for a paused broker: %w", err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	if err := conn.SetReadDeadline(time.Now().Add(frozen)); err != nil {
		return err
	}
	connack := make([]byte, 4)
	if n, err := conn.Read(connack); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("a paused broker answered % x, %v", connack[:n], err)
	}
	for range 2 {
		if err := b.Pause(false); err != nil {
			return err
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, connack); err != nil || connack[0] != 0x20 {
		return fmt.Errorf("after the pause: % x, %w", connack, err)
	}
	if b.PID() != pid {
		return fmt.Errorf("pid %d after %d", b.PID(), pid)
	}
	return nil
}

func TestProcessAbilities(t *testing.T) {
	onProcesses(t, func(t *testing.T, b living) {
		for _, c := range conformances() {
			if err := c.conforms(testContext(t), b); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	})
}

type conformance struct {
	name     string
	conforms func(context.Context, living) error
}

func conformances() []conformance {
	return []conformance{{"kill", killConforms}, {"stop", stopConforms}, {"pause", pauseConforms}}
}

// The planted wrong ones, each over a real broker.
type (
	killsNothing   struct{ living }
	stopsNothing   struct{ living }
	startsNothing  struct{ living }
	pausesNothing  struct{ living }
	resumesNothing struct{ living }
	// movesAway starts another broker at another port.
	movesAway struct {
		living
		t *testing.T
	}
)

func (killsNothing) Kill() error                        { return nil }
func (stopsNothing) Stop() error                        { return nil }
func (startsNothing) Start(context.Context, bool) error { return nil }
func (m movesAway) Start(context.Context, bool) error   { startTest(m.t, Options{}); return nil }

func (p pausesNothing) Pause(paused bool) error {
	if paused {
		return nil
	}
	return p.living.Pause(paused)
}

func (p resumesNothing) Pause(paused bool) error {
	if paused {
		return p.living.Pause(paused)
	}
	return nil
}

func TestPlantedProcessAbilities(t *testing.T) {
	for _, p := range []struct {
		name  string
		plant func(living) living
		by    func(context.Context, living) error
		says  string
	}{
		{"a kill that does not kill", func(b living) living { return killsNothing{b} }, killConforms, "lives on"},
		{"a stop that does not stop", func(b living) living { return stopsNothing{b} }, stopConforms, "lives on"},
		{"a start that starts nothing", func(b living) living { return startsNothing{b} }, killConforms, "after the restart"},
		{"a start at another port", func(b living) living { return movesAway{b, t} }, killConforms, "after the restart"},
		{"a pause that does not pause", func(b living) living { return pausesNothing{b} }, pauseConforms, "a paused broker answered"},
		{"a resume that leaves it paused", func(b living) living { return resumesNothing{b} }, pauseConforms, "after the pause"},
	} {
		t.Run(p.name, func(t *testing.T) {
			err := p.by(testContext(t), p.plant(startTestChild(t, Options{})))
			if err == nil || !strings.Contains(err.Error(), p.says) {
				t.Errorf("found %v, want %q", err, p.says)
			}
		})
	}
}

// TestRestartKeeps: what is kept over a restart is asked for, each time anew.
func TestRestartKeeps(t *testing.T) {
	onProcesses(t, func(t *testing.T, b living) {
		ctx, addr := testContext(t), b.Info().Addresses[0]
		first, _ := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "kept"})
		first.subscribe("a/b", 1)
		for _, keep := range []bool{true, false} {
			if err := b.Stop(); err != nil {
				t.Fatal(err)
			}
			if err := b.Start(ctx, keep); err != nil {
				t.Fatal(err)
			}
			if _, present := connectRaw(t, addr, mqtt.ConnectInfo{ClientID: "kept"}); present != keep {
				t.Errorf("asked to keep: %v; session present: %v", keep, present)
			}
		}
	})
}

// TestChildKeepsWhatACrashLeft: the store has what was acknowledged, however the
// child ends; without one nothing is kept, whatever is asked for.
func TestChildKeepsWhatACrashLeft(t *testing.T) {
	for _, persist := range []bool{true, false} {
		c := startTestChild(t, Options{Persist: persist})
		if got := c.Info().Abilities.Persistence; got != map[bool]string{true: "lazy", false: "none"}[persist] {
			t.Errorf("persistence %s", got)
		}
		first, _ := connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "kept"})
		first.subscribe("a/b", 1)
		if err := c.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := c.Start(testContext(t), true); err != nil {
			t.Fatal(err)
		}
		if _, present := connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "kept"}); present != persist {
			t.Errorf("with a store: %v; session present: %v", persist, present)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(c.dir); persist && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the store's folder is still there: %v", err)
		}
	}
}

// TestChildAfterARestart: clock, counters and endpoint are those of the new
// process, under the old URL.
func TestChildAfterARestart(t *testing.T) {
	c := startTestChild(t, Options{Addresses: 2})
	ctx, endpoint := testContext(t), c.Info().Endpoint
	client, err := closeconn.NewClient(closeconn.ClientConfig{Endpoint: endpoint, Clock: c.o.Clock, SameClock: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	if _, err := client.CloseConnection(ctx, "nobody"); err != nil { // opens what is kept for the next call
		t.Fatal(err)
	}
	connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "before", Clean: true})
	if err := c.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Stats(ctx); !errors.Is(err, ErrDown) {
		t.Errorf("stats of a dead child: %v", err)
	}
	if err := c.Start(ctx, false); err != nil {
		t.Fatal(err)
	}
	if got := c.Info().Endpoint; got != endpoint {
		t.Errorf("endpoint %s became %s", endpoint, got)
	}
	if s, err := c.Stats(ctx); err != nil || s.Clients != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	dev, _ := connectRaw(t, c.Info().Addresses[1], mqtt.ConnectInfo{ClientID: "dev", Clean: true})
	before := c.o.Clock.Now()
	closed, err := client.CloseConnection(ctx, "dev")
	if err != nil || closed.Found == nil || !*closed.Found || closed.At < before || closed.At > c.o.Clock.Now() {
		t.Errorf("%+v, %v", closed, err)
	}
	dev.rest()
}

func TestStartAgainRefuses(t *testing.T) {
	onProcesses(t, func(t *testing.T, b living) {
		ctx := testContext(t)
		pid := b.PID()
		if err := b.Start(ctx, true); err != nil || b.PID() != pid {
			t.Errorf("of one that runs: %v, pid %d after %d", err, b.PID(), pid)
		}
		if err := b.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := b.Pause(false); err != nil {
			t.Errorf("letting one go on that is dead: %v", err)
		}
		if err := b.Pause(true); !errors.Is(err, os.ErrProcessDone) {
			t.Errorf("pausing one that is dead: %v", err)
		}
		// Its port is taken meanwhile: an error, and the next try is free to work.
		l, err := net.Listen("tcp", strings.TrimPrefix(b.Info().Addresses[0], "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Start(ctx, false); err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("on a port that is taken: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(ctx, false); err != nil {
			t.Errorf("on a port that is free again: %v", err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if err := b.Start(ctx, false); !errors.Is(err, ErrDown) {
			t.Errorf("of one that was closed: %v", err)
		}
	})
}

// TestCloseEndsWhatIsPaused: nothing is left behind, whatever state it is in.
func TestCloseEndsWhatIsPaused(t *testing.T) {
	onProcesses(t, func(t *testing.T, b living) {
		pid := b.PID()
		if err := b.Pause(true); err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if !gone(pid) {
			t.Errorf("pid %d lives on", pid)
		}
	})
	onProcesses(t, func(t *testing.T, b living) {
		pid := b.PID()
		if err := errors.Join(b.Pause(true), b.Kill()); err != nil {
			t.Fatal(err)
		}
		if !gone(pid) {
			t.Errorf("pid %d outlived its kill", pid)
		}
		if err := b.Close(); err != nil {
			t.Errorf("a wanted kill is no error: %v", err)
		}
	})
}
