package harness

import (
	"io"

	"github.com/rebound-mqtt/rebound/harness/fleet"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// maxFindings bounds what one flush writes: the stop of a broker ends every
// connection in the same way, and a thousand examples of it are enough. What
// the taps find comes bounded by rule already.
const maxFindings = 1000

// note keeps the record of a connection, and a finding where its end needs an
// explanation and no action of ours was under way: for the reader who asks
// why. The verdict on it is judged from the events.
func (r *run) note(c timeline.Conn) {
	r.ev.add(timeline.Event{Conn: &c})
	if c.End == 0 || c.Scripted || c.Rival || c.Connack == 0 || c.ConnackCode != 0 || r.victims.acted(c.ClientID, c.N) {
		return
	}
	r.loosened(c)
	r.findMu.Lock()
	defer r.findMu.Unlock()
	if r.ends < maxFindings {
		r.ends++
		r.findings = append(r.findings, timeline.Finding{
			Rule: timeline.RuleEnd, Fleet: c.Fleet, Client: c.Client, ClientID: c.ClientID, N: c.N, At: c.End,
			Kind: c.EndKind, Err: c.EndErr, Last: c.Last,
		})
	}
}

// loosened counts an end that no fault explains, for on_fail abort. In doubt it
// is not counted: a fault acted on a later connection of the client, or one
// that may reach anybody took effect.
func (r *run) loosened(c timeline.Conn) {
	switch {
	case r.wide.Load() || r.victims.reached(c.ClientID, c.N):
	case c.Fleet == fleet.ControlFleet:
		r.looseControl.Add(1)
	default:
		r.loose.Add(1)
	}
}

// find keeps a breach of a rule that a tap saw.
func (r *run) find(f timeline.Finding) {
	r.findMu.Lock()
	defer r.findMu.Unlock()
	r.findings = append(r.findings, f)
}

// flushFindings appends the findings since the last flush.
func (r *run) flushFindings() error {
	r.findMu.Lock()
	list := r.findings
	r.findings, r.ends = nil, 0
	r.written += len(list)
	r.findMu.Unlock()
	if len(list) == 0 {
		return nil
	}
	return r.ev.append("findings.jsonl.gz", func(w io.Writer) error { return timeline.WriteFindings(w, list) })
}
