package harness

import (
	"cmp"
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/rebound-mqtt/rebound/harness/broker"
	"github.com/rebound-mqtt/rebound/harness/fault"
	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
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
	if err := r.startMarks(); err != nil {
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

	Dir      string // the run's own folder: new or empty
	Scenario []byte // scenario text as given, for the folder; may be nil
	Endpoint string // CloseConnection URL of an address target
	// TargetFile is the target file that the plan was made for; nil = none.
	TargetFile  *scenarios.Target
	AllowExec   bool                                  // the scenario may start programs
	NoNamespace string                                // why this process is in no network namespace of its own, for the report
	Close       CloseOptions                          // how the CloseConnection API is called
	Strict      bool                                  // known defects and low-n quantiles are no excuse
	Version     string                                // of rebound, for the report
	Stop        <-chan struct{}                       // closed = stop kicking, drain, report
	OnTarget    func(info target.Info, client string) // client: the id of one client, for a curl line
	OnPID       func(pid int)                         // the broker's own process, where it has one; again when a fault has started another
	OnStatus    func(Status)                          // called four times a second, and at each phase border
	Broker      broker.Options
	WrapConn    func(clientID string, c net.Conn) net.Conn // test support: a fault below the evidence
	WrapClose   func(target.ConnectionCloser) target.ConnectionCloser
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
	login  *target.Login // of every client; nil = they do not log in
	closer target.ConnectionCloser
	// closePool frees what the closer keeps for its next call.
	closePool func() error
	// pace holds back its calls; nil = it has none.
	pace      func(context.Context) error
	closing   CloseOptions     // of its API, defaults filled in
	links     *netfault.Links  // nil = nothing of the plan acts on connections from below
	frames    *netfault.Frames // nil = the plan has no frame fault
	freezes   fault.Freezes    // of the broker
	kernel    *kernel.Kernel   // nil = the plan has no fault of the kernel
	output    execOutput       // of the programs of the plan
	stopMarks func() error
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
	bystanders *bystanders
	connecting bool // the clients were started
	publishing bool // the traffic was started
	snapped    bool // the first snapshot was taken
	aborted    string
	failed     bool // aborted by an expectation: the drain is still to run

	findMu   sync.Mutex
	findings []timeline.Finding // since the last flush
	ends     int                // of them, those of ends without an action
	written  int                // lines of findings.jsonl.gz

	issued atomic.Int64 // kicks
	// Ends that no fault explains, for on_fail abort: never more than the
	// evidence will say. wide: a fault that names no fleet took effect, or a mark was entered.
	loose, looseControl atomic.Int64
	wide                atomic.Bool
	extents             atomic.Int64 // faults without victims
	statusMu            sync.Mutex
	lastStatus          timeline.Instant
	lastKicks           int64

	cleanups []func() error // run in reverse order
}

func newRun(plan *scenarios.Plan, opts Options) (*run, error) {
	opts.Tables = opts.With(opts.TargetFile)
	if err := errors.Join(CheckExec(plan, opts.AllowExec), CheckClients(plan, opts.Tables)); err != nil {
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
		stopMarks: func() error { return nil }, book: book, byName: map[string]*fleet.Fleet{}, where: map[string]place{},
		victims: newVictims(), sentinels: newSentinels(book), bystanders: newBystanders(plan, book, number), closePool: func() error { return nil },
	}
	r.setPhase("start")
	r.later(r.output.close)
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
		Clock: r.clock, Phase: r.currentPhase, Broker: r.brokerPID,
		Write: func(row measure.HealthRow) error {
			r.bystanders.cut(r.ev, row.Start, row.End)
			return out.Write(row)
		},
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

// stop ends the run in good order: clients first, so that the broker's end is
// no event of theirs, then the closing mark, without which the folder reads as
// incomplete.
func (r *run) stop() error {
	if err := r.stopMarks(); err != nil {
		return err
	}
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
		Stop: stopped, Interrupted: r.interrupted(), Aborted: r.aborted,
		Events: r.ev.events.Added(), Findings: r.written,
	}})
	return r.ev.close()
}

func (r *run) currentPhase() string { return *r.phase.Load() }
func (r *run) setPhase(name string) { r.phase.Store(&name) }
func (r *run) interrupted() bool    { return r.soft.Err() != nil }
