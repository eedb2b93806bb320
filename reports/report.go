package reports

// SchemaVersion is the version of report.json that this code writes.
const SchemaVersion = 1

// Verdict of a check, an expectation or a run. Merged: invalid > unknown > valid.
type Verdict string

// The verdicts. NotApplicable stays out of the merge.
const (
	Valid         Verdict = "valid"
	Invalid       Verdict = "invalid"
	Unknown       Verdict = "unknown"
	NotApplicable Verdict = "not-applicable"
)

// Merge gives the worse of two verdicts: invalid > unknown > valid.
func (v Verdict) Merge(o Verdict) Verdict {
	rank := map[Verdict]int{NotApplicable: 0, Valid: 1, Unknown: 2, Invalid: 3}
	if rank[o] > rank[v] {
		return o
	}
	return v
}

// Report is all that is known of one run. Times are in seconds, from the base
// of the run where they are instants; a null number is not known.
type Report struct {
	SchemaVersion int    `json:"schema_version"`
	Rebound       string `json:"rebound_version"`
	Run           Run    `json:"run"`
	Target        Target `json:"target"`
	Driver        Driver `json:"driver"`
	Environment   Env    `json:"environment"`

	Verdict  Verdict  `json:"verdict"`
	ExitCode int      `json:"exit_code"`
	Warnings []string `json:"warnings"`

	Fleets       []Fleet       `json:"fleets"`
	Connect      Connect       `json:"connect"`
	Phases       []Phase       `json:"phases"`
	Waves        []Wave        `json:"waves"`
	Total        Wave          `json:"total"`             // all waves of the run together
	Extents      []Extent      `json:"extents,omitempty"` // faults without victims of their own, by start
	Notes        []string      `json:"notes,omitempty"`   // what a reader must know of how the faults were made
	Messages     []Messages    `json:"messages"`
	Unscripted   Unscripted    `json:"unscripted"`
	Checks       []Check       `json:"checks"`
	Expectations []Expectation `json:"expectations"`
	Harness      Harness       `json:"harness"`
	Histograms   []Histogram   `json:"histograms"`
	LossExamples []Loss        `json:"loss_examples"` // at most 20; losses.csv is complete
	Charts       *Charts       `json:"charts,omitempty"`

	Losses   []Loss     `json:"-"` // every row, for losses.csv
	Recovery []Recovery `json:"-"` // every step, for recovery.csv
}

// Run says what was run and how it ended.
type Run struct {
	ID           string  `json:"id"`
	Scenario     string  `json:"scenario"`
	Summary      string  `json:"summary"`
	ScenarioHash string  `json:"scenario_hash"`
	PlanHash     string  `json:"plan_hash"`
	Seed         uint64  `json:"seed"`
	Clients      int     `json:"clients"`
	StartedAt    string  `json:"started_at"` // RFC 3339, UTC
	Seconds      float64 `json:"duration_seconds"`
	Complete     bool    `json:"complete"` // the evidence ends with its closing mark
	Interrupted  bool    `json:"interrupted"`
	Strict       bool    `json:"strict,omitempty"` // judged without excuses: known defects fail
	Aborted      string  `json:"aborted,omitempty"`
}

// Target is the broker under test.
type Target struct {
	Kind      string            `json:"kind"` // embedded | pipe | child | command | address
	Broker    string            `json:"broker"`
	Version   string            `json:"version"`
	Closer    string            `json:"closer"` // close-connection | fin
	Transport string            `json:"transport"`
	Settings  map[string]string `json:"settings"`
	Abilities Abilities         `json:"abilities"`
}

// Abilities is the static ability record of a target: what a broker promises
// and what it is known to get wrong. Judgement and comparison depend on it.
type Abilities struct {
	KeepsSession    bool   `json:"keeps_session"`     // a kick leaves the session in place
	SendsWill       bool   `json:"sends_will"`        // a kick publishes the Will
	KickAsync       bool   `json:"kick_async"`        // the answer may come before the close
	KickReportsTime bool   `json:"kick_reports_time"` // the close instant is known on the run's clock
	Persistence     string `json:"persistence"`       // none | lazy | sync | unknown
	// FlushWindow is how long before a crash what was acknowledged may not be kept
	// yet, where Persistence is lazy; 0 = a crash of the process loses nothing.
	FlushWindow    float64 `json:"flush_window_seconds,omitempty"`
	MaxQoS         *int    `json:"max_qos,omitempty"`       // highest QoS that it grants; null = 2
	Queued         int     `json:"queued"`                  // messages kept for an absent session; 0 = not known
	RedeliveryWait float64 `json:"redelivery_wait_seconds"` // longest wait before an unacknowledged message is sent again
	// Can is what faults may do to it beyond its connections: kill, stop, restart,
	// freeze, persist, gate, socket (a reset), namespace (faults of the kernel),
	// reset (by the broker itself).
	Can          []string      `json:"can,omitempty"`
	KnownDefects []KnownDefect `json:"known_defects,omitempty"`
}

// KnownDefect is one entry of a target's or driver's table of known defects. It
// explains
// an invalid check only as far as its condition holds for every single finding.
type KnownDefect struct {
	Check     string `json:"check"`
	Condition string `json:"condition"` // row of judge's table of conditions
	Doc       string `json:"doc"`       // what the broker does, in a sentence
	Reference string `json:"reference"` // where it is proved
	Versions  string `json:"versions"`  // comma-separated; "" = all
}

// Driver is the client library under test.
type Driver struct {
	Name    string `json:"name"` // paho | strict
	Version string `json:"version"`

	KnownDefects []KnownDefect `json:"known_defects,omitempty"`
}

// Env is the fingerprint of the machine: no host names, users, paths, secrets.
type Env struct {
	OS         string            `json:"os"`
	Arch       string            `json:"arch"`
	Kernel     string            `json:"kernel"`
	CPU        string            `json:"cpu"`
	Cores      int               `json:"cores"`
	GOMAXPROCS int               `json:"gomaxprocs"`
	CPUQuota   float64           `json:"cpu_quota_cores"` // 0 = none
	MemoryByte int64             `json:"memory_bytes"`
	FDLimit    uint64            `json:"fd_limit"`
	Go         string            `json:"go"`
	GOGC       string            `json:"gogc"`
	Modules    map[string]string `json:"modules"` // paho, mochi, hdrhistogram
	Sysctls    map[string]string `json:"sysctls"`
	Load1      float64           `json:"load_1m_before"`
	CI         string            `json:"ci,omitempty"`
}

// Fleet as it was run.
type Fleet struct {
	Name      string `json:"name"`
	Clients   int    `json:"clients"`
	Back      string `json:"back"` // what counts as back, after any fall: connack | subscribed | first-message
	Policy    string `json:"policy"`
	Clean     bool   `json:"clean_session"`
	Connected int    `json:"connected"` // reached CONNACK and its subscriptions at least once
}

// Connect is the first connect of the whole fleet.
type Connect struct {
	Clients   int      `json:"clients"`
	Connected int      `json:"connected"`
	Seconds   float64  `json:"seconds"` // first dial to last restored subscription
	Rate      float64  `json:"rate_per_second"`
	Latency   Quantile `json:"latency"` // intended start of the dial to subscriptions restored
}

// Quantile is a summary of one distribution, in seconds (or a count where the
// metric is one). It always carries its counts: N values, of them Overflow
// above the histogram's range; Censored clients stand beside it, not in it.
type Quantile struct {
	N        int64    `json:"n"`
	Censored int64    `json:"censored"`
	Overflow int64    `json:"overflow"`
	Mean     *float64 `json:"mean"`
	P50      *float64 `json:"p50"` // null = not reached (Kaplan-Meier) or no values
	P90      *float64 `json:"p90"`
	P99      *float64 `json:"p99"`
	P999     *float64 `json:"p999"`
	Max      *float64 `json:"max"`
	LowN     []string `json:"low_n,omitempty"` // quantiles with too few values: "p99" needs 299, "p999" 2995
}

// Phase as it ran.
type Phase struct {
	Name    string   `json:"name"`
	Start   float64  `json:"start_seconds"`
	End     float64  `json:"end_seconds"`
	Reason  string   `json:"reason"`
	Fitness string   `json:"fitness"` // fit | degraded | saturated | unknown
	Canary  Quantile `json:"canary"`
	Against string   `json:"fitness_against"` // the measured time that the canary was held against
}

// Wave is what one wave of faults did, or (as Report.Total) all of them.
// Victims = Back + Censored + Unaffected + Absent, always.
type Wave struct {
	Phase  string `json:"phase"`
	Wave   int    `json:"wave"`   // from 1; 0 in Report.Total
	Regime string `json:"regime"` // paho's backoff regime at the start: first | continual | mixed | n/a

	Victims    int `json:"victims"`
	Back       int `json:"back"`
	Censored   int `json:"censored"`
	Unaffected int `json:"unaffected"`
	Absent     int `json:"absent"`

	Hit      int `json:"hit"`
	LateHit  int `json:"late_hit"`
	NoOp     int `json:"no_op"`
	Missed   int `json:"missed"`
	NoEffect int `json:"no_effect"`
	Failed   int `json:"failed"` // answered an error and the connection lived on; counted in Unaffected
	RodeOut  int `json:"rode_out"`

	Start    float64 `json:"start_seconds"`
	Horizon  float64 `json:"horizon_seconds"` // length
	Spread   float64 `json:"spread_seconds"`  // first to last issued, as reached
	IssueLag float64 `json:"issue_lag_max_seconds"`

	Outage      Quantile            `json:"outage"`
	BackCurve   Quantile            `json:"back_curve"` // from the wave's first intended instant, over hit clients
	RMTA        *float64            `json:"rmta_seconds"`
	Waterfall   map[string]Quantile `json:"waterfall"`     // lag close notice retry backoff dial connack resubscribe first_message
	Answer      Quantile            `json:"answer"`        // the API's answer: answered - issued
	API         *Calls              `json:"api,omitempty"` // null = the closer has no API, or the evidence does not say; shown in summary.md
	ProbeNeeded Quantile            `json:"probes_needed"`
	// ProberAway is the part of first_message in which the control connection that
	// probes the client was not live; null = it always was.
	ProberAway  *Quantile    `json:"prober_away,omitempty"`
	LossQoS0    Quantile     `json:"loss_per_outage_qos0"` // messages lost in each outage, zeros included
	LossQoS1    Quantile     `json:"loss_per_outage_qos1"`
	LossQoS2    Quantile     `json:"loss_per_outage_qos2"`
	Herd        Herd         `json:"herd"`
	Attempts    float64      `json:"attempts_per_back"` // dials per client that came back
	SlowBackoff int          `json:"slept_in_backoff"`  // clients whose reconnect slept in the policy's backoff
	Curve       []CurvePoint `json:"curve"`             // recovery, thinned to at most 200 points
}

// Calls counts the calls of an API that closes connections.
type Calls struct {
	Calls     int `json:"calls"`
	Tries     int `json:"tries"`     // requests: a call that was refused is tried again
	Throttled int `json:"throttled"` // tries that were answered that the service is too busy
	Failed    int `json:"failed"`    // calls that ended with an error, whatever became of the connection
}

// Herd is the shape of the stampede, at the tap.
type Herd struct {
	Connects      int     `json:"connects"`
	Peak          int     `json:"peak_per_10ms"`
	PeakToMean    float64 `json:"peak_to_mean"`
	Amplification float64 `json:"amplification"` // CONNECTs per hit
}

// CurvePoint is one step of a recovery curve.
type CurvePoint struct {
	Seconds  float64 `json:"seconds"` // from the wave's first intended instant
	Back     float64 `json:"fraction_back"`
	AtRisk   int     `json:"at_risk"`
	Censored int     `json:"censored"` // so far
}

// Recovery is one row of recovery.csv.
type Recovery struct {
	Phase    string
	Wave     int
	Seconds  float64
	Back     float64
	AtRisk   int
	Censored int
	Low      float64 // 95 % interval of Back (Greenwood, log-log)
	High     float64
}

// Messages is the closing balance of one QoS.
type Messages struct {
	QoS            int    `json:"qos"`
	Streams        int    `json:"streams"`
	Scheduled      int64  `json:"scheduled"`
	Missed         int64  `json:"missed_slots"` // slots of the timetable that passed unsent
	Refused        int64  `json:"refused"`      // by the library
	Queued         int64  `json:"queued"`       // still in the library at the end
	Attempted      int64  `json:"attempted"`
	Acknowledged   int64  `json:"acknowledged"`
	Indeterminate  int64  `json:"indeterminate"`
	Expected       int64  `json:"expected"` // deliveries owed: acknowledged × expecting subscribers (QoS 0: attempted ×)
	Delivered      int64  `json:"delivered"`
	Lost           int64  `json:"lost"`
	LostAway       int64  `json:"lost_while_away"` // of Lost, inside an outage of the subscriber
	LegalLoss      int64  `json:"legal_loss"`      // session ended
	Undetermined   int64  `json:"undetermined"`
	Recovered      int64  `json:"recovered"`
	Duplicated     int64  `json:"duplicated"`           // extra copies read, or handled
	Forbidden      int64  `json:"duplicated_forbidden"` // of Duplicated, those that break what their QoS promises
	Reordered      int64  `json:"reordered"`
	Unexpected     int64  `json:"unexpected"`
	Completed      int64  `json:"completed"` // QoS 2: PUBCOMP read
	NotRedelivered int64  `json:"not_redelivered"`
	LostInClient   int64  `json:"lost_in_client"`
	Stuck          int64  `json:"stuck"`
	Misrouted      int64  `json:"misrouted"`
	WrongQoS       int64  `json:"wrong_qos"`
	Scripted       int64  `json:"scripted"` // excused by a packet that a frame fault swallowed
	Handled        int64  `json:"handled"`  // distinct deliveries that reached the application
	Balance        string `json:"balance"`  // "" = it adds up; else what does not, in words
}

// Unscripted counts the ends of connections that no fault explains.
type Unscripted struct {
	Ends    int            `json:"ends"`
	Clients int            `json:"clients"`
	Kinds   map[string]int `json:"kinds"`
	Outage  Quantile       `json:"outage"`
	Control int            `json:"control_ends"` // of the built-in control fleet
}

// Check is the verdict of one check.
type Check struct {
	Name     string           `json:"name"`
	Verdict  Verdict          `json:"verdict"`
	Count    int64            `json:"count"` // findings
	Detail   string           `json:"detail"`
	Examples []string         `json:"examples,omitempty"` // at most 5
	Charges  map[string]int64 `json:"charges,omitempty"`  // findings by whom they charge: broker | publisher-library | subscriber-library | client-library | harness
	Warnings int64            `json:"warnings,omitempty"` // findings that are worth a warning and turn no verdict
	Warned   []string         `json:"warned,omitempty"`   // examples of them, at most 5
	Known    string           `json:"known,omitempty"`    // reference of the known defect that explains it
}

// Expectation with what was measured. Limit and Measured are in seconds, a
// fraction or a count.
type Expectation struct {
	Text     string   `json:"text"` // outage.p99 phase=storm wave=each below 5s
	Metric   string   `json:"metric"`
	Fleet    string   `json:"fleet,omitempty"`
	Phase    string   `json:"phase,omitempty"`
	Wave     int      `json:"wave,omitempty"` // the worst one, for wave: each
	Unit     string   `json:"unit"`           // s | "" | %
	Op       string   `json:"op"`             // below | at_most | at_least | above | equals
	Limit    float64  `json:"limit"`
	Measured *float64 `json:"measured"` // null = no samples, or a quantile that was not reached
	Shown    string   `json:"shown"`    // as printed: "205 ms", "> 60 s"
	Verdict  Verdict  `json:"verdict"`
	OnFail   string   `json:"on_fail"`
	Known    string   `json:"known,omitempty"` // reference of the known defect that explains the failure
	Why      string   `json:"why,omitempty"`   // reason of unknown, or a warning such as low-n
}

// Harness is the health of the measuring instrument itself.
type Harness struct {
	Fitness       string   `json:"fitness"` // worst of the phases that time expectations look at
	Canary        Quantile `json:"canary"`
	Echo          Quantile `json:"echo"`
	SchedP99      *float64 `json:"sched_latency_p99_seconds"`
	Goroutines    int64    `json:"goroutines_max"`
	FDs           int64    `json:"fds_max"`
	HeapBytes     int64    `json:"heap_bytes_max"`
	CPUSeconds    float64  `json:"cpu_seconds"`
	ListenDrops   int64    `json:"listen_overflows"`
	SynRetrans    int64    `json:"syn_retransmits"`
	MissingHealth bool     `json:"missing,omitempty"`
}

// Histogram is one HDR histogram of the run.
type Histogram struct {
	Fleet    string  `json:"fleet"`
	Phase    string  `json:"phase"`
	Wave     int     `json:"wave,omitempty"` // 0 = the whole phase
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"` // ns | count
	Start    float64 `json:"start_seconds"`
	End      float64 `json:"end_seconds"`
	N        int64   `json:"n"`
	Overflow int64   `json:"overflow"`
	Censored int64   `json:"censored"` // outages that have no value here: this fleet's, of this phase or wave
	V2       string  `json:"v2"`       // HdrHistogram V2 compressed encoding, base64
}

// Tag is the histogram's tag in an interval log: fleet.phase.metric.
func (h Histogram) Tag() string { return h.Fleet + "." + h.Phase + "." + h.Metric }

// Loss is one row of losses.csv: a message whose account is not plain.
type Loss struct {
	Verdict    string   `json:"verdict"` // lost | lost-qos0 | duplicated | reordered | unexpected | legal-loss | undetermined
	Stream     uint32   `json:"stream"`
	Topic      string   `json:"topic"`
	QoS        int      `json:"qos"`
	Publisher  string   `json:"publisher"`
	Subscriber string   `json:"subscriber"`
	Seq        uint64   `json:"seq"`
	Intended   *float64 `json:"intended_seconds"`
	Sent       *float64 `json:"sent_seconds"`
	Acked      *float64 `json:"acked_seconds"`
	Epoch      int      `json:"epoch"`
	Phase      string   `json:"phase"`               // phase in which it was sent
	OutageFrom *float64 `json:"outage_from_seconds"` // outage of the subscriber that it fell into; null = none
	OutageTo   *float64 `json:"outage_to_seconds"`
	Copies     int      `json:"copies"`
	Why        string   `json:"why"`

	Read    *float64 `json:"read_seconds"`    // instant of the last copy
	Wave    int      `json:"wave"`            // of the outage, 0 = none
	Present *bool    `json:"session_present"` // on the subscriber's return from the outage; null = no outage, or it did not return
	Fault   bool     `json:"fault"`
	Charge  string   `json:"charge"` // broker | publisher-library | subscriber-library | client-library | harness | ""
	Cause   string   `json:"cause"`
	Pointer string   `json:"pointer"` // where the evidence is: events.jsonl.gz conn ID/N, findings.jsonl.gz line K
}
