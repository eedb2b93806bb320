package harness

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/closeconn"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/judge"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/harness/wire"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Run carries out a plan against a target and judges what it left behind.
//
// An error means that the run could not be done (broker unreachable, folder
// unwritable, too many clients for this machine); test it with errors.Is
// against target.ErrUnreachable, ErrFolderNotEmpty, ErrEvidence and
// ErrTooManyClients. A failed expectation is not an error: it is in the
// Report, as is the exit code.
//
// Cancelling ctx ends the run now; closing Options.Stop ends it in good order:
// no more kicks, then the drain, then the report.
func Run(ctx context.Context, plan *scenarios.Plan, opts Options) (_ *reports.Report, err error) {
	r, err := newRun(plan, opts)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()

	if err := r.startTarget(ctx); err != nil {
		r.cleanups = append([]func() error{r.ev.discard}, r.cleanups...) // last of all: nothing has happened: the folder stays free for the next try
		return nil, err
	}
	if err := r.describe(); err != nil {
		return nil, err
	}
	if err := r.startHealth(ctx); err != nil {
		return nil, err
	}
	if err := r.startControl(ctx); err != nil {
		return nil, err
	}
	if err := r.makeFleets(); err != nil {
		return nil, err
	}
	if err := r.phases(ctx); err != nil {
		return nil, err
	}
	if err := r.stop(); err != nil {
		return nil, err
	}
	return Judge(r.opts.Dir, r.opts.Strict)
}

// Options says where and how a plan is run.
type Options struct {
	Tables

	Dir       string                                // the run's own folder: new or empty
	Scenario  []byte                                // scenario text as given, for the folder; may be nil
	Endpoint  string                                // CloseConnection URL of an address target
	Strict    bool                                  // known defects and low-n quantiles are no excuse
	Version   string                                // of rebound, for the report
	Stop      <-chan struct{}                       // closed = stop kicking, drain, report
	OnTarget  func(info target.Info, client string) // client: the id of one client, for a curl line
	OnPID     func(pid int)                         // the broker's own process, where it has one
	OnStatus  func(Status)                          // called four times a second, and at each phase border
	Broker    broker.Options
	WrapConn  func(clientID string, c net.Conn) net.Conn // test support: a fault below the evidence
	WrapClose func(target.ConnectionCloser) target.ConnectionCloser
}

// run is the state of one run; each field is set by the step that owns it.
type run struct {
	plan *scenarios.Plan
	opts Options

	id     string // run id, part of each client id
	number uint64 // the same as the number in each payload
	clock  *timeline.Clock
	soft   context.Context // ends when Options.Stop is closed
	ev     *evidence
	driver fleet.Driver

	target target.Target
	closer target.ConnectionCloser
	// closePool frees what the closer keeps for its next call.
	closePool func() error
	fins      *netfault.Registry
	frames    *netfault.Frames // nil = the plan has no frame fault
	book      *ledger.Book
	control   *fleet.Control
	watcher   *fleet.Watcher // of Wills
	traffic   *fleet.Traffic
	fleets    []*fleet.Fleet
	byName    map[string]*fleet.Fleet
	where     map[string]place // by client id; complete before the first connect

	sampler    *measure.Sampler
	stopHealth func() error
	phase      atomic.Pointer[string]
	victims    *victims
	sentinels  *sentinels
	connecting bool // the clients were started
	publishing bool // the traffic was started
	snapped    bool // the first snapshot was taken
	aborted    string

	findMu   sync.Mutex
	findings []timeline.Finding // since the last flush
	ends     int                // of them, those of ends without an action
	written  int                // lines of findings.jsonl.gz

	issued     atomic.Int64 // kicks
	statusMu   sync.Mutex
	lastStatus timeline.Instant
	lastKicks  int64

	cleanups []func() error // run in reverse order
}

func newRun(plan *scenarios.Plan, opts Options) (*run, error) {
	if err := checkFDs(plan, opts.Tables); err != nil {
		return nil, err
	}
	driver, err := fleet.FindDriver(cmp.Or(plan.Driver, DefaultDriver), opts.Drivers)
	if err != nil {
		return nil, err
	}
	if err := newFolder(opts.Dir); err != nil {
		return nil, err
	}
	ev, err := openEvidence(opts.Dir)
	if err != nil {
		return nil, err
	}
	id, number := newRunID()
	book := ledger.NewBook(number)
	r := &run{
		plan: plan, opts: opts, id: id, number: number, clock: timeline.NewClock(), ev: ev, driver: driver,
		book: book, byName: map[string]*fleet.Fleet{}, where: map[string]place{},
		victims: newVictims(), sentinels: newSentinels(book), closePool: func() error { return nil },
	}
	r.setPhase("start")
	r.later(ev.close)
	soft, cancel := context.WithCancel(context.Background())
	r.soft = soft
	r.later(stopOn(opts.Stop, cancel))
	ev.add(timeline.Event{Mark: &timeline.Mark{
		RunID: id, StartedAt: time.Now().UTC().Format(time.RFC3339), Monotonic: r.clock.Monotonic(),
	}})
	return r, nil
}

// DefaultDriver is the client library under test.
const DefaultDriver = "paho"

// stopOn calls cancel when stop is closed; what it returns ends the watch.
func stopOn(stop <-chan struct{}, cancel context.CancelFunc) func() error {
	quit := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		select {
		case <-stop:
			cancel()
		case <-quit:
		}
	})
	return sync.OnceValue(func() error {
		close(quit)
		wait.Wait()
		cancel()
		return nil
	})
}

// later keeps a cleanup; close runs them in reverse order.
func (r *run) later(f func() error) { r.cleanups = append(r.cleanups, f) }

// close releases what the steps started, whatever became of the run.
func (r *run) close() error {
	var err error
	for i := len(r.cleanups) - 1; i >= 0; i-- {
		err = errors.Join(err, r.cleanups[i]())
	}
	r.cleanups = nil
	return err
}

// startTarget starts the broker, or finds it, makes sure that it speaks MQTT,
// and picks who closes connections.
func (r *run) startTarget(ctx context.Context) error {
	o := r.opts.Broker
	o.Clock = r.clock
	if broker.IsCommand(r.plan.Target) {
		// Not one of the evidence's files: the broker writes on while it ends,
		// when those are closed.
		log, err := os.OpenFile(filepath.Join(r.opts.Dir, "broker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrEvidence, err)
		}
		r.later(log.Close)
		o.BrokerLog = &atMost{w: log, left: maxBrokerLog}
	}
	t, err := StartTarget(ctx, r.plan.Target, TargetOptions{Broker: o, Endpoint: r.opts.Endpoint})
	if err != nil {
		return err
	}
	r.target = t
	r.later(func() error {
		// A broker that died in mid-run is what the run was to find out: the ends
		// of its clients tell, and it is no failure of ours.
		died := ended(t)
		if err := t.Close(); err != nil && !died {
			return err
		}
		return nil
	})
	info := t.Info()
	for _, addr := range info.Addresses[:1] {
		if err := broker.Preflight(ctx, addr); err != nil {
			return err
		}
	}
	r.fins = netfault.NewRegistry(r.clock.Now)
	if r.plan.HasFault(isFrame) {
		r.frames = netfault.NewFrames(r.clock.Now)
	}
	if r.plan.Closer == CloserFIN {
		r.closer = r.fins
	} else {
		client, err := closeconn.NewClient(closeconn.ClientConfig{
			Endpoint: info.Endpoint, Clock: r.clock, SameClock: info.SameClock,
		})
		if err != nil {
			return err
		}
		r.closer, r.closePool = client, client.Close
		r.later(client.Close)
		if info.Kind == broker.KindAddress {
			if err := checkEndpoint(ctx, client, info.Endpoint); err != nil {
				return err
			}
		}
	}
	if r.opts.WrapClose != nil {
		r.closer = r.opts.WrapClose(r.closer)
	}
	if pid := r.brokerPID(); pid != 0 && r.opts.OnPID != nil {
		r.opts.OnPID(pid)
	}
	if r.opts.OnTarget != nil {
		f := r.plan.Fleets[0]
		r.opts.OnTarget(info, fleet.ClientID(f.ClientID, r.id, f.Name, 0))
	}
	return nil
}

// maxBrokerLog bounds broker.log, in bytes.
const maxBrokerLog = 64 << 20

// atMost lets the first bytes through and drops the rest: a broker that floods
// its log must not fill the disk.
type atMost struct {
	w    io.Writer
	left int
}

func (a *atMost) Write(b []byte) (int, error) {
	n := min(len(b), a.left)
	a.left -= n
	if _, err := a.w.Write(b[:n]); err != nil {
		return 0, err
	}
	return len(b), nil
}

// describe writes what the run knows of itself before it begins.
func (r *run) describe() error {
	info := r.target.Info()
	env := judge.EnvFile{
		SchemaVersion: judge.EnvVersion, Rebound: r.opts.Version, RunID: r.id, Strict: r.opts.Strict,
		Driver: r.driver.Info(), Environment: measure.Fingerprint(),
		Target: reports.Target{
			Kind: info.Kind, Broker: info.Broker, Version: info.Version, Closer: r.plan.Closer,
			Transport: "tcp", Settings: info.Settings, Abilities: info.Abilities,
		},
	}
	if r.opts.Scenario != nil {
		if err := r.ev.whole("scenario.yaml", writeBytes(r.opts.Scenario)); err != nil {
			return err
		}
	}
	if err := r.ev.whole("target.yaml", func(w io.Writer) error { return writeTarget(w, env.Target) }); err != nil {
		return err
	}
	if err := r.ev.whole("plan.yaml", func(w io.Writer) error { return scenarios.WritePlan(w, r.plan, false) }); err != nil {
		return err
	}
	return r.ev.whole("env.json", func(w io.Writer) error { return judge.WriteEnv(w, env) })
}

// checkEndpoint calls a foreign CloseConnection endpoint once, for a client that
// does not exist, so that a wrong URL is known before the fleet is connected.
// Any answer of the API will do.
func checkEndpoint(ctx context.Context, c *closeconn.Client, url string) error {
	_, err := c.CloseConnection(ctx, "rb-preflight-no-such-client")
	var answer *closeconn.APIError
	if err == nil || errors.As(err, &answer) && answer.Code != "" {
		return nil
	}
	return fmt.Errorf("%w: no CloseConnection endpoint at %s: %w", target.ErrUnreachable, url, err)
}

// ended reports whether a target with a process of its own has lost it.
func ended(t target.Target) bool {
	p, ok := t.(interface{ Done() <-chan struct{} })
	if !ok {
		return false
	}
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// startHealth watches the measuring instrument itself.
func (r *run) startHealth(ctx context.Context) error {
	f, err := r.ev.create("health.csv")
	if err != nil {
		return err
	}
	out, err := measure.NewHealthWriter(f)
	if err != nil {
		return r.ev.fail(err)
	}
	r.sampler = measure.NewSampler(measure.Config{
		Clock: r.clock, Phase: r.currentPhase, Write: out.Write, Broker: r.brokerPID,
	})
	ctx, cancel := context.WithCancel(ctx)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.sampler.Run(ctx) })
	if r.opts.OnStatus != nil {
		group.Go(func() error { r.statusLoop(ctx); return nil })
	}
	r.stopHealth = sync.OnceValue(func() error {
		cancel()
		if err := group.Wait(); err != nil {
			return r.ev.fail(err)
		}
		return nil
	})
	r.later(r.stopHealth)
	return nil
}

// startControl lays out the streams, opens their accounts and connects the
// built-in fleet, before there is anything to probe or publish to.
func (r *run) startControl(ctx context.Context) error {
	streams, err := fleet.Streams(r.plan, r.id, fleet.DefaultControl)
	if err != nil {
		return err
	}
	for _, s := range streams {
		r.book.AddStream(s.ID, s.Publisher, s.Topic, s.QoS)
	}
	r.sentinels.streams = streams
	r.traffic, err = fleet.NewTraffic(fleet.TrafficConfig{
		Clock: r.clock, Items: r.plan.Traffic, Streams: streams, Accounts: r.accounts(),
	})
	if err != nil {
		return err
	}
	r.later(r.traffic.Close) // after the fleets
	r.control, err = fleet.NewControl(fleet.ControlConfig{
		Run: r.id, RunID: r.number, Driver: r.driver, Addresses: r.target.Info().Addresses,
		Dial: r.dial, Clock: r.clock, Record: r.note, Accounts: r.traffic.Accounts(), Finding: r.find,
	})
	if err != nil {
		return err
	}
	r.later(r.control.Close)
	r.watcher, err = fleet.NewWatcher(fleet.WatcherConfig{
		Plan: r.plan, Run: r.id, RunID: r.number, Driver: r.driver, Addresses: r.target.Info().Addresses,
		Dial: r.dial, Clock: r.clock, Record: r.note,
		Will: func(w timeline.Will) { r.ev.add(timeline.Event{Will: &w}) },
	})
	if err != nil {
		return err
	}
	r.later(r.watcher.Close)
	r.control.Start(ctx)
	r.watcher.Start(ctx)
	ready, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	err = errors.Join(r.control.Ready(ready), r.watcher.Ready(ready))
	switch {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fmt.Errorf("%w: the control connections: %w", target.ErrUnreachable, err)
	}
	return nil
}

// controlWait bounds the first connect of the control fleet.
const controlWait = 10 * time.Second

// makeFleets makes the clients; nothing dials before the first phase.
func (r *run) makeFleets() error {
	for i, pf := range r.plan.Fleets {
		f, err := fleet.New(fleet.Config{
			Run: r.id, RunID: r.number, Clients: pf.Clients, Fleet: pf.Fleet, Probe: pf.Probe,
			Driver: r.driver, Addresses: r.target.Info().Addresses, Dial: r.dial, Clock: r.clock,
			Record: r.note, Accounts: r.traffic.Accounts(), Prober: r.control, Finding: r.find,
			Will: fleet.Wills(r.plan, i, r.id, r.number),
		})
		if err != nil {
			return err
		}
		for i := range f.Len() {
			r.book.AddSubscriber(f.ID(i))
			r.where[f.ID(i)] = place{f, i}
		}
		r.fleets = append(r.fleets, f)
		r.byName[pf.Name] = f
		r.later(f.Close)
	}
	return r.traffic.Join(append(r.fleets, r.control.Fleet)...)
}

// connect begins to connect the clients by their schedules, once: in the first
// phase, so that its connects are measured in it.
func (r *run) connect(ctx context.Context) {
	if r.connecting {
		return
	}
	r.connecting = true
	for _, f := range r.fleets {
		f.Start(ctx)
	}
}

// accounts joins the fleet's books to the ledger.
func (r *run) accounts() fleet.Accounts {
	return fleet.Accounts{
		Sessions: r.book, Publications: r.book, Deliveries: r.book, Handlings: r.book, Sentinels: r.sentinels, Timetable: r.book,
	}
}

// dial gives a client its connection: TCP, under the fault layer, under the
// tap (library ↔ tap ↔ frame faults ↔ netfault ↔ TCP).
func (r *run) dial(ctx context.Context, addr, clientID string, n int, tap fleet.Tap) (net.Conn, string, string, error) {
	u, err := url.Parse(addr)
	if err != nil {
		return nil, "", "", fmt.Errorf("target address: %w", err)
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return nil, "", "", err
	}
	local, remote := raw.LocalAddr().String(), raw.RemoteAddr().String()
	var conn net.Conn = raw
	if r.opts.WrapConn != nil {
		conn = r.opts.WrapConn(clientID, conn)
	}
	if r.plan.Closer == CloserFIN {
		conn = r.fins.Wrap(clientID, conn)
	}
	if rival, ok := tap.(interface{ Rival() bool }); r.frames != nil && !(ok && rival.Rival()) {
		conn = r.frames.Wrap(clientID, n, conn) // a rule armed on a client is for its own connections
	}
	return wire.Tap(conn, r.clock.Now, tap), local, remote, nil
}

// stop ends the run in good order: clients first, so that the broker's end is
// no event of theirs, then the closing mark, without which the folder reads as
// incomplete.
func (r *run) stop() error {
	stopped := r.clock.Now()
	r.traffic.Stop()
	for _, f := range r.fleets {
		if err := f.Close(); err != nil {
			return err
		}
	}
	if err := errors.Join(r.control.Close(), r.watcher.Close()); err != nil {
		return err
	}
	if err := r.traffic.Close(); err != nil {
		return err
	}
	if err := r.stopHealth(); err != nil {
		return err
	}
	if err := r.ev.accounts(r.book); err != nil {
		return err
	}
	if err := r.flushFindings(); err != nil {
		return err
	}
	r.ev.add(timeline.Event{Mark: &timeline.Mark{
		Stop: stopped, Interrupted: r.interrupted(), Aborted: r.aborted, Findings: r.written,
	}})
	return r.ev.close()
}

func (r *run) currentPhase() string { return *r.phase.Load() }
func (r *run) setPhase(name string) { r.phase.Store(&name) }
func (r *run) interrupted() bool    { return r.soft.Err() != nil }

// place is where a client id belongs.
type place struct {
	fleet *fleet.Fleet
	index int
}

// brokerPID is the broker's own process, where it has one.
func (r *run) brokerPID() int {
	if c, ok := r.target.(interface{ PID() int }); ok {
		return c.PID()
	}
	return 0
}
