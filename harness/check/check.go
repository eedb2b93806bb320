package check

import (
	"fmt"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Evidence is what the checks look at: the plan, and what the files of the run
// say of it.
type Evidence struct {
	Plan *scenarios.Plan

	// The frame of the run.
	Complete    bool             // the events end with the closing mark
	Interrupted bool             // stopped by hand
	Aborted     string           // why a phase before any fault gave up
	Missing     []string         // evidence that is not there or cut, in words
	Phases      []timeline.Phase // as they ran
	Health      bool             // there are health samples

	// The clients.
	Connected  map[string]int // fleet -> clients that had connected and subscribed before the first fault
	Actions    []Action
	Unscripted []End    // ends of device connections that nothing explains
	Control    []End    // the same of the control fleet
	Returned   int      // outages that were over before the end
	Away       []string // ids of the clients that were not back when the run was stopped

	Clients    []Client
	Target     reports.Target // with its static abilities
	Driver     reports.Driver
	Stop       timeline.Instant   // the clients were stopped here
	Waves      []timeline.Wave    // as they ran
	Unfit      []Span             // the harness was starved: what keep-alive starvation explains is charged to it
	Findings   []timeline.Finding // breaches that the tap saw
	Frames     []timeline.Frame   // packets that scripted frame faults acted on
	Wills      []timeline.Will    // Will Messages that were read
	WillWatch  []Span             // a watcher of Wills was connected and subscribed
	Leak       *Leak              // nil = the run was not one to measure it
	Exceptions []ledger.Exception // messages whose account is not plain
	Unlisted   map[ledger.Verdict]int64

	// The messages.
	Messages  []reports.Messages // one for each QoS
	Problems  []string           // what is wrong with the accounts besides the balances, in words
	Accounts  bool               // there are accounts
	Drained   bool               // all was quiet before the end
	Lost      []reports.Loss     // rows with verdict "lost"
	Undecided int64              // QoS 1 messages owed to a subscriber that was there, neither read nor certainly lost
	Sentinels []Sentinel         // one for each stream with messages
}

// Client is one client of a device fleet with all its connections.
type Client struct {
	Fleet  string
	Index  int
	ID     string
	Conns  []*timeline.Conn // of its library, by N
	Rivals []*timeline.Conn // opened under its id by the fault takeover, by N
}

// Span is a stretch of the run.
type Span struct {
	From, To timeline.Instant
}

// Leak compares the process before the first cycle of faults with the quiet
// after the last.
type Leak struct {
	Cycles     int      // actions on all clients together
	Goroutines []Growth // by creating function, those that grew
	HeapBytes  int64    // growth
	FDs        int64    // growth
}

// Growth is how many more goroutines of one creating function there are.
type Growth struct {
	Creator string // function that started them, with its package
	Charge  timeline.Charge
	More    int
}

// Action is one action of a fault as the plan had it and as it went.
type Action struct {
	timeline.Action
	Outcome string // hit | late-hit | no-op | missed | no-effect | failed | rode-out; "" = never issued
}

// End is the end of one accepted connection.
type End struct {
	ClientID string
	N        int // number of the connection in the life of its client
	At       timeline.Instant
	Kind     timeline.EndKind
	Phase    string
	Starved  bool // the harness was unfit and the client silent beyond its keep alive
}

// Sentinel is the last message of one stream, sent after the drain.
type Sentinel struct {
	Stream uint32
	Topic  string
	Sent   timeline.Instant
	Acked  timeline.Instant // 0 = never
}

// Check is one row of the table of checks.
type Check struct {
	Name string
	Doc  string
	Run  func(Evidence) reports.Check
}

// Table lists the checks in the order in which they are run and printed.
func Table() []Check {
	return []Check{
		{"assumptions", "the run met the premises of its judgement: phases, clients, actions, health, drain", assumptions},
		{"balance", "the accounts of messages add up", balance},
		{"lost", "no acknowledged QoS 1 message is lost", lost},
		{"unscripted", "no connection ended that no fault explains", unscriptedEnds},
		{"kick-effective", "each action that was answered with success ended a connection", kickEffective},
		{"never-returned", "each client was back at the end", neverReturned},
	}
}

// Run runs every check of the table. One that panics is unknown: it has shown
// nothing.
func Run(ev Evidence) []reports.Check {
	return runTable(Table(), ev)
}

func runTable(table []Check, ev Evidence) []reports.Check {
	out := make([]reports.Check, 0, len(table))
	for _, row := range table {
		c := runOne(row, ev)
		c.Name = row.Name
		out = append(out, c)
	}
	return out
}

func runOne(row Check, ev Evidence) (c reports.Check) {
	defer func() {
		if p := recover(); p != nil {
			c = unknown("the check itself failed: %v", p)
		}
	}()
	return row.Run(ev)
}

// maxExamples is the number of examples that a check shows.
const maxExamples = 5

func valid(format string, args ...any) reports.Check {
	return reports.Check{Verdict: reports.Valid, Detail: fmt.Sprintf(format, args...)}
}

func unknown(format string, args ...any) reports.Check {
	return reports.Check{Verdict: reports.Unknown, Detail: fmt.Sprintf(format, args...)}
}

func notApplicable(format string, args ...any) reports.Check {
	return reports.Check{Verdict: reports.NotApplicable, Detail: fmt.Sprintf(format, args...)}
}

// invalid names the count of findings and shows the first of them.
func invalid(count int64, examples []string, format string, args ...any) reports.Check {
	return reports.Check{
		Verdict: reports.Invalid, Count: count, Detail: fmt.Sprintf(format, args...),
		Examples: examples[:min(len(examples), maxExamples)],
	}
}

// clock writes an instant as seconds of the run.
func clock(t timeline.Instant) string { return fmt.Sprintf("%.3f s", float64(t)/1e9) }

// owes reports whether the plan has traffic of QoS 1 to a fleet that subscribes
// at QoS 1: what is delivered is the lower of the two.
func owes(p *scenarios.Plan) bool {
	return slices.ContainsFunc(p.Traffic, func(t scenarios.Traffic) bool {
		f := p.Fleet(t.To)
		return t.QoS == 1 && (f == nil || slices.ContainsFunc(f.Subscribe, func(s scenarios.Subscription) bool { return s.QoS >= 1 }))
	})
}
