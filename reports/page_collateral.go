package reports

import (
	"math"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// collateral shows what happened to the clients that no fault meant.
func (b *reportPage) collateral() error {
	const title = "Collateral"
	u := b.r.Unscripted
	text := "No connection ended but by a fault of the plan."
	if words := u.text(); words != "" {
		text = "Connections that ended without a fault of the plan: " + words + "."
	}
	blocks := []htmlBlock{para("%s", text)}
	if u.Outage.N > 0 || u.Outage.Censored > 0 {
		rows := [][]cell{row(append([]string{"outages that no fault explains"}, u.Outage.cells(seconds, b.r.longestHorizon())...)...)}
		blocks = append(blocks, htmlBlock{Table: newTable("How long clients were away that no fault meant", 1, append([]string{"what"}, cellHeads...), rows)})
	}
	c := b.charts.Collateral
	switch {
	case !b.drawn():
		blocks = append(blocks, notHere())
	case c == nil:
		blocks = append(blocks, para("Every client is the victim of some fault, or nothing was measured of the others: there is no collateral latency."))
	default:
		blocks = append(blocks, b.collateralLatency(c)...)
	}
	b.add("collateral", title, blocks...)
	return nil
}

// collateralLatency is how long messages took to clients that no fault names.
func (b *reportPage) collateralLatency(c *Collateral) []htmlBlock {
	rows := [][]cell{
		row(append([]string{"while a fault was under way"}, c.Fault.cells(seconds, 0)...)...),
		row(append([]string{"else"}, c.Quiet.cells(seconds, 0)...)...),
	}
	blocks := []htmlBlock{
		para("How long messages took to the %s that no fault names, from the instant at which the timetable wanted each to its first delivery.", plural(int64(c.Clients), "client")),
		{Table: newTable("Latency of the messages of clients that no fault meant", 1, append([]string{"when"}, cellHeads...), rows)},
	}
	if len(c.Points) == 0 {
		return blocks
	}
	x := svg.XY{ID: "collateral-chart", Title: "Latency of the messages of clients that no fault meant, over the run", Desc: "Median, p99 and the longest of each stretch of time. Shaded: faults.", Bands: b.bands(),
		X: svg.Axis{Label: "time since the start of the run", Max: b.end(), Format: seconds},
		Series: []svg.Series{
			pointLine("longest", 2, c.Points, "max"), pointLine("p99", 4, c.Points, "p99"), pointLine("median", 1, c.Points, "p50"),
		}}
	lo, hi := spread(x.Series)
	x.Y = svg.Fit("time", seconds, lo, hi)
	var table [][]cell
	for _, p := range c.Points {
		table = append(table, row(seconds(p.Start), seconds(p.End), commas(p.N), known(p.get("p50"), seconds), known(p.get("p99"), seconds), known(p.Max, seconds)))
	}
	return append(blocks, chart(x, "Latency of clients that no fault meant", "s", "run",
		newTable("Latency of clients that no fault meant, by the instant of reading", 0, []string{"from", "to", "n", "median", "p99", "longest"}, table)))
}

// pointLine is one quantile over the run, with a gap where nothing was read.
func pointLine(name string, style int, points []LatencyPoint, quantile string) svg.Series {
	s := svg.Series{Name: name, Style: style, Kind: svg.Line}
	last := math.Inf(1)
	for _, p := range points {
		if p.Start > last+1e-9 {
			s.X, s.Y = append(s.X, (last+p.Start)/2), append(s.Y, math.NaN())
		}
		v := math.NaN()
		if at := p.get(quantile); at != nil {
			v = *at
		}
		s.X, s.Y = append(s.X, (p.Start+p.End)/2), append(s.Y, v)
		last = p.End
	}
	return s
}
