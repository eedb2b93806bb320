package check

import (
	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// Evidence is what the checks look at: the plan, and what the files of the run
// say of it.
type Evidence struct {
	Plan *scenarios.Plan

	Recorded int // schema version of env.json, 0 = the newest

	// The frame of the run.
	Complete    bool             // the events end with the closing mark
	Interrupted bool             // stopped by hand
	Aborted     string           // why a phase gave up, or which expectation had failed for good
	Missing     []string         // evidence that is not there or cut, in words
	Phases      []timeline.Phase // as they ran
	Health      bool             // there are health samples

	// The clients.
	Connected  map[string]int // fleet -> clients that had connected and subscribed before the first fault
	Actions    []Action
	Extents    []timeline.Extent // faults without victims
	Unscripted []End             // ends of device connections that nothing explains
	Control    []End             // the same of the control fleet
	Returned   int               // outages that were over before the end
	Away       []string          // ids of the clients that were not back when the run was stopped

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
	Lapses     []ledger.Lapse     // what a restart of the broker may have undone
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
