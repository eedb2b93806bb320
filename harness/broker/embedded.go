package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// Stats are a broker's own counters, since its start.
type Stats struct {
	Clients         int64 `json:"clients"`          // connected now
	Dropped         int64 `json:"dropped"`          // publishes dropped for a full writer queue
	InflightDropped int64 `json:"inflight_dropped"` // publishes refused for a full in-flight store
	AcceptFailures  int64 `json:"accept_failures"`  // failed Accepts, each tried again
}

// Embedded is mochi in this process.
type Embedded struct {
	clock  *timeline.Clock
	server *mochi.Server
	door   *door
	gate   *gate
	// publisher is who Send publishes as.
	publisher *mochi.Client

	mu       sync.Mutex
	info     target.Info
	endpoint func() error // closes what Mount attached

	close    sync.Once
	closeErr error
}

var _ target.Target = (*Embedded)(nil)

// StartEmbedded starts mochi. ctx bounds the start only; Close ends the broker.
func StartEmbedded(ctx context.Context, o Options) (*Embedded, error) {
	o = o.withDefaults()
	ls, err := listen(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	e := &Embedded{clock: o.Clock, door: newDoor(ls, o.Log), gate: &gate{blocks: newBlockList(), trace: newTrace()}}
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = int32(o.WritesPending)
	capabilities.MaximumInflight = maxInflight
	e.server = mochi.New(&mochi.Options{
		Capabilities:           capabilities,
		SysTopicResendInterval: sysTopicSeconds,
		Logger:                 slog.New(slog.DiscardHandler), // it warns of every lost connection
	})
	e.publisher = newPublisher(e.server)
	if err := e.serve(o.Hooks); err != nil {
		for _, l := range ls {
			err = errors.Join(err, l.Close())
		}
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	e.info = target.Info{
		Kind: KindEmbedded, Broker: "mochi", Version: mochi.Version, SameClock: true,
		Addresses: urls(ls), Settings: o.settings(), Abilities: mochiAbilities(),
	}
	return e, nil
}

// serve adds the hooks and the door and starts mochi.
func (e *Embedded) serve(hooks []mochi.Hook) error {
	for _, hook := range append([]mochi.Hook{e.gate}, hooks...) {
		if err := e.server.AddHook(hook, nil); err != nil {
			return fmt.Errorf("add hook %s: %w", hook.ID(), err)
		}
	}
	if err := e.server.AddListener(e.door); err != nil {
		return err
	}
	return e.server.Serve()
}

// Info says where the broker listens and how it was tuned.
func (e *Embedded) Info() target.Info {
	e.mu.Lock()
	defer e.mu.Unlock()
	info := e.info
	info.Settings = maps.Clone(info.Settings)
	return info
}

// Clock is the clock of CloseClient's instants.
func (e *Embedded) Clock() *timeline.Clock { return e.clock }

// Mount records the CloseConnection endpoint that was set up over this broker;
// Close closes it first.
func (e *Embedded) Mount(url string, closeEndpoint func() error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.info.Endpoint, e.endpoint = url, closeEndpoint
}

// Clients is the number of clients connected now.
func (e *Embedded) Clients() int { return int(e.Stats().Clients) }

// Stats reads the broker's counters.
func (e *Embedded) Stats() Stats {
	return Stats{
		Clients:         atomic.LoadInt64(&e.server.Info.ClientsConnected),
		Dropped:         atomic.LoadInt64(&e.server.Info.MessagesDropped),
		InflightDropped: atomic.LoadInt64(&e.server.Info.InflightDropped),
		AcceptFailures:  e.door.failures.Load(),
	}
}

// Close stops the endpoint, then the broker, abruptly as a killed process
// would: every socket is closed at once, nobody is sent a DISCONNECT, and no
// Will of one client reaches another. It waits and may be called twice. To
// restart the broker, call StartEmbedded with the same Port; sessions are gone.
func (e *Embedded) Close() error {
	e.close.Do(func() {
		e.mu.Lock()
		endpoint := e.endpoint
		e.mu.Unlock()
		if endpoint != nil {
			e.closeErr = endpoint()
		}
		e.gate.shut.Store(true)
		if err := e.server.Close(); err != nil {
			e.closeErr = errors.Join(e.closeErr, fmt.Errorf("close embedded broker: %w", err))
		}
	})
	return e.closeErr
}

// urls writes listeners as addresses for clients.
func urls(ls []net.Listener) []string {
	var out []string
	for _, l := range ls {
		out = append(out, "tcp://"+l.Addr().String())
	}
	return out
}
