package reports

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
)

var lossHead = []string{"verdict", "stream", "topic", "qos", "publisher", "subscriber", "seq", "intended_seconds", "sent_seconds",
	"acked_seconds", "epoch", "phase", "outage_from_seconds", "outage_to_seconds", "copies", "why",
	"read_seconds", "wave", "session_present", "fault", "charge", "cause", "evidence"}

// writeLosses writes a row for each message whose account is not plain.
func writeLosses(w io.Writer, r *Report) error {
	if len(r.Losses) == 0 && len(r.LossExamples) > 0 {
		return fmt.Errorf("losses: %w: judge the run folder again", ErrNoRows)
	}
	c := csv.NewWriter(w)
	c.Write(lossHead) // the writer keeps its first error for Error
	for _, l := range r.Losses {
		c.Write([]string{l.Verdict, decimal(uint64(l.Stream)), l.Topic, strconv.Itoa(l.QoS), l.Publisher, l.Subscriber, decimal(l.Seq),
			optional(l.Intended), optional(l.Sent), optional(l.Acked), strconv.Itoa(l.Epoch), l.Phase,
			optional(l.OutageFrom), optional(l.OutageTo), strconv.Itoa(l.Copies), l.Why,
			optional(l.Read), strconv.Itoa(l.Wave), yesNo(l.Present), strconv.FormatBool(l.Fault), l.Charge, l.Cause, l.Pointer})
	}
	c.Flush()
	return c.Error()
}

var recoveryHead = []string{"t_seconds", "phase", "wave", "fraction_back", "at_risk", "censored", "low_95", "high_95"}

// writeRecovery writes each step of the recovery curves.
func writeRecovery(w io.Writer, r *Report) error {
	if len(r.Recovery) == 0 {
		for _, wave := range r.Waves {
			if len(wave.Curve) > 0 {
				return fmt.Errorf("recovery: %w: judge the run folder again", ErrNoRows)
			}
		}
	}
	c := csv.NewWriter(w)
	c.Write(recoveryHead)
	for _, s := range r.Recovery {
		c.Write([]string{float(s.Seconds), s.Phase, strconv.Itoa(s.Wave), float(s.Back), strconv.Itoa(s.AtRisk),
			strconv.Itoa(s.Censored), float(s.Low), float(s.High)})
	}
	c.Flush()
	return c.Error()
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// float writes the shortest decimal that reads back exactly.
func float(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// yesNo writes an unknown answer as an empty field.
func yesNo(v *bool) string {
	if v == nil {
		return ""
	}
	return strconv.FormatBool(*v)
}

// optional writes an unknown number as an empty field.
func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return float(*v)
}
