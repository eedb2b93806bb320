package judge

import (
	"cmp"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/rebound-mqtt/rebound/harness/ledger"
	"github.com/rebound-mqtt/rebound/harness/measure"
	"github.com/rebound-mqtt/rebound/harness/timeline"
	"github.com/rebound-mqtt/rebound/scenarios"
)

// evidence is what the files of a run hold, as they hold it.
type evidence struct {
	plan    *scenarios.Plan
	env     EnvFile
	mark    timeline.Mark // the opening and the closing one together
	closed  bool          // there was a closing mark
	phases  []timeline.Phase
	waves   []timeline.Wave
	actions []timeline.Action
	extents []timeline.Extent
	conns   []timeline.Conn
	frames  []timeline.Frame
	wills   []timeline.Will
	shots   []timeline.Snapshot
	latency []timeline.Latency
	found   []timeline.Finding
	records []ledger.Record
	counted bool // accounts were read whole
	health  []measure.HealthRow

	missing []string // what is not there, cut or unreadable, in words
}

// stop is the instant at which the clients were stopped; of a run without a
// closing mark the last instant that anything tells of.
func (e *evidence) stop() timeline.Instant {
	if e.mark.Stop != 0 {
		return e.mark.Stop
	}
	var last timeline.Instant
	for i := range e.conns {
		c := &e.conns[i]
		last = max(last, c.Dial, c.Dialed, c.Connect, c.Connack, c.Restored, c.FirstMessage, c.LastIn, c.LastOut, c.End)
	}
	for _, a := range e.actions {
		last = max(last, a.Issued, a.Answered, a.Until)
	}
	for _, x := range e.extents {
		last = max(last, x.Taken, x.Healed)
	}
	for _, p := range e.phases {
		last = max(last, p.End)
	}
	for _, r := range e.health {
		last = max(last, r.End)
	}
	return last
}

// complete reports whether the run wrote all its evidence to the end.
func (e *evidence) complete() bool { return e.closed && len(e.missing) == 0 }

// readEvidence reads a run's folder. Without a plan there is nothing to judge
// (ErrNoEvidence). Any other file that is missing, cut or unreadable is named
// in words, and what could be read of it stands.
func readEvidence(dir fs.FS) (*evidence, error) {
	e := &evidence{}
	err := readFile(dir, "plan.yaml", func(r io.Reader) (err error) {
		e.plan, err = scenarios.ReadPlan(r)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: plan.yaml: %w", ErrNoEvidence, err)
	}
	for _, f := range []struct {
		name string
		read func(io.Reader) error
	}{
		{"env.json", func(r io.Reader) (err error) { e.env, err = ReadEnv(r); return err }},
		{"events.jsonl.gz", e.readEvents},
		{"health.csv", func(r io.Reader) (err error) { e.health, err = measure.ReadHealth(r); return err }},
		{"accounts.jsonl.gz", e.readAccounts},
	} {
		if err := readFile(dir, f.name, f.read); err != nil {
			e.missing = append(e.missing, f.name+" "+inWords(err))
		}
	}
	// A file that ends with a whole row shows only here that rows are missing: the
	// last one is written after the last phase.
	if n, p := len(e.health), len(e.phases); e.closed && n > 0 && p > 0 && e.health[n-1].End < e.phases[p-1].End {
		e.missing = append(e.missing, "health.csv ends before the run did")
	}
	// A run without findings has no such file: the closing mark tells.
	err = readFile(dir, "findings.jsonl.gz", func(r io.Reader) (err error) {
		e.found, err = timeline.ReadFindings(r)
		return err
	})
	switch {
	case err != nil && (e.mark.Findings > 0 || !errors.Is(err, fs.ErrNotExist)):
		e.missing = append(e.missing, "findings.jsonl.gz "+inWords(err))
	case len(e.found) < e.mark.Findings:
		e.missing = append(e.missing, fmt.Sprintf("findings.jsonl.gz has %d of %d lines", len(e.found), e.mark.Findings))
	}
	return e, nil
}

func readFile(dir fs.FS, name string, read func(io.Reader) error) error {
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	err = read(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// inWords says what is wrong with a file without naming a path of this
// machine: the words go into the report.
func inWords(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "is missing"
	case errors.Is(err, timeline.ErrTruncated), errors.Is(err, measure.ErrTruncated), errors.Is(err, io.ErrUnexpectedEOF):
		return "is cut: the run was killed"
	case errors.Is(err, fs.ErrPermission):
		return "is not readable"
	}
	return "is not readable: " + err.Error()
}

func (e *evidence) readEvents(r io.Reader) error {
	events, err := timeline.Read(r)
	for i, ev := range events {
		if ev.Mark != nil {
			e.readMark(*ev.Mark, i) // it counts the lines before it
		}
	}
	for _, ev := range timeline.Latest(events) {
		switch {
		case ev.Phase != nil:
			e.phases = append(e.phases, *ev.Phase)
		case ev.Wave != nil:
			e.waves = append(e.waves, *ev.Wave)
		case ev.Action != nil:
			e.actions = append(e.actions, *ev.Action)
		case ev.Extent != nil:
			e.extents = append(e.extents, *ev.Extent)
		case ev.Conn != nil:
			e.conns = append(e.conns, *ev.Conn)
		case ev.Frame != nil:
			e.frames = append(e.frames, *ev.Frame)
		case ev.Will != nil:
			e.wills = append(e.wills, *ev.Will)
		case ev.Snapshot != nil:
			e.shots = append(e.shots, *ev.Snapshot)
		case ev.Latency != nil:
			e.latency = append(e.latency, *ev.Latency)
		}
	}
	slices.SortStableFunc(e.phases, func(a, b timeline.Phase) int { return cmp.Compare(a.Start, b.Start) })
	return err
}

// readMark reads a mark that so many events come before.
func (e *evidence) readMark(m timeline.Mark, before int) {
	if m.RunID != "" {
		e.mark.RunID, e.mark.StartedAt = m.RunID, m.StartedAt
	}
	if m.Stop != 0 {
		e.closed, e.mark.Stop, e.mark.Findings = true, m.Stop, m.Findings
		if m.Events != 0 && before != m.Events {
			e.missing = append(e.missing, fmt.Sprintf("events.jsonl.gz has %d of %d lines", before, m.Events))
		}
	}
	e.mark.Interrupted = e.mark.Interrupted || m.Interrupted
	if m.Aborted != "" {
		e.mark.Aborted = m.Aborted
	}
}

// readAccounts reads the accounts whole or not at all: half a set of accounts
// does not add up to anything.
func (e *evidence) readAccounts(r io.Reader) error {
	zip, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	records, err := ledger.ReadAccounts(zip)
	if err != nil {
		return err
	}
	e.records, e.counted = records, true
	return zip.Close()
}

// phaseAt names the phase in which an instant lies; "" = in none.
func (e *evidence) phaseAt(t timeline.Instant) string {
	name := ""
	for _, p := range e.phases {
		if p.Start <= t {
			name = p.Name
		}
	}
	return name
}

// phase finds a phase as it ran.
func (e *evidence) phase(name string) (timeline.Phase, bool) {
	for _, p := range e.phases {
		if p.Name == name {
			return p, true
		}
	}
	return timeline.Phase{}, false
}

// firstFault is the instant at which the first fault was due; without one it
// is the stop.
func (e *evidence) firstFault() timeline.Instant {
	at := e.stop()
	for _, w := range e.waves {
		at = min(at, w.Start)
	}
	for _, a := range e.actions {
		at = min(at, a.Intended)
	}
	return at
}
