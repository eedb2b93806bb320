package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"

	mochi "github.com/mochi-mqtt/server/v2"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// Stats are a broker's own counters, since its start.
type Stats struct {
	Clients         int64 `json:"clients"`          // connected now
	Dropped         int64 `json:"dropped"`          // publishes dropped for a full writer queue
	InflightDropped int64 `json:"inflight_dropped"` // publishes refused for a full in-flight store
	AcceptFailures  int64 `json:"accept_failures"`  // failed Accepts, each tried again
	Held            int64 `json:"held"`             // packets that wait at a gate now
}

// Embedded is mochi in this process.
type Embedded struct {
	clock  *timeline.Clock
	server *mochi.Server
	door   *door
	gate   *gate
	store  *store // nil = what clients leave behind ends with the broker
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
	ways, err := waysIn(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start embedded broker: %w", err)
	}
	return startMochi(ctx, o, KindEmbedded, mochiAbilities(), ways)
}

// startMochi starts mochi behind its listeners, which are closed if it fails.
func startMochi(ctx context.Context, o Options, kind string, abilities reports.Abilities, ways []way) (*Embedded, error) {
	e := &Embedded{clock: o.Clock, door: newDoor(ways, o.Log), gate: newGate()}
	e.door.connect = o.ConnectTimeout
	capabilities := mochi.NewDefaultServerCapabilities()
	capabilities.MaximumClientWritesPending = int32(o.WritesPending)
	capabilities.MaximumInflight = maxInflight
	e.server = mochi.New(&mochi.Options{
		Capabilities:           capabilities,
		SysTopicResendInterval: sysTopicSeconds,
		Logger:                 slog.New(slog.DiscardHandler), // it warns of every lost connection
	})
	e.publisher = newPublisher(e.server)
	for _, g := range o.Gates {
		if _, err := e.SetGate(ctx, g); err != nil {
			return nil, errors.Join(fmt.Errorf("start %s broker: %w", kind, err), closeAll(ways))
		}
	}
	if err := e.serve(o); err != nil {
		return nil, fmt.Errorf("start %s broker: %w", kind, errors.Join(err, closeAll(ways)))
	}
	if e.store != nil {
		abilities.Persistence = "lazy" // it survives this process, and the machine from a clean stop on
	}
	e.info = target.Info{
		Kind: kind, Broker: "mochi", Version: mochi.Version, SameClock: true,
		Addresses: urls(ways), Settings: o.settings(), Abilities: abilities,
	}
	return e, nil
}

// serve adds the hooks and the door and starts mochi.
func (e *Embedded) serve(o Options) error {
	hooks := append([]mochi.Hook{e.gate}, o.Hooks...)
	if o.Log.Enabled(context.Background(), slog.LevelInfo) {
		hooks = append(hooks, &journal{log: o.Log})
	}
	if o.Store != "" {
		var err error
		if e.store, err = openStore(o.Store, o.Log); err != nil {
			return err
		}
		hooks = append(hooks, e.store)
	}
	err := e.attach(hooks)
	if err != nil && e.store != nil {
		err = errors.Join(err, e.store.Stop())
	}
	return err
}

func (e *Embedded) attach(hooks []mochi.Hook) error {
	for _, hook := range hooks {
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
		Held:            e.gate.barriers.held(),
	}
}

// Close stops the endpoint, then the broker, abruptly as a killed process
// would: every socket is closed at once, nobody is sent a DISCONNECT, and no
// Will of one client reaches another. It waits and may be called twice. To
// restart the broker, call StartEmbedded with the same Port. Sessions are gone,
// unless there is a Store: then what was acknowledged is still routed, and Wills
// are published, before it closes.
func (e *Embedded) Close() error {
	e.close.Do(func() {
		e.mu.Lock()
		endpoint := e.endpoint
		e.mu.Unlock()
		if endpoint != nil {
			e.closeErr = endpoint()
		}
		e.gate.shut.Store(e.store == nil)
		e.gate.barriers.close()
		if err := e.server.Close(); err != nil {
			e.closeErr = errors.Join(e.closeErr, fmt.Errorf("close embedded broker: %w", err))
		}
		if e.store != nil { // mochi has stopped it, and tells nobody how that went
			e.closeErr = errors.Join(e.closeErr, e.store.stopErr)
		}
	})
	return e.closeErr
}

// urls are the addresses for clients, those of plain TCP first.
func urls(ways []way) []string {
	var out []string
	for _, w := range ways {
		out = append(out, w.url)
	}
	return out
}
