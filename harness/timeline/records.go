package timeline

// Instant is a point of the run: nanoseconds since the run's base time on the
// monotonic clock. The zero Instant means "did not happen" or "not known".
type Instant int64

// EndKind says how a connection ended, as its first error over Read and Write
// showed it; that first error is latched and later ones are ignored.
type EndKind string

// The kinds of end.
const (
	EndOpen     EndKind = ""               // still open when the record was written
	EndLocal    EndKind = "local-close"    // our side (the client library) closed it
	EndEOF      EndKind = "eof"            // FIN from the peer
	EndReset    EndKind = "reset"          // RST: ECONNRESET, EPIPE, ENOTCONN
	EndTimeout  EndKind = "timeout"        // a read or write deadline passed
	EndProtocol EndKind = "protocol-error" // bytes that are no MQTT control packet
	EndDial     EndKind = "dial-error"     // there never was a connection
	EndOther    EndKind = "other"
)

// Packet is one line of the ring of last packets that the tap keeps for each
// connection.
type Packet struct {
	At    Instant `json:"at"`
	Out   bool    `json:"out,omitempty"` // written by the client
	Type  string  `json:"type"`          // MQTT name: PUBLISH, PUBACK, …
	Flags byte    `json:"flags,omitempty"`
	ID    uint16  `json:"id,omitempty"`
	Bytes int     `json:"bytes"`
}

// End is how the tap saw a connection end.
type End struct {
	At         Instant
	Kind       EndKind
	Err        string   // text of the latched error, without addresses
	PartialIn  int      // bytes of an unfinished packet from the broker
	PartialOut int      // bytes of an unfinished packet to the broker
	Last       []Packet // the last 16 packets, oldest first
}

// Sub is one topic filter of a connection: what was asked and what was granted.
type Sub struct {
	Filter   string  `json:"filter"`
	QoS      byte    `json:"qos"`
	Sent     Instant `json:"sent,omitempty"` // the first SUBSCRIBE for it since the last answer
	Acked    Instant `json:"acked,omitempty"`
	Granted  byte    `json:"granted"` // SUBACK return code; 0x80 = refused
	Restored bool    `json:"restored,omitempty"`
}

// Conn is the record of one connection attempt of one client, from the start
// of the dial to the end, all instants taken at the tap. A later record with
// the same Fleet, Client and N replaces an earlier one.
type Conn struct {
	Fleet    string `json:"fleet"`
	Client   int    `json:"client"` // index in the fleet, from 0
	ClientID string `json:"id"`
	N        int    `json:"n"` // number of the attempt in the life of the client, from 1

	Intended Instant `json:"intended,omitempty"`   // when the schedule wanted the client's first dial; on each attempt up to the first accepted CONNACK
	Backoff  int64   `json:"backoff_ns,omitempty"` // sleep that the reconnect policy asked for before this dial, where it is known
	Dial     Instant `json:"dial"`                 // dial starts
	Dialed   Instant `json:"dialed,omitempty"`     // transport connected
	Local    string  `json:"local,omitempty"`
	Remote   string  `json:"remote,omitempty"`

	Connect        Instant `json:"connect,omitempty"` // before the first byte of CONNECT was written
	Clean          bool    `json:"clean,omitempty"`
	KeepAlive      int     `json:"keep_alive_s,omitempty"`
	Connack        Instant `json:"connack,omitempty"`         // after the last byte of CONNACK was read
	ConnackCode    byte    `json:"connack_code,omitempty"`    // MQTT 3.1.1 section 3.2.2.3; 0 = accepted
	SessionPresent bool    `json:"session_present,omitempty"` // MQTT 3.1.1 section 3.2.2.2
	SessionWanted  bool    `json:"session_wanted,omitempty"`  // a kept session that this broker knew before

	Subs     []Sub   `json:"subs,omitempty"`
	Restored Instant `json:"restored,omitempty"` // subscriptions restored: CONNACK with session present as wanted, or the last SUBACK with a granted QoS

	Rival bool `json:"rival,omitempty"` // opened under the client's id by the fault takeover, not by its library
	Will  bool `json:"will,omitempty"`  // the CONNECT carried a Will

	Probes       int     `json:"probes,omitempty"`        // probes sent for this connection until it was back
	ProbeAcked   Instant `json:"probe_acked,omitempty"`   // the first PUBACK of a probe for this connection: from here on the client is owed one
	FirstMessage Instant `json:"first_message,omitempty"` // first probe numbered after the loss, read

	// Alive is the latest instant at which the connection certainly was open at
	// the broker: the sending time, in its header, of a message of ours that was
	// read on it. Unlike LastIn it owes nothing to what a kernel had buffered.
	Alive      Instant `json:"alive,omitempty"`
	LastIn     Instant `json:"last_in,omitempty"`
	LastPub    Instant `json:"last_publish,omitempty"` // last PUBLISH read
	LastOut    Instant `json:"last_out,omitempty"`
	MaxOutGap  int64   `json:"max_out_gap_ns,omitempty"` // longest silence from client to broker
	PacketsIn  uint64  `json:"packets_in,omitempty"`
	PacketsOut uint64  `json:"packets_out,omitempty"`
	PingReqs   int     `json:"pingreqs,omitempty"`
	PingResps  int     `json:"pingresps,omitempty"`
	Disconnect string  `json:"disconnect,omitempty"` // "out" or "in": who wrote a DISCONNECT packet

	End        Instant `json:"end,omitempty"`
	EndKind    EndKind `json:"end_kind,omitempty"`
	EndErr     string  `json:"end_err,omitempty"`
	PartialIn  int     `json:"partial_in,omitempty"`
	PartialOut int     `json:"partial_out,omitempty"`
	Scripted   bool    `json:"scripted,omitempty"` // the harness itself ended it (stop at the end of the run)

	Last []Packet `json:"-"` // goes into findings.jsonl.gz when a finding names this connection
}

// Live reports whether the connection was accepted (CONNACK code 0 read) and
// not yet ended at t.
func (c *Conn) Live(t Instant) bool {
	return c.Connack != 0 && c.ConnackCode == 0 && c.Connack <= t && (c.End == 0 || c.End > t)
}

// Action is one issued action of a discrete fault on one client, such as one
// CloseConnection call.
type Action struct {
	Fault    string  `json:"fault"` // row of the fault table: "close"
	Phase    string  `json:"phase"`
	Wave     int     `json:"wave"` // from 1
	Fleet    string  `json:"fleet"`
	Client   int     `json:"client"`
	ClientID string  `json:"id"`
	Intended Instant `json:"intended"`           // i: when the plan wanted it
	Issued   Instant `json:"issued,omitempty"`   // s: our call began; 0 = never issued
	Closed   Instant `json:"closed,omitempty"`   // b: just before the broker's close call, where the target can say
	Answered Instant `json:"answered,omitempty"` // the call returned
	OK       bool    `json:"ok"`                 // answered success
	Found    *bool   `json:"found,omitempty"`    // the endpoint says whether the client was online
	Err      string  `json:"err,omitempty"`
	Tries    int     `json:"tries,omitempty"`  // requests to an API that the call took; 0 = the closer has none
	Busy     int     `json:"busy,omitempty"`   // of them, those answered that the service is too busy (Throttling)
	N        int     `json:"n,omitempty"`      // number of the connection that a frame fault ended, or that was silenced; 0 = told by time
	Detail   string  `json:"detail,omitempty"` // what exactly was done, where the kind of fault has a choice: "before PUBREL out, id 7"

	// A lasting fault holds the client from Issued to Until; its record is
	// written when it has taken effect, and again when it was lifted.
	Lasting bool    `json:"lasting,omitempty"`
	Number  int     `json:"number,omitempty"` // which fault of its wave it is, from 1: two of a kind may hold one client
	Until   Instant `json:"until,omitempty"`  // when it was lifted; 0 = it was not yet
}

// Extent is a fault without victims of its own: it acts on the broker's door,
// on the way there, or from outside, and whom it reached the connections tell.
// Its record is written when it has taken effect, and again when it was lifted.
type Extent struct {
	ID       int     `json:"extent"` // of this run, from 1
	Fault    string  `json:"fault"`  // row of the fault table, or "mark"
	Phase    string  `json:"phase"`
	Wave     int     `json:"wave,omitempty"`  // from 1; 0 = of no wave, an outside event
	Fleet    string  `json:"fleet,omitempty"` // the only one that it can reach; "" = any client
	Intended Instant `json:"intended"`        // when the plan wanted it
	Issued   Instant `json:"issued"`          // our call began
	Taken    Instant `json:"taken,omitempty"`
	Healing  Instant `json:"healing,omitempty"` // our call to lift it began; 0 = it was not yet
	Healed   Instant `json:"healed,omitempty"`  // it was lifted; 0 = it was not yet
	OK       bool    `json:"ok"`                // it took effect, and when lifted that worked too
	Err      string  `json:"err,omitempty"`
	Detail   string  `json:"detail,omitempty"`  // what it did, in words and counts
	Skipped  string  `json:"skipped,omitempty"` // why this machine can not do it; then nothing was done
	// Bars says that it may keep clients from connecting: an attempt that it
	// turned away is no fault of the broker.
	Bars bool `json:"bars,omitempty"`
	// Ends says that it may end connections: an end after Issued that no action
	// explains is charged to it.
	Ends bool `json:"ends,omitempty"`
	// Outside says that it acts from outside on whatever it reaches: an end of the
	// control fleet may be its doing, too.
	Outside bool `json:"outside,omitempty"`
	// Process is what was done to the broker's process (Killed, …); "" = nothing. Then the control connections were its victims too, beside the
	// clients, each of which has an action.
	Process string `json:"process,omitempty"`
	Kept    bool   `json:"kept,omitempty"` // it was started again with what the one before it had kept
}

// What a fault did to the broker's process.
const (
	Killed  = "kill"   // SIGKILL
	Stopped = "stop"   // ended in good order
	Frozen  = "freeze" // SIGSTOP
)

// Frame is one control packet that a scripted frame fault kept from passing,
// or around which it ended the connection. What a swallowed packet would have
// brought about is excused for exactly its message, or its packet id.
type Frame struct {
	Fault    string  `json:"fault"` // swallow | cut
	Phase    string  `json:"phase"`
	Wave     int     `json:"wave"`
	Fleet    string  `json:"fleet"`
	Client   int     `json:"client"`
	ClientID string  `json:"id"`
	N        int     `json:"n"` // number of the connection
	At       Instant `json:"at"`
	Out      bool    `json:"out,omitempty"`    // from client to broker
	Type     string  `json:"type"`             // MQTT name
	Passed   bool    `json:"passed,omitempty"` // the packet itself went through: a cut right after it
	PacketID uint16  `json:"packet_id,omitempty"`
	Stream   uint32  `json:"stream,omitempty"` // message of ours that the packet, or the exchange it belongs to, carried; 0 = none or not known
	Seq      uint64  `json:"seq,omitempty"`
}

// Will is one Will Message that the control fleet read.
type Will struct {
	ClientID string  `json:"id"` // whose Will it is, by its payload
	Topic    string  `json:"topic"`
	QoS      byte    `json:"qos"`
	Retain   bool    `json:"retain,omitempty"`
	DUP      bool    `json:"dup,omitempty"`
	At       Instant `json:"at"`
	Wrong    string  `json:"wrong,omitempty"` // how it differs from the Will of the CONNECT, in words
}

// Snapshot is what the process holds at a quiet moment: the first before any
// fault, the last after the drain. It is taken where the plan has enough cycles
// of faults to tell a leak from noise.
type Snapshot struct {
	At         Instant        `json:"at"`
	Goroutines map[string]int `json:"goroutines"` // by the function that started them, with its package
	HeapBytes  int64          `json:"heap_bytes"` // in use, after a collection
	FDs        int64          `json:"fds"`
}

// Wave is one repetition of the faults of a phase.
type Wave struct {
	Phase string  `json:"phase"`
	Wave  int     `json:"wave"`  // from 1
	Start Instant `json:"start"` // first intended instant
	End   Instant `json:"end"`   // horizon: start + timeout, cut at the next wave
	// Overlap: the wave goes on when the next one of its phase begins.
	Overlap bool `json:"overlap,omitempty"`
}

// Phase is one phase as it really ran.
type Phase struct {
	Name   string  `json:"name"`
	Start  Instant `json:"start"`
	End    Instant `json:"end"`
	Reason string  `json:"reason"` // for | until | timeout | interrupted | aborted
	// Quiet is, of the drain, for how long no client had read a message at its end.
	Quiet int64 `json:"quiet_ns,omitempty"`
}

// Mark is the frame of the run. The first event of a file is a Mark with
// Start; a complete file ends with one that has Stop.
type Mark struct {
	RunID       string  `json:"run_id,omitempty"`
	StartedAt   string  `json:"started_at,omitempty"` // RFC 3339, UTC: wall time of the base
	Monotonic   int64   `json:"monotonic_ns,omitempty"`
	Stop        Instant `json:"stop,omitempty"` // the harness stopped its clients here: the horizon of all that is open
	Interrupted bool    `json:"interrupted,omitempty"`
	Aborted     string  `json:"aborted,omitempty"`  // why a phase gave up, or which expectation had failed for good
	Events      int     `json:"events,omitempty"`   // with Stop: lines of events.jsonl.gz before this one, so that one that went missing is missed; 0 = a version that did not count
	Findings    int     `json:"findings,omitempty"` // with Stop: lines that were written to findings.jsonl.gz, which a run without any does not have
}

// Latency is how long messages took to the clients that no fault of the plan
// names, in the time of one row of health.csv: from the instant at which the
// timetable wanted each to the last byte of its first delivery. Messages of
// publishers that a fault names are left out, and retained ones.
type Latency struct {
	Start    Instant `json:"start"`
	End      Instant `json:"end"`
	Clients  int     `json:"clients"` // that no fault of the plan names
	Values   string  `json:"v2"`      // HdrHistogram V2, base64, ns
	Overflow int64   `json:"overflow,omitempty"`
}

// Event is one line of events.jsonl.gz: exactly one field is set.
type Event struct {
	Mark   *Mark   `json:"mark,omitempty"`
	Phase  *Phase  `json:"phase,omitempty"`
	Wave   *Wave   `json:"wave,omitempty"`
	Action *Action `json:"action,omitempty"`
	Extent *Extent `json:"extent,omitempty"`
	Conn   *Conn   `json:"conn,omitempty"`
	Frame  *Frame  `json:"frame,omitempty"`
	Will   *Will   `json:"will,omitempty"`

	Snapshot *Snapshot `json:"snapshot,omitempty"`
	Latency  *Latency  `json:"latency,omitempty"`
}
