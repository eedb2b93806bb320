package reports

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// trait is something that runs have in common or not.
type trait struct {
	name string // as --allow takes it, for those that refuse
	line string // where it stands in report.json
	get  func(*Report) string
}

// mustMatch is what makes numbers comparable at all: the same work, against the
// same kind of broker, in the same class of environment.
var mustMatch = []trait{
	{"scenario", "run.scenario_hash", func(r *Report) string { return r.Run.ScenarioHash + " (" + r.Run.Scenario + ")" }},
	{"clients", "run.clients", func(r *Report) string { return commas(r.Run.Clients) }},
	{"broker", "target.broker", func(r *Report) string { return r.Target.Broker }},
	{"placement", "target.kind", func(r *Report) string { return r.Target.Kind }},
	{"transport", "target.transport", func(r *Report) string { return r.Target.Transport }},
	{"tls", "target.transport over TLS", func(r *Report) string { return yesOrNo(overTLS(r.Target.Transport)) }},
	{"os", "environment.os", func(r *Report) string { return r.Environment.OS }},
	{"arch", "environment.arch", func(r *Report) string { return r.Environment.Arch }},
	{"cpu", "environment.cpu", func(r *Report) string { return r.Environment.CPU }},
	{"cores", "environment.cores", func(r *Report) string { return commas(r.Environment.Cores) }},
	{"quota", "environment.cpu_quota_cores", func(r *Report) string { return float(r.Environment.CPUQuota) }},
}

// mayDiffer may explain a difference, and is warned of.
var mayDiffer = []trait{
	{"", "way of closing", func(r *Report) string { return r.Target.Closer }},
	{"", "broker settings", func(r *Report) string { return pairs(r.Target.Settings) }},
	{"", "known defects of the broker", func(r *Report) string { return defects(r.Target.Abilities.KnownDefects) }},
	{"", "harness fitness", (*Report).stormFitness},
	{"", "kernel", func(r *Report) string { return r.Environment.Kernel }},
	{"", "GOMAXPROCS", func(r *Report) string { return commas(r.Environment.GOMAXPROCS) }},
	{"", "memory", func(r *Report) string { return commas(r.Environment.MemoryByte>>30) + " GiB" }},
	{"", "load before", busyness},
	{"", "fd limit", func(r *Report) string { return commas(r.Environment.FDLimit) }},
	{"", "Go", func(r *Report) string { return r.Environment.Go }},
	{"", "GOGC", func(r *Report) string { return r.Environment.GOGC }},
	{"", "sysctls", func(r *Report) string { return pairs(r.Environment.Sysctls) }},
	{"", "CI", func(r *Report) string { return r.Environment.CI }},
}

const abilitiesName = "abilities"

// AllowNames are the names that CompareOptions.Allow knows.
func AllowNames() []string {
	names := []string{abilitiesName}
	for _, t := range mustMatch {
		names = append(names, t.name)
	}
	slices.Sort(names)
	return names
}

// mismatches are the differences that make runs incomparable, without and with
// the user's leave.
func mismatches(base, next []*Report, allow []string) (refused, allowed []Differ) {
	refused, allowed = twice(base, next), []Differ{}
	for _, t := range append(slices.Clone(mustMatch), abilityTraits...) {
		d, differs := t.differ(base, next)
		switch {
		case !differs:
		case slices.Contains(allow, t.name):
			allowed = append(allowed, d)
		default:
			refused = append(refused, d)
		}
	}
	return refused, allowed
}

// twice finds runs that stand on one side more than once: one run is one piece of
// evidence, however often it is named.
func twice(base, next []*Report) []Differ {
	out := []Differ{}
	for i, rs := range [][]*Report{base, next} {
		var ids []string
		for _, r := range rs {
			switch {
			case r.Run.ID == "":
			case slices.Contains(ids, r.Run.ID):
				d := Differ{Name: "runs", Line: "a run named twice", Base: "none", Next: "none"}
				*[]*string{&d.Base, &d.Next}[i] = r.Run.ID
				out = append(out, d)
			default:
				ids = append(ids, r.Run.ID)
			}
		}
	}
	return out
}

// differ gives the values of a trait on both sides, and whether they are not all one.
func (t trait) differ(base, next []*Report) (Differ, bool) {
	d := Differ{Name: t.name, Line: t.line, Base: each(base, t.get), Next: each(next, t.get)}
	first := t.get(base[0])
	other := func(r *Report) bool { return t.get(r) != first }
	return d, slices.ContainsFunc(base, other) || slices.ContainsFunc(next, other)
}

// each lists the different values of runs in the order in which they appear.
func each(rs []*Report, get func(*Report) string) string {
	var seen []string
	for _, r := range rs {
		if v := strings.Join(strings.Fields(get(r)), " "); v != "" && !slices.Contains(seen, v) {
			seen = append(seen, v)
		}
	}
	return cmp.Or(strings.Join(seen, ", "), "none")
}

// text is one line for people.
func (d Differ) text() string {
	return fmt.Sprintf("%s: old %s, new %s", d.Line, d.Base, d.Next)
}

// abilityTraits are the lines of the ability record. The table of known defects
// is left out: it grows with each version of rebound, and a version is what one
// compares.
var abilityTraits = func() []trait {
	var out []trait
	record := reflect.TypeFor[Abilities]()
	for i := range record.NumField() {
		line, _, _ := strings.Cut(record.Field(i).Tag.Get("json"), ",")
		if line == "known_defects" {
			continue
		}
		out = append(out, trait{abilitiesName, "target.abilities." + line, func(r *Report) string {
			v := reflect.ValueOf(r.Target.Abilities).Field(i)
			if v.Kind() == reflect.Pointer && v.IsNil() {
				return "" // unlimited
			}
			return fmt.Sprint(reflect.Indirect(v))
		}})
	}
	return out
}()

func overTLS(transport string) bool { return transport == "tls" || transport == "wss" }

func yesOrNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// defects lists known defects by check and proof.
func defects(ds []KnownDefect) string {
	var out []string
	for _, d := range ds {
		out = append(out, d.Check+" "+d.Reference)
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

// busyness is the load before a run in steps of a quarter of the cores, so that
// noise of the number itself is no difference.
func busyness(r *Report) string {
	switch part := r.Environment.Load1 / float64(max(1, r.Environment.Cores)); {
	case part < 0.25:
		return "below a quarter of the cores"
	case part < 0.75:
		return "about half of the cores"
	case part < 1.25:
		return "about all cores"
	}
	return "more than all cores"
}

func warnings(base, next []*Report) []string {
	out := []string{}
	old := map[string]bool{"": true}
	for _, b := range base {
		old[b.Run.ID] = true
	}
	for _, n := range next {
		if old[n.Run.ID] && n.Run.ID != "" {
			out = append(out, "run "+n.Run.ID+" stands on both sides")
		}
	}
	for _, t := range mayDiffer {
		if d, differs := t.differ(base, next); differs {
			out = append(out, d.text())
		}
	}
	return out
}
