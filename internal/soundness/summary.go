package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/reports"
)

// excuse is why an invalid verdict is no false alarm.
type excuse byte

const (
	unexcused excuse = iota // it may be one: somebody has to look
	library                 // it charges a library under test, and the evidence is there
	defect                  // the run explains it by a known defect, finding by finding
	mild                    // an expectation of which its scenario says that it only warns
)

// find is one invalid verdict of one run, by whom it charges.
type find struct {
	where   outcome
	subject string // check or expectation
	charge  string
	count   int64
	proof   string // where the evidence is; "" = nowhere
	excuse  excuse
}

// control is the driver that is ours: what charges it is a mistake here and
// excuses nothing.
const control = "strict"

// ofLibrary reports whether a charge is one against a library under test.
func (o outcome) ofLibrary(charge string) bool {
	switch timeline.Charge(charge) {
	case timeline.ChargePublisher, timeline.ChargeSubscriber, timeline.ChargeClient:
		return o.driver != control
	}
	return false
}

// finds lists the invalid verdicts of a run, one for each charge.
func (o outcome) finds() []find {
	if o.report == nil {
		return nil
	}
	var out []find
	for _, c := range o.report.Checks {
		if c.Verdict != reports.Invalid {
			continue
		}
		for _, charge := range slices.Sorted(maps.Keys(c.Charges)) {
			f := find{where: o, subject: c.Name, charge: charge, count: c.Charges[charge], proof: o.proof[proofKey(c.Name, charge)]}
			switch {
			case c.Known != "":
				f.proof, f.excuse = c.Known, defect
			case f.proof != "" && o.ofLibrary(charge):
				f.excuse = library
			}
			out = append(out, f)
		}
		if len(c.Charges) == 0 {
			out = append(out, find{where: o, subject: c.Name, charge: "nobody", count: c.Count})
		}
	}
	for _, e := range o.report.Expectations {
		if e.Verdict == reports.Invalid {
			out = append(out, o.expectation(e, out))
		}
	}
	return out
}

// expectation makes a find of an expectation that failed. It is excused with
// the check of the same subject, when that one is invalid and excused whole.
func (o outcome) expectation(e reports.Expectation, checks []find) find {
	f := find{where: o, subject: "expect " + e.Text, charge: "nobody", count: 1}
	if e.OnFail == "warn" {
		f.proof, f.excuse = e.Shown+" measured", mild
		return f
	}
	stem, _, _ := strings.Cut(e.Metric, ".")
	stem = strings.ReplaceAll(stem, "_", "-")
	for _, c := range checks {
		if c.subject != stem {
			continue
		}
		if f.charge, f.excuse = c.charge, c.excuse; c.excuse == unexcused {
			return f
		}
		f.proof = "the check " + stem
	}
	return f
}

// line is what became of a run, in a line.
func (o outcome) line() string {
	if o.report == nil {
		return fmt.Sprintf("exit %d without a report", o.Exit)
	}
	s := fmt.Sprintf("%-8s exit %d", o.report.Verdict, o.Exit)
	if why := o.skipped(); why != "" {
		s += " · SKIPPED " + why
	} else if o.unmet() {
		s += " · !! premises not met"
	}
	if o.Repeated {
		s += " · repeated"
	}
	for _, f := range o.finds() {
		mark := " · "
		if f.excuse == unexcused {
			mark = " · !! "
		}
		s += fmt.Sprintf("%s%s %d %s", mark, f.subject, f.count, f.charge)
	}
	return s
}

// summary is the closing table.
type summary struct {
	wanted   int
	outcomes []outcome
	finds    []find
	unknowns []unknown
}

// unknown is a verdict that could not be given.
type unknown struct {
	where   outcome
	subject string
	why     string
}

func summarize(outcomes []outcome, wanted int) summary {
	s := summary{wanted: wanted, outcomes: outcomes}
	for _, o := range outcomes {
		s.finds = append(s.finds, o.finds()...)
		if o.report == nil {
			continue
		}
		for _, c := range o.report.Checks {
			if c.Verdict == reports.Unknown {
				s.unknowns = append(s.unknowns, unknown{o, c.Name, c.Detail})
			}
		}
		for _, e := range o.report.Expectations {
			if e.Verdict == reports.Unknown {
				s.unknowns = append(s.unknowns, unknown{o, "expect " + e.Text, e.Why})
			}
		}
	}
	return s
}

// sound reports whether every run left a report, met its premises, and every
// invalid verdict is one against a library under test, with its evidence, or a
// known defect.
func (s summary) sound() bool {
	return !slices.ContainsFunc(s.finds, func(f find) bool { return f.excuse == unexcused }) &&
		!slices.ContainsFunc(s.outcomes, func(o outcome) bool { return o.report == nil || o.unmet() })
}

// skipped gives the reason for which this machine could not do a fault of the
// run; "" = there was none.
func (o outcome) skipped() string {
	if o.report == nil {
		return ""
	}
	for _, e := range o.report.Extents {
		if e.Skipped != "" {
			return e.Fault + ": " + e.Skipped
		}
	}
	return ""
}

// unmet reports whether the run shows nothing, for another reason than that this
// machine can not do its faults.
func (o outcome) unmet() bool {
	return o.skipped() == "" && slices.ContainsFunc(o.report.Checks, func(c reports.Check) bool {
		return c.Name == "assumptions" && c.Verdict != reports.Valid
	})
}

func (s summary) text(stopped bool) string {
	var sb strings.Builder
	fmt.Fprintf(&sb, "runs          %d of %d\n", len(s.outcomes), s.wanted)
	exits, verdicts, repeated, lost := map[string]int{}, map[string]int{}, 0, 0
	for _, o := range s.outcomes {
		exits[fmt.Sprint(o.Exit)]++
		if o.Repeated {
			repeated++
		}
		if o.report == nil {
			lost++
			continue
		}
		verdicts[string(o.report.Verdict)]++
	}
	fmt.Fprintf(&sb, "exit codes    %s\n", counted(exits))
	fmt.Fprintf(&sb, "verdicts      %s\n", counted(verdicts))
	fmt.Fprintf(&sb, "repeated      %d, because the machine was too busy to decide\n", repeated)
	for _, o := range s.outcomes {
		if why := o.skipped(); why != "" {
			fmt.Fprintf(&sb, "SKIPPED       %s  %s\n", o.job, why)
		}
	}
	if lost > 0 {
		fmt.Fprintf(&sb, "no report     %d\n", lost)
	}
	s.invalids(&sb, "INVALID, and not charged to a library under test with evidence", unexcused)
	s.invalids(&sb, "library finds", library)
	s.invalids(&sb, "known defects", defect)
	s.invalids(&sb, "expectations that only warn", mild)
	s.unknownTable(&sb)
	fmt.Fprintln(&sb)
	switch {
	case !s.sound():
		fmt.Fprintln(&sb, "UNSOUND, a run without its premises, or a find in the broker: look at each line above")
	case stopped:
		fmt.Fprintln(&sb, "STOPPED   nothing wrong so far; the same command goes on from here")
	default:
		fmt.Fprintln(&sb, "SOUND     no invalid verdict but those against a library under test")
	}
	return sb.String()
}

// row adds up what several runs have in common.
type row struct {
	keys  []string
	runs  int
	count int64
	first string // an example
}

// rows adds up by keys, in their order.
type rows map[string]*row

func (r rows) add(count int64, example string, keys ...string) {
	k := strings.Join(keys, "\x00")
	if r[k] == nil {
		r[k] = &row{keys: keys, first: example}
	}
	r[k].runs++
	r[k].count += count
}

func (r rows) sorted() []*row {
	return slices.SortedFunc(maps.Values(r), func(a, b *row) int { return slices.Compare(a.keys, b.keys) })
}

// invalids prints the finds by check, charge, driver and scenario, each with
// its first piece of evidence.
func (s summary) invalids(sb *strings.Builder, title string, excuse excuse) {
	table := rows{}
	for _, f := range s.finds {
		if f.excuse != excuse {
			continue
		}
		proof := cmp.Or(f.proof, "no evidence that can be pointed at")
		table.add(f.count, fmt.Sprintf("seed %d, %s/%s", f.where.seed, f.where.Dir, proof), f.subject, f.charge, f.where.driver, f.where.scenario)
	}
	fmt.Fprintf(sb, "\n%s\n", title)
	if len(table) == 0 {
		fmt.Fprintln(sb, "  none")
		return
	}
	w := tabwriter.NewWriter(sb, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  check\tcharge\tdriver\tscenario\truns\tfindings\tfirst evidence")
	for _, r := range table.sorted() {
		fmt.Fprintf(w, "  %s\t%d\t%d\t%s\n", strings.Join(r.keys, "\t"), r.runs, r.count, r.first)
	}
	w.Flush()
}

var number = regexp.MustCompile(`\d[\d.,]*`)

// unknownTable prints the verdicts that could not be given, by check and by
// reason with its numbers left out.
func (s summary) unknownTable(sb *strings.Builder) {
	table := rows{}
	for _, u := range s.unknowns {
		table.add(1, u.why, u.subject, u.where.driver, u.where.scenario, number.ReplaceAllString(u.why, "#"))
	}
	fmt.Fprintf(sb, "\nunknown\n")
	if len(table) == 0 {
		fmt.Fprintln(sb, "  none")
		return
	}
	w := tabwriter.NewWriter(sb, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  check\tdriver\tscenario\truns\treason, as first given")
	for _, r := range table.sorted() {
		fmt.Fprintf(w, "  %s\t%d\t%s\n", strings.Join(r.keys[:3], "\t"), r.runs, r.first)
	}
	w.Flush()
}

func counted(m map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%s: %d", k, m[k]))
	}
	return strings.Join(parts, " · ")
}
