package reports

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// WriteHTML writes report.html: one file that needs no network and no script.
// Equal reports give equal bytes.
func WriteHTML(w io.Writer, r *Report) error {
	p := &htmlPage{
		Title: oneLine(r.word()+" · "+r.Run.Scenario, 120), Word: r.word(), Class: wordClass(r.word()),
		Lead: oneLine(r.Run.Scenario, 120), Sub: oneLine(r.Run.Summary, maxPageCell), Notes: r.pageNotes(), Tiles: r.tiles(),
	}
	b := &reportPage{htmlPage: p, r: r, charts: r.Charts}
	if b.charts == nil {
		b.charts = &Charts{}
	}
	for _, section := range []func() error{
		b.expectations, b.whatRan, b.recovery, b.waterfall, b.outages, b.latency, b.outcomes, b.extents, b.herd, b.attempts, b.collateral,
		b.messages, b.sessions, b.timeline, b.examples, b.defects, b.environment,
	} {
		if err := section(); err != nil {
			return fmt.Errorf("report.html: %w", err)
		}
	}
	return p.write(w)
}

// reportPage builds the page of one report, a section at a time.
type reportPage struct {
	*htmlPage
	r      *Report
	charts *Charts // never nil
}

// drawn says that the report has the data of the charts.
func (b *reportPage) drawn() bool { return b.r.Charts != nil }

func wordClass(word string) string {
	switch word {
	case "PASS":
		return "good"
	case "FAIL", "ERROR":
		return "bad"
	}
	return "doubt"
}

// pageNotes are what must be read before any number.
func (r *Report) pageNotes() []string {
	var notes []string
	add := func(format string, args ...any) {
		notes = append(notes, oneLine(fmt.Sprintf(format, args...), maxPageCell))
	}
	if r.Run.Aborted != "" {
		add("Aborted: %s", r.Run.Aborted)
	}
	if !r.Run.Complete {
		add("Incomplete: the evidence ends without its closing mark.")
	}
	if fit := cmp.Or(r.Harness.Fitness, "unknown"); fit != "fit" {
		add("The harness itself was %s: times carry %s.", fit, canaryNote(r.Harness.Canary))
	}
	if r.Harness.MissingHealth {
		add("Health samples are missing.")
	}
	for i, w := range r.Warnings {
		if i == maxRows {
			add("… and %s: see report.json.", plural(int64(len(r.Warnings)-i), "more warning"))
			break
		}
		add("%s", w)
	}
	return notes
}

// tiles are the headline numbers.
func (r *Report) tiles() []tile {
	ok, all := r.held()
	expect := tile{"expectations", fmt.Sprintf("%s of %s hold", commas(ok), commas(all)), r.checkCount(), "good"}
	if all == 0 {
		expect.Value, expect.Class = "none", ""
	} else if ok < all {
		expect.Class = "doubt"
		invalid, excused := 0, r.excused()
		for _, e := range r.Expectations {
			if e.Verdict == Invalid {
				invalid++
			}
		}
		if invalid > excused {
			expect.Class = "bad"
		}
		if excused > 0 {
			expect.Note = commas(excused) + " excused · " + expect.Note
		}
	}
	tiles := []tile{expect}
	if len(r.Waves) > 0 {
		t := r.Total
		back := tile{"victims back", commas(t.Back) + " of " + commas(t.Victims),
			fmt.Sprintf("%s censored · %s unaffected · %s absent", commas(t.Censored), commas(t.Unaffected), commas(t.Absent)), "good"}
		if t.Censored > 0 {
			back.Class = "bad"
		}
		h := r.horizon()
		tiles = append(tiles, back,
			tile{"outage, median", t.Outage.text("p50", seconds, h), t.Outage.counts("p50"), ""},
			tile{"outage, p99", t.Outage.text("p99", seconds, h), t.Outage.counts("p99") + ", " + canaryNote(r.Harness.Canary), ""})
		if t.RMTA != nil {
			tiles = append(tiles, tile{"mean time away (RMTA)", seconds(*t.RMTA), "the censored included", ""})
		}
	} else {
		c := r.Connect
		tiles = append(tiles, tile{"connected", commas(c.Connected) + " of " + commas(c.Clients), "in " + seconds(c.Seconds), ""},
			tile{"connect, p99", c.Latency.text("p99", seconds, 0), c.Latency.counts("p99"), ""})
	}
	for _, m := range r.Messages {
		if m.QoS == 0 || m.Expected == 0 {
			continue
		}
		class := "good"
		if m.Lost > 0 {
			class = "bad"
		}
		tiles = append(tiles, tile{fmt.Sprintf("lost, QoS %d", m.QoS), commas(m.Lost), m.lossRate(), class})
	}
	fit := fitCell(r.Harness.Fitness)
	return append(tiles, tile{"harness", fit.Text, canaryNote(r.Harness.Canary), fit.Class})
}

func (b *reportPage) expectations() error {
	var rows [][]cell
	for _, e := range b.r.Expectations {
		why := e.Why
		if e.OnFail == "warn" {
			why = strings.TrimPrefix(why+"; warns only", "; ")
		}
		if e.Known != "" {
			why = strings.TrimPrefix(why+"; known defect "+e.Known, "; ")
		}
		cells := row("", e.Text, e.shown(), e.limit(), why)
		cells[0] = verdictCell(e.Verdict)
		rows = append(rows, cells)
	}
	blocks := []htmlBlock{para("This run gates nothing: it has no expectations.")}
	if len(rows) > 0 {
		blocks = []htmlBlock{{Table: newTable("Measured against limit", 2, []string{"verdict", "expectation", "measured", "limit", "why"}, rows).leftLast()}}
	}
	var checks [][]cell
	for _, c := range b.r.Checks {
		detail := c.Detail
		if c.Known != "" {
			detail = strings.TrimPrefix(detail+"; known defect: "+c.Known, "; ")
		}
		if len(c.Examples) > 0 {
			detail = strings.TrimPrefix(detail+"; for example: "+c.Examples[0], "; ")
		}
		cells := row("", c.Name, commas(c.Count), commas(c.Warnings), c.charged(), detail)
		cells[0] = verdictCell(c.Verdict)
		checks = append(checks, cells)
	}
	if len(checks) > 0 {
		blocks = append(blocks, htmlBlock{Table: newTable("Checks, which judge every run", 2, []string{"verdict", "check", "findings", "warnings", "charged to", "detail"}, checks).leftLast()})
	}
	b.add("expectations", "Verdict", blocks...)
	return nil
}

// limit writes the limit in the unit of the expectation.
func (e Expectation) limit() string {
	op := map[string]string{"below": "<", "at_most": "≤", "at_least": "≥", "above": ">", "equals": "="}[e.Op]
	text := number(e.Limit)
	switch e.Unit {
	case "s":
		text = roundSeconds(e.Limit)
	case "%":
		text = three(e.Limit*100) + " %"
	}
	return strings.TrimSpace(op + " " + text)
}

func (b *reportPage) whatRan() error {
	r := b.r
	session := func(clean bool) string {
		if clean {
			return "clean"
		}
		return "kept"
	}
	var rows [][]cell
	for _, f := range r.Fleets {
		rows = append(rows, row(f.Name, f.Back, f.Policy, session(f.Clean), commas(f.Clients), commas(f.Connected)))
	}
	b.add("run", "What was run",
		para("%s clients on %s by %s; %s closes connections. Started %s, took %s, seed %d.", commas(r.Run.Clients),
			oneLine(strings.Join(strings.Fields(r.Target.Broker+" "+r.Target.Version+" ("+r.Target.Kind+", "+r.Target.Transport+")"), " "), 200),
			oneLine(strings.TrimSpace(r.Driver.Name+" "+r.Driver.Version), 100), oneLine(cmp.Or(r.Target.Closer, "nothing"), 60), oneLine(r.Run.StartedAt, 60), seconds(r.Run.Seconds), r.Run.Seed),
		htmlBlock{Table: newTable("Fleets", 4, []string{"fleet", "back means", "reconnect policy", "session", "clients", "connected"}, rows)},
		b.phases())
	return nil
}

// phases is the table of phases, with the harness's fitness in each.
func (b *reportPage) phases() htmlBlock {
	var rows [][]cell
	for _, p := range b.r.Phases {
		cells := row(p.Name, p.Reason, "", canaryCell(p.Canary), p.Against, seconds(p.Start), seconds(p.End-p.Start))
		cells[2] = fitCell(p.Fitness)
		rows = append(rows, cells)
	}
	return htmlBlock{Table: newTable("Phases, and how far the harness can be trusted in each", 5, []string{"phase", "ended by", "harness", "canary", "held against", "start", "length"}, rows)}
}

// bands are the fault intervals as shades of a chart over the run.
func (b *reportPage) bands() []svg.Band {
	var bands []svg.Band
	for _, f := range b.charts.Faults {
		label := fmt.Sprintf("%s, %s", f.Kind, f.Phase)
		if f.Wave > 0 { // else it came from outside
			label += fmt.Sprintf(" wave %d", f.Wave)
		}
		bands = append(bands, svg.Band{From: f.Start, To: f.End, Label: oneLine(label, 60)})
	}
	slices.SortStableFunc(bands, func(a, b svg.Band) int { return cmp.Compare(a.From, b.From) }) // those that touch are drawn as one
	return bands
}

// everyWave is each wave with its label.
func (b *reportPage) everyWave(do func(w Wave, label string)) {
	for _, w := range b.r.Waves {
		do(w, b.r.waveLabel(w))
	}
	if len(b.r.Waves) > 1 {
		total := b.r.Total
		total.Horizon = b.r.horizon()
		do(total, "all waves")
	}
}
