package broker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/rebound-mqtt/rebound/harness/target"
	"github.com/rebound-mqtt/rebound/harness/timeline"
)

// The control protocol: lines of JSON over two pipes, parent to child and
// back. The parent speaks first (start), the child answers ready or failed.
// From then on each stats of the parent is answered with one of the child, and
// each gate with a tally or with failed, each reset with closed. The child ends when it reads EOF, so it
// also ends with its parent.
const (
	controlVersion = 1
	// maxControlLine bounds one line; the longest real one lists addresses.
	maxControlLine = 64 << 10
)

// The types of control messages.
const (
	typeStart  = "start"
	typeReady  = "ready"
	typeFailed = "failed"
	typeStats  = "stats"
	typeGate   = "gate"
	typeTally  = "tally"
	typeReset  = "reset"
	typeClosed = "closed"
)

// message is one line. Exactly the field that its type names is set; a stats
// request carries none.
type message struct {
	Version int               `json:"v"`
	Type    string            `json:"type"`
	Start   *startOrder       `json:"start,omitempty"`
	Ready   *readyReport      `json:"ready,omitempty"`
	Failed  string            `json:"failed,omitempty"`
	Stats   *statsReport      `json:"stats,omitempty"`
	Gate    *target.Gate      `json:"gate,omitempty"`
	Tally   *target.GateTally `json:"tally,omitempty"`
	Reset   *resetOrder       `json:"reset,omitempty"`
	Closed  *closedReport     `json:"closed,omitempty"`
}

// startOrder is what the child is to serve.
type startOrder struct {
	Monotonic     int64  `json:"monotonic_ns"` // CLOCK_MONOTONIC at the base of the run's clock
	Addresses     int    `json:"addresses"`
	Port          int    `json:"port,omitempty"`
	WritesPending int    `json:"writes_pending"`
	Store         string `json:"store,omitempty"`
	EndpointAddr  string `json:"endpoint_addr"`

	Gates []target.Gate `json:"gates,omitempty"` // that stand from the start
	// Last, so that no error text that quotes the start of a line holds it.
	EndpointKey *EndpointKey `json:"endpoint_key,omitempty"`
}

// readyReport is where the child serves.
type readyReport struct {
	Addresses []string         `json:"addresses"`
	Endpoint  string           `json:"endpoint"`
	PID       int              `json:"pid"`
	At        timeline.Instant `json:"at"` // on the run's clock as the child reads it
}

// statsReport is a reading of the child's clock and counters.
type statsReport struct {
	At timeline.Instant `json:"at"`
	Stats
}

// resetOrder names clients whose connections are to be reset.
type resetOrder struct {
	ClientIDs []string `json:"client_ids"`
}

// closedReport is what became of each of them, in their order.
type closedReport struct {
	Resets []resetReport `json:"resets"`
}

type resetReport struct {
	Found bool             `json:"found,omitempty"`
	At    timeline.Instant `json:"at,omitempty"` // just before the close call, on the child's reading of the run's clock
	Err   string           `json:"err,omitempty"`
}

// parseMessage reads one line and checks that it is whole.
func parseMessage(line []byte) (message, error) {
	var m message
	if len(line) > maxControlLine {
		return message{}, fmt.Errorf("%w: a line of %d bytes, the limit is %d", ErrControl, len(line), maxControlLine)
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return message{}, fmt.Errorf("%w: %.80q is no message: %w", ErrControl, line, err)
	}
	if m.Version != controlVersion {
		return message{}, fmt.Errorf("%w: protocol version %d, this is version %d", ErrControl, m.Version, controlVersion)
	}
	switch {
	case m.Type == typeStart && m.Start != nil,
		m.Type == typeReady && m.Ready != nil && len(m.Ready.Addresses) > 0 && m.Ready.PID > 0,
		m.Type == typeFailed && m.Failed != "",
		m.Type == typeStats,
		m.Type == typeGate && m.Gate != nil,
		m.Type == typeTally && m.Tally != nil,
		m.Type == typeReset && m.Reset != nil,
		m.Type == typeClosed && m.Closed != nil:
		return m, nil
	}
	return message{}, fmt.Errorf("%w: message of type %q is unknown or incomplete", ErrControl, m.Type)
}

// control is one end of the two pipes. It is not safe for concurrent use.
type control struct {
	in  *bufio.Reader
	out io.Writer
}

func newControl(in io.Reader, out io.Writer) *control {
	return &control{in: bufio.NewReaderSize(in, maxControlLine), out: out}
}

// receive reads the next message; io.EOF means that the other side is gone.
func (c *control) receive() (message, error) {
	line, err := c.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return message{}, fmt.Errorf("%w: a line is longer than %d bytes", ErrControl, maxControlLine)
	case errors.Is(err, io.EOF) && len(line) > 0:
		return message{}, fmt.Errorf("%w: %w in the middle of a line", ErrControl, io.ErrUnexpectedEOF)
	case errors.Is(err, io.EOF):
		return message{}, io.EOF
	case err != nil:
		return message{}, fmt.Errorf("%w: %w", ErrControl, err)
	}
	return parseMessage(bytes.TrimSuffix(line, []byte{'\n'}))
}

// send writes one message in one write.
func (c *control) send(m message) error {
	m.Version = controlVersion
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrControl, err)
	}
	if len(line) >= maxControlLine {
		return fmt.Errorf("%w: a line of %d bytes, the limit is %d", ErrControl, len(line), maxControlLine) // it would end the other side
	}
	if _, err := c.out.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrControl, err)
	}
	return nil
}
