package harness

import (
	"fmt"
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// abortEvery is how often the expectations with on_fail abort are looked at.
const abortEvery = 250 * time.Millisecond

// broken says which expectation with on_fail abort has failed for good, "" =
// none: its metric only grows (measure.Metric.Live), and is above its limit.
// What is counted here is never more than what the evidence will say.
func (r *run) broken() string {
	var totals *ledger.Totals
	for _, x := range r.plan.Expect {
		if x.OnFail != "abort" {
			continue
		}
		if totals == nil {
			totals = new(r.book.Totals())
		}
		n := r.live(x, *totals)
		if over(x, float64(n)) {
			return fmt.Sprintf("phase %s: expectation %s: %d so far", r.currentPhase(), limitText(x), n)
		}
	}
	return ""
}

// live counts a metric of measure.Metric.Live so far.
func (r *run) live(x scenarios.Expectation, t ledger.Totals) int64 {
	switch x.Metric {
	case "unscripted":
		return r.loose.Load()
	case "control_unscripted":
		return r.looseControl.Load()
	case "censored":
		return int64(r.victims.censored(x.Phase, x.Fleet, x.Wave == "each"))
	case "unexpected":
		return t.Unexpected
	case "misrouted":
		return t.Misrouted
	case "wrong_qos":
		return t.WrongQoS
	}
	return 0
}

// over reports whether a number that only grows has left its limit for good.
func over(x scenarios.Expectation, n float64) bool {
	switch {
	case x.Below != nil:
		return n >= x.Below.Value
	case x.AtMost != nil:
		return n > x.AtMost.Value
	case x.Equals != nil:
		return n > x.Equals.Value
	}
	return false
}

func limitText(x scenarios.Expectation) string {
	for _, l := range []struct {
		op    string
		limit *scenarios.Limit
	}{{"below", x.Below}, {"at most", x.AtMost}, {"equals", x.Equals}} {
		if l.limit != nil {
			return fmt.Sprintf("%s %s %s", x.Metric, l.op, l.limit)
		}
	}
	return x.Metric
}
