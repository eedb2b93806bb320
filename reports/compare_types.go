package reports

// CompareSchema is the version of the JSON of a Comparison.
const CompareSchema = 1

// Outcome is what a comparison says, of one metric or of the whole.
type Outcome string

// The outcomes. The last three are of the whole only.
const (
	Worse        Outcome = "worse"
	Better       Outcome = "better"
	Same         Outcome = "same" // any change is within Metric.Within
	Inconclusive Outcome = "inconclusive"
	Saturated    Outcome = "saturated"  // the harness was: no time of that run is the broker's
	Unfinished   Outcome = "unfinished" // a run did not finish
	Refused      Outcome = "refused"    // the sides did not run the same thing
)

// Comparison is what two sides of runs, old and new, have to say of each other.
//
// The unit of evidence is the run: a metric has one value a run, and clients of
// several runs are never pooled. Times are in seconds. Of a nil number nothing
// is known; in a list of values nil is a quantile that was not reached by the
// horizon, which is longer than any that was.
type Comparison struct {
	SchemaVersion int    `json:"schema_version"`
	Scenario      string `json:"scenario"`
	Clients       int    `json:"clients"`

	Verdict    Outcome  `json:"verdict"`
	Why        []string `json:"why"`         // a sentence each, what weighs most first
	NeedRuns   int      `json:"needs_runs"`  // runs a side that an inconclusive comparison may need; 0 = none would help, or none is needed
	ExitCode   int      `json:"exit_code"`   // 0, 2 refused, 3 unfinished or saturated (or inconclusive where a decision is required), 5 worse
	Alpha      float64  `json:"alpha"`       // level of the whole family of gated metrics
	Confidence float64  `json:"confidence"`  // least coverage of the intervals: 1 - Alpha
	Base       Side     `json:"old"`         //
	Next       Side     `json:"new"`         //
	Refused    []Differ `json:"refused"`     // why the sides are not comparable; then nothing below is filled in
	Allowed    []Differ `json:"allowed"`     // differences that would refuse, but for --allow
	Warnings   []string `json:"warnings"`    // what differs and may explain a difference
	Rules      []Rule   `json:"exact_rules"` // counts, which decide at any number of runs

	Gates    []Metric  `json:"gated"`    // the fixed family that decides: rmta, outage.p50, outage.p90, outage.p99, back.p99 of the whole run
	Parts    []Metric  `json:"parts"`    // phases, waves, fleets and waterfalls: they explain, uncorrected, and never decide; the clearest first, at most 400
	Totals   []Metric  `json:"totals"`   // other numbers of the whole run; they never decide
	Flipped  []Flip    `json:"flipped"`  // expectations whose verdict changed
	Overlays []Overlay `json:"overlays"` // phase by phase in order, at most 60
}

// Side is one side of a comparison.
type Side struct {
	Runs    int        `json:"runs"`
	Rebound string     `json:"rebound"` // versions; several, where the runs differ
	Broker  string     `json:"broker"`
	Driver  string     `json:"driver"`
	Seeds   string     `json:"seeds"`
	Each    []SideRun  `json:"each"` // in the order of Metric.Base and Metric.Next
	Counts  SideCounts `json:"counts"`
}

// SideRun is one run of a side.
type SideRun struct {
	ID      string `json:"id"`
	Seed    uint64 `json:"seed"`
	Ended   string `json:"ended"`   // finished | incomplete | interrupted | aborted
	Fitness string `json:"fitness"` // of the harness in the phases with waves: fit | degraded | saturated | unknown
}

// SideCounts are summed over the runs of a side: no quantile is printed
// without them. Victims = Back + Censored + Unaffected + Absent.
type SideCounts struct {
	Victims    int `json:"victims"`
	Back       int `json:"back"`
	Censored   int `json:"censored"`
	Unaffected int `json:"unaffected"`
	Absent     int `json:"absent"`
}

// Differ is one line of what runs must have in common, with the values of both sides.
type Differ struct {
	Name string `json:"name"` // as --allow takes it
	Line string `json:"line"` // what differs: "environment.cpu"
	Base string `json:"old"`
	Next string `json:"new"`
}

// Rule is one exact rule: a count that is 0 in every old run and is not in
// every new run makes the new side worse; what known defects explain is left
// out of both. A count that was not 0 before is shown and decides nothing.
type Rule struct {
	Name      string `json:"name"`
	Base      int64  `json:"old"` // sums over the runs of a side
	Next      int64  `json:"new"`
	BaseKnown int64  `json:"old_known"` // of Base, what known defects explain
	NextKnown int64  `json:"new_known"`
	Worse     bool   `json:"worse"`
	Known     string `json:"known,omitempty"` // reference of the known defect behind NextKnown
}

// Metric is one number a run, compared. Less is better in all gated metrics.
type Metric struct {
	Name  string `json:"name"`  // rmta, outage.p50, waterfall.connack.p50, …
	Phase string `json:"phase"` // "" = the whole run
	Wave  int    `json:"wave"`  // 0 = the whole phase
	Fleet string `json:"fleet"` // "" = all
	Unit  string `json:"unit"`  // s | ""

	Base     []*float64 `json:"old_runs"` // a value a run
	Next     []*float64 `json:"new_runs"`
	BaseMid  *float64   `json:"old_median"` // nil = not reached, or none
	NextMid  *float64   `json:"new_median"`
	BaseN    int64      `json:"old_n"` // values behind the numbers, over all runs; 0 for what is no quantile
	NextN    int64      `json:"new_n"`
	BaseCens int64      `json:"old_censored"`
	NextCens int64      `json:"new_censored"`
	Low      bool       `json:"low_n"`        // too few values in a run for this quantile
	Missing  int        `json:"runs_without"` // runs of both sides that do not have the metric

	Shift     *float64 `json:"shift"`      // Hodges-Lehmann: median of all differences new - old; nil = beyond the horizon
	ShiftLow  *float64 `json:"shift_low"`  // exact interval of the shift; nil = unbounded
	ShiftHigh *float64 `json:"shift_high"` //
	Coverage  float64  `json:"coverage"`   // of the interval; 0 = too few runs for one
	Relative  *float64 `json:"relative"`   // Shift over BaseMid
	PValue    *float64 `json:"p"`          // exact Mann-Whitney, two sides; nil = nothing to test
	Holm      *float64 `json:"p_holm"`     // PValue corrected for the family; gated metrics only
	Cliff     *float64 `json:"cliff_delta"`

	Noise   *float64 `json:"noise"`  // A/A: what halves of the old runs differ by, over BaseMid; nil = not known
	Margin  float64  `json:"margin"` // least relative change that can be worse or better
	Within  float64  `json:"within"` // relative, without the noise: the interval of a metric that is the same lies within it
	Verdict Outcome  `json:"verdict"`
	Why     string   `json:"why"`
	Need    int      `json:"needs_runs"` // as NeedRuns

	raw raw
}

// Flip is an expectation whose worst verdict over a side changed.
type Flip struct {
	Text string  `json:"text"`
	From Verdict `json:"from"`
	To   Verdict `json:"to"`
	Base string  `json:"old"` // measured, as printed
	Next string  `json:"new"`
}

// Overlay is one curve of both sides on common places X, with the difference
// between them. All lists are as long as X.
type Overlay struct {
	Curve string    `json:"curve"` // recovery: fraction back over seconds from the wave's first intended instant | outage: seconds over percentile, of those that came back
	Phase string    `json:"phase"`
	Wave  int       `json:"wave"` // 0 = the whole phase
	Fleet string    `json:"fleet"`
	X     []float64 `json:"x"` // recovery: seconds; outage: percentile, 0 to 100
	Base  Band      `json:"old"`
	Next  Band      `json:"new"`
	Diff  Band      `json:"difference"` // Hodges-Lehmann new - old at each place with its interval; Low and High nil under 4 runs a side
	Gap   *float64  `json:"largest_gap_at"`
}

// Band is the least, the middle and the greatest at each place: over the runs
// of a side the extremes and the median.
type Band struct {
	Low  []*float64 `json:"low"`
	Mid  []*float64 `json:"mid"`
	High []*float64 `json:"high"`
}
