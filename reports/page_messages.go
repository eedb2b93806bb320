package reports

import (
	"fmt"
	"strings"

	"github.com/rebound-mqtt/rebound/reports/svg"
)

// fate is one thing that may have become of an expected delivery.
type fate struct {
	name  string
	style int
	get   func(Messages) int64
}

var fates = []fate{
	{"delivered", 1, func(m Messages) int64 { return m.Delivered }},
	{"lost", 2, func(m Messages) int64 { return m.Lost }},
	{"legal loss", 5, func(m Messages) int64 { return m.LegalLoss }},
	{"undetermined", 8, func(m Messages) int64 { return m.Undetermined }},
	{"excused by a frame fault", 6, func(m Messages) int64 { return m.Scripted }},
}

// messages is the account of the messages, and where the losses fell.
func (b *reportPage) messages() error {
	const title = "Messages"
	msgs := b.r.Messages
	if len(msgs) == 0 {
		text := "No message was sent but probes."
		if !b.r.Run.Complete {
			text = "There is no account of the messages: the evidence is incomplete."
		}
		b.add("messages", title, para("%s", text))
		return nil
	}
	blocks := []htmlBlock{para("What became of each delivery that was owed. Loss at QoS 0 while a client is away is counted and never failed. A loss of none stands beside the greatest rate that so many messages leave possible (95 %%).")}
	blocks = append(blocks, b.fateChart(b.accountTable()))
	for _, m := range msgs {
		if m.Balance != "" {
			blocks = append(blocks, para("QoS %d does not add up: %s", m.QoS, oneLine(m.Balance, maxPageCell)))
		}
	}
	histograms, err := b.lossHistograms()
	if err != nil {
		return err
	}
	blocks = append(blocks, histograms...)
	b.add("messages", title, append(blocks, b.windows()...)...)
	return nil
}

// accountTable is the closing balance of each QoS, count by count.
func (b *reportPage) accountTable() *pageTable {
	head := []string{"count"}
	for _, m := range b.r.Messages {
		head = append(head, fmt.Sprintf("QoS %d", m.QoS))
	}
	var rows [][]cell
	for _, line := range messageCounts {
		cells := []string{line.name}
		for _, m := range b.r.Messages {
			cells = append(cells, commas(line.get(m)))
		}
		rows = append(rows, row(cells...))
	}
	cells := []string{"loss rate, 95 %"}
	for _, m := range b.r.Messages {
		cells = append(cells, m.lossRate())
	}
	return newTable("The account of the messages of each QoS", 1, head, append(rows, row(cells...)))
}

// fateChart shows the shares: what is rare still shows as a thin line.
func (b *reportPage) fateChart(table *pageTable) htmlBlock {
	c := svg.Rows{ID: "messages-chart", Title: "Deliveries by what became of them", Desc: "The table has the counts.", X: shareAxis("of the deliveries")}
	var legend []legendEntry
	for _, f := range fates {
		legend = append(legend, swatch("bar", f.style, f.name))
	}
	for _, m := range b.r.Messages {
		var all int64
		for _, f := range fates {
			all += f.get(m)
		}
		if all == 0 {
			continue
		}
		r, at := svg.Row{Label: fmt.Sprintf("QoS %d", m.QoS), Note: "lost " + m.lossRate()}, 0.0
		for _, f := range fates {
			if n := f.get(m); n > 0 {
				share := float64(n) / float64(all)
				r.Spans = append(r.Spans, svg.Span{From: at, To: at + share, Style: f.style, Title: f.name + " " + commas(n)})
				at += share
			}
		}
		c.Rows = append(c.Rows, r)
	}
	return rowsChart(c, "Deliveries by what became of them", legend, table)
}

// lossHistograms shows how many messages each outage lost.
func (b *reportPage) lossHistograms() ([]htmlBlock, error) {
	var blocks []htmlBlock
	for _, s := range allSeries(b.r.Histograms) {
		if s.Unit != unitCount || !strings.HasPrefix(s.Metric, "loss") || len(blocks) == maxSeries {
			continue
		}
		hdr, err := s.merged()
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, histogramChart(fmt.Sprintf("loss-%d", len(blocks)+1), s.title(), s, hdr))
	}
	return blocks, nil
}

// windows shows where in an outage the lost messages had been sent.
func (b *reportPage) windows() []htmlBlock {
	if !b.drawn() {
		return []htmlBlock{notHere()}
	}
	places := []struct {
		name  string
		style int
		get   func(LossWindow) int64
	}{
		{"in the second before", 3, func(w LossWindow) int64 { return w.Before }},
		{"while away", 2, func(w LossWindow) int64 { return w.Away }},
		{"after CONNACK, before it was back", 4, func(w LossWindow) int64 { return w.Resume }},
		{"in the second after", 6, func(w LossWindow) int64 { return w.After }},
		{"outside of any outage", 8, func(w LossWindow) int64 { return w.Outside }},
	}
	c := svg.Rows{ID: "windows-chart", Title: "Lost messages by when they were sent", Desc: "The table has the counts."}
	head := []string{"QoS"}
	var legend []legendEntry
	for _, p := range places {
		head, legend = append(head, p.name), append(legend, swatch("bar", p.style, p.name))
	}
	var rows [][]cell
	top := int64(0)
	for _, w := range b.charts.Windows {
		r, at := svg.Row{Label: fmt.Sprintf("QoS %d", w.QoS)}, int64(0)
		cells := []string{fmt.Sprint(w.QoS)}
		for _, p := range places {
			n := p.get(w)
			cells = append(cells, commas(n))
			if n > 0 {
				r.Spans = append(r.Spans, svg.Span{From: float64(at), To: float64(at + n), Style: p.style, Title: p.name + " " + commas(n)})
			}
			at += n
		}
		r.Note, top = commas(at), max(top, at)
		c.Rows, rows = append(c.Rows, r), append(rows, row(cells...))
	}
	for _, m := range b.r.Messages {
		if top == 0 && m.Lost > 0 {
			return []htmlBlock{para("Messages were lost, and the evidence does not list them one by one: where they fell is not known.")}
		}
	}
	if top == 0 {
		return []htmlBlock{para("No message was lost, so there is no place where losses fell.")}
	}
	c.X = svg.FromZero("lost messages", number, float64(top))
	return []htmlBlock{rowsChart(c, "Lost messages by where in their subscriber's outage they were sent", legend, newTable("Lost messages by when they were sent", 1, head, rows))}
}

// sessions is what the broker said of the sessions against what it had to say.
func (b *reportPage) sessions() error {
	const title = "Sessions"
	if !b.drawn() {
		b.add("sessions", title, notHere())
		return nil
	}
	c := svg.Rows{ID: "sessions-chart", Title: "Sessions on return", Desc: "The table has the counts."}
	answers := []struct {
		name  string
		style int
		get   func(SessionTruth) int
	}{
		{"resumed, as wanted", 1, func(s SessionTruth) int { return s.PresentWanted - s.PresentMissing }},
		{"forgotten", 2, func(s SessionTruth) int { return s.PresentMissing }},
		{"new, as wanted", 3, func(s SessionTruth) int { return s.AbsentWanted - s.AbsentMissing }},
		{"invented", 4, func(s SessionTruth) int { return s.AbsentMissing }},
	}
	var rows [][]cell
	var legend []legendEntry
	for _, a := range answers {
		legend = append(legend, swatch("bar", a.style, a.name))
	}
	top := 0
	for _, s := range b.charts.Sessions {
		r, at := svg.Row{Label: oneLine(s.Fleet, 60), Note: fmt.Sprintf("%s returns", commas(s.Returns))}, 0
		for _, a := range answers {
			if n := a.get(s); n > 0 {
				r.Spans = append(r.Spans, svg.Span{From: float64(at), To: float64(at + n), Style: a.style, Title: a.name + " " + commas(n)})
				at += n
			}
		}
		cells := row(s.Fleet, commas(s.Returns), commas(s.PresentWanted), commas(s.PresentMissing), commas(s.AbsentWanted), commas(s.AbsentMissing), commas(s.Resubscribed))
		for _, i := range []int{3, 5} {
			if cells[i].Text != "0" {
				cells[i].Class = "bad"
			}
		}
		c.Rows, rows, top = append(c.Rows, r), append(rows, cells), max(top, at)
	}
	table := newTable("Session present of each accepted CONNECT after a client's first", 1,
		[]string{"fleet", "returns", "kept session owed", "not kept (forgotten)", "new session owed", "not new (invented)", "subscribed again"}, rows)
	words := para("What the broker said of the session when a client returned, against what the CONNECT asked for and the broker promises.")
	if top == 0 {
		b.add("sessions", title, words, htmlBlock{Table: table})
		return nil
	}
	c.X = svg.FromZero("returns", number, float64(top))
	b.add("sessions", title, words, rowsChart(c, "Session present on return", legend, table))
	return nil
}

// examples are messages whose account is not plain, and who is charged.
func (b *reportPage) examples() error {
	var rows [][]cell
	for _, l := range b.r.LossExamples {
		away := "–"
		if l.OutageFrom != nil && l.OutageTo != nil {
			away = seconds(*l.OutageFrom) + " – " + seconds(*l.OutageTo)
		}
		why := l.Why
		if l.Cause != "" {
			why = strings.TrimPrefix(why+"; "+l.Cause, "; ")
		}
		charge := l.Charge
		if charge == "" {
			charge = "nobody"
		}
		when := "sent " + known(l.Sent, seconds) + ", acknowledged " + known(l.Acked, seconds) + ", read " + known(l.Read, seconds)
		rows = append(rows, row(l.Verdict, charge, fmt.Sprintf("%s, stream %d seq %d", l.Topic, l.Stream, l.Seq), fmt.Sprint(l.QoS), l.Publisher+" → "+l.Subscriber,
			when, away, strings.TrimSpace(why+" ["+l.Pointer+"]")))
	}
	if len(rows) == 0 {
		b.add("examples", "Loss examples", para("Every message has a plain account: none was lost, doubled, out of order or unexpected."))
		return nil
	}
	b.add("examples", "Loss examples", para("Messages whose account is not plain, with whom they charge and where the evidence is. losses.csv has every one."),
		htmlBlock{Table: newTable("Messages whose account is not plain", 8, []string{"verdict", "charged", "message", "QoS", "from → to", "when", "subscriber away", "why, and where the evidence is"}, rows)})
	return nil
}
