package fleet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
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
	Clock     *timeline.Clock

	Record   func(timeline.Conn) // as in Config
	Accounts Accounts

	Traffic []scenarios.Traffic // of the plan
	Streams []Stream            // made from it by Streams

	ConnectTimeout time.Duration // as in Config
	WriteTimeout   time.Duration
}

// Control is the built-in fleet "control": a few connections that are never
// victims. It publishes the traffic, probes the clients of other fleets and
// sends the sentinels.
type Control struct {
	*Fleet

	runID      uint64
	tally      *tally
	timetable  Timetable
	publishers []*publisher
	probers    []*prober

	mu       sync.Mutex
	started  bool
	stop     chan struct{} // closed = the traffic ends
	stopAt   timeline.Instant
	stopping sync.Once
	running  sync.WaitGroup // publishers
	closing  sync.Once
	closeErr error
}

// NewControl makes the control fleet and starts nothing.
func NewControl(cfg ControlConfig) (*Control, error) {
	if cfg.Clients <= 0 {
		cfg.Clients = DefaultControl
	}
	accounts := cfg.Accounts.filled()
	c := &Control{
		runID: cfg.RunID, tally: newTally(cfg.Streams, accounts), timetable: accounts.Timetable,
		stop: make(chan struct{}),
	}
	var err error
	c.Fleet, err = New(Config{
		Run: cfg.Run, RunID: cfg.RunID, Clients: cfg.Clients,
		Fleet: scenarios.Fleet{
			Name: ControlFleet, ClientID: controlID,
			Session:   scenarios.Session{Clean: true, KeepAlive: controlKeepAlive},
			Reconnect: scenarios.Reconnect{Policy: pahoPolicy, Max: controlReconnect},
			Back:      scenarios.BackConnack,
		},
		Driver: cfg.Driver, Addresses: cfg.Addresses, Dial: cfg.Dial, Clock: cfg.Clock, Record: cfg.Record,
		Accounts:       Accounts{Publications: c.tally, Sentinels: c.tally},
		ConnectTimeout: cfg.ConnectTimeout, WriteTimeout: cfg.WriteTimeout,
	})
	if err != nil {
		return nil, err
	}
	for i, client := range c.clients {
		p, err := newPublisher(c, client, cfg.Traffic, cfg.Streams, i)
		if err != nil {
			return nil, err
		}
		c.publishers = append(c.publishers, p)
		c.probers = append(c.probers, &prober{control: c, client: client, wake: make(chan struct{}, 1)})
	}
	for i := range cfg.Streams {
		if cfg.Streams[i].conn >= len(c.clients) {
			return nil, fmt.Errorf("%w: stream %d is for more control connections", ErrConfig, cfg.Streams[i].ID)
		}
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

// StartTraffic begins the timetable: slot k of each traffic item is due at
// now + k / rate. It returns at once. When ctx ends, the traffic ends.
func (c *Control) StartTraffic(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || c.stopAt != 0 {
		return fmt.Errorf("%w: traffic can be started once", ErrConfig)
	}
	c.started = true
	start := c.cfg.Clock.Now()
	for _, p := range c.publishers {
		c.running.Add(1)
		ok := c.spawn(func() {
			defer c.running.Done()
			p.run(ctx, start)
		})
		if !ok {
			c.running.Done()
			return ErrClosed
		}
	}
	return nil
}

// StopTraffic ends the timetable now, waits for the publishers and books what
// became of the slots. It may be called twice, and without StartTraffic.
func (c *Control) StopTraffic() {
	c.stopping.Do(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopAt = c.cfg.Clock.Now()
		close(c.stop)
	})
	c.running.Wait()
}

// Close ends traffic and probes, closes the connections and then books, per
// stream, what the library took and never wrote. It may be called twice.
func (c *Control) Close() error {
	c.closing.Do(func() {
		c.StopTraffic()
		c.closeErr = c.Fleet.Close()
		for _, p := range c.publishers {
			p.bookQueued()
		}
	})
	return c.closeErr
}

// publish writes a message into the library of a control connection.
func (c *Control) publish(client *client, topic string, qos byte, size int, h mqtt.Header) error {
	lib := client.get()
	if lib == nil {
		return ErrRefused
	}
	payload := make([]byte, max(size, mqtt.HeaderSize)) // the library keeps it
	h.Run, h.Sent = c.runID, int64(c.cfg.Clock.Now())
	mqtt.PutPayload(payload, h)
	return lib.Publish(topic, qos, false, payload)
}
