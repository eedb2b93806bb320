package fleet

import (
	"context"
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	// controlReconnect is the longest sleep of the control fleet's reconnects:
	// when the broker itself is the victim, the prober redials this often.
	controlReconnect = 10 * time.Millisecond
	controlKeepAlive = 30 * time.Second
)

// ControlConfig is what the control fleet is made from.
type ControlConfig struct {
	Run     string
	RunID   uint64
	Clients int // connections; 0 = DefaultControl, as in Streams

	Driver    Driver
	Addresses []string
	Dial      DialFunc
	Login     *target.Login // as in Config
	Clock     *timeline.Clock

	Record   func(timeline.Conn) // as in Config
	Accounts Accounts            // Traffic.Accounts
	Finding  func(timeline.Finding)

	ConnectTimeout time.Duration // as in Config
	WriteTimeout   time.Duration
}

// Control is the built-in fleet "control": a few connections that are never
// victims. It probes the clients of other fleets, and Traffic publishes over it.
type Control struct {
	*Fleet
	probers []*prober
}

// NewControl makes the control fleet and starts nothing.
func NewControl(cfg ControlConfig) (*Control, error) {
	if cfg.Clients <= 0 {
		cfg.Clients = DefaultControl
	}
	f, err := New(Config{
		Run: cfg.Run, RunID: cfg.RunID, Clients: cfg.Clients,
		Fleet: scenarios.Fleet{
			Name: ControlFleet, ClientID: controlID,
			Session:   scenarios.Session{Clean: true, KeepAlive: controlKeepAlive},
			Reconnect: scenarios.Reconnect{Policy: pahoPolicy, Max: controlReconnect},
			Back:      scenarios.BackConnack,
		},
		Driver: cfg.Driver, Addresses: cfg.Addresses, Dial: cfg.Dial, Login: cfg.Login, Clock: cfg.Clock, Record: cfg.Record,
		Accounts: Accounts{
			Sessions: cfg.Accounts.Sessions, Publications: cfg.Accounts.Publications, Sentinels: cfg.Accounts.Sentinels,
		},
		Finding:        cfg.Finding,
		ConnectTimeout: cfg.ConnectTimeout, WriteTimeout: cfg.WriteTimeout,
	})
	if err != nil {
		return nil, err
	}
	c := &Control{Fleet: f}
	for _, client := range c.clients {
		c.probers = append(c.probers, &prober{control: c, client: client, wake: make(chan struct{}, 1)})
	}
	return c, nil
}

// Start begins to connect, and to probe what the fleets hand over.
func (c *Control) Start(ctx context.Context) {
	c.Fleet.Start(ctx)
	for _, p := range c.probers {
		c.spawn(p.run)
	}
}

// Ready waits until every control connection is up, also in the eyes of its
// library, which clears its store at the end of a first connect: a message
// published before that would not be resent.
func (c *Control) Ready(ctx context.Context) error {
	const poll = 5 * time.Millisecond
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for c.Connected() < c.Len() || int(c.up.Load()) < c.Len() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("control fleet: %d of %d connected: %w", c.Connected(), c.Len(), context.Cause(ctx))
		case <-c.Changed():
		case <-tick.C:
		}
	}
	return nil
}

// Lost reports whether a control connection is lost now: its streams and
// probes wait.
func (c *Control) Lost() bool { return c.Away() > 0 }

// LiveCount is the number of control connections that are live now.
func (c *Control) LiveCount() int { return c.Connected() }
