package judge

import (
	"slices"
	"strings"
	"time"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// condition says whether a known defect can have caused what happened to one
// message. It must be one that the evidence can refute, message by message: a defect that
// would explain any loss explains none.
type condition func(j *judgement, x ledger.Exception) bool

// conditions is the table of conditions that rows of known defects name.
var conditions = map[string]condition{
	"acknowledged-while-resuming": (*judgement).whileResuming,
	"stored-before-resume":        (*judgement).storedBeforeResume,
}

// known gives the references of the known defects that explain an invalid
// check: each of its findings meets the condition of one of the target's or
// driver's defects of this version. "" = something is not explained.
func (j *judgement) known(name string) string {
	var defects []reports.KnownDefect
	for _, d := range j.r.Target.Abilities.KnownDefects {
		if d.Check == name && ofVersion(d.Versions, j.r.Target.Version) {
			defects = append(defects, d)
		}
	}
	for _, d := range j.r.Driver.KnownDefects {
		if d.Check == name && ofVersion(d.Versions, j.r.Driver.Version) {
			defects = append(defects, d)
		}
	}
	if len(defects) == 0 {
		return ""
	}
	var used []string
	for _, x := range j.account.Exceptions {
		if string(x.Verdict) != name || !x.Fault {
			continue
		}
		by := j.explainedBy(defects, x)
		if by == "" {
			return ""
		}
		if !slices.Contains(used, by) {
			used = append(used, by)
		}
	}
	if j.account.Unlisted[ledger.Verdict(name)] > 0 {
		return "" // nobody looked at those
	}
	return strings.Join(used, ", ")
}

// explainedBy gives the reference of the first defect whose condition a
// message meets.
func (j *judgement) explainedBy(defects []reports.KnownDefect, x ledger.Exception) string {
	for _, d := range defects {
		if holds := conditions[d.Condition]; holds != nil && holds(j, x) {
			return d.Reference
		}
	}
	return ""
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

// storedBeforeResume: the message was read on a connection that resumed a kept
// session, and was sent before that resume was over: the broker had it among
// the messages that it keeps for the session. What was sent after our reading
// the CONNACK it handed on as it came.
func (j *judgement) storedBeforeResume(x ledger.Exception) bool {
	if x.Sent == 0 || x.At == 0 {
		return false
	}
	for _, c := range j.connsOf(x.Subscriber) {
		if c.SessionPresent && c.Connack != 0 && c.Connack <= x.At && (c.End == 0 || x.At <= c.End) {
			return x.Sent <= c.Connack+routeSlack
		}
	}
	return false
}
