package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

// WriteBaseline writes what compare reads of a report, without line breaks, for
// it is committed: it leaves out what only the page of the run itself draws,
// the examples of its losses, and the histograms of single waves.
func WriteBaseline(w io.Writer, r *Report) error {
	c := *r
	c.Charts, c.LossExamples = nil, nil
	c.Histograms = nil
	for _, h := range r.Histograms {
		if h.Wave == 0 {
			c.Histograms = append(c.Histograms, h)
		}
	}
	var long, short bytes.Buffer
	if err := WriteJSON(&long, &c); err != nil {
		return err
	}
	if err := json.Compact(&short, long.Bytes()); err != nil {
		return fmt.Errorf("write baseline: %w", err)
	}
	short.WriteByte('\n')
	_, err := w.Write(short.Bytes())
	return err
}
