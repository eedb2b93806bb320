package reports

import (
	"fmt"
	"strings"
)

// Extent is a fault without victims of its own, as it went: at the broker's
// door, on the way there, or from outside. Whom it reached the ends tell that
// are charged to it.
type Extent struct {
	Fault   string   `json:"fault"` // row of the fault table, or "mark"
	Phase   string   `json:"phase"`
	Wave    int      `json:"wave"`          // from 1; 0 = of no wave, an outside event
	Start   float64  `json:"start_seconds"` // when it was issued, from the start of the run
	Seconds *float64 `json:"seconds"`       // until it was lifted; null = it was not, or nobody knows when it ended
	OK      bool     `json:"ok"`            // it took effect, and where it was lifted that worked too
	Err     string   `json:"err,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	Skipped string   `json:"skipped,omitempty"` // why this machine could not do it
	Ended   int      `json:"ended"`             // ends of connections that are charged to it
	// Broker says what became of the broker's process, where that is what it acted
	// on. Then each client was its victim.
	Broker *BrokerLife `json:"broker,omitempty"`
}

// BrokerLife is a turn in the life of the broker's process.
type BrokerLife struct {
	Ended string   `json:"ended"`         // kill | stop | freeze
	Kept  bool     `json:"kept"`          // it was started again with what the one before it had kept; else empty
	Ready *float64 `json:"ready_seconds"` // from its start again until it took connections; null = it was not started
}

// text says what became of the broker.
func (l BrokerLife) text(start float64, length *float64) string {
	words := map[string]string{"kill": "killed", "stop": "stopped", "freeze": "frozen"}[l.Ended]
	parts := []string{words + " at " + seconds(start)}
	switch {
	case length == nil && l.Ended == "freeze":
		parts = append(parts, "for good")
	case length == nil:
		parts = append(parts, "never started again")
	case l.Ready == nil:
		parts[0] += " for " + seconds(*length)
	default:
		with := "empty"
		if l.Kept {
			with = "with what it kept"
		}
		parts = append(parts, "down "+seconds(*length-*l.Ready), "ready again in "+seconds(*l.Ready)+", "+with)
	}
	return strings.Join(parts, " · ")
}

// text says what became of the fault.
func (e Extent) text() string {
	parts := []string{plain(e.Fault) + " at " + seconds(e.Start)}
	switch {
	case e.Broker != nil:
		parts[0] = e.Broker.text(e.Start, e.Seconds)
		if e.Err != "" {
			parts = append(parts, "failed: "+oneLine(e.Err, maxDetail))
		}
	case e.Skipped != "":
		parts[0] = plain(e.Fault) + " SKIPPED: " + oneLine(e.Skipped, maxDetail)
	case e.Err != "":
		parts = append(parts, "failed: "+oneLine(e.Err, maxDetail))
	case e.Seconds != nil:
		parts[0] += " for " + seconds(*e.Seconds)
	}
	if e.Detail != "" {
		parts = append(parts, oneLine(e.Detail, maxDetail))
	}
	if e.Ended > 0 {
		parts = append(parts, plural(int64(e.Ended), "end")+" charged to it")
	}
	return strings.Join(parts, " · ")
}

// maxExtents is how many faults without victims the terminal shows.
const maxExtents = 10

func (t *terminal) extents() {
	label := "fault"
	for i, e := range t.r.Extents {
		if i == maxExtents {
			t.row(label, fmt.Sprintf("… %d more", len(t.r.Extents)-i))
			break
		}
		if e.Broker != nil {
			label = "broker"
		}
		t.row(label, t.ink.redIf(!e.OK, clip(e.text(), maxDetail)))
		label = ""
	}
	label = "note"
	for _, n := range t.r.Notes {
		t.row(label, oneLine(n, maxDetail))
		label = ""
	}
}

func (s *summary) extents() error {
	if len(s.r.Extents)+len(s.r.Notes) == 0 {
		return nil
	}
	s.printf("## Faults\n\nWhat was done to the broker, faults without victims of their own, and how faults were made.\n\n")
	for i, e := range s.r.Extents {
		if i == maxRows {
			s.printf("- %s\n", plural(int64(len(s.r.Extents)-maxRows), "more fault"))
			break
		}
		who := ""
		if e.Broker != nil {
			who = "broker "
		}
		s.printf("- %s: %s%s\n", md(e.Phase), who, md(e.text()))
	}
	for _, n := range s.r.Notes {
		s.printf("- %s\n", md(n))
	}
	s.printf("\n")
	return nil
}

// extents shows the faults that have no victims of their own, and what a reader
// must know of how faults were made.
func (b *reportPage) extents() error {
	if len(b.r.Extents)+len(b.r.Notes) == 0 {
		return nil
	}
	var blocks []htmlBlock
	if len(b.r.Extents) > 0 {
		var rows [][]cell
		for _, e := range b.r.Extents {
			what := e.Detail
			if e.Broker != nil {
				what = "broker " + e.Broker.text(e.Start, e.Seconds)
			}
			rows = append(rows, row(e.Phase, e.Fault, seconds(e.Start), known(e.Seconds, seconds), e.outcome(), commas(e.Ended), what))
		}
		blocks = append(blocks,
			para("Faults on the broker's process, whose victims are all clients, and faults without victims of their own: at the broker's door, on the way there, or from outside. Ends of connections that no action explains are charged to them where they may end connections."),
			htmlBlock{Table: newTable("Faults on the broker and around it", 2, []string{"phase", "fault", "start", "length", "outcome", "ends", "what it did"}, rows)})
	}
	for _, n := range b.r.Notes {
		blocks = append(blocks, para("%s", n))
	}
	b.add("extents", "Faults on the broker and around it", blocks...)
	return nil
}

// outcome says in words whether it did what the plan wanted.
func (e Extent) outcome() string {
	switch {
	case e.Skipped != "":
		return "SKIPPED: " + e.Skipped
	case e.Err != "":
		return "failed: " + e.Err
	case !e.OK:
		return "failed"
	}
	return "done"
}
