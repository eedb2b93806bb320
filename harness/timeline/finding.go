package timeline

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
)

// Charge says whose fault a finding is.
type Charge string

// The charges.
const (
	ChargeBroker     Charge = "broker"
	ChargePublisher  Charge = "publisher-library"  // the client library, in its part as publisher
	ChargeSubscriber Charge = "subscriber-library" // the client library, in its part as subscriber
	ChargeClient     Charge = "client-library"     // the client library, in neither part alone
	ChargeHarness    Charge = "harness"
	ChargeNobody     Charge = "" // legal, or not known
)

// Finding is one line of findings.jsonl.gz: one breach of a rule that the tap
// saw, or one end of a connection for which no action of ours was under way,
// with the last packets of that connection.
type Finding struct {
	Rule     string  `json:"rule"` // a rule of harness/protocol, or RuleEnd
	Charge   Charge  `json:"charge,omitempty"`
	Warn     bool    `json:"warn,omitempty"` // worth a warning, no breach of a MUST that is proved
	Fleet    string  `json:"fleet"`
	Client   int     `json:"client"`
	ClientID string  `json:"id"`
	N        int     `json:"n"` // number of the connection
	At       Instant `json:"at"`
	Detail   string  `json:"detail,omitempty"`
	PacketID uint16  `json:"packet_id,omitempty"`
	Stream   uint32  `json:"stream,omitempty"` // message of ours that it is about; 0 = none
	Seq      uint64  `json:"seq,omitempty"`

	Kind EndKind  `json:"end_kind,omitempty"` // of RuleEnd
	Err  string   `json:"end_err,omitempty"`
	Last []Packet `json:"last_packets,omitempty"`

	// Count > 0: this line stands for so many further findings of the rule with
	// the same charge and warn, that were counted and not kept one by one.
	Count int64 `json:"count,omitempty"`
}

// Packet gives the packet that a finding is about: the last one of its instant
// with its id. A packet of the other direction can have come after it.
func (f *Finding) Packet() (Packet, bool) {
	for _, p := range slices.Backward(f.Last) {
		if p.At == f.At && p.ID == f.PacketID {
			return p, true
		}
	}
	return Packet{}, false
}

// RuleEnd is the rule of a finding that only keeps the last packets of an end
// that no action explained at the time; the verdict on it is judged from the
// connection records.
const RuleEnd = "end-without-action"

// WriteFindings writes findings as JSON lines.
func WriteFindings(w io.Writer, list []Finding) error {
	enc := json.NewEncoder(w)
	for i := range list {
		if err := enc.Encode(&list[i]); err != nil {
			return fmt.Errorf("write finding: %w", err)
		}
	}
	return nil
}

// ReadFindings reads findings.jsonl.gz, any number of gzip members. With an
// error it gives what came before the break.
func ReadFindings(r io.Reader) ([]Finding, error) {
	var list []Finding
	err := ReadMembers(r, func(r io.Reader) error {
		return Lines(r, MaxLine, func(n int, text []byte) error {
			var f Finding
			if err := json.Unmarshal(text, &f); err != nil {
				return fmt.Errorf("%w: finding in line %d: %w", ErrCorrupt, n, err)
			}
			list = append(list, f)
			return nil
		})
	})
	return list, err
}
