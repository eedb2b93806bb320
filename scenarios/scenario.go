package scenarios

import (
	"time"

	"go.yaml.in/yaml/v4"
)

// Scenario is what to do, as written, with defaults filled in. Equal input
// gives an equal value.
type Scenario struct {
	Name    string
	Summary string
	Seed    uint64
	Clients int
	Fleets  []Fleet
	Traffic []Traffic
	Phases  []Phase
	Expect  []Expectation
}

// Fleet is a group of clients that are made alike.
type Fleet struct {
	Name        string         `yaml:"name"`
	Share       float64        `yaml:"share"`     // of Scenario.Clients, 0..1
	ClientID    string         `yaml:"client_id"` // template: {run}, {fleet}, {index}, {index:06}
	Session     Session        `yaml:"session"`
	Reconnect   Reconnect      `yaml:"reconnect"`
	Connect     Connect        `yaml:"connect"`
	Resubscribe string         `yaml:"resubscribe"` // when-absent | always | never
	Subscribe   []Subscription `yaml:"subscribe,omitempty"`
	Back        string         `yaml:"back"` // connack | subscribed | first-message
	Will        *Will          `yaml:"will,omitempty"`
	// Labels gives each label the shares of its values, 0..1, which add up to 1.
	Labels map[string]map[string]float64 `yaml:"labels,omitempty"`
}

// Will is the Will Message of each client; {client} is its client id. The
// payload is the harness's own, so that each Will is told whose it is.
type Will struct {
	Topic  string `yaml:"topic"`
	QoS    byte   `yaml:"qos"`
	Retain bool   `yaml:"retain,omitempty"`
}

// Session is the MQTT session that each client asks for.
type Session struct {
	Clean     bool          `yaml:"clean"`
	KeepAlive time.Duration `yaml:"keep_alive"` // whole seconds; 0 = off
}

// Reconnect names the reconnect policy and its sleeps.
type Reconnect struct {
	Policy string        `yaml:"policy"`          // row of the policy table
	Base   time.Duration `yaml:"base,omitempty"`  // shortest sleep of what grows from one; 0 with paho and what has no sleep that grows
	Max    time.Duration `yaml:"max,omitempty"`   // longest sleep; 0 with immediate, fixed and none, which have none
	Delay  time.Duration `yaml:"delay,omitempty"` // of policy fixed: the sleep before each dial after a loss
}

// Connect is the schedule of first connects.
type Connect struct {
	Rate float64 `yaml:"rate"` // clients per second
}

// Subscription is one topic filter of each client; {client} is its client id.
type Subscription struct {
	Topic string `yaml:"topic"`
	QoS   byte   `yaml:"qos"`
}

// Traffic is one item of the open-loop timetable of publishes. Its streams are:
// with {client} in the topic one for each client of To; else, from a fleet, one
// for each client of From (with {from} in the topic on topics of their own);
// else a single one.
type Traffic struct {
	From  string `yaml:"from"`  // fleet, or "control"
	To    string `yaml:"to"`    // fleet whose {client} fills the topic
	Topic string `yaml:"topic"` // {client}: id of the receiver, {from}: id of the publisher
	QoS   byte   `yaml:"qos"`
	// Each is in messages per second: with {client} in the topic to each client
	// of To, else from each client of From. Total is over all streams.
	Each    float64 `yaml:"each,omitempty"`
	Total   float64 `yaml:"total,omitempty"`
	Payload int     `yaml:"payload"`         // bytes
	Burst   int     `yaml:"burst,omitempty"` // messages per slot, back to back; 0 = 1
	// At is "" for the slots of the timetable, or "fault": then there is no
	// rate, and each action of a fault on the publisher of a stream (from
	// control: on its receiver) is preceded by one burst of the stream.
	At     string `yaml:"at,omitempty"`
	While  string `yaml:"while,omitempty"`  // "" = always; "away": slots due while the receiver is connected are not scheduled
	Retain bool   `yaml:"retain,omitempty"` // published with the RETAIN flag
}

// Phase is one step of the timetable. Exactly one of For and Until is set.
type Phase struct {
	Name      string
	For       time.Duration
	Until     *Until
	Timeout   time.Duration
	OnTimeout string      // continue | abort
	Faults    []FaultSpec // with a Walk those that it draws from
	Repeat    Repeat      // zero with a Walk
	Walk      *Walk       // nil = every fault in every wave
}

// Until is the condition that ends a phase: exactly one is set.
type Until struct {
	Connected      *float64       `yaml:"connected,omitempty"`       // share of all clients connected and subscribed
	ConnectedCount int            `yaml:"connected_count,omitempty"` // the same as a number of clients
	Back           *float64       `yaml:"back,omitempty"`            // share of the phase's hit clients that are back
	BackCount      int            `yaml:"back_count,omitempty"`      // the same as a number of clients
	Quiet          *time.Duration `yaml:"quiet,omitempty"`           // no message read by any client for this long, publishers stopped
	// Drained is: publishers stopped, and no message of QoS 1 or 2 is under way
	// or owed any more.
	Drained bool `yaml:"drained,omitempty"`
	// Count has one of Counters and the number that it reaches, counted from the
	// start of the phase.
	Count map[string]int `yaml:"count,omitempty"`
}

// Drains reports whether the condition is that of the drain, which ends the
// traffic for good.
func (u *Until) Drains() bool { return u != nil && (u.Quiet != nil || u.Drained) }

// The counters of until: {count: …}.
const (
	CountConnects     = "connects"     // connections of clients that were accepted: CONNACK 0 read
	CountKicks        = "kicks"        // actions of faults on clients that were answered
	CountAttempted    = "attempted"    // messages whose first byte was written
	CountAcknowledged = "acknowledged" // messages: PUBACK or PUBREC read
	CountDelivered    = "delivered"    // first copies of messages, over all subscribers
)

// Repeat repeats the faults of a phase as waves; wave k starts at k × Every.
type Repeat struct {
	Times int           `yaml:"times"`
	Every time.Duration `yaml:"every"`
	// Overlap lets a wave go on when the next one begins: its victims may be due
	// later, and are watched to the end of its own horizon.
	Overlap bool `yaml:"overlap,omitempty"`
}

// Walk is a random walk over the faults of a phase: a wave for each step, its
// start and its faults drawn by the seed. Step k is due at k × Every, and later
// by a random part of Jitter × Every; it draws 1 to AtOnce different faults.
type Walk struct {
	Steps  int
	Every  time.Duration
	Jitter float64 // share of Every, 0..1
	AtOnce int
}

// FaultSpec is one fault as written: its kind and its undecoded parameters,
// which keep their positions for the errors of the kind's own strict decoder.
type FaultSpec struct {
	Kind    string
	Params  *yaml.Node // mapping; nil = no parameters
	Pos     Pos
	Meaning string // canonical text of the parameters that are not at the kind's default, for Hash; Load fills it in
}

// Pos is a position in a scenario file; Line and Column count from 1.
type Pos struct {
	File         string
	Line, Column int
}

// Expectation is one gate over one metric. Exactly one limit is set.
type Expectation struct {
	Metric  string `yaml:"metric"`
	Fleet   string `yaml:"fleet,omitempty"`
	Phase   string `yaml:"phase,omitempty"`
	Wave    string `yaml:"wave,omitempty"` // "each" = in every wave
	Below   *Limit `yaml:"below,omitempty"`
	AtMost  *Limit `yaml:"at_most,omitempty"`
	AtLeast *Limit `yaml:"at_least,omitempty"`
	Above   *Limit `yaml:"above,omitempty"`
	Equals  *Limit `yaml:"equals,omitempty"`
	OnFail  string `yaml:"on_fail"` // fail | warn | abort
	Pos     Pos    `yaml:"-"`
}

// Limit is a number as written: a time such as 5s, a share such as 95%, or a
// plain count. Value is in seconds, or a fraction, or the count.
type Limit struct {
	Text  string
	Unit  string // "s", "%" or ""
	Value float64
}
