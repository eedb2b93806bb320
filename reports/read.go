package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// MaxSize is the largest report.json that Read takes, in bytes.
const MaxSize = 64 << 20

// Read reads one report.json. Fields that it does not know are left aside; a
// schema newer than SchemaVersion is ErrVersion, whatever else is in it.
func Read(r io.Reader) (*Report, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: over %s bytes", ErrTooLarge, commas(MaxSize))
	}
	// The version first and alone: the rest of a newer report may not fit our types.
	var head struct {
		SchemaVersion *int64 `json:"schema_version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	switch v := head.SchemaVersion; {
	case v == nil:
		return nil, fmt.Errorf("%w: no schema_version", ErrNotReport)
	case *v > SchemaVersion:
		return nil, fmt.Errorf("%w: it has schema_version %d, this rebound reads up to %d", ErrVersion, *v, SchemaVersion)
	case *v < 1:
		return nil, fmt.Errorf("%w: schema_version %d", ErrNotReport, *v)
	}
	var rep Report
	if err := json.Unmarshal(b, &rep); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotReport, err)
	}
	return &rep, nil
}

// ReadPath reads the report of a run folder, or a report file.
func ReadPath(path string) (*Report, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if info.IsDir() {
		path = filepath.Join(path, "report.json")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	defer f.Close()
	rep, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rep, nil
}

// WriteJSON writes report.json: equal reports give equal bytes. Keys stand in
// the order of the type, maps sorted, floats in their shortest exact form, and
// a list without entries is [] and never null, for null means unknown.
func WriteJSON(w io.Writer, r *Report) error {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(filled(r)); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	_, err := w.Write(buf.Bytes())
	return err
}

// filled is a copy of r with the version of this code and with empty lists and
// maps in the place of nil ones.
func filled(r *Report) *Report {
	c := *r
	c.SchemaVersion = SchemaVersion
	list(&c.Warnings)
	list(&c.Fleets)
	list(&c.Phases)
	list(&c.Messages)
	list(&c.Checks)
	list(&c.Expectations)
	list(&c.Histograms)
	list(&c.LossExamples)
	dict(&c.Target.Settings)
	dict(&c.Environment.Modules)
	dict(&c.Environment.Sysctls)
	dict(&c.Unscripted.Kinds)
	c.Waves = append([]Wave{}, r.Waves...)
	for i := range c.Waves {
		fillWave(&c.Waves[i])
	}
	fillWave(&c.Total)
	if r.Charts != nil {
		c.Charts = r.Charts.filled()
	}
	return &c
}

func (r *Charts) filled() *Charts {
	c := *r
	list(&c.Faults)
	list(&c.Health)
	list(&c.Outages)
	list(&c.Attempts)
	list(&c.Sessions)
	list(&c.Windows)
	c.Herds = append([]HerdShape{}, r.Herds...)
	for i := range c.Herds {
		list(&c.Herds[i].Counts)
	}
	if r.Collateral != nil {
		latency := *r.Collateral
		list(&latency.Points)
		c.Collateral = &latency
	}
	c.Worst = append([]ClientOutage{}, r.Worst...)
	for i := range c.Worst {
		dict(&c.Worst[i].Parts)
	}
	return &c
}

func fillWave(w *Wave) {
	list(&w.Curve)
	dict(&w.Waterfall)
}

func list[T any](s *[]T) {
	if *s == nil {
		*s = []T{}
	}
}

func dict[V any](m *map[string]V) {
	if *m == nil {
		*m = map[string]V{}
	}
}
