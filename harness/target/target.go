// Package target holds the words for a broker under test: what it is, where it
// listens and what it can do. It holds no code that talks to one.
//
// In: nothing. Out: types for the main path, the faults and the fleet.
// It may import reports (for the ability record).
package target

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// ErrUnreachable says that no MQTT broker answered at the target's address
// with an accepting CONNACK in bounded time.
var ErrUnreachable = errors.New("broker unreachable")

// Target is a broker that clients can reach.
type Target interface {
	// Info says what was started and where it can be reached.
	Info() Info
	// Close stops what Start started and waits for it; it may be called twice.
	Close() error
}

// Info describes a started target.
type Info struct {
	Kind      string            // embedded | pipe | child | command | address
	Broker    string            // "mochi", the name of a foreign program, or "unknown" for an address
	Version   string            // "" = not known
	Addresses []string          // MQTT listeners as URLs, tcp://127.0.0.1:18830; of a Dialer in its own scheme
	Endpoint  string            // URL of the CloseConnection endpoint, "" = none
	SameClock bool              // Closed instants are comparable with the run's clock
	Settings  map[string]string // what was tuned, for the report
	Abilities reports.Abilities // the row's static ability record
}

// Login is how clients log in at a broker (MQTT 3.1.1 section 3.1.3.4). It goes
// into no evidence and no message.
type Login struct {
	Username string `json:"-"`
	Password []byte `json:"-"` // nil = none
}

// String tells nothing.
func (Login) String() string { return "login" }

// GoString tells nothing.
func (Login) GoString() string { return "target.Login{}" }

// Dialer is a target that is not reached over TCP.
type Dialer interface {
	// Dial makes a connection to one of Info's Addresses.
	Dial(ctx context.Context, addr string) (net.Conn, error)
}

// Closed is what a closer of connections knows after it has closed one.
type Closed struct {
	Found *bool            // whether the client was online; nil = the closer can't say
	At    timeline.Instant // just before the close call, on the run's clock; 0 = not known
	// What it took, known of a failed call too.
	Tries     int // requests of an API; 0 = the closer has none
	Throttled int // of them, those answered that the service is too busy
}

// ConnectionCloser closes the connection of one client. It returns when the
// connection is closed, as far as the closer can know. It is no ability of a
// Target: the main path picks one and gives it to the faults.
type ConnectionCloser interface {
	CloseConnection(ctx context.Context, clientID string) (Closed, error)
}

// Resetter is a target that can reset the connection of one client from the
// broker's side (SO_LINGER 0 and close): the client gets an RST, and the broker
// meets the end as that of a broken connection. It returns when the RST is sent.
type Resetter interface {
	Reset(ctx context.Context, clientID string) (Closed, error)
}

// The kinds of device events, in the words of the cloud's device trace.
const (
	DeviceConnect    = "connect"    // CONNACK 0 was sent
	DeviceClose      = "close"      // the TCP connection ended without a DISCONNECT
	DeviceDisconnect = "disconnect" // the client asked
)

// DeviceEvent is what a broker remembers of one client's connections.
type DeviceEvent struct {
	At       time.Time // wall clock: the device trace is queried by it
	ClientID string
	Kind     string // DeviceConnect, …
	Reason   string // what the broker says of it; "" = nothing
	// Connection tells a client's connections apart: a connect and its end have
	// the same; "" = not known.
	Connection string
}
