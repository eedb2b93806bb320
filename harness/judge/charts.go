package judge

import "github.com/rebound-mqtt/rebound/reports"

// The sizes of the charts: what report.json holds of them stays below a
// megabyte, whatever the size of the run.
const (
	maxFaultSpans = 1_000
	maxHealth     = 600
	maxLatencies  = 600
	maxEnvelopes  = 600
	maxHerds      = 100
	maxHerdBins   = 2_000  // of one wave
	maxHerdTotal  = 20_000 // of all waves together
	maxDials      = 20
	maxWorst      = 20
)

// charts fills in what only the pages draw. Events that were not read at all
// leave none: an empty chart would say that nothing happened.
func (j *judgement) charts() {
	if len(j.e.phases) == 0 && len(j.e.conns) == 0 && len(j.e.actions) == 0 {
		return
	}
	j.r.Charts = &reports.Charts{
		Faults:   j.faultSpans(),
		Health:   healthPoints(j.e.health, maxHealth),
		Outages:  envelopes(j.storm.Outages, j.storm.Stop, maxEnvelopes),
		Herds:    herdShapes(j.waves, j.sum.connects[""]),
		Attempts: attempts(j.waves),
		Worst:    worst(j.storm.Outages, maxWorst),
		Sessions: j.sessions(),
		Windows:  j.lossWindows(),

		Collateral: j.collateral(),
	}
}
