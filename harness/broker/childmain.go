package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

const (
	// childMarker in the environment makes a re-executed program a broker child.
	childMarker = "REBOUND_BROKER_CHILD"
	// The control pipes are the first of the inherited files.
	childIn  = 3
	childOut = 4
	// childExit bounds the child's own end after EOF: nobody may be left to kill it.
	childExit = 5 * time.Second
)

// EndpointKey is the access key that a child's endpoint knows. It travels
// through the control pipe only: arguments and environments can be read by
// others.
type EndpointKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
}

// Format writes the id only.
func (k EndpointKey) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "access key "+k.ID) }

// Mount sets up a CloseConnection endpoint over a child's broker; key is nil
// where requests are not signed.
type Mount func(ctx context.Context, b *Embedded, addr string, key *EndpointKey) (url string, closeEndpoint func() error, err error)

// IsChild reports whether this process was started as a broker child.
func IsChild() bool { return os.Getenv(childMarker) != "" }

// RunChild is the life of a broker child: it serves until the control pipe
// ends and returns the exit code. Call it only if IsChild.
func RunChild(mount Mount) int {
	if err := os.Unsetenv(childMarker); err != nil {
		return 1
	}
	// Ctrl-C is for the parent, which ends the child when it is done with it.
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	in, out := os.NewFile(childIn, "control-in"), os.NewFile(childOut, "control-out")
	if in == nil || out == nil {
		return 1
	}
	if err := serveChild(newControl(in, out), mount); err != nil {
		fmt.Fprintln(os.Stderr, "broker child:", err)
		return 1
	}
	return 0
}

// serveChild speaks the control protocol over one broker.
func serveChild(c *control, mount Mount) error {
	m, err := c.receive()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.Type != typeStart {
		return fmt.Errorf("%w: the first message is %s, not %s", ErrControl, m.Type, typeStart)
	}
	clock := timeline.JoinClock(m.Start.Monotonic)
	b, err := startInChild(clock, *m.Start, mount)
	if err != nil {
		return errors.Join(err, c.send(message{Type: typeFailed, Failed: err.Error()}))
	}
	err = answerParent(c, b, clock)
	exit := time.AfterFunc(childExit, func() { os.Exit(1) })
	defer exit.Stop()
	return errors.Join(err, b.Close())
}

// startInChild starts the broker with its endpoint.
func startInChild(clock *timeline.Clock, order startOrder, mount Mount) (*Embedded, error) {
	ctx := context.Background()
	b, err := StartEmbedded(ctx, Options{
		Clock: clock, Addresses: order.Addresses, Port: order.Port, WritesPending: order.WritesPending, Store: order.Store, Gates: order.Gates,
	})
	if err != nil {
		return nil, err
	}
	host, port, err := splitPort(order.EndpointAddr)
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	err = onPort(port, func(port int) error { // as MQTT's, it has to be free after a restart
		url, closeEndpoint, err := mount(ctx, b, net.JoinHostPort(host, strconv.Itoa(port)), order.EndpointKey)
		if err == nil {
			b.Mount(url, closeEndpoint)
		} else if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%w: endpoint: %w", ErrPortInUse, err)
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// answerParent says ready and answers until the parent is gone.
func answerParent(c *control, b *Embedded, clock *timeline.Clock) error {
	info := b.Info()
	err := c.send(message{Type: typeReady, Ready: &readyReport{
		Addresses: info.Addresses, Endpoint: info.Endpoint, PID: os.Getpid(), At: clock.Now(),
	}})
	for err == nil {
		var m message
		if m, err = c.receive(); errors.Is(err, io.EOF) {
			return nil
		}
		switch {
		case err != nil:
		case m.Type == typeStats:
			err = c.send(message{Type: typeStats, Stats: &statsReport{At: clock.Now(), Stats: b.Stats()}})
		case m.Type == typeGate:
			err = answerGate(c, b, *m.Gate)
		case m.Type == typeReset:
			err = answerReset(c, b, m.Reset.ClientIDs)
		}
	}
	return err
}

// answerGate puts up a gate. One that can't be is the parent's mistake, and no
// end of the child.
func answerGate(c *control, b *Embedded, g target.Gate) error {
	tally, err := b.SetGate(context.Background(), g)
	if err != nil {
		return c.send(message{Type: typeFailed, Failed: err.Error()})
	}
	return c.send(message{Type: typeTally, Tally: &tally})
}

// answerReset resets the connections of some clients.
func answerReset(c *control, b *Embedded, clientIDs []string) error {
	closed := &closedReport{}
	for _, id := range clientIDs {
		found, at, err := b.reset(id)
		r := resetReport{Found: found, At: at}
		if err != nil {
			r.Err = err.Error()
		}
		closed.Resets = append(closed.Resets, r)
	}
	return c.send(message{Type: typeClosed, Closed: closed})
}
