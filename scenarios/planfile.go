package scenarios

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.yaml.in/yaml/v4"
)

// PlanVersion is the schema version of plan.yaml that this version writes and
// reads.
const PlanVersion = 1

// maxPlan bounds plan.yaml: room for some two million victims.
const maxPlan = 64 << 20

// WritePlan writes plan.yaml: equal plans give equal bytes. The victims one by
// one are written only on demand; their number and digest always are.
func WritePlan(w io.Writer, p *Plan, victims bool) error {
	if !victims {
		p = withoutVictims(p)
	}
	data, err := yaml.Dump(p, yaml.WithV4Defaults())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// ReadPlan reads what WritePlan wrote. It is strict: an unknown key, a key
// twice, a second document or another schema version is an error. A plan
// written without victims comes back without them.
func ReadPlan(r io.Reader) (*Plan, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPlan+1))
	if err != nil {
		return nil, fmt.Errorf("read plan: %w", err)
	}
	if len(data) > maxPlan {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrPlan, maxPlan)
	}
	yl, err := yaml.NewLoader(bytes.NewReader(data), yaml.WithV4Defaults(), yaml.WithKnownFields())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	var p Plan
	switch err := yl.Load(&p); {
	case errors.Is(err, io.EOF):
		return nil, fmt.Errorf("%w: empty", ErrPlan)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	if err := yl.Load(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one document", ErrPlan)
	}
	if p.SchemaVersion != PlanVersion {
		return nil, fmt.Errorf("%w: schema_version is %d, this version reads %d", ErrPlan, p.SchemaVersion, PlanVersion)
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return &p, nil
}

// check holds what later readers rely on.
func (p *Plan) check() error {
	for _, f := range p.Fleets {
		for label, values := range f.Labelled {
			sum := 0
			for _, n := range values {
				sum += max(n, 0)
			}
			if sum != f.Clients {
				return fmt.Errorf("%w: fleet %s has %d clients, and label %s is counted for %d", ErrPlan, f.Name, f.Clients, label, sum)
			}
		}
	}
	for _, ph := range p.Phases {
		for _, w := range ph.Waves {
			for _, f := range w.Faults {
				if f.Count < 0 || len(f.Victims) > 0 && len(f.Victims) != f.Count {
					return fmt.Errorf("%w: phase %s wave %d: count is %d, and %d victims are listed", ErrPlan, ph.Name, w.Wave, f.Count, len(f.Victims))
				}
				if slices.ContainsFunc(f.Victims, func(v Victim) bool { return v.Client < 0 || v.Offset < 0 }) {
					return fmt.Errorf("%w: phase %s wave %d: a victim's client and offset are at least 0", ErrPlan, ph.Name, w.Wave)
				}
			}
		}
	}
	return nil
}

// PlanHash names the timetable: seed, phases, waves and victims (by their
// digests), and what is measured. It leaves out itself, the summary, the
// target, the closer and the driver, so that one timetable has one hash on
// every broker and with every client library.
func PlanHash(p *Plan) string {
	q := withoutVictims(p)
	q.PlanHash, q.Summary, q.Target, q.Closer, q.Driver = "", "", "", "", ""
	data, err := yaml.Dump(q, yaml.WithV4Defaults())
	if err != nil {
		return "" // no value of Plan has an encoding error
	}
	return digest(string(data))
}

// withoutVictims copies as much of a plan as it takes to drop its victims.
func withoutVictims(p *Plan) *Plan {
	q := *p
	q.Phases = slices.Clone(p.Phases)
	for i := range q.Phases {
		waves := slices.Clone(q.Phases[i].Waves)
		for j := range waves {
			waves[j].Faults = slices.Clone(waves[j].Faults)
			for k := range waves[j].Faults {
				waves[j].Faults[k].Victims = nil
			}
		}
		q.Phases[i].Waves = waves
	}
	return &q
}

// MarshalYAML writes a victim on one line.
func (v Victim) MarshalYAML() (any, error) {
	type plain Victim
	n := &yaml.Node{}
	if err := n.Encode(plain(v)); err != nil {
		return nil, err
	}
	n.Style |= yaml.FlowStyle
	return n, nil
}
