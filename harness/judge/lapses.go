package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// lapses gives the stretches of the run whose acknowledgements a restart of the
// broker may have undone: all before it if it was started without what it had
// kept, or keeps nothing; what came last before a crash if it keeps that lazily;
// nothing if it was stopped in good order, or keeps each message at once.
func (j *judgement) lapses() []ledger.Lapse {
	var list []ledger.Lapse
	a := j.e.env.Target.Abilities
	window := timeline.Instant(a.FlushWindow * float64(time.Second))
	for _, e := range j.e.extents {
		if e.Process != timeline.Killed && e.Process != timeline.Stopped || e.Issued == 0 {
			continue
		}
		l := ledger.Lapse{To: e.Healing}
		if e.Healing == 0 {
			l.To = j.storm.Stop
		}
		switch {
		case !e.Kept || a.Persistence == "none":
		case a.Persistence == "lazy" && e.Process == timeline.Killed && window > 0:
			l.From = max(0, e.Issued-window)
		default:
			continue
		}
		list = append(list, l)
	}
	return list
}
