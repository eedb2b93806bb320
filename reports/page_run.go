package reports

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// timeline shows when the faults were, over the phases of the run.
func (b *reportPage) timeline() error {
	const title = "Faults"
	c := svg.Rows{ID: "faults-chart", Title: "Phases and faults over the run", Desc: "The table has start and end of each wave of each fault.",
		X: svg.Axis{Label: "time since the start of the run", Max: b.end(), Format: seconds}, Bands: b.bands()}
	phases := svg.Row{Label: "phases"}
	for i, p := range b.r.Phases {
		phases.Spans = append(phases.Spans, svg.Span{From: p.Start, To: p.End, Style: []int{8, 1}[i%2], Text: oneLine(p.Name, 40), Title: fmt.Sprintf("%s, %s", oneLine(p.Name, 60), seconds(p.End-p.Start))})
	}
	c.Rows = append(c.Rows, phases)
	byKind := map[string]*svg.Row{}
	var rows [][]cell
	for _, f := range b.charts.Faults {
		label := f.Kind
		if f.Fleet != "" {
			label += ", " + f.Fleet
		}
		r := byKind[label]
		if r == nil {
			r = &svg.Row{Label: oneLine(label, 60)}
			byKind[label] = r
		}
		r.Spans = append(r.Spans, svg.Span{From: f.Start, To: f.End, Style: 9, Title: fmt.Sprintf("%s wave %d, %s in %s", oneLine(f.Phase, 60), f.Wave, plural(int64(f.Actions), "action"), seconds(f.End-f.Start))})
		rows = append(rows, row(f.Kind, f.Phase, f.Fleet, commas(f.Wave), seconds(f.Start), seconds(f.End), seconds(f.End-f.Start), commas(f.Actions)))
	}
	for i, label := range slices.Sorted(maps.Keys(byKind)) {
		if i == maxRowsChart {
			break
		}
		c.Rows = append(c.Rows, *byKind[label])
	}
	var blocks []htmlBlock
	if !b.drawn() {
		blocks = append(blocks, notHere())
	}
	table := newTable("Each wave of each fault", 3, []string{"fault", "phase", "fleet", "wave", "from", "to", "length", "actions"}, rows)
	b.add("faults", title, append(blocks, rowsChart(c, "Phases and faults over the run",
		nil, table))...)
	return nil
}

// defects are what broker and driver are known to get wrong, and whether it
// showed in this run.
func (b *reportPage) defects() error {
	seen := map[string]bool{}
	for _, c := range b.r.Checks {
		seen[c.Known] = true
	}
	for _, e := range b.r.Expectations {
		seen[e.Known] = true
	}
	var rows [][]cell
	add := func(whose string, list []KnownDefect) {
		for _, d := range list {
			shows := cell{Text: "does not show"}
			if seen[d.Reference] {
				shows = cell{"! shows, and explains a failure", "doubt"}
			}
			cells := row(whose, d.Check, d.Doc, d.Condition, d.Reference, cmp.Or(d.Versions, "all"), "")
			cells[6] = shows
			rows = append(rows, cells)
		}
	}
	add("broker "+b.r.Target.Broker, b.r.Target.Abilities.KnownDefects)
	add("driver "+b.r.Driver.Name, b.r.Driver.KnownDefects)
	if len(rows) == 0 {
		b.add("defects", "Known defects", para("None is known of this broker and this driver."))
		return nil
	}
	b.add("defects", "Known defects", para("A known defect explains an invalid check only as far as its condition holds for every single finding."),
		htmlBlock{Table: newTable("Known defects of broker and driver", 7, []string{"of", "check", "what it does", "condition", "reference", "versions", "in this run"}, rows)})
	return nil
}

func says(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// environment is what the run stood on, and its plan.
func (b *reportPage) environment() error {
	r, e, a := b.r, b.r.Environment, b.r.Target.Abilities
	quota := "none"
	if e.CPUQuota > 0 {
		quota = fmt.Sprintf("%.2f cores", e.CPUQuota)
	}
	qos := "2"
	if a.MaxQoS != nil {
		qos = fmt.Sprint(*a.MaxQoS)
	}
	plan := [][]string{
		{"scenario", r.Run.Scenario}, {"scenario hash", r.Run.ScenarioHash}, {"plan hash", r.Run.PlanHash}, {"seed", fmt.Sprint(r.Run.Seed)}, {"run", r.Run.ID}, {"rebound", r.Rebound},
		{"broker", strings.Join(strings.Fields(r.Target.Broker+" "+r.Target.Version+", "+r.Target.Kind+", over "+r.Target.Transport), " ")},
		{"broker settings", pairs(r.Target.Settings)},
		{"connections closed by", r.Target.Closer},
		{"what the broker promises", fmt.Sprintf("session kept over a close: %s; Will sent: %s; answer may come before the close: %s; instant of the close known: %s; persistence %s; highest QoS %s",
			says(a.KeepsSession), says(a.SendsWill), says(a.KickAsync), says(a.KickReportsTime), cmp.Or(a.Persistence, "unknown"), qos)},
		{"driver", strings.TrimSpace(r.Driver.Name + " " + r.Driver.Version)},
	}
	machine := [][]string{
		{"system", e.OS + "/" + e.Arch + ", kernel " + e.Kernel}, {"CPU", fmt.Sprintf("%s, %s, GOMAXPROCS %d, quota %s", e.CPU, plural(int64(e.Cores), "core"), e.GOMAXPROCS, quota)},
		{"memory", commas(e.MemoryByte>>20) + " MiB"}, {"file descriptors", commas(e.FDLimit)}, {"load before the run", three(e.Load1)},
		{"Go", strings.TrimSpace(e.Go + " GOGC=" + e.GOGC)}, {"modules", pairs(e.Modules)}, {"sysctls", pairs(e.Sysctls)}, {"CI", cmp.Or(e.CI, "no")},
	}
	texts := func(caption string, list [][]string) htmlBlock {
		var rows [][]cell
		for _, l := range list {
			rows = append(rows, row(l...))
		}
		return htmlBlock{Table: newTable(caption, 2, []string{"what", "value"}, rows)}
	}
	b.add("environment", "Environment and plan", texts("The plan, and what it ran against", plan), texts("The machine", machine))
	return nil
}
