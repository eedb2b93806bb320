package harness

import (
	"encoding/json"
	"io"

	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// finding is one line of findings.jsonl.gz: an end of a connection for which
// no action of ours was under way, with the last packets of that connection.
// It is kept for the reader who asks why; the verdict is judged from the
// events.
type finding struct {
	Rule     string            `json:"rule"` // end-without-action
	Fleet    string            `json:"fleet"`
	Client   int               `json:"client"`
	ClientID string            `json:"id"`
	N        int               `json:"n"`
	At       timeline.Instant  `json:"at"`
	Kind     timeline.EndKind  `json:"end_kind"`
	Err      string            `json:"end_err,omitempty"`
	Last     []timeline.Packet `json:"last_packets"`
}

// maxFindings bounds what one flush writes: the stop of a broker ends every
// connection in the same way, and a thousand examples of it are enough.
const maxFindings = 1000

// note keeps the record of a connection, and a finding where one is due.
func (r *run) note(c timeline.Conn) {
	r.ev.add(timeline.Event{Conn: &c})
	if c.End == 0 || c.Scripted || c.Connack == 0 || c.ConnackCode != 0 || r.victims.acted(c.ClientID, c.N) {
		return
	}
	r.findMu.Lock()
	defer r.findMu.Unlock()
	if len(r.findings) < maxFindings {
		r.findings = append(r.findings, finding{
			"end-without-action", c.Fleet, c.Client, c.ClientID, c.N, c.End, c.EndKind, c.EndErr, c.Last,
		})
	}
}

// flushFindings appends the findings since the last flush.
func (r *run) flushFindings() error {
	r.findMu.Lock()
	list := r.findings
	r.findings = nil
	r.findMu.Unlock()
	if len(list) == 0 {
		return nil
	}
	return r.ev.append("findings.jsonl.gz", func(w io.Writer) error {
		enc := json.NewEncoder(w)
		for _, f := range list {
			if err := enc.Encode(f); err != nil {
				return err
			}
		}
		return nil
	})
}
