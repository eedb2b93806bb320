package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// besideOutage is how near to an outage a message counts as lost at its edge.
const besideOutage = timeline.Instant(time.Second)

// lossWindows counts the lost messages by where in an outage of their
// subscriber they were sent, one row for each QoS that has a balance. Losses
// that the accounts count and do not list one by one are in no window.
func (j *judgement) lossWindows() []reports.LossWindow {
	var by [qosLevels]reports.LossWindow
	for _, x := range j.account.Exceptions {
		if isLoss(x.Verdict) && x.QoS < qosLevels {
			addWindow(&by[x.QoS], j.byID[x.Subscriber], x.Sent, j.storm.Stop)
		}
	}
	out := []reports.LossWindow{}
	for _, m := range j.r.Messages {
		row := by[m.QoS]
		row.QoS = m.QoS
		out = append(out, row)
	}
	return out
}

// addWindow counts one lost message. A client is away until it really is back,
// also past the horizon of its wave.
func addWindow(w *reports.LossWindow, outages []*Outage, sent, stop timeline.Instant) {
	before, after := besideOutage+1, besideOutage+1 // to the next outage, since the last one
	for _, o := range outages {
		end := o.over(stop)
		switch {
		case sent == 0:
		case sent < o.Start:
			before = min(before, o.Start-sent)
		case sent > end:
			after = min(after, sent-end)
		case o.connected(sent):
			w.Resume++
			return
		default:
			w.Away++
			return
		}
	}
	switch {
	case min(before, after) > besideOutage:
		w.Outside++
	case before < after:
		w.Before++
	default:
		w.After++
	}
}

// over is the instant at which an outage really was over: back, or hit again,
// or the stop.
func (o *Outage) over(stop timeline.Instant) timeline.Instant {
	switch {
	case o.Returned != 0:
		return max(o.Returned, o.Until)
	case o.Censored == CensoredAgain:
		return o.Until
	}
	return max(o.Until, stop)
}

// connected reports whether the client had a CONNACK at t, within the outage.
func (o *Outage) connected(t timeline.Instant) bool {
	for _, c := range o.Attempts {
		if c.Live(t) {
			return true
		}
	}
	return false
}
