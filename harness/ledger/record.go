package ledger

import "github.com/rebound-mqtt/rebound/harness/timeline"

// Record is one line of accounts.jsonl.gz: exactly one field is set.
type Record struct {
	Stream   *StreamAccount   `json:"stream,omitempty"`
	Delivery *DeliveryAccount `json:"delivery,omitempty"`
	Stray    *Stray           `json:"stray,omitempty"`
	Closing  *Closing         `json:"closing,omitempty"`
}

// Closing is the last line of a whole file: it says how many records came
// before it, so that a line that went missing is missed. ReadAccounts checks it
// and does not give it out.
type Closing struct {
	Records int `json:"records"`
}

// StreamAccount is what the publisher's wire showed of one stream. A stream is
// (run, publisher session, topic, QoS).
type StreamAccount struct {
	ID        uint32 `json:"id"`
	Publisher string `json:"publisher"`
	Topic     string `json:"topic"`
	QoS       byte   `json:"qos"`

	Scheduled int64 `json:"scheduled"` // slots of the timetable that came due
	Missed    int64 `json:"missed"`    // slots that passed unsent
	Refused   int64 `json:"refused"`   // refused by the library
	Queued    int64 `json:"queued"`    // taken by the library, first byte never seen at the tap

	Attempted Set `json:"attempted"` // first byte offered to the socket
	Acked     Set `json:"acked"`     // PUBACK read or, at QoS 2, PUBREC; empty at QoS 0

	Released  Set `json:"released,omitzero"`  // at QoS 2: first byte of the PUBREL offered to the socket
	Completed Set `json:"completed,omitzero"` // at QoS 2: PUBCOMP read
	// Abandoned: at QoS 2, the publisher's session was lost, or another message
	// was given its packet id, after the PUBREC and before the PUBCOMP.
	Abandoned Set `json:"abandoned,omitzero"`

	Late   Set `json:"late,omitzero"`   // first offered after a higher sequence number had been
	Resent Set `json:"resent,omitzero"` // offered more than once
	// Republished: offered again after the PUBREL was written or, at QoS 1,
	// after the PUBACK was read, or under another packet id.
	Republished Set `json:"republished,omitzero"`
	Carried     Set `json:"carried,omitzero"` // offered again after the publisher's session was lost, and not complete then

	Conn int `json:"conn,omitempty"` // number of the publisher's last connection
	// Exchanges says that the account holds whole exchanges: releases,
	// completions, connections. Files of versions before have it false, and what
	// follows from these is not judged.
	Exchanges bool `json:"exchanges,omitempty"`

	SentinelSent  timeline.Instant `json:"sentinel_sent,omitempty"`
	SentinelAcked timeline.Instant `json:"sentinel_acked,omitempty"`

	// Open holds, one by one, the messages that some expecting subscriber did
	// not get, or got otherwise than once and in order, or that were not
	// acknowledged: all whose times the judgement can need. Of a message that
	// was settled when a further copy came, only the instants in its payload
	// are known, and Acked is 0.
	Open []Message `json:"open,omitempty"`
}

// Message is one message with its instants at the publisher's tap.
type Message struct {
	Seq      uint64           `json:"seq"`
	Intended timeline.Instant `json:"intended"`
	Sent     timeline.Instant `json:"sent"`
	Acked    timeline.Instant `json:"acked,omitempty"`

	Conn  int  `json:"conn,omitempty"`  // the publisher's connection on which the PUBLISH or, after the PUBREC, the PUBREL was written last; 0 = none
	Reset bool `json:"reset,omitempty"` // the publisher's session was lost since, or its packet id given to another message
}

// DeliveryAccount is what one subscriber's wire showed of one stream in one
// epoch of its session. An epoch runs from a CONNACK with session present 0 to
// the next such one. Where the granted QoS changes within an epoch, the epoch
// has two accounts, the earlier one ended there.
type DeliveryAccount struct {
	Stream  uint32           `json:"stream"`
	Client  string           `json:"client"`
	Group   string           `json:"group,omitempty"` // $share/{name}/{filter}
	Epoch   int              `json:"epoch"`           // from 1
	Began   timeline.Instant `json:"began"`
	Ended   timeline.Instant `json:"ended,omitempty"`   // 0 = still open at the end
	Granted byte             `json:"granted"`           // highest QoS of the matching filters
	Filters int              `json:"filters,omitempty"` // most matching filters held at once
	Conn    int              `json:"conn,omitempty"`    // number of the client's last connection in this epoch

	Members []string         `json:"members,omitempty"`     // of a group's own account: all that ever were
	Left    timeline.Instant `json:"member_left,omitempty"` // of a group's own account: when a member's session last ended, or it unsubscribed

	// Messages expected in this epoch: From is the first sequence number
	// attempted after the SUBACK was read (0 = none), To the last one attempted
	// in it. Except holds what was attempted between the two in number but not
	// in time.
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Except Set    `json:"except,omitzero"`

	// Unordered: of the expected, not delivered, and written again or not
	// answered, so that nothing delivered in the epoch was certainly sent after it.
	Unordered Set `json:"unordered,omitzero"`

	Delivered Set              `json:"delivered"`          // complete PUBLISH read at the tap
	Answered  Set              `json:"answered,omitzero"`  // of Delivered: PUBACK or PUBREC of some copy written
	Pending   []Pending        `json:"pending,omitempty"`  // the others that want an answer, latest connection first
	Handled   Set              `json:"handled,omitzero"`   // handler called
	Calls     []Calls          `json:"calls,omitempty"`    // handler called more than once
	Retained  int              `json:"retained,omitempty"` // copies with RETAIN, sent for a SUBSCRIBE: not among Delivered
	Kept      Set              `json:"kept,omitzero"`      // the messages of those
	Again     Set              `json:"again,omitzero"`     // at QoS 2: read again before the PUBREL, as it must be after a loss: no second delivery
	Misrouted Set              `json:"misrouted,omitzero"` // read, and no filter of the client matched
	WrongQoS  Set              `json:"wrong_qos,omitzero"` // some copy at a QoS that no matching filter explains
	Below     Set              `json:"below,omitzero"`     // with several filters: expected, and no copy at the highest QoS
	Extra     []Extra          `json:"extra,omitempty"`
	Reordered []Reorder        `json:"reordered,omitempty"`
	Final     []Reorder        `json:"final,omitempty"`    // at QoS 1: last copies out of order, as far as it was seen
	Sentinel  timeline.Instant `json:"sentinel,omitempty"` // read

	Exchanges bool `json:"exchanges,omitempty"` // as in StreamAccount
}

// Pending is what was read last on one connection, and never answered.
type Pending struct {
	Conn int `json:"conn"`
	Seqs Set `json:"seqs"`
}

// Calls is a message with which the handler was called more than once.
type Calls struct {
	Seq uint64 `json:"seq"`
	N   int    `json:"n"`
}

// Extra is a message read more than once in one epoch; at QoS 2 copies of one
// delivery, up to its PUBREL, count as one.
type Extra struct {
	Seq    uint64           `json:"seq"`
	Copies int              `json:"copies"`        // all, the first included
	DUP    bool             `json:"dup,omitempty"` // of some copy after the first
	At     timeline.Instant `json:"at"`            // of the last copy

	Exact      int  `json:"exact,omitempty"`      // of Copies: at QoS 2
	Over       bool `json:"over,omitempty"`       // more of them at QoS 2 than filters that were granted it
	Unprovoked int  `json:"unprovoked,omitempty"` // of Copies: came though one before was answered on the same connection
	Conn       int  `json:"conn,omitempty"`       // of the last copy
}

// Reorder is a first delivery that came after the first delivery of a message
// that was certainly sent later.
type Reorder struct {
	Seq   uint64           `json:"seq"`
	After uint64           `json:"after"`
	At    timeline.Instant `json:"at"`
}

// Stray is a PUBLISH that no attempt explains.
type Stray struct {
	Client string           `json:"client"`
	Topic  string           `json:"topic"`
	QoS    byte             `json:"qos,omitempty"` // of the PUBLISH
	Stream uint32           `json:"stream,omitempty"`
	Seq    uint64           `json:"seq,omitempty"`
	Why    string           `json:"why"` // one of the Why constants
	At     timeline.Instant `json:"at"`
	Count  int64            `json:"count,omitempty"` // > 0: stands for this many that were not kept one by one
}

// Why a PUBLISH is a stray.
const (
	WhyWrongRun       = "wrong-run"       // another run's id in the payload
	WhyUnknownStream  = "unknown-stream"  // no such stream; without client: the publisher's side named it
	WhyNeverAttempted = "never-attempted" // no publisher offered this sequence number before
	WhyWrongTopic     = "wrong-topic"     // came on another topic than it was published to
	WhyCorrupt        = "corrupt"         // no payload header of ours, or a checksum that does not fit
)
