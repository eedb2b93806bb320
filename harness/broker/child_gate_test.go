package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
)

var refusing = target.Gate{Name: "refusing", RejectAuth: &target.RejectAuth{Share: 1, Code: target.RefusedUser}}

// TestGateOfAPausedChild: a gate that is taken away while the child stands still
// is taken away once it goes on, and its tally is whole.
func TestGateOfAPausedChild(t *testing.T) {
	c := startTestChild(t, Options{})
	put(t, c, refusing)
	if got := knock(t, c, "dev-0").sees(5*time.Second, 4); got != connack(target.RefusedUser) {
		t.Errorf("the gate: %s", got)
	}
	if err := c.Pause(true); err != nil {
		t.Fatal(err)
	}
	soon, cancel := context.WithTimeout(testContext(t), 50*time.Millisecond)
	defer cancel()
	if _, err := c.SetGate(soon, target.Gate{Name: "refusing"}); !errors.Is(err, ErrDown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("of a paused child whose time is over: %v", err)
	}
	type answer struct {
		tally target.GateTally
		err   error
	}
	lifted := make(chan answer, 1)
	go func() {
		tally, err := c.SetGate(testContext(t), target.Gate{Name: "refusing"})
		lifted <- answer{tally, err}
	}()
	select {
	case a := <-lifted:
		t.Errorf("answered by a paused child: %+v", a)
	case <-time.After(100 * time.Millisecond):
	}
	if err := c.Pause(false); err != nil {
		t.Fatal(err)
	}
	if a := <-lifted; a.err != nil || a.tally != (target.GateTally{Seen: 1, Refused: 1}) {
		t.Errorf("%+v", a)
	}
	connectRaw(t, c.Info().Addresses[0], mqtt.ConnectInfo{ClientID: "dev-0", Clean: true})
}

// TestGateOverARestart: what a broker that ended had counted is not known, and
// the tally says so. One that was paused when it ended counts as ended.
func TestGateOverARestart(t *testing.T) {
	c := startTestChild(t, Options{})
	down := func(paused bool) {
		t.Helper()
		if err := errors.Join(c.Pause(paused), c.Kill()); err != nil {
			t.Fatal(err)
		}
	}
	lift := func(want target.GateTally) {
		t.Helper()
		if tally, err := c.SetGate(testContext(t), target.Gate{Name: "refusing"}); err != nil || tally != want {
			t.Errorf("%+v, %v, want %+v", tally, err, want)
		}
	}
	put(t, c, refusing)
	down(false)
	if err := c.Start(testContext(t), false); err != nil {
		t.Fatal(err)
	}
	knock(t, c, "dev-0").sees(5*time.Second, 4)
	lift(target.GateTally{Seen: 1, Refused: 1, Partial: true})
	put(t, c, refusing)
	lift(target.GateTally{})
	put(t, c, refusing)
	down(true)
	lift(target.GateTally{Partial: true})
	lift(target.GateTally{})
}
