package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// The errors of drivers and fleets.
var (
	// ErrRefused says that the library did not take a message, or that the
	// broker refused a subscription.
	ErrRefused = errors.New("refused")
	// ErrClosed says that the client or the fleet was closed.
	ErrClosed = errors.New("fleet closed")
	// ErrDriver says that no driver has the name that was asked for.
	ErrDriver = errors.New("unknown driver")
	// ErrPolicy says that the driver has no such reconnect policy.
	ErrPolicy = errors.New("unknown reconnect policy")
	// ErrConfig says that a fleet can not be made from its configuration.
	ErrConfig = errors.New("fleet configuration")
	// ErrStuck says that goroutines of the fleet itself did not end when it
	// was closed: a defect of the harness, never of a broker.
	ErrStuck = errors.New("fleet did not stop")
)

// Driver makes real clients of one client library.
type Driver interface {
	// Info names the library and its version, for the report.
	Info() reports.Driver
	// New makes a client and starts nothing.
	New(Settings) (Client, error)
}

// Client is one client of a library. The library keeps it connected after the
// first successful Connect.
type Client interface {
	// Connect dials for the first time and returns when the library says that
	// it is connected, that this attempt failed, or ctx has ended.
	Connect(ctx context.Context) error
	// Subscribe asks for all filters and returns when the library has an
	// answer. A filter that the broker refused is ErrRefused.
	Subscribe(ctx context.Context, subs []scenarios.Subscription) error
	// Publish hands a message to the library and returns; it never waits for
	// an acknowledgement, and it blocks for Settings.WriteTimeout at most. The
	// payload belongs to the library from then on. An error means that the
	// library certainly does not have the message.
	Publish(topic string, qos byte, retain bool, payload []byte) error
	// Disconnect has the library end its connection by itself, with a DISCONNECT
	// where there is one, or give up an attempt that is under way, and returns
	// in bounded time. Session state stays as the library keeps it. The client
	// does not come back by itself; Connect may be called again, also at once.
	Disconnect()
	// Close disconnects and ends what the library started. It returns in
	// bounded time; see the driver for what may end later. Call it once.
	Close()
}

// Settings is what a driver needs to make one client.
type Settings struct {
	ClientID       string
	Addr           string        // MQTT listener, as in target.Info.Addresses; Dial knows how to reach it
	Clean          bool          // clean session [MQTT-3.1.2-6]
	KeepAlive      time.Duration // whole seconds; 0 = off
	Reconnect      scenarios.Reconnect
	Will           *Will         // nil = none
	Login          *target.Login // nil = none
	ConnectTimeout time.Duration // of one attempt: dial and CONNACK together
	WriteTimeout   time.Duration // the bound of Publish, and of each wait for a SUBACK

	// Dial opens the transport of one attempt, tap included. It is called for
	// each attempt, also those of the library's own reconnects.
	Dial func(ctx context.Context) (net.Conn, error)

	// Backoff is the sleep before dial number attempt (from 1) after a loss, and
	// before each repetition of it, or Never: the fleet's reconnect policy. nil =
	// that of Reconnect. It is called just before the sleep, and OnReconnecting after it.
	Backoff func(attempt int) time.Duration

	// The callbacks come from the library's goroutines and may be nil. They
	// must only stamp, hand over, or start an own goroutine: the library waits
	// for them, and the reconnect that they would observe with it.
	OnReconnecting func()
	OnConnected    func()                             // on its own goroutine; may subscribe
	OnMessage      func(topic string, payload []byte) // payload: valid during the call
}

// Will is the Will Message of a client, MQTT 3.1.1 section 3.1.2.5.
type Will struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// Drivers is the driver table: the built-in rows, then the extra ones.
func Drivers(extra ...Driver) []Driver {
	return append([]Driver{Paho{}, Strict{}}, extra...)
}

// FindDriver picks the row with that name; a later row wins, so that an own
// driver can replace a built-in one.
func FindDriver(name string, rows []Driver) (Driver, error) {
	for i := len(rows) - 1; i >= 0; i-- {
		if rows[i].Info().Name == name {
			return rows[i], nil
		}
	}
	return nil, fmt.Errorf("%w %q", ErrDriver, name)
}
