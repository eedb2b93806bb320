package fleet

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/mqtt"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

const (
	// closers is how many clients are closed at a time.
	closers = 512
	// ownWait bounds the wait for the fleet's own goroutines at Close. It
	// exceeds the library's write time-out, in which a subscriber may hang.
	ownWait = 15 * time.Second
	// heardEvery is the precision of LastMessage: a store for each message
	// would have all readers fight for one cache line.
	heardEvery = timeline.Instant(time.Millisecond)
)

// DialFunc opens the transport of one connection attempt and puts the tap on
// top of it. n is the number of the connection in the life of the client; local
// and remote are its addresses, for the record.
type DialFunc func(ctx context.Context, addr, clientID string, n int, tap Tap) (conn net.Conn, local, remote string, err error)

// Config is what a fleet is made from.
type Config struct {
	Run     string          // run id: fills {run}
	RunID   uint64          // the same as a number, in each payload's header
	Clients int             // number of clients
	Fleet   scenarios.Fleet // name, templates, session, policies

	Driver    Driver
	Addresses []string // client i uses address i mod n
	Dial      DialFunc
	Login     *target.Login // nil = its clients do not log in
	Clock     *timeline.Clock

	// Record is given each connection's record when it ends, and at Flush those
	// of the open ones; a later record of the same connection replaces an
	// earlier one. It is called under the session's lock, from the library's
	// goroutines: it must only keep the record.
	Record func(timeline.Conn)
	// Finding is given each broken rule that a tap sees, with the last packets
	// of that connection: of each rule the first 1,000, and how many more at
	// Flush and Close. It is called from the libraries' goroutines, also at the
	// same time; nil = not wanted.
	Finding  func(timeline.Finding)
	Accounts Accounts
	Probe    string   // topic template of the probes (scenarios.ProbeTopic); "" = none
	Prober   *Control // nil = no probes: "first-message" falls to "subscribed"

	// Will gives the Will Message of a client; nil, also as its result = none.
	Will func(client int) *Will
	// Wills is given each PUBLISH of KindWill that a client read, during the
	// call only; it comes from the libraries' reader goroutines. nil = nobody.
	Wills func(p *mqtt.Packet, at timeline.Instant)

	Policies []Policy // where the fleet's reconnect policy is found; nil = the built-in ones
	Seed     uint64   // of what the policy draws, for each client in a stream of its own

	ConnectTimeout time.Duration // of one attempt; 0 = 10 s. paho's backoff forgets after twice this time
	WriteTimeout   time.Duration // 0 = 5 s
}

// Fleet is a group of clients made alike. Its counters may be read from any
// goroutine.
type Fleet struct {
	cfg      Config
	accounts Accounts
	clients  []*client
	findings findings
	probes   probes // of a control fleet: those that it sent

	up        atomic.Int64 // clients whose library said that the first connect is done
	connected atomic.Int64
	accepted  atomic.Int64
	away      atomic.Int64
	last      atomic.Int64
	changed   chan struct{}

	ctx    context.Context // ends at Close, or with Start's
	cancel context.CancelFunc
	mu     sync.Mutex // guards closed, and spawn against it
	closed bool
	own    sync.WaitGroup
	starts sync.Once
	closer sync.Once
	err    error // of Close
}

// New makes the fleet and starts nothing.
func New(cfg Config) (*Fleet, error) {
	switch {
	case cfg.Driver == nil, cfg.Dial == nil, cfg.Clock == nil:
		return nil, fmt.Errorf("%w: driver, dial and clock are needed", ErrConfig)
	case len(cfg.Addresses) == 0:
		return nil, fmt.Errorf("%w: no address", ErrConfig)
	case cfg.Clients < 0 || cfg.Fleet.Connect.Rate < 0:
		return nil, fmt.Errorf("%w: negative number of clients or connect rate", ErrConfig)
	}
	if cfg.Will == nil {
		cfg.Will = func(int) *Will { return nil }
	}
	if cfg.Policies == nil {
		cfg.Policies = Policies()
	}
	if cfg.Record == nil {
		cfg.Record = func(timeline.Conn) {}
	}
	f := &Fleet{cfg: cfg, accounts: cfg.Accounts.filled(), changed: make(chan struct{}, 1)}
	f.findings.pass = cfg.Finding
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for i := range cfg.Clients {
		policy, err := backoffOf(cfg.Fleet.Reconnect, cfg.Policies, cfg.Seed, uint64(i))
		if err != nil {
			return nil, err
		}
		f.clients = append(f.clients, &client{fleet: f, session: newSession(f, i), policy: policy})
	}
	if len(f.clients) > 0 {
		// The clients differ in their ids only: what fails, fails here.
		if _, err := f.clients[0].library(); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Start begins to connect: client i's first dial is due at i / rate. It
// returns at once; connecting goes on until ctx ends or Close. A second call
// does nothing.
func (f *Fleet) Start(ctx context.Context) { f.starts.Do(func() { f.start(ctx) }) }

func (f *Fleet) start(ctx context.Context) {
	stop := context.AfterFunc(ctx, f.cancel)
	start := f.cfg.Clock.Now()
	ok := f.spawn(func() {
		defer stop()
		f.schedule(start)
		<-f.ctx.Done() // keeps ctx's end effective
	})
	if !ok {
		stop()
	}
}

// schedule starts each client's connect at its due time.
func (f *Fleet) schedule(start timeline.Instant) {
	for i, c := range f.clients {
		due := start
		if rate := f.cfg.Fleet.Connect.Rate; rate > 0 {
			due += timeline.Instant(float64(i) / rate * float64(time.Second))
		}
		if !f.sleepUntil(due) {
			return
		}
		c.session.schedule(due)
		c.first()
	}
}

// spawn runs a goroutine that Close waits for; false after Close.
func (f *Fleet) spawn(work func()) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.own.Go(work)
	return true
}

// sleepUntil waits for an instant; false when the fleet was stopped first.
func (f *Fleet) sleepUntil(at timeline.Instant) bool {
	return f.sleep(time.Duration(at - f.cfg.Clock.Now()))
}

func (f *Fleet) sleep(d time.Duration) bool {
	if d <= 0 {
		return f.ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-f.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Close stops all clients, marks the ends of their connections as scripted and
// waits for what the fleet started. It may be called twice.
//
// A client that sleeps in its library's backoff can't be woken: what the
// library keeps for it ends by itself, without another dial, at most
// Reconnect.Max later (see Paho).
func (f *Fleet) Close() error {
	f.closer.Do(func() { f.err = f.close() })
	return f.err
}

func (f *Fleet) close() error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	for _, c := range f.clients {
		c.session.close()
	}
	f.cancel()

	var group errgroup.Group
	group.SetLimit(closers)
	for _, c := range f.clients {
		group.Go(func() error { c.close(); return nil })
	}
	_ = group.Wait() // closing a client has no error

	own := make(chan struct{})
	go func() { f.own.Wait(); close(own) }()
	select {
	case <-own:
		for _, c := range f.clients {
			c.session.settle(f.cfg.Clock.Now())
		}
		f.findings.flush(f.cfg.Fleet.Name, f.cfg.Clock.Now())
		return nil
	case <-time.After(ownWait):
		return fmt.Errorf("fleet %s: %w in %s", f.cfg.Fleet.Name, ErrStuck, ownWait)
	}
}

// Flush records the connections that are still open, and tells how many
// findings were only counted.
func (f *Fleet) Flush() {
	f.findings.flush(f.cfg.Fleet.Name, f.cfg.Clock.Now())
	for _, c := range f.clients {
		c.session.flush()
	}
}

// Name is the fleet's name.
func (f *Fleet) Name() string { return f.cfg.Fleet.Name }

// Len is the number of clients.
func (f *Fleet) Len() int { return f.cfg.Clients }

// ID is the client id of a client.
func (f *Fleet) ID(client int) string {
	return ClientID(f.cfg.Fleet.ClientID, f.cfg.Run, f.cfg.Fleet.Name, client)
}

// Pattern is a regular expression of the whole client ids of the fleet, whose
// group, if their template has an index, catches it.
func (f *Fleet) Pattern() string {
	return pattern(f.cfg.Fleet.ClientID, f.cfg.Run, f.cfg.Fleet.Name)
}

// Connected is the number of clients that are connected, with their
// subscriptions restored, now.
func (f *Fleet) Connected() int { return int(f.connected.Load()) }

// Accepted is the number of connections of its clients that were accepted so
// far: CONNACK 0 read.
func (f *Fleet) Accepted() int64 { return f.accepted.Load() }

// Away is the number of clients that lost an accepted connection and are not
// back, by the fleet's definition of back, now.
func (f *Fleet) Away() int { return int(f.away.Load()) }

// LiveN is the number N of the client's live connection (CONNACK 0 read, not
// ended); 0 = none.
func (f *Fleet) LiveN(client int) int { return int(f.clients[client].session.liveN.Load()) }

// BackOn is the number N of the connection on which the client is back now, by
// the fleet's definition; 0 = not back. A client without a loss behind it is
// back as soon as its subscriptions are made.
func (f *Fleet) BackOn(client int) int { return int(f.clients[client].session.backN.Load()) }

// Prove has the client probed until its live connection has shown that it lives
// after an instant.
func (f *Fleet) Prove(client int, after timeline.Instant) {
	s := f.clients[client].session
	if n := s.prove(after); n != 0 {
		f.cfg.Prober.restored(s, n)
	}
}

// Lives reports whether connection n of a client, not ended, has shown a sign of
// life since an instant.
func (f *Fleet) Lives(client, n int, since timeline.Instant) bool {
	return f.clients[client].session.lives(n, since)
}

// Back is the effective definition of back: that of the scenario, or what it
// falls to when there is no topic to probe, or no subscription.
func (f *Fleet) Back() string {
	if len(f.clients) == 0 {
		return f.cfg.Fleet.Back
	}
	return f.clients[0].session.back
}

// ComesBack reports whether a client that is lost dials again by itself.
func (f *Fleet) ComesBack() bool { return f.cfg.Fleet.Reconnect.Policy != scenarios.PolicyNone }

// LastMessage is when any client last read a PUBLISH, to 1 ms; 0 = never.
func (f *Fleet) LastMessage() timeline.Instant { return timeline.Instant(f.last.Load()) }

// Changed signals that a counter may have changed since the last signal. It is
// for one waiter.
func (f *Fleet) Changed() <-chan struct{} { return f.changed }

func (f *Fleet) signal() {
	select {
	case f.changed <- struct{}{}:
	default:
	}
}

func (f *Fleet) heard(at timeline.Instant) {
	if last := f.last.Load(); int64(at) > last+int64(heardEvery) {
		f.last.CompareAndSwap(last, int64(at))
	}
}
