package reports

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// writeReconnectLog writes the time histograms as an HdrHistogram interval log.
func writeReconnectLog(w io.Writer, r *Report) error {
	return writeLog(w, r, []string{"[rebound: times in ns, Interval_Max in ms]"}, func(h Histogram) bool { return !h.AboutLoss() })
}

// writeLossLog writes what was lost per outage, zeros included, and the length of gaps.
func writeLossLog(w io.Writer, r *Report) error {
	return writeLog(w, r, []string{
		"[rebound: messages lost per outage, zeros included (counts), and gap lengths (ns)]",
		"[The Interval_Max of counts is off by 1e6: the format takes each value for ns. The histograms hold the plain counts.]",
	}, Histogram.AboutLoss)
}

// writeLog writes the histograms that keep lets through, a line for each part
// of a series. The base time is on a whole second, for the log's own lines drop
// the milliseconds of theirs.
func writeLog(w io.Writer, r *Report, comments []string, keep func(Histogram) bool) error {
	baseMs, offset := logBase(r.Run.StartedAt)
	lw := hdrhistogram.NewHistogramLogWriter(w)
	lw.SetBaseTime(baseMs)
	for _, c := range comments {
		if err := lw.OutputComment(c); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		lw.OutputLogFormatVersion,
		func() error { return lw.OutputBaseTime(baseMs) },
		func() error { return lw.OutputStartTime(baseMs) },
		lw.OutputLegend,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, s := range allSeries(r.Histograms) {
		if !keep(s.Histogram) {
			continue
		}
		for _, p := range s.parts {
			h, err := p.decode()
			if err != nil {
				return err
			}
			h.SetTag(p.Tag())
			start := math.Round((p.Start + offset) * 1e3)
			end := math.Round((p.End + offset) * 1e3)
			if !(start >= 0 && end >= start && end < 1e15) {
				return fmt.Errorf("%w: %s runs from %g s to %g s", ErrHistogram, p.Tag(), p.Start, p.End)
			}
			h.SetStartTimeMs(baseMs + int64(start))
			h.SetEndTimeMs(baseMs + int64(end))
			if err := lw.OutputIntervalHistogram(h); err != nil {
				return fmt.Errorf("%s: %w", p.Tag(), err)
			}
		}
	}
	return nil
}

// logBase splits the start of a run into whole seconds (as ms of the epoch)
// and what is left, in seconds. A run without a start counts from the epoch.
func logBase(startedAt string) (baseMs int64, offset float64) {
	at, err := time.Parse(time.RFC3339, startedAt)
	if err != nil || at.Unix() < 0 {
		return 0, 0
	}
	return at.Unix() * 1000, float64(at.Nanosecond()) / 1e9
}
