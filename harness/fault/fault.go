package fault

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/rebound-mqtt/rebound/harness/kernel"
	"github.com/rebound-mqtt/rebound/harness/netfault"
	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// The errors of this package.
var (
	// ErrUnknownKind says that the table has no such kind of fault.
	ErrUnknownKind = errors.New("unknown kind of fault")
	// ErrNoVictims says that a planned fault came without its victims, as from
	// a plan.yaml that was written without them.
	ErrNoVictims = errors.New("the plan does not list its victims")
	// ErrStopped says that a fault was cancelled before it had reached all of
	// its victims; the cause of the context is wrapped beside it.
	ErrStopped = errors.New("fault stopped early")
	// ErrNotOffered says that the Env of the run lacks what the fault acts
	// through.
	ErrNotOffered = errors.New("the run does not offer what this fault acts through")
)

// Env is what a fault of one wave acts through.
type Env struct {
	Clock    *timeline.Clock
	Closer   target.ConnectionCloser
	Record   func(timeline.Action)                 // never called twice at once by one fault
	ClientID func(fleet string, client int) string // of client number client (from 0) of a fleet
	Phase    string                                // for the records
	Wave     int                                   // for the records, from 1
	Number   int                                   // for the records: which fault of its wave it is, from 1
	Start    timeline.Instant                      // intended start of the wave: offsets count from here
	Frames   *netfault.Frames                      // where frame faults are armed
	Links    *netfault.Links                       // where connections are ended and impaired from below; nil = no kind of the plan has Link
	Clients  Clients                               // what a fault may have a client do
	// Frame records a packet that a frame fault acted on; safe for concurrent
	// use, quick.
	Frame func(timeline.Frame)
	// Before, if set, is called just before an action on a client: traffic that
	// is to be on its way when the fault hits is sent before it returns.
	Before func(fleet string, client int)
	// Pace, if set, holds back each call of Closer until its service may be
	// called again, or ctx ends. What it waits is lag: the call, which the answer
	// is timed from, begins after it.
	Pace func(ctx context.Context) error
	// Target is the broker; a fault asserts the ability that its kind Needs.
	Target target.Target
	// Everyone calls yield for each client of each fleet, until it returns false.
	Everyone func(yield func(fleet string, client int) bool)
	// Pattern is a regular expression of the whole client ids of a fleet, or of
	// all fleets for "". Its groups catch the number of the client.
	Pattern func(fleet string) string
	// Extent records a fault without victims, when it has taken effect and again
	// when it was lifted: the first call numbers it. Safe for concurrent use.
	Extent func(*timeline.Extent)
	// Exec is what the programs of exec are started with; nil = the run does not
	// allow them.
	Exec *Exec
	// Kernel lays rules down in the run's own network namespace; nil = the plan
	// has none.
	Kernel *kernel.Kernel
	// Freezes counts the freezes of the broker that stand; nil = one at a time.
	Freezes *Freezes
	// Concurrency is how many calls may be open at once; 0 = DefaultConcurrency.
	Concurrency int
	// Progress, if set, is told the number of calls begun so far; never called
	// twice at once by one fault.
	Progress func(issued int)
}

// Clients is what a fault may have a client of a fleet do. All instants are of
// the run's clock.
type Clients interface {
	// LiveN is the number of the client's live connection (CONNACK 0 read, not
	// ended), 0 = none.
	LiveN(fleet string, client int) int
	// Disconnect has the client's own library end its connection, with a
	// DISCONNECT, or give up the attempt that is under way, and connect again at
	// once, which is not awaited.
	Disconnect(ctx context.Context, fleet string, client int) error
	// Takeover opens a second connection under the client's id, keeps its
	// session (CleanSession 0), reads and answers nothing, and holds it until
	// the broker ends it or hold has passed, which is not awaited: it returns
	// when the CONNACK was read, at.
	Takeover(ctx context.Context, fleet string, client int, hold time.Duration) (at timeline.Instant, err error)
	// Silence has the client write nothing more on its live connection, which is
	// its n-th, and read on, until resume, which may be called twice, or until its
	// library closes it. Without a live connection it is an error.
	Silence(fleet string, client int) (n int, resume func(), err error)
	// Closing says that a fault is about to end the client's connection.
	Closing(fleet string, client int)
	// Holding says that a lasting fault is about to act on the client, and
	// Released that it was lifted: if the client's connection has lived through
	// it, it is probed until that is certain.
	Holding(fleet string, client int)
	Released(fleet string, client int)
}

// DefaultConcurrency is how many calls are open at once when Env does not say.
const DefaultConcurrency = 64

// Fault is one planned fault of one wave.
type Fault interface {
	// Inject takes effect and returns when it has: nil also when single
	// victims could not be reached, which their records say. A cancelled ctx
	// ends it early with ErrStopped.
	Inject(ctx context.Context, env *Env) error
	// Heal undoes it; it may be called twice, or without Inject.
	Heal(ctx context.Context, env *Env) error
}

// Kind is one row of the table of faults.
type Kind struct {
	Name   string
	Doc    string          // one sentence, for help, schema and docs
	Schema json.RawMessage // JSON Schema of the parameters, see scenarios.FaultPart
	// Needs are the abilities that the target must have, in the words of
	// reports.Abilities.Can.
	Needs []string
	// NeedsFor, if set, are those that it needs besides, as it is written.
	NeedsFor func(spec scenarios.FaultSpec) []string
	// Link says that it acts through Env.Links.
	Link bool
	// Note is what a reader of a report must know of how the fault is made, in a
	// sentence: where it differs from what its name suggests. "" = nothing.
	Note string
	// Plan resolves a fault as written: victims by rule and seed. fleets has
	// every fleet of the plan in order, the first being the default; seed is
	// already mixed from the run's seed, the phase, the wave and the number of
	// the fault. It is pure. The error is a scenarios.Errors with positions.
	Plan func(spec scenarios.FaultSpec, fleets []scenarios.PlanFleet, seed uint64) (scenarios.PlanFault, error)
	// New makes the fault of a plan.
	New func(pf scenarios.PlanFault) (Fault, error)
}

// AllNeeds are the abilities that the target must have for a fault as written.
func (k Kind) AllNeeds(spec scenarios.FaultSpec) []string {
	if k.NeedsFor == nil {
		return k.Needs
	}
	return slices.Concat(k.Needs, k.NeedsFor(spec))
}
