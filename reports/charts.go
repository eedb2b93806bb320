package reports

// Charts is what the pages draw and no other part of the report has. Each list
// is bounded, whatever the size of the run. Instants are seconds from the base
// of the run. It is not set in reports of versions that did not draw.
type Charts struct {
	Faults   []FaultSpan    `json:"faults"`   // each wave of each fault, at most 1,000
	Health   []HealthPoint  `json:"health"`   // at most 600, in order, without gaps but where there are no samples
	Outages  []Envelope     `json:"outages"`  // outages by the instant of their start, at most 600 bins over the run
	Herds    []HerdShape    `json:"herds"`    // one a wave, at most 100
	Attempts []AttemptCount `json:"attempts"` // dials of an outage, over all waves
	Worst    []ClientOutage `json:"worst"`    // the 20 longest outages, censored ones first
	Sessions []SessionTruth `json:"sessions"` // one a fleet
	Windows  []LossWindow   `json:"windows"`  // where the lost messages were sent, one a QoS

	// Collateral is null where no message went to a client that no fault names,
	// and in runs of versions that did not measure it.
	Collateral *Collateral `json:"collateral"`
}

// Collateral is what the faults did to the clients that no fault of the plan
// names: how long their messages took, from the instant at which the timetable
// wanted each to its first delivery. Fault sums up the samples with a message
// that can have been due or was read in a wave, up to the instant at which its
// last client was back or censored; Quiet the others that come after the first
// connect of the fleet. Ends of bystanders are counted by the check collateral.
type Collateral struct {
	Clients int            `json:"clients"` // that no fault names
	Fault   Quantile       `json:"fault"`
	Quiet   Quantile       `json:"quiet"`
	Points  []LatencyPoint `json:"points"` // at most 600, in order
}

// LatencyPoint sums up the messages that were read in [Start, End).
type LatencyPoint struct {
	Start float64  `json:"start_seconds"`
	End   float64  `json:"end_seconds"`
	N     int64    `json:"n"`
	P50   *float64 `json:"p50_seconds"`
	P99   *float64 `json:"p99_seconds"`
	Max   *float64 `json:"max_seconds"` // null = beyond the histogram's range of 1 h
}

// FaultSpan is one wave of one fault: from its first intended instant to its
// last answer, or to its healing. Where there would be more than 1,000,
// consecutive waves are one span, under the number of the first. Actions is 0
// for a fault that was planned and did nothing.
type FaultSpan struct {
	Kind    string  `json:"kind"` // close, takeover, …
	Phase   string  `json:"phase"`
	Wave    int     `json:"wave"` // from 1; 0 = of no wave, an outside event
	Fleet   string  `json:"fleet"`
	Start   float64 `json:"start_seconds"`
	End     float64 `json:"end_seconds"`
	Actions int     `json:"actions"`
}

// HealthPoint is the harness's own health over [Start, End): the worst of the
// samples that it stands for, never their mean. nil = not known.
type HealthPoint struct {
	Start     float64  `json:"start_seconds"`
	End       float64  `json:"end_seconds"`
	CanaryP99 *float64 `json:"canary_p99_seconds"`
	CanaryMax *float64 `json:"canary_max_seconds"`
	EchoP99   *float64 `json:"echo_p99_seconds"`
	Runnable  *int64   `json:"goroutines_runnable"`
	CPU       *float64 `json:"cpu_cores"` // of the harness's process
	BrokerCPU *float64 `json:"broker_cpu_cores"`
	Heap      int64    `json:"heap_bytes"`
}

// Envelope sums up the N outages, scripted or not, that began in [Start, End):
// no extreme is lost, and bins without any are left out. Min, Median and Max are
// of those that ended in time; nil without any.
type Envelope struct {
	Start    float64  `json:"start_seconds"`
	End      float64  `json:"end_seconds"`
	N        int      `json:"n"`
	Censored int      `json:"censored"`
	Min      *float64 `json:"min_seconds"`
	Median   *float64 `json:"median_seconds"`
	Max      *float64 `json:"max_seconds"`
}

// HerdShape is the stampede of one wave: CONNECTs at the tap in bins of equal
// width from the wave's first intended instant to its last CONNECT. Width is
// 10 ms, more where that is longer than 2,000 bins, or 20,000 over all waves; a
// bin's value is then the highest count of any 10 ms in it. Of more than 100
// waves those with the highest counts are there. Period is the lag of the
// strongest peak of the autocorrelation of the 10 ms counts (of the first 82 s),
// nil where none stands out: below 0.3, or of what chance makes, and where the
// CONNECTs are more even than chance (a Fano factor up to 1).
type HerdShape struct {
	Phase       string   `json:"phase"`
	Wave        int      `json:"wave"`
	Width       float64  `json:"bin_seconds"`
	Counts      []int    `json:"connects_per_10ms"`
	Period      *float64 `json:"period_seconds"`
	Correlation *float64 `json:"autocorrelation"` // at Period
	Fano        *float64 `json:"fano_factor"`     // variance over mean of the 10 ms counts
}

// AttemptCount is how many outages ended after so many dials.
type AttemptCount struct {
	Dials    int `json:"dials"` // 20 stands for 20 and more
	Back     int `json:"back"`
	Censored int `json:"censored"`
}

// ClientOutage is one outage with its waterfall. Of a censored one every attempt
// is a retry.
type ClientOutage struct {
	Client   string             `json:"client"`
	Fleet    string             `json:"fleet"`
	Phase    string             `json:"phase"` // "" = unscripted
	Wave     int                `json:"wave"`
	Start    float64            `json:"start_seconds"`
	Seconds  float64            `json:"outage_seconds"` // to back, or to the end of watching
	Censored bool               `json:"censored"`
	Dials    int                `json:"dials"`
	Parts    map[string]float64 `json:"parts_seconds"` // as Wave.Waterfall; they add up to Seconds
}

// SessionTruth is what the broker said of the sessions of one fleet after the
// first connect, against what it had to say. Expected is what the CONNECTs asked
// for and the broker's ability record promises: 1 for a kept session that the
// broker had known, if it promises to keep sessions; 0 for a clean one.
type SessionTruth struct {
	Fleet          string `json:"fleet"`
	Returns        int    `json:"returns"` // accepted CONNECTs after a client's first one, rivals left out
	PresentWanted  int    `json:"present_wanted"`
	PresentMissing int    `json:"present_missing"` // wanted 1, read 0
	AbsentWanted   int    `json:"absent_wanted"`
	AbsentMissing  int    `json:"absent_missing"` // wanted 0, read 1
	Resubscribed   int    `json:"resubscribed"`   // of Returns, those that wrote a SUBSCRIBE
}

// LossWindow counts lost messages by where in their subscriber's outage they
// were sent. A client is away until it really is back, also past the horizon of
// its wave, where Messages.LostAway does not count any more.
type LossWindow struct {
	QoS     int   `json:"qos"`
	Before  int64 `json:"before"`  // within the second before an outage began
	Away    int64 `json:"away"`    // after it began, before the new CONNACK
	Resume  int64 `json:"resume"`  // after the CONNACK, before the client was back
	After   int64 `json:"after"`   // within the second after it was back
	Outside int64 `json:"outside"` // else
}
