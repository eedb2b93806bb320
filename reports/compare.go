package reports

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Comparison is what two sides of runs, old and new, have to say of each other.
//
// The unit of evidence is the run: values are medians over the runs of a side.
// This version decides by exact rules alone and never by a time.
type Comparison struct {
	Scenario string
	Clients  int
	Base     Side
	Next     Side

	Refused  []string // why the sides are not comparable, with both values; then nothing below is filled in
	Unknown  []string // why nothing can be claimed: a side has runs that did not finish
	Warnings []string // what differs and may explain a difference

	Rules   []Rule   // the exact rules, which decide
	Totals  []Change // of the whole run
	Parts   []Change // of phases and waterfalls, by size of change
	Flipped []Flip   // expectations whose verdict changed
	Times   string   // what can be said of times
}

// Side is one side of a comparison.
type Side struct {
	Runs    int
	Rebound string // versions; several, where the runs differ
	Broker  string
	Driver  string
	Seeds   string
}

// Rule is one exact rule: a count that is 0 in every old run and is not in
// every new run makes the new side worse. A count that was not 0 before is
// shown, and needs statistics.
type Rule struct {
	Name       string
	Base, Next int64 // sums over the runs of a side
	Worse      bool
	Known      string // reference of the known defect that explains Next; it then decides nothing
}

// Change is one number on both sides.
type Change struct {
	Where, What string
	Base, Next  string // as printed, with n and censored where they are quantiles
	Delta       string // as printed; "" where there is none
	size        float64
}

// Flip is an expectation whose verdict changed.
type Flip struct {
	Text     string
	From, To Verdict
	Base     string // measured, as printed
	Next     string
}

// ExitCode is 2 for sides that are not comparable, 3 when a side has a run
// that is incomplete or was interrupted, 5 when an exact rule says worse, else
// 0. It claims nothing over unfinished runs: 3 goes before 5.
func (c Comparison) ExitCode() int {
	switch {
	case len(c.Refused) > 0:
		return ExitUsage
	case len(c.Unknown) > 0:
		return ExitUnknown
	case c.Worse():
		return ExitWorse
	}
	return ExitPass
}

// Worse says that an exact rule was broken.
func (c Comparison) Worse() bool {
	return slices.ContainsFunc(c.Rules, func(r Rule) bool { return r.Worse })
}

// Compare holds new runs against old ones of the same scenario.
func Compare(base, next []*Report) Comparison {
	c := Comparison{Base: sideOf(base), Next: sideOf(next)}
	if len(base) == 0 || len(next) == 0 {
		c.Refused = []string{fmt.Sprintf("nothing to compare: %s old, %s new", plural(int64(len(base)), "report"), plural(int64(len(next)), "report"))}
		return c
	}
	c.Scenario, c.Clients = base[0].Run.Scenario, base[0].Run.Clients
	if c.Refused = refusals(base, next); len(c.Refused) > 0 {
		return c
	}
	c.Unknown = unfinished(base, next)
	c.Warnings = differences(base, next)
	c.Rules = exactRules(base, next)
	c.Totals = totalChanges(base, next)
	c.Parts = partChanges(base, next)
	c.Flipped = flips(base, next)
	c.Times = timesVerdict(len(base), len(next))
	return c
}

func timesVerdict(base, next int) string {
	if n := min(base, next); n == 1 {
		return "inconclusive, n = 1: run --repeat 5"
	}
	return fmt.Sprintf("inconclusive, n = %d and %d: this version does no statistics; give the two bench.txt to benchstat", base, next)
}

func sideOf(reports []*Report) Side {
	each := func(get func(*Report) string) string {
		var seen []string
		for _, r := range reports {
			if v := strings.Join(strings.Fields(get(r)), " "); !slices.Contains(seen, v) {
				seen = append(seen, v)
			}
		}
		return strings.Join(seen, ", ")
	}
	return Side{
		Runs:    len(reports),
		Rebound: each(func(r *Report) string { return r.Rebound }),
		Broker:  each(func(r *Report) string { return r.Target.Broker + " " + r.Target.Version + " " + r.Target.Kind }),
		Driver:  each(func(r *Report) string { return r.Driver.Name + " " + r.Driver.Version }),
		Seeds:   each(func(r *Report) string { return fmt.Sprint(r.Run.Seed) }),
	}
}

// trait is something that runs have in common or not.
type trait struct {
	name string
	get  func(*Report) string
}

// mustMatch makes numbers comparable at all.
var mustMatch = []trait{
	{"scenario_hash", func(r *Report) string { return r.Run.ScenarioHash + " (" + r.Run.Scenario + ")" }},
	{"clients", func(r *Report) string { return commas(r.Run.Clients) }},
	{"broker", func(r *Report) string { return r.Target.Broker }},
	{"target kind", func(r *Report) string { return r.Target.Kind }},
}

// shouldMatch may explain a difference.
var shouldMatch = []trait{
	{"way of closing", func(r *Report) string { return r.Target.Closer }},
	{"transport", func(r *Report) string { return r.Target.Transport }},
	{"broker settings", func(r *Report) string { return pairs(r.Target.Settings) }},
	{"harness fitness", func(r *Report) string { return r.Harness.Fitness }},
	{"OS", func(r *Report) string { return r.Environment.OS + "/" + r.Environment.Arch }},
	{"kernel", func(r *Report) string { return r.Environment.Kernel }},
	{"CPU", func(r *Report) string { return r.Environment.CPU }},
	{"cores", func(r *Report) string { return commas(r.Environment.Cores) }},
	{"GOMAXPROCS", func(r *Report) string { return commas(r.Environment.GOMAXPROCS) }},
	{"CPU quota", func(r *Report) string { return float(r.Environment.CPUQuota) }},
	{"memory", func(r *Report) string { return commas(r.Environment.MemoryByte>>30) + " GiB" }},
	{"fd limit", func(r *Report) string { return commas(r.Environment.FDLimit) }},
	{"Go", func(r *Report) string { return r.Environment.Go }},
	{"GOGC", func(r *Report) string { return r.Environment.GOGC }},
	{"sysctls", func(r *Report) string { return pairs(r.Environment.Sysctls) }},
	{"CI", func(r *Report) string { return r.Environment.CI }},
}

// difference writes the values of a trait where they are not all one.
func (t trait) difference(base, next []*Report) string {
	values := func(rs []*Report) string {
		seen := map[string]bool{}
		for _, r := range rs {
			seen[t.get(r)] = true
		}
		return strings.Join(slices.Sorted(maps.Keys(seen)), " | ")
	}
	first := t.get(base[0])
	for _, r := range append(slices.Clone(base), next...) {
		if t.get(r) != first {
			return fmt.Sprintf("%s: old %s, new %s", t.name, cmp.Or(values(base), "none"), cmp.Or(values(next), "none"))
		}
	}
	return ""
}

func refusals(base, next []*Report) []string {
	var out []string
	for _, t := range mustMatch {
		if d := t.difference(base, next); d != "" {
			out = append(out, d)
		}
	}
	return out
}

func differences(base, next []*Report) []string {
	var out []string
	old := map[string]bool{"": true}
	for _, b := range base {
		old[b.Run.ID] = true
	}
	for _, n := range next {
		if n.Run.ID != "" && old[n.Run.ID] {
			out = append(out, "run "+n.Run.ID+" stands on both sides")
		}
	}
	for _, t := range shouldMatch {
		if d := t.difference(base, next); d != "" {
			out = append(out, d)
		}
	}
	return out
}

func unfinished(base, next []*Report) []string {
	var out []string
	for i, r := range append(slices.Clone(base), next...) {
		side := "old"
		if i >= len(base) {
			side = "new"
		}
		switch {
		case !r.Run.Complete:
			out = append(out, fmt.Sprintf("%s run %s is incomplete", side, r.Run.ID))
		case r.Run.Interrupted:
			out = append(out, fmt.Sprintf("%s run %s was interrupted", side, r.Run.ID))
		}
	}
	return out
}

// exactCount is a count that must not rise from 0.
type exactCount struct {
	name  string
	check string // check that judges the same findings; "" = none
	get   func(*Report) int64
}

// knownDefect gives the reference of the known defect that explains every run
// in which a check is invalid; "" if one run has findings that nothing explains.
func knownDefect(reports []*Report, check string) string {
	known := ""
	for _, r := range reports {
		for _, c := range r.Checks {
			if check == "" || c.Name != check || c.Verdict != Invalid {
				continue
			}
			if c.Known == "" {
				return ""
			}
			known = c.Known
		}
	}
	return known
}

var exactCounts = []exactCount{
	{"lost.qos1", "lost", func(r *Report) int64 { return sumMessages(r, 1, func(m Messages) int64 { return m.Lost }) }},
	{"lost.qos2", "lost", func(r *Report) int64 { return sumMessages(r, 2, func(m Messages) int64 { return m.Lost }) }},
	{"censored", "", func(r *Report) int64 { return int64(r.Total.Censored) }},
	{"duplicated.qos2", "duplicated", func(r *Report) int64 { return sumMessages(r, 2, func(m Messages) int64 { return m.Forbidden }) }},
	{"reordered", "reordered", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Reordered }) }},
	{"not_redelivered", "not-redelivered", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.NotRedelivered }) }},
	{"lost_in_client", "lost-in-client", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.LostInClient }) }},
	{"stuck", "stuck", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Stuck }) }},
	{"misrouted", "misrouted", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Misrouted }) }},
	{"wrong_qos", "wrong-qos", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.WrongQoS }) }},
	{"unexpected", "unexpected", func(r *Report) int64 { return sumMessages(r, -1, func(m Messages) int64 { return m.Unexpected }) }},
	{"unscripted", "", func(r *Report) int64 { return int64(r.Unscripted.Ends + r.Unscripted.Control) }},
	{"session faults", "", sessionFaults},
	{"wire rules", "", wireFaults},
}

// sumMessages adds a count over the QoS, or over all of them for -1.
func sumMessages(r *Report, qos int, get func(Messages) int64) int64 {
	var n int64
	for _, m := range r.Messages {
		if qos < 0 || m.QoS == qos {
			n += get(m)
		}
	}
	return n
}

// sessionFaults counts the findings of the invalid checks named session….
func sessionFaults(r *Report) int64 {
	var n int64
	for _, c := range r.Checks {
		if strings.HasPrefix(c.Name, "session") && c.Verdict == Invalid {
			n += max(1, c.Count)
		}
	}
	return n
}

// wireRules are the checks of single packets.
var wireRules = []string{
	"packet-id", "publish-after-pubrel", "resend-after-clean", "dup-flag", "first-packet", "resend-order", "retained-on-resume", "suback",
	"unknown-ack", "server-packet", "takeover", "will", "keep-alive", "deaf",
}

// wireFaults counts the findings of the invalid checks of single packets and
// connections that no known defect explains.
func wireFaults(r *Report) int64 {
	var n int64
	for _, c := range r.Checks {
		if slices.Contains(wireRules, c.Name) && c.Verdict == Invalid && c.Known == "" {
			n += max(1, c.Count)
		}
	}
	return n
}

func exactRules(base, next []*Report) []Rule {
	var out []Rule
	for _, e := range exactCounts {
		rule := Rule{Name: e.name}
		for _, r := range base {
			rule.Base += e.get(r)
		}
		for _, r := range next {
			rule.Next += e.get(r)
		}
		rule.Known = knownDefect(next, e.check)
		rule.Worse = rule.Base == 0 && rule.Next > 0 && rule.Known == ""
		out = append(out, rule)
	}
	return out
}

// flips gives the expectations whose worst verdict over a side changed.
func flips(base, next []*Report) []Flip {
	type state struct {
		verdict Verdict
		shown   string
	}
	worst := func(rs []*Report) (map[string]state, []string) {
		m, order := map[string]state{}, []string(nil)
		for _, r := range rs {
			for _, e := range r.Expectations {
				old, ok := m[e.Text]
				if !ok {
					order = append(order, e.Text)
				}
				if !ok || old.verdict.Merge(e.Verdict) != old.verdict {
					m[e.Text] = state{e.Verdict, e.shown()}
				}
			}
		}
		return m, order
	}
	before, order := worst(base)
	after, _ := worst(next)
	var out []Flip
	for _, text := range order {
		b, n := before[text], after[text]
		if n.verdict != "" && b.verdict != n.verdict {
			out = append(out, Flip{Text: text, From: b.verdict, To: n.verdict, Base: b.shown, Next: n.shown})
		}
	}
	return out
}

// median of the known values; nil of none.
func median(vs []*float64) *float64 {
	var known []float64
	for _, v := range vs {
		if v != nil && !math.IsNaN(*v) {
			known = append(known, *v)
		}
	}
	if len(known) == 0 {
		return nil
	}
	slices.Sort(known)
	m := (known[(len(known)-1)/2] + known[len(known)/2]) / 2
	return &m
}
