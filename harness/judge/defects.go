package judge

import (
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// condition says whether a known defect can have caused one lost message. It
// must be one that the evidence can refute, message by message: a defect that
// would explain any loss explains none.
type condition func(j *judgement, x ledger.Exception) bool

// conditions is the table of conditions that rows of known defects name.
var conditions = map[string]condition{
	"acknowledged-while-resuming": (*judgement).whileResuming,
}

// known gives the reference of the known defect that explains an invalid
// check: one of this target and version whose condition holds for every
// finding. "" = nothing explains it.
func (j *judgement) known(name string) string {
	for _, d := range j.r.Target.Abilities.KnownDefects {
		if d.Check == name && ofVersion(d.Versions, j.r.Target.Version) && j.explains(d) {
			return d.Reference
		}
	}
	return ""
}

// explains applies a defect's condition to every lost message. Only the check
// "lost" has findings with conditions in this version.
func (j *judgement) explains(d reports.KnownDefect) bool {
	holds := conditions[d.Condition]
	if holds == nil || d.Check != "lost" {
		return false
	}
	any := false
	for _, x := range j.account.Exceptions {
		if x.Verdict != ledger.Lost {
			continue
		}
		if !holds(j, x) {
			return false
		}
		any = true
	}
	return any && j.account.Unlisted[ledger.Lost] == 0
}

// routeSlack is how long after our reading of its PUBACK a message may still
// have been on its way through the broker: mochi acknowledges before it routes,
// and a goroutine that lost its core in between routes late.
const routeSlack = timeline.Instant(20 * time.Millisecond)

// whileResuming: the broker can have routed the message while it resumed the
// subscriber's session. It routed the message between our writing it and
// shortly after our reading its acknowledgement, and resumed the session
// between our writing CONNECT and our reading CONNACK: where these two do not
// overlap, it did one after the other and the resume has no part in the loss.
func (j *judgement) whileResuming(x ledger.Exception) bool {
	if x.Sent == 0 || x.Acked == 0 {
		return false
	}
	for _, c := range j.connsOf(x.Subscriber) {
		if c.SessionPresent && c.Connect != 0 && c.Connect <= x.Acked+routeSlack && x.Sent <= c.Connack {
			return true
		}
	}
	return false
}
