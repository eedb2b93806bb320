package judge

import (
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/harness/check"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// condition says whether a known defect can have caused one finding of a check.
// It must be one that the evidence can refute, finding by finding: a defect that
// would explain any loss explains none.
type condition struct {
	holds func(j *judgement, f check.Fault) bool
	// could reports whether the run had anything that the defect needs to show
	// at all: only then it is worth a word that it did not.
	could func(j *judgement) bool
}

// conditions is the table of conditions that rows of known defects name; see
// defects_conditions.go.
var conditions = map[string]condition{
	"acknowledged-while-resuming":    {(*judgement).whileResuming, (*judgement).anyResumedQueue},
	"stored-before-resume":           {(*judgement).storedBeforeResume, (*judgement).anyResumedQueue},
	"publisher-lost-under-it":        {(*judgement).publisherLost, (*judgement).anyPublisherBack},
	"acknowledged-by-a-resume":       {(*judgement).ackedByResume, (*judgement).anyPublisherBack},
	"sent-by-the-broker-at-a-resume": {(*judgement).brokerAtResume, (*judgement).anyResumedQueue},
	"sent-twice-by-a-resume":         {(*judgement).twiceByResume, (*judgement).anyResumedQueue},
	"keep-alive-in-whole-seconds":    {(*judgement).keepAliveCut, (*judgement).anyOddKeepAlive},
	"closed-at-a-look-in-5-s":        {(*judgement).closedAtALook, (*judgement).anyKeepAliveOver},
	"connects-overlap":               {(*judgement).connectsOverlap, (*judgement).anyOverlap},
	"clean-connect-at-an-end":        {(*judgement).cleanAtEnd, (*judgement).anyCleanAtEnd},
	"disconnect-at-a-takeover":       {(*judgement).toldOfTakeover, (*judgement).anyOverlap},
	"publish-before-the-connack":     {(*judgement).beforeConnack, (*judgement).anyResumedQueue},
	"published-again-at-a-reconnect": {(*judgement).againAtReconnect, (*judgement).anyPublisherBackAt2},
	"first-sent-with-dup":            {(*judgement).firstWithDup, (*judgement).anyPublisherBack},
	"pubrel-at-a-reconnect":          {(*judgement).pubrelAtReconnect, (*judgement).anyPublisherBackAt2},
	"republished-after-pubrel":       {(*judgement).republishedAfterPubrel, (*judgement).anyPublisherBackAt2},
	"republished-after-clean":        {(*judgement).republishedAfterClean, (*judgement).anyCleanPublisherBack},
	"redelivered-before-pubrel":      {(*judgement).handledAgain, (*judgement).anyResumedQueue},
}

// Conditions gives the names of the conditions that a known defect may have.
func Conditions() []string { return slices.Sorted(maps.Keys(conditions)) }

// defects gives the known defects of the target and of the driver, each of
// the version that ran.
func (j *judgement) defects() []reports.KnownDefect {
	var list []reports.KnownDefect
	for _, d := range j.r.Target.Abilities.KnownDefects {
		if ofVersion(d.Versions, j.r.Target.Version) {
			list = append(list, d)
		}
	}
	for _, d := range j.r.Driver.KnownDefects {
		if ofVersion(d.Versions, j.r.Driver.Version) {
			list = append(list, d)
		}
	}
	return list
}

// explain gives the references of the known defects that explain an invalid
// check: each single finding meets the condition of one of them. "" = something
// is not explained, or was only counted so that nobody looked at it.
func (j *judgement) explain(r check.Result) string {
	if r.Verdict != reports.Invalid || !r.Named {
		return ""
	}
	defects := slices.DeleteFunc(j.defects(), func(d reports.KnownDefect) bool { return d.Check != r.Name })
	var used []string
	var left []check.Fault
	for _, f := range r.Faults {
		switch by := j.explainedBy(defects, f); {
		case by == "":
			left = append(left, f)
		case !slices.Contains(used, by):
			used = append(used, by)
		}
	}
	if len(left) == 0 {
		return strings.Join(used, ", ")
	}
	if len(used) > 0 { // else nothing was excused, and the examples of the check say it all
		j.note("check %s: %s explains %d of its findings, not the other %d: %s", r.Name, strings.Join(used, ", "),
			len(r.Faults)-len(left), len(left), left[0])
	}
	return ""
}

// explainedBy gives the reference of the first defect whose condition a finding
// meets.
func (j *judgement) explainedBy(defects []reports.KnownDefect, f check.Fault) string {
	for _, d := range defects {
		if c, ok := conditions[d.Condition]; ok && c.holds(j, f) {
			return d.Reference
		}
	}
	return ""
}

// known gives the references of the known defects that explain a check of this
// run, "" = it is not invalid, or not explained.
func (j *judgement) known(name string) string {
	for i := range j.r.Checks {
		if j.r.Checks[i].Name == name {
			return j.r.Checks[i].Known
		}
	}
	return ""
}

// warnDefects names the known defects that showed, and in one line those that
// could have and did not: an entry that never shows again has to go.
func (j *judgement) warnDefects() {
	valid := map[string]bool{}
	for _, c := range j.r.Checks {
		if c.Known != "" {
			j.note("check %s is invalid by a known defect, proved in %s; --strict fails it", c.Name, c.Known)
		}
		valid[c.Name] = c.Verdict == reports.Valid
	}
	var absent []string
	for _, d := range j.defects() {
		c, ok := conditions[d.Condition]
		if ok && valid[d.Check] && c.could(j) && !slices.Contains(absent, d.Reference) && !j.showed(d.Reference) {
			absent = append(absent, d.Reference)
		}
	}
	if len(absent) > 0 {
		j.note("known defects that could have shown and did not this time: %s", inOnePage(absent))
	}
}

// inOnePage lists references; the page of the track record is named once.
func inOnePage(refs []string) string {
	const page = "docs/track-record.md"
	out, named := make([]string, len(refs)), ""
	for i, ref := range refs {
		var cut bool
		if out[i], cut = strings.CutPrefix(ref, page+"#"); cut {
			named = " (" + page + ")"
		}
	}
	return strings.Join(out, ", ") + named
}

// showed reports whether a defect explains a check of this run.
func (j *judgement) showed(reference string) bool {
	return slices.ContainsFunc(j.r.Checks, func(c reports.Check) bool {
		return slices.Contains(strings.Split(c.Known, ", "), reference)
	})
}

// clientOf gives a client by its id, also one of the control fleet; nil = there
// is none.
func (j *judgement) clientOf(id string) *Client {
	if j.byClient == nil {
		j.byClient = make(map[string]*Client, len(j.storm.Clients))
		for _, cl := range slices.Concat(j.storm.Clients, j.storm.Controls) {
			j.byClient[cl.ID] = cl
		}
	}
	return j.byClient[id]
}

// connsOf gives the connections that the library of a client opened.
func (j *judgement) connsOf(id string) []*timeline.Conn {
	if cl := j.clientOf(id); cl != nil {
		return cl.Conns
	}
	return nil
}

// allOf gives the connections of a client, those of its rivals included.
func (j *judgement) allOf(id string) []*timeline.Conn {
	if cl := j.clientOf(id); cl != nil {
		return slices.Concat(cl.Conns, cl.Rivals)
	}
	return nil
}

// connOf gives one of them by its number; nil = there is none.
func (j *judgement) connOf(id string, n int) *timeline.Conn {
	for _, c := range j.allOf(id) {
		if c.N == n {
			return c
		}
	}
	return nil
}
